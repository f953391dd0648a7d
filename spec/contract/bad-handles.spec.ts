import { describe, expect, it } from '@jest/globals'
import { BatchRing, DirtyTracker, openWriter, runAggregator } from '../../lib/index.js'
import {
  CAPACITY,
  CHUNKS,
  EPOCH_SLOTS,
  LANE_CAPACITY,
  MAGIC,
  MAX_KEYS_PER_EPOCH,
  MAX_WRITERS,
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
    const { buffer } = tracker.handle as unknown as { buffer: SharedArrayBuffer }
    const words = new Int32Array(new SharedArrayBuffer(buffer.byteLength))
    words.set(new Int32Array(buffer))
    words[at] = value
    return { dirtyring: version, buffer: words.buffer }
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
      [`version ${version}`, 'got 0', 'Two versions'],
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
    [
      'a capacity of 3',
      (tracker) => tampered(tracker, CAPACITY, 3),
      'BAD_HANDLE',
      ['geometry', '"capacity":3'],
    ],
    [
      'a capacity of 0',
      (tracker) => tampered(tracker, CAPACITY, 0),
      'BAD_HANDLE',
      ['geometry', '"capacity":0'],
    ],
    [
      'a negative laneCapacity',
      (tracker) => tampered(tracker, LANE_CAPACITY, -8),
      'BAD_HANDLE',
      ['geometry', '"laneCapacity":-8'],
    ],
    [
      'no writers',
      (tracker) => tampered(tracker, MAX_WRITERS, 0),
      'BAD_HANDLE',
      ['geometry', '"maxWriters":0'],
    ],
    [
      'too many epoch slots',
      (tracker) => tampered(tracker, EPOCH_SLOTS, 17),
      'BAD_HANDLE',
      ['geometry', '"epochSlots":17'],
    ],
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
