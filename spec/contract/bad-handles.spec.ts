import { describe, expect, it } from '@jest/globals'
import { BatchRing, DirtyTracker, openWriter, runAggregator } from '../../lib/index.js'
import {
  CAPACITY,
  CHUNKS,
  EPOCH_SLOTS,
  LANE_CAPACITY,
  LANE_TEXT_BYTES,
  MAGIC,
  MAX_CONSUMERS,
  MAX_KEYS_PER_EPOCH,
  MAX_STRING_BYTES_PER_EPOCH,
  MAX_STRINGS_PER_EPOCH,
  MAX_WRITERS,
  TRACKER_ID,
  TRACKER_ID_2,
  VERSION,
  VERSION_VALUE,
} from '../../lib/memory/map.js'
import { expectError } from '../support/bad-input.js'
import { openHeld, openInline, openUnattended, rejected, thrown } from '../support/in-process.js'

const BAD_HANDLE = { name: 'TypeError', code: 'ERR_DIRTYRING_BAD_HANDLE' }

describe('C11: an invalid handle', () => {
  const version = VERSION_VALUE
  const foreign = (bytes: number): object => ({
    dirtyring: version,
    buffer: new SharedArrayBuffer(bytes),
  })

  /** A copy of a real handle's memory, with one word changed. */
  function tampered(tracker: DirtyTracker, at: number, value: number): object {
    const buffer = bufferOf(tracker)
    const words = new Int32Array(new SharedArrayBuffer(buffer.byteLength))
    words.set(new Int32Array(buffer))
    words[at] = value
    return { dirtyring: version, buffer: words.buffer }
  }

  /** A handle with native memory that is a copy of the tracker's, except for one word. */
  function withNative(tracker: DirtyTracker, at?: number, pages = 0): object {
    const words = new Int32Array(bufferOf(tracker))
    const size = words.byteLength / 65536 + pages
    const copy = new Int32Array(new SharedArrayBuffer(size * 65536))
    copy.set(words)
    if (at !== undefined) copy[at]++
    return { ...tracker.handle, native: { buffer: copy.buffer } }
  }

  const bufferOf = (tracker: DirtyTracker): SharedArrayBuffer =>
    (tracker.handle as unknown as { buffer: SharedArrayBuffer }).buffer

  const NATIVE = '"handle.native" must be the WebAssembly.Memory of handle.buffer, got another one'

  const WORDS: Readonly<Record<string, number>> = {
    capacity: CAPACITY,
    laneCapacity: LANE_CAPACITY,
    maxWriters: MAX_WRITERS,
    epochSlots: EPOCH_SLOTS,
    maxKeysPerEpoch: MAX_KEYS_PER_EPOCH,
    maxStringsPerEpoch: MAX_STRINGS_PER_EPOCH,
    maxStringBytesPerEpoch: MAX_STRING_BYTES_PER_EPOCH,
    laneTextBytes: LANE_TEXT_BYTES,
    maxConsumers: MAX_CONSUMERS,
  }

  const wrong: [
    what: string,
    make: (tracker: DirtyTracker) => unknown,
    code: string,
    parts: string[],
  ][] = [
    ['undefined', () => undefined, 'BAD_HANDLE', ['must be tracker.handle', 'got undefined']],
    ['null', () => null, 'BAD_HANDLE', ['must be tracker.handle', 'got null']],
    ['a number', () => 5, 'BAD_HANDLE', ['must be tracker.handle', 'got 5']],
    ['text', () => 'tracker', 'BAD_HANDLE', ['must be tracker.handle', 'got "tracker"']],
    ['{}', () => ({}), 'BAD_HANDLE', ['Pass tracker.handle']],
    ['an array', () => [], 'BAD_HANDLE', ['Pass tracker.handle']],
    [
      'the tracker itself',
      (tracker) => tracker,
      'BAD_HANDLE',
      ['Pass tracker.handle', 'not the tracker itself'],
    ],
    [
      'the tracker, cloned',
      (tracker) => structuredClone(tracker),
      'BAD_HANDLE',
      ['Pass tracker.handle', 'not the tracker itself'],
    ],
    [
      'the buffer itself',
      (tracker) => (tracker.handle as unknown as { buffer: object }).buffer,
      'BAD_HANDLE',
      ['Pass tracker.handle'],
    ],
    [
      'the handle as JSON',
      (tracker) => JSON.parse(JSON.stringify(tracker.handle)),
      'BAD_HANDLE',
      ['SharedArrayBuffer', 'one process only', 'not as JSON'],
    ],
    [
      'a handle without a buffer',
      () => ({ dirtyring: version }),
      'BAD_HANDLE',
      ['SharedArrayBuffer'],
    ],
    [
      'a handle with an ArrayBuffer',
      () => ({ dirtyring: version, buffer: new ArrayBuffer(2 ** 20) }),
      'BAD_HANDLE',
      ['SharedArrayBuffer'],
    ],
    [
      'a foreign buffer',
      () => foreign(2 ** 20),
      'BAD_HANDLE',
      ['must be memory made by dirtyring', 'magic 0'],
    ],
    ['a small foreign buffer', () => foreign(8), 'BAD_HANDLE', ['at least 65536 bytes', 'got 8']],
    ['an empty foreign buffer', () => foreign(0), 'BAD_HANDLE', ['at least 65536 bytes', 'got 0']],
    [
      'a wrong magic',
      (tracker) => tampered(tracker, MAGIC, 7),
      'BAD_HANDLE',
      ['must be memory made by dirtyring', 'got magic 7'],
    ],
    [
      'an older handle',
      (tracker) => ({ ...tracker.handle, dirtyring: 0 }),
      'VERSION',
      [`memory layout version ${version}`, 'got 0', 'Two versions'],
    ],
    [
      'a newer handle',
      (tracker) => ({ ...tracker.handle, dirtyring: version + 1 }),
      'VERSION',
      [`version ${version}`, `got ${version + 1}`, 'Two versions'],
    ],
    [
      'an older memory',
      (tracker) => tampered(tracker, VERSION, 0),
      'VERSION',
      [`version ${version}`, 'got 0'],
    ],
    [
      'a newer memory',
      (tracker) => tampered(tracker, VERSION, 99),
      'VERSION',
      [`version ${version}`, 'got 99'],
    ],
    ...[
      { capacity: 3 },
      { capacity: 0 },
      { laneCapacity: -8 },
      { maxWriters: 0 },
      { maxWriters: 1025 },
      { epochSlots: -1 },
      { epochSlots: 17 },
      { maxKeysPerEpoch: -1 },
      { maxStringsPerEpoch: -1 },
      { maxStringBytesPerEpoch: -1 },
      { laneTextBytes: 6 },
      { laneTextBytes: 2 },
      { maxConsumers: -1 },
      { maxConsumers: 2 },
    ].map((change): (typeof wrong)[number] => {
      const [[name, value]] = Object.entries(change)
      return [
        `${name} ${value}`,
        (tracker) => tampered(tracker, WORDS[name], value),
        'BAD_HANDLE',
        ['must have a geometry of this version', `"${name}":${value}`],
      ]
    }),
    ...[{ maxWriters: 1024 }, { epochSlots: 16 }, { laneTextBytes: 4 }, { maxKeysPerEpoch: 0 }].map(
      (change): (typeof wrong)[number] => {
        const [[name, value]] = Object.entries(change)
        return [
          `${name} ${value}, which may be, but not here`,
          (tracker) => tampered(tracker, WORDS[name], value),
          'BAD_HANDLE',
          ['bytes for its geometry', 'got '],
        ]
      },
    ),
    [
      'another capacity than there is',
      (tracker) => tampered(tracker, CAPACITY, 2 ** 18),
      'BAD_HANDLE',
      ['bytes for its geometry', 'got '],
    ],
    [
      'other lanes than there are',
      (tracker) => tampered(tracker, LANE_CAPACITY, 2 ** 16),
      'BAD_HANDLE',
      ['bytes for its geometry', 'got '],
    ],
    [
      'other epochs than there are',
      (tracker) => tampered(tracker, MAX_KEYS_PER_EPOCH, 2 ** 20),
      'BAD_HANDLE',
      ['bytes for its geometry', 'got '],
    ],
    [
      'another size than there is',
      (tracker) => tampered(tracker, CHUNKS, 1),
      'BAD_HANDLE',
      ['bytes'],
    ],
    ...[TRACKER_ID, TRACKER_ID_2].map((at): (typeof wrong)[number] => [
      `the native memory of another tracker, by word ${at}`,
      (tracker) => withNative(tracker, at),
      'BAD_HANDLE',
      [NATIVE],
    ]),
    [
      'native memory of another size',
      (tracker) => withNative(tracker, undefined, 1),
      'BAD_HANDLE',
      [NATIVE],
    ],
    [
      'native memory that is none',
      (tracker) => ({ ...tracker.handle, native: new Uint8Array(4) }),
      'BAD_HANDLE',
      [NATIVE],
    ],
    [
      "a BatchRing's handle",
      () => BatchRing.create({ capacity: 2, laneCapacity: 2, maxWriters: 1 }).handle,
      'BAD_HANDLE',
      ['must be tracker.handle', 'BatchRing'],
    ],
  ]

  it.each(wrong)('%s is one clear error, and nothing has changed', async (_, make, code, parts) => {
    const tracker = await openUnattended()
    const before = tracker.stats()
    const handle = make(tracker) as never
    const kind = { name: 'TypeError', code: `ERR_DIRTYRING_${code}` }
    expectError(
      thrown(() => openWriter(handle)),
      kind,
      '"handle',
      ...parts,
    )
    expectError(await rejected(runAggregator(handle)), kind, '"handle', ...parts)
    expect(tracker.stats()).toEqual(before)
    expect(tracker.health().state).toBe('absent')
  })

  it.each([TRACKER_ID, TRACKER_ID_2])(
    'of memory whose word %i other code has changed says so',
    async (at) => {
      const handle = tampered(await openUnattended(), at, 7)
      expectError(
        thrown(() => openWriter(handle as never)),
        { name: 'DirtyRingError', code: 'ERR_DIRTYRING_CORRUPT' },
        'the beginning of the shared memory has changed: it holds the settings, and only create() ' +
          'writes it',
      )
    },
  )

  it('of memory of another size says how many bytes there should be', async () => {
    const tracker = await openUnattended()
    const bytes = bufferOf(tracker).byteLength
    expectError(
      thrown(() => openWriter(tampered(tracker, CHUNKS, 1) as never)),
      BAD_HANDLE,
      `"handle.buffer" must have ${bytes} bytes for its geometry, got ${bytes}`,
    )
  })

  it("a BatchRing refuses a tracker's handle", async () => {
    const tracker = await openUnattended()
    expectError(
      thrown(() => BatchRing.attach(tracker.handle as never)),
      BAD_HANDLE,
      'must be ring.handle',
      'DirtyTracker',
    )
    expectError(
      thrown(() => BatchRing.attach(undefined as never)),
      BAD_HANDLE,
      'must be ring.handle',
      'got undefined',
    )
    const ring = BatchRing.create({ capacity: 2, laneCapacity: 2, maxWriters: 1 })
    expectError(
      thrown(() => BatchRing.attach(ring as never)),
      BAD_HANDLE,
      'must be ring.handle, got another object. Pass ring.handle',
    )
    expect(BatchRing.attach(structuredClone(ring.handle)).openProducer().id).toBe(0)
  })

  it('the handle itself, and a clone of it, are fine', async () => {
    const tracker = await openInline()
    expect(openWriter(tracker.handle).id).toBe(0)
    expect(openWriter(structuredClone({ deep: [tracker.handle] }).deep[0]).id).toBe(1)
  })
})

describe('C13: one aggregator at a time', () => {
  const TAKEN = 'ERR_DIRTYRING_AGGREGATOR_TAKEN'

  it('refuses runAggregator() while the tracker runs one on its own thread', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const error = await rejected(runAggregator(tracker.handle))
    expect(error.code).toBe(TAKEN)
    expect(error.message).toMatch(/the aggregator runs already, on thread \d+/)
    writer.mark(1)
    expect([...(await tracker.advanceEpoch()).bigints]).toEqual([1n])
    expect(tracker.health()).toMatchObject({ healthy: true, state: 'running', panics: 0 })
  })

  it('refuses a second one while a first one runs, and takes it once that is gone', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.markMany([1])
    for (const _ of [1, 2]) expect((await rejected(runAggregator(tracker.handle))).code).toBe(TAKEN)
    hand.run()
    expect(tracker.stats()).toMatchObject({ batches: 1, distinct: 1 })
    hand.release()
    expect(tracker.health().state).toBe('absent')
    const running = runAggregator(tracker.handle)
    expect((await rejected(runAggregator(tracker.handle))).code).toBe(TAKEN)
    writer.markMany([2])
    const epoch = await tracker.advanceEpoch()
    expect([...epoch.ids()]).toEqual([1, 2])
    epoch.commit()
    await tracker.stop()
    await running // it ends with the tracker
    expect(tracker.health()).toMatchObject({ state: 'finished', finished: true })
  })

  it('a BatchRing refuses drain() from within drain()', () => {
    const ring = BatchRing.create({ capacity: 2, laneCapacity: 2, maxWriters: 1 })
    ring.openProducer().push(new BigUint64Array([1n]))
    let code: unknown
    expect(ring.drain(() => (code = thrown(() => ring.drain(() => undefined)).code))).toBe(1)
    expect(code).toBe(TAKEN)
  })
})
