import { describe, expect, it } from '@jest/globals'
import { checkBag, isEngineError, viewLength } from '../../lib/check.js'
import {
  BatchRing,
  fingerprint,
  FingerprintSet,
  KeyDictionary,
  DirtyTracker,
  memoryFootprint,
  openWriter,
  resolveOptions,
  runAggregator,
  TxnBuffer,
  type Writer,
} from '../../lib/index.js'
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
import { openHeld, openInline, openUnattended, rejected, thrown } from '../support/in-process.js'

const INVALID_ARG = { name: 'TypeError', code: 'ERR_DIRTYRING_INVALID_ARG' }
const OUT_OF_RANGE = { name: 'RangeError', code: 'ERR_DIRTYRING_OUT_OF_RANGE' }
const BAD_HANDLE = { name: 'TypeError', code: 'ERR_DIRTYRING_BAD_HANDLE' }

/** The error's class and code, and that its message has every part. */
function expectError(error: any, kind: { name: string; code: string }, ...parts: string[]): void {
  expect({ name: error.name, code: error.code }).toEqual(kind)
  expect(error).toBeInstanceOf(Error)
  for (const part of parts) expect(error.message).toContain(part)
}

const numbers: [name: string, min: number, max: number, byDefault: number][] = [
  ['batchSize', 1, 16384, 64],
  ['capacity', 2, 2 ** 20, 1024],
  ['laneCapacity', 1, 2 ** 22, 16384],
  ['maxWriters', 1, 1024, 32],
  ['epochSlots', 2, 16, 4],
  ['maxKeysPerEpoch', 1, 2 ** 28, 2 ** 20],
  ['flushIntervalMs', 0, 2 ** 31 - 1, 10],
  ['maxWaitMs', 0, 2 ** 31 - 1, 30_000],
]

describe('C11: options', () => {
  it('have the defaults that are written down', () => {
    expect(resolveOptions()).toEqual({
      ...Object.fromEntries(numbers.map(([name, , , byDefault]) => [name, byDefault])),
      onFull: 'wait',
      kernel: 'auto',
      aggregator: 'worker',
    })
    expect(resolveOptions({})).toEqual(resolveOptions())
    const none = Object.fromEntries(
      [...numbers.map(([name]) => name), 'onFull', 'kernel', 'aggregator'].map((name) => [
        name,
        undefined,
      ]),
    )
    expect(resolveOptions(none)).toEqual(resolveOptions())
  })

  it.each(numbers)('%s: %d to %d', (name, min, max) => {
    for (const value of [min, max]) {
      // The largest ones do not fit into memory together with the other defaults.
      const rest = {
        laneCapacity: name === 'batchSize' ? 16384 : 1,
        maxWriters: 1,
        maxKeysPerEpoch: 1,
        epochSlots: 2,
        batchSize: 1,
      }
      if (name === 'maxKeysPerEpoch' && value === max) continue
      expect(resolveOptions({ ...rest, [name]: value })).toMatchObject({ [name]: value })
    }
  })

  it.each(
    numbers.flatMap(([name, min, max]) =>
      [min - 1, max + 1, -1, -Infinity, Infinity, NaN, min + 0.5, 2 ** 53].map(
        (value): [string, number, number, number] => [name, value, min, max],
      ),
    ),
  )('%s: %d is a RangeError that names it and the limits', async (name, value, min, max) => {
    const options = { [name]: value }
    const error = thrown(() => resolveOptions(options))
    expectError(error, OUT_OF_RANGE, `"options.${name}"`, `${min} to ${max}`, `got ${value}`)
    expectError(
      thrown(() => memoryFootprint(options)),
      OUT_OF_RANGE,
      error.message,
    )
    expectError(await rejected(DirtyTracker.create(options)), OUT_OF_RANGE, error.message)
  })

  it.each(
    numbers.flatMap(([name]) =>
      ['1', 1n, true, null, {}, [1], () => 1, Symbol('one')].map((value): [string, unknown] => [
        name,
        value,
      ]),
    ),
  )('%s: %p is a TypeError that names it', async (name, value) => {
    const options: any = { [name]: value }
    const error = thrown(() => resolveOptions(options))
    expectError(error, INVALID_ARG, `"options.${name}"`, 'expected a number, got ')
    expectError(await rejected(DirtyTracker.create(options)), INVALID_ARG, error.message)
  })

  it.each([
    ['capacity', 3],
    ['capacity', 1000],
    ['capacity', 2 ** 20 - 1],
    ['laneCapacity', 3],
    ['laneCapacity', 16383],
  ])('%s: %d is no power of two, which is a RangeError', async (name, value) => {
    expectError(
      thrown(() => resolveOptions({ [name]: value })),
      OUT_OF_RANGE,
      `"options.${name}"`,
      'a power of two',
      `got ${value}`,
    )
    expectError(
      await rejected(DirtyTracker.create({ [name]: value })),
      OUT_OF_RANGE,
      `"options.${name}"`,
    )
    if (name === 'capacity')
      expectError(
        thrown(() => BatchRing.create({ [name]: value })),
        OUT_OF_RANGE,
        `"options.${name}"`,
      )
  })

  it.each([
    ['onFull', `'wait' or 'reject'`],
    ['kernel', `'auto', 'wasm' or 'js'`],
    ['aggregator', `'worker', 'none', 'inline' or a function`],
  ])('%s: any other text is a RangeError, any other type a TypeError', async (name, expected) => {
    for (const value of ['', 'Wait', 'something']) {
      const error = await rejected(DirtyTracker.create({ [name]: value }))
      expectError(
        error,
        OUT_OF_RANGE,
        `"options.${name}" expected ${expected}`,
        `got ${JSON.stringify(value)}`,
      )
    }
    for (const value of [0, true, null, {}, ['wait'], 1n]) {
      expectError(
        await rejected(DirtyTracker.create({ [name]: value })),
        INVALID_ARG,
        `"options.${name}" expected ${expected}`,
      )
    }
  })

  it('the bag itself has to be an object', async () => {
    for (const value of [null, 5, 'x', true, [], 5n, Symbol('x'), () => undefined] as never[]) {
      expectError(
        thrown(() => resolveOptions(value)),
        INVALID_ARG,
        '"options" expected a plain object, got ',
      )
      expectError(
        thrown(() => memoryFootprint(value)),
        INVALID_ARG,
        '"options"',
      )
      expectError(await rejected(DirtyTracker.create(value)), INVALID_ARG, '"options"')
      expectError(
        thrown(() => BatchRing.create(value)),
        INVALID_ARG,
        '"options"',
      )
    }
  })

  it('batchSize is at most laneCapacity, and by default no more than it', () => {
    expect(resolveOptions({ laneCapacity: 16 }).batchSize).toBe(16)
    expect(resolveOptions({ laneCapacity: 256 }).batchSize).toBe(64)
    expect(resolveOptions({ laneCapacity: 256, batchSize: 256 }).batchSize).toBe(256)
    const error = thrown(() => resolveOptions({ laneCapacity: 16, batchSize: 17 }))
    expectError(error, OUT_OF_RANGE, '"options.batchSize"', '1 to 16 (laneCapacity)', 'got 17')
  })

  it.each([
    [1, 2 ** 27],
    [2, 2 ** 26],
    [3, 2 ** 25],
    [32, 2 ** 22],
    [33, 2 ** 21],
    [1024, 2 ** 17],
  ])('with %d writers laneCapacity is at most %d', (maxWriters, largest) => {
    const small = { maxWriters, maxKeysPerEpoch: 1, epochSlots: 2 }
    expect(resolveOptions({ ...small, laneCapacity: largest / 2 }).laneCapacity).toBe(largest / 2)
    const error = thrown(() => resolveOptions({ ...small, laneCapacity: largest * 2 }))
    expectError(
      error,
      OUT_OF_RANGE,
      '"options.laneCapacity"',
      `1 to ${largest}`,
      `got ${largest * 2}`,
    )
  })

  it('too much memory in all is a RangeError that tells how much, before any is reserved', async () => {
    for (const options of [
      { maxKeysPerEpoch: 2 ** 28 },
      { maxKeysPerEpoch: 2 ** 26, epochSlots: 16 },
      { laneCapacity: 2 ** 22, maxWriters: 32, maxKeysPerEpoch: 2 ** 27 },
    ]) {
      const error = await rejected(DirtyTracker.create({ ...options, aggregator: 'none' }))
      expectError(error, OUT_OF_RANGE, '"options"', `at most ${2 ** 32} bytes`, 'maxKeysPerEpoch')
      expect(Number(/got "(\d+) bytes"/.exec(error.message)![1])).toBeGreaterThan(2 ** 32)
      expect(thrown(() => memoryFootprint(options)).message).toBe(error.message)
    }
  })

  it('are not changed, and what is resolved resolves to itself', () => {
    const options = Object.freeze({ capacity: 8, aggregator: 'inline' as const })
    const resolved = resolveOptions(options)
    expect(options).toEqual({ capacity: 8, aggregator: 'inline' })
    expect(resolveOptions(resolved)).toEqual(resolved)
  })

  it('are on the tracker as resolved', async () => {
    const tracker = await openInline({ capacity: 8, batchSize: 7 })
    expect(tracker.options).toEqual(
      resolveOptions({
        capacity: 8,
        batchSize: 7,
        laneCapacity: 1024,
        maxWriters: 8,
        maxKeysPerEpoch: 4096,
        flushIntervalMs: 0,
        aggregator: 'inline',
      }),
    )
    expect(tracker.kernel).toBe('wasm')
  })
})

describe('memoryFootprint()', () => {
  const cases = [
    {},
    { maxWriters: 1, laneCapacity: 1, capacity: 2, epochSlots: 2, maxKeysPerEpoch: 1 },
    { maxWriters: 1024, laneCapacity: 64 },
    { capacity: 2 ** 20 },
    { maxKeysPerEpoch: 10_000_000 },
    { epochSlots: 16, maxKeysPerEpoch: 1000 },
  ]

  it('is about 100 MiB by default', () => {
    const { total } = memoryFootprint()
    expect(total / 2 ** 20).toBeGreaterThan(90)
    expect(total / 2 ** 20).toBeLessThan(110)
  })

  it.each(cases)('is whole pages of 64 KiB, and its parts add up: %j', (options) => {
    const { total, ring, lanes, epochs, perWriter, perEpoch } = memoryFootprint(options)
    const { maxWriters, epochSlots, capacity, laneCapacity, maxKeysPerEpoch } =
      resolveOptions(options)
    expect(total % 65536).toBe(0)
    expect(lanes).toBe(maxWriters * perWriter)
    expect(epochs).toBe(epochSlots * perEpoch)
    const rest = total - ring - lanes - epochs // the header, and what rounding up takes
    expect(rest).toBeGreaterThan(0)
    expect(rest).toBeLessThan(2 * 65536)
    expect(ring).toBeGreaterThanOrEqual(capacity * 4)
    expect(perWriter).toBeGreaterThanOrEqual(laneCapacity * 8)
    expect(perEpoch).toBeGreaterThanOrEqual(maxKeysPerEpoch * 24) // the key, and two cells for it
  })

  it('is what the tracker reserves', async () => {
    const tracker = await openInline()
    const { buffer } = tracker.handle as unknown as { buffer: SharedArrayBuffer }
    expect(memoryFootprint(tracker.options).total).toBe(buffer.byteLength)
    expect(tracker.stats().bytes).toEqual(memoryFootprint(tracker.options))
  })
})

describe('C11: a handle that is none', () => {
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
    ['undefined', () => undefined, 'BAD_HANDLE', ['expected tracker.handle', 'got undefined']],
    ['null', () => null, 'BAD_HANDLE', ['expected tracker.handle', 'got null']],
    ['a number', () => 5, 'BAD_HANDLE', ['expected tracker.handle', 'got number']],
    ['text', () => 'tracker', 'BAD_HANDLE', ['expected tracker.handle', 'got string']],
    ['{}', () => ({}), 'BAD_HANDLE', ['pass tracker.handle']],
    ['an array', () => [], 'BAD_HANDLE', ['pass tracker.handle']],
    [
      'the tracker itself',
      (tracker) => tracker,
      'BAD_HANDLE',
      ['pass tracker.handle', 'not the tracker itself'],
    ],
    [
      'the tracker, cloned',
      (tracker) => structuredClone(tracker),
      'BAD_HANDLE',
      ['pass tracker.handle', 'not the tracker itself'],
    ],
    [
      'the buffer itself',
      (tracker) => (tracker.handle as unknown as { buffer: object }).buffer,
      'BAD_HANDLE',
      ['pass tracker.handle'],
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
      ['expected memory made by dirtyring', 'magic 0'],
    ],
    ['a small foreign buffer', () => foreign(8), 'BAD_HANDLE', ['at least 65536 bytes', 'got 8']],
    ['an empty foreign buffer', () => foreign(0), 'BAD_HANDLE', ['at least 65536 bytes', 'got 0']],
    [
      'a wrong magic',
      (tracker) => tampered(tracker, MAGIC, 7),
      'BAD_HANDLE',
      ['expected memory made by dirtyring', 'got magic 7'],
    ],
    [
      'an older handle',
      (tracker) => ({ ...tracker.handle, dirtyring: 0 }),
      'VERSION',
      [`version ${version}`, 'got 0', 'two versions'],
    ],
    [
      'a newer handle',
      (tracker) => ({ ...tracker.handle, dirtyring: version + 1 }),
      'VERSION',
      [`version ${version}`, `got ${version + 1}`, 'two versions'],
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
      ['expected tracker.handle', 'BatchRing'],
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
      '"handle" expected',
      ...parts,
    )
    expectError(await rejected(runAggregator(handle)), kind, '"handle" expected', ...parts)
    expect(tracker.stats()).toEqual(before)
    expect(tracker.health().state).toBe('absent')
  })

  it("a tracker's handle is none for a BatchRing", async () => {
    const tracker = await openUnattended()
    expectError(
      thrown(() => BatchRing.attach(tracker.handle as never)),
      BAD_HANDLE,
      'expected ring.handle',
      'DirtyTracker',
    )
    expectError(
      thrown(() => BatchRing.attach(undefined as never)),
      BAD_HANDLE,
      'expected ring.handle',
      'got undefined',
    )
    const ring = BatchRing.create({ capacity: 2, laneCapacity: 2, maxWriters: 1 })
    expectError(
      thrown(() => BatchRing.attach(ring as never)),
      BAD_HANDLE,
      'expected ring.handle, got another object: pass ring.handle',
    )
    expect(BatchRing.attach(structuredClone(ring.handle)).openProducer().id).toBe(0)
  })

  it('the handle itself, and a clone of it, are fine', async () => {
    const tracker = await openInline()
    expect(openWriter(tracker.handle).id).toBe(0)
    expect(openWriter(structuredClone({ deep: [tracker.handle] }).deep[0]).id).toBe(1)
  })
})

describe('C11: keys that are none', () => {
  const wrong: [key: unknown, kind: { name: string; code: string }, part: string][] = [
    [-1, OUT_OF_RANGE, 'got -1'],
    [1.5, OUT_OF_RANGE, 'got 1.5'],
    [NaN, OUT_OF_RANGE, 'got NaN'],
    [Infinity, OUT_OF_RANGE, 'got Infinity'],
    [-Infinity, OUT_OF_RANGE, 'got -Infinity'],
    [2 ** 53, OUT_OF_RANGE, 'got 9007199254740992'],
    [-1n, OUT_OF_RANGE, 'got -1n'],
    [2n ** 64n, OUT_OF_RANGE, 'got 18446744073709551616n'],
    [undefined, INVALID_ARG, 'got undefined'],
    [null, INVALID_ARG, 'got null'],
    [true, INVALID_ARG, 'got true'],
    [{}, INVALID_ARG, 'got an instance of Object'],
    [[1], INVALID_ARG, 'got an instance of Array'],
    [new Uint16Array(1), INVALID_ARG, 'got an instance of Uint16Array'],
    [new DataView(new ArrayBuffer(8)), INVALID_ARG, 'got an instance of DataView'],
    [new ArrayBuffer(8), INVALID_ARG, 'got an instance of ArrayBuffer'],
    [() => 1, INVALID_ARG, 'got function'],
    [Symbol('key'), INVALID_ARG, 'got Symbol(key)'],
  ]

  it.each(wrong)(
    '%p is one clear error in every method that takes a key, and nothing is marked',
    async (key: any, kind, part) => {
      const tracker = await openInline()
      const writer = tracker.openWriter()
      writer.markMany([1, 2])
      const epoch = await tracker.advanceEpoch()
      writer.mark(5)
      const txn = new TxnBuffer(1)
      const before = tracker.stats()
      for (const act of [() => writer.mark(key), () => txn.mark(key), () => epoch.has(key)]) {
        expectError(thrown(act), kind, '"key" expected', part)
      }
      expectError(
        thrown(() => writer.markMany([7, 8, key])),
        kind,
        '"keys[2]" expected',
        part,
      )
      expectError(
        thrown(() => writer.markMany(new Set([7, key]))),
        kind,
        '"keys[1]" expected',
        part,
      )
      expectError(
        thrown(() => txn.markMany([key])),
        kind,
        '"keys[0]" expected',
        part,
      )
      expect(tracker.stats()).toEqual(before)
      expect([writer.staged, txn.size]).toEqual([1, 0])
      epoch.commit()
      expect([...(await tracker.advanceEpoch()).bigints]).toEqual([5n])
    },
  )

  it('lists that are none are a TypeError; one key is no list', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const txn = new TxnBuffer(1)
    const before = tracker.stats()
    for (const list of [
      undefined,
      null,
      5,
      5n,
      {},
      new Map([[1, 2]]),
      [1][Symbol.iterator](),
      new Float64Array(1),
      new Int32Array(2),
      () => 1,
    ] as never[]) {
      for (const act of [() => writer.markMany(list), () => txn.markMany(list)])
        expectError(thrown(act), INVALID_ARG, '"keys" expected')
    }
    for (const key of ['text', new Uint8Array([1, 2])] as never[]) {
      for (const act of [() => writer.markMany(key), () => txn.markMany(key)]) {
        expectError(thrown(act), INVALID_ARG, '"keys" expected', 'one key: wrap it in an array')
      }
    }
    for (const lanes of [
      undefined,
      null,
      [1, 2],
      new BigUint64Array(1),
      new Uint8Array(2),
      new Float32Array(2),
      'ab',
    ] as never[]) {
      expectError(
        thrown(() => writer.markPairs(lanes)),
        INVALID_ARG,
        '"pairs" expected a Uint32Array or an Int32Array',
      )
    }
    for (const lanes of [new Uint32Array(1), new Int32Array(3)]) {
      expectError(
        thrown(() => writer.markPairs(lanes)),
        OUT_OF_RANGE,
        '"pairs" expected an even length',
        `got ${lanes.length}`,
      )
    }
    expect(tracker.stats()).toEqual(before)
    expect(txn.size).toBe(0)
  })

  it('fingerprints, keys with a seed and transaction ids are checked too', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.markMany([1])
    const epoch = await tracker.advanceEpoch()
    writer.mark(2)
    const txn = new TxnBuffer(1)
    const before = tracker.stats()
    for (const key of [5, 5n, undefined, null, [], new Uint16Array(2)] as never[]) {
      expectError(
        thrown(() => fingerprint(key)),
        INVALID_ARG,
        '"key" expected a string or a Uint8Array',
      )
    }
    for (const options of [7, 0, '7', null, [7], () => 7] as never[]) {
      expectError(
        thrown(() => fingerprint('a', options)),
        INVALID_ARG,
        '"options" expected a plain object',
      )
    }
    expectError(
      thrown(() => ['a', 'b'].map(fingerprint as never)),
      INVALID_ARG,
      'Pass a seed as { seed }.',
    )
    for (const seed of [-1, 1.5, 2 ** 32, NaN]) {
      for (const act of [
        () => writer.mark(fingerprint('a', { seed })),
        () => txn.mark(fingerprint('a', { seed })),
        () => epoch.has(fingerprint('a', { seed })),
      ]) {
        expectError(thrown(act), OUT_OF_RANGE, '"options.seed" expected', `got ${seed}`)
      }
    }
    expectError(
      thrown(() => writer.mark(fingerprint('a', { seed: '1' as never }))),
      INVALID_ARG,
      '"options.seed" expected a number',
    )
    expectError(
      thrown(() => writer.tagTxn(undefined as never)),
      INVALID_ARG,
      '"txnId" expected a number or a bigint',
    )
    for (const id of [null, '1', {}] as never[]) {
      expectError(
        thrown(() => writer.tagTxn(id)),
        INVALID_ARG,
        '"txnId" expected a number or a bigint',
      )
      expectError(
        thrown(() => new TxnBuffer(id)),
        INVALID_ARG,
        '"txnId" expected a number or a bigint',
      )
    }
    for (const expected of [-1, 0.5, NaN, Infinity, 2 ** 30]) {
      expectError(
        thrown(() => new TxnBuffer(1, expected)),
        OUT_OF_RANGE,
        '"expectedKeys" expected',
        `got ${expected}`,
      )
    }
    expectError(
      thrown(() => new TxnBuffer(1, '5' as never)),
      INVALID_ARG,
      '"expectedKeys" expected a number',
    )
    expect(tracker.stats()).toEqual(before)
    expect([writer.staged, txn.size]).toEqual([1, 0])
  })

  it('a TxnBuffer flushes to a Writer and to nothing else, and keeps its keys', () => {
    const txn = new TxnBuffer(1)
    txn.mark(1)
    for (const writer of [undefined, null, {}, 5] as never[])
      expectError(
        thrown(() => txn.flushTo(writer)),
        INVALID_ARG,
        '"writer" expected',
      )
    expect(txn.size).toBe(1)
  })
})

describe("C11: arguments of the tracker's methods", () => {
  it.each<
    [
      what: string,
      call: (tracker: DirtyTracker) => unknown,
      kind: { name: string; code: string },
      part: string,
    ]
  >([
    [
      'advanceEpoch(null)',
      (t) => t.advanceEpoch(null as never),
      INVALID_ARG,
      '"options" expected a plain object, got null',
    ],
    [
      'advanceEpoch(5)',
      (t) => t.advanceEpoch(5 as never),
      INVALID_ARG,
      '"options" expected a plain object, got 5',
    ],
    [
      'advanceEpoch: signal {}',
      (t) => t.advanceEpoch({ signal: {} as never }),
      INVALID_ARG,
      '"options.signal" expected an AbortSignal',
    ],
    [
      'advanceEpoch: a controller',
      (t) => t.advanceEpoch({ signal: new AbortController() as never }),
      INVALID_ARG,
      '"options.signal"',
    ],
    [
      'advanceEpoch: signal null',
      (t) => t.advanceEpoch({ signal: null as never }),
      INVALID_ARG,
      '"options.signal"',
    ],
    [
      'advanceEpoch: onBusy',
      (t) => t.advanceEpoch({ onBusy: 'no' as never }),
      OUT_OF_RANGE,
      `"options.onBusy" expected 'wait' or 'reject', got "no"`,
    ],
    [
      'advanceEpoch: onBusy 5',
      (t) => t.advanceEpoch({ onBusy: 5 as never }),
      INVALID_ARG,
      '"options.onBusy"',
    ],
    [
      'consume()',
      (t) => t.consume(undefined as never),
      INVALID_ARG,
      '"use" expected a function, got undefined',
    ],
    [
      'consume: a promise',
      (t) => t.consume(Promise.resolve() as never),
      INVALID_ARG,
      '"use" expected a function',
    ],
    [
      'consume: options',
      (t) => t.consume(() => 1, { onBusy: 'x' as never }),
      OUT_OF_RANGE,
      '"options.onBusy"',
    ],
    [
      'epochs()',
      (t) => t.epochs(undefined as never),
      INVALID_ARG,
      '"options" expected a plain object, got undefined',
    ],
    [
      'epochs({})',
      (t) => t.epochs({} as never),
      INVALID_ARG,
      '"options.everyMs" expected a number, got undefined',
    ],
    [
      'epochs: everyMs text',
      (t) => t.epochs({ everyMs: '5' as never }),
      INVALID_ARG,
      '"options.everyMs" expected a number, got "5"',
    ],
    ['epochs: everyMs -1', (t) => t.epochs({ everyMs: -1 }), OUT_OF_RANGE, '"options.everyMs"'],
    ['epochs: everyMs NaN', (t) => t.epochs({ everyMs: NaN }), OUT_OF_RANGE, '"options.everyMs"'],
    [
      'epochs: everyMs 1.5',
      (t) => t.epochs({ everyMs: 1.5 }),
      OUT_OF_RANGE,
      '0 to 2147483647, got 1.5',
    ],
    [
      'epochs: everyMs too long',
      (t) => t.epochs({ everyMs: 2 ** 31 }),
      OUT_OF_RANGE,
      '0 to 2147483647, got 2147483648',
    ],
    [
      'epochs: signal',
      (t) => t.epochs({ everyMs: 1, signal: 'x' as never }),
      INVALID_ARG,
      '"options.signal"',
    ],
    [
      'epochs: skipEmpty',
      (t) => t.epochs({ everyMs: 1, skipEmpty: 1 as never }),
      INVALID_ARG,
      '"options.skipEmpty" expected a boolean, got 1',
    ],
    [
      'drained(null)',
      (t) => t.drained(null as never),
      INVALID_ARG,
      '"options" expected a plain object',
    ],
    ['drained: signal', (t) => t.drained({ signal: 5 as never }), INVALID_ARG, '"options.signal"'],
    [
      'flushed(null)',
      (t) => t.flushed(null as never),
      INVALID_ARG,
      '"options" expected a plain object',
    ],
    ['flushed: signal', (t) => t.flushed({ signal: {} as never }), INVALID_ARG, '"options.signal"'],
    [
      'reap()',
      (t) => t.reap(undefined as never),
      INVALID_ARG,
      '"writerId" expected a number, got undefined',
    ],
    [
      'reap(-1)',
      (t) => t.reap(-1),
      OUT_OF_RANGE,
      '"writerId" expected a whole number, 0 to 7 (maxWriters), got -1',
    ],
    [
      'on()',
      (t) => t.on(undefined as never, () => undefined),
      INVALID_ARG,
      `"event" expected an event's name, got undefined`,
    ],
    [
      'on: no such event',
      (t) => t.on('sealed' as never, () => undefined),
      OUT_OF_RANGE,
      `"event" expected 'epoch', 'overflow'`,
    ],
    [
      'on: no listener',
      (t) => t.on('epoch', 5 as never),
      INVALID_ARG,
      '"listener" expected a function, got 5',
    ],
    ['stop(null)', (t) => t.stop(null as never), INVALID_ARG, '"options" expected a plain object'],
    [
      'stop: graceMs text',
      (t) => t.stop({ graceMs: '5' as never }),
      INVALID_ARG,
      '"options.graceMs" expected a number, got "5"',
    ],
    ['stop: graceMs -1', (t) => t.stop({ graceMs: -1 }), OUT_OF_RANGE, '"options.graceMs"'],
    ['stop: graceMs Infinity', (t) => t.stop({ graceMs: Infinity }), OUT_OF_RANGE, 'got Infinity'],
    ['watch(undefined)', (t) => t.watch(undefined), INVALID_ARG, '"worker" expected'],
    ['watch({})', (t) => t.watch({}), INVALID_ARG, '"worker" expected'],
    [
      'watch(a thread id)',
      (t) => t.watch(3),
      INVALID_ARG,
      '"worker" expected a Worker of node:worker_threads, got 3',
    ],
  ])('%s is one clear error, and nothing has changed', async (_, call, kind, part) => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const before = tracker.stats()
    expectError(await rejected((async () => call(tracker))()), kind, part)
    expect(tracker.stats()).toEqual(before)
    expect([tracker.epoch, writer.staged, tracker.health().state]).toEqual([0, 1, 'running'])
    expect([...(await tracker.advanceEpoch()).bigints]).toEqual([1n])
  })

  it.each<
    [
      what: string,
      call: (writer: Writer) => unknown,
      kind: { name: string; code: string },
      part: string,
    ]
  >([
    [
      'markMany: options',
      (w) => w.markMany([1], null as never),
      INVALID_ARG,
      '"options" expected a plain object, got null',
    ],
    [
      'markMany: atomic',
      (w) => w.markMany([1], { atomic: 0 as never }),
      INVALID_ARG,
      '"options.atomic" expected a boolean, got 0',
    ],
    [
      'markLanes: atomic',
      (w) => w.markPairs(new Uint32Array(2), { atomic: 'no' as never }),
      INVALID_ARG,
      '"options.atomic"',
    ],
    [
      'flushTo: atomic',
      (w) => new TxnBuffer(1).flushTo(w, { atomic: null as never }),
      INVALID_ARG,
      '"options.atomic"',
    ],
    [
      'reset()',
      () => new TxnBuffer(1).reset(null as never),
      INVALID_ARG,
      '"txnId" expected a number or a bigint, got null',
    ],
    [
      'batch()',
      (w) => w.batch(undefined as never),
      INVALID_ARG,
      '"use" expected a function, got undefined',
    ],
    [
      'waitForRoom: text',
      (w) => w.waitForRoom('1' as never),
      INVALID_ARG,
      '"keys" expected a number, got "1"',
    ],
    [
      'waitForRoom(0)',
      (w) => w.waitForRoom(0),
      OUT_OF_RANGE,
      '"keys" expected a whole number, 1 to 1024 (laneCapacity), got 0',
    ],
    ['waitForRoom: too many', (w) => w.waitForRoom(1025), OUT_OF_RANGE, 'got 1025'],
    [
      'waitForRoom: signal',
      (w) => w.waitForRoom(1, { signal: 5 as never }),
      INVALID_ARG,
      '"options.signal"',
    ],
  ])('of a writer: %s is one clear error, and nothing has changed', async (_, call, kind, part) => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const before = tracker.stats()
    expectError(await rejected((async () => call(writer))()), kind, part)
    expect(tracker.stats()).toEqual(before)
  })

  it('of an epoch: forEachPair() takes a function, also when there is nothing to visit', async () => {
    const epoch = await (await openInline()).advanceEpoch()
    expectError(
      thrown(() => epoch.forEachPair(undefined as never)),
      INVALID_ARG,
      '"visit" expected a function, got undefined',
    )
  })

  it('epochs() throws at once, not at the first epoch', async () => {
    const tracker = await openInline()
    expectError(
      thrown(() => tracker.epochs({ everyMs: -1 })),
      OUT_OF_RANGE,
      '"options.everyMs"',
    )
  })
})

describe('C11: a view of memory that this thread no longer has', () => {
  it('is one clear error in every function that takes a view, and nothing is stored', async () => {
    const detached = <V extends { buffer: ArrayBufferLike }>(view: V): V => {
      structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] })
      return view
    }
    const bytes = detached(new Uint8Array(8))
    const keys = detached(new BigUint64Array(8))
    const ids = detached(new Uint32Array(8))
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark('')
    const epoch = await tracker.advanceEpoch()
    writer.mark(5)
    const txn = new TxnBuffer(1)
    const set = new FingerprintSet()
    const dictionary = KeyDictionary.create({ maxKeys: 4 })
    dictionary.id('')
    const ring = BatchRing.create({ capacity: 2, laneCapacity: 2, maxWriters: 1 })
    const producer = ring.openProducer()
    const before = tracker.stats()
    for (const act of [
      () => writer.mark(bytes),
      () => writer.mark(bytes),
      () => writer.markMany(keys),
      () => writer.markMany(keys, { atomic: false }),
      () => writer.markMany(ids),
      () => writer.markMany([1, bytes]),
      () => writer.markMany(new Set([bytes])),
      () => writer.markPairs(ids),
      () => writer.markPairs(ids, { atomic: false }),
      () => txn.mark(bytes),
      () => txn.mark(bytes),
      () => txn.markMany(keys),
      () => txn.markMany([bytes]),
      () => epoch.has(bytes),
      () => epoch.has(bytes),
      () => set.add(bytes),
      () => set.addMany(ids),
      () => set.has(bytes),
      () => fingerprint(bytes),
      () => dictionary.id(bytes),
      () => dictionary.find(bytes),
      () => producer.push(keys),
    ]) {
      expectError(thrown(act), INVALID_ARG, 'detached or out of bounds')
    }
    expect(tracker.stats()).toEqual(before)
    expect([txn.size, set.size, dictionary.size, ring.drain(() => undefined)]).toEqual([0, 0, 1, 0])
    epoch.commit()
    expect([...(await tracker.advanceEpoch()).bigints]).toEqual([5n])
  })
})

describe('C11: a list whose keys run code of the caller', () => {
  /** A list of these keys, where the reading of the key at `at` runs `run`. */
  const listWith = (keys: number[], at: number, run: () => unknown): number[] =>
    Object.defineProperty([...keys], at, {
      get: () => {
        run()
        return keys[at]
      },
    })

  it('markMany(): what that code marks is stored, before the list; when it throws, the list is not', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    expect(writer.markMany(listWith([10, 11, 12], 1, () => writer.markMany([20, 21])))).toBe(true)
    const own = new Error('of the list')
    const failing = listWith([30, 31], 1, () => {
      writer.mark(22)
      throw own
    })
    expect(thrown(() => writer.markMany(failing))).toBe(own)
    expect([...(await tracker.advanceEpoch()).ids()]).toEqual([1, 20, 21, 10, 11, 12, 22])
  })

  it('markMany(): a writer that it closes takes no more keys', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    expect(thrown(() => writer.markMany(listWith([1, 2], 1, () => writer.close()))).code).toBe(
      'ERR_DIRTYRING_CLOSED',
    )
    expect((await tracker.advanceEpoch()).size).toBe(0)
  })

  it('recordMany(): what it records into the same buffer is kept, also where the buffer grows or is cleared', () => {
    const txn = new TxnBuffer(1, 0)
    txn.mark(1)
    txn.markMany(
      listWith([10, 11], 1, () =>
        txn.markMany(Uint32Array.from({ length: 100 }, (_, i) => 100 + i)),
      ),
    )
    expect(txn.drain().map(BigInt)).toEqual([
      1n,
      ...Array.from({ length: 100 }, (_, i) => BigInt(100 + i)),
      10n,
      11n,
    ])
    txn.markMany([1, 2, 3])
    txn.markMany(listWith([10, 11], 0, () => txn.clear()))
    expect(txn.drain().map(BigInt)).toEqual([10n, 11n])
    const failing = listWith([10, 11], 1, () => {
      txn.mark(5)
      txn.mark(-1)
    })
    expectError(
      thrown(() => txn.markMany(failing)),
      OUT_OF_RANGE,
      'got -1',
    )
    expect(txn.drain().map(BigInt)).toEqual([5n])
  })

  it('addMany(): what it adds to the same set counts for itself', () => {
    const set = new FingerprintSet({ expectedKeys: 0 })
    expect(set.addMany(listWith([1, 2, 3], 2, () => expect(set.addMany([2, 50])).toBe(2)))).toBe(2)
    expect([...set.ids()]).toEqual([2, 50, 1, 3])
  })
})

describe('C11: more keys than there is room for', () => {
  it('markMany() and markLanes(): a RangeError that names the way out, before the list is read', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const advice =
      'To mark more keys than a lane holds, pass { atomic: false }, or raise laneCapacity.'
    for (const act of [
      () => writer.markMany(new Array(2 ** 32 - 1)),
      () =>
        writer.markMany(
          new Proxy(new Array(1025), {
            get: (keys, name) => (name === 'length' ? 1025 : thrown(() => keys)),
          }),
        ),
      () => writer.markMany(new Uint32Array(1025)),
      () => writer.markMany(new BigUint64Array(1025)),
      () => writer.markMany(new Set(Array.from({ length: 1025 }, (_, i) => i))),
      () => writer.markPairs(new Uint32Array(2050)),
    ]) {
      expectError(
        thrown(act),
        OUT_OF_RANGE,
        'expected at most 1024 keys (laneCapacity), got ',
        advice,
      )
    }
    expectError(
      thrown(() => new TxnBuffer(1).markMany(new Array(2 ** 32 - 1))),
      OUT_OF_RANGE,
      `at most ${2 ** 29} in one buffer, got ${2 ** 32 - 1}`,
    )
    expect(writer.markMany([1])).toBe(true)
    expect([...(await tracker.advanceEpoch()).ids()]).toEqual([1])
  })

  it('markMany() with atomic: false reads a list part by part, a quarter of a lane at a time', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 2 ** 16 })
    const writer = tracker.openWriter()
    const COUNT = 10_000
    const ahead: number[] = []
    const keys = new Proxy([], {
      get: (_, name) => {
        if (name === 'length') return COUNT
        ahead.push(Number(name) - tracker.stats().writers[0].marked)
        return Number(name)
      },
    })
    expect(writer.markMany(keys, { atomic: false })).toBe(true)
    expect(ahead).toHaveLength(COUNT)
    expect(Math.max(...ahead)).toBe(1024 / 4 - 1)
    const epoch = await tracker.advanceEpoch()
    expect([epoch.size, epoch.has(0), epoch.has(COUNT - 1)]).toEqual([COUNT, true, true])
  })

  it('markMany() with atomic: false: a list that only says that it is long is left at the first key that is none', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    expectError(
      thrown(() =>
        writer.markMany(Object.assign(new Array(2 ** 32 - 1), { 0: 1, 1: 2 }), { atomic: false }),
      ),
      INVALID_ARG,
      '"keys[2]"',
    )
    expect(writer.mark(7)).toBe(true)
    expect([...(await tracker.advanceEpoch()).ids()]).toEqual([7])
  })

  it('a list whose length is no number does not block the writer', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    for (const length of ['2', NaN, 1.5, 100]) {
      const keys = new Proxy([1, 2], {
        get: (list, name) => (name === 'length' ? length : Reflect.get(list, name)),
      })
      for (const atomic of [true, false])
        expect(thrown(() => writer.markMany(keys, { atomic })).code).toMatch(/^ERR_DIRTYRING_/)
      expect(writer.mark(7)).toBe(true)
    }
    expect([...(await tracker.advanceEpoch()).ids()]).toEqual([7])
  })
})

describe('C11: option bags', () => {
  const bags: [what: string, call: (options: any) => unknown, misspelt: string, meant: string][] = [
    ['resolveOptions()', (o) => resolveOptions(o), 'batchsize', 'batchSize'],
    ['memoryFootprint()', (o) => memoryFootprint(o), 'maxKeyPerEpoch', 'maxKeysPerEpoch'],
    ['DirtyTracker.create()', (o) => DirtyTracker.create(o), 'flushIntervalMS', 'flushIntervalMs'],
    ['BatchRing.create()', (o) => BatchRing.create(o), 'Capacity', 'capacity'],
    ['KeyDictionary.create()', (o) => KeyDictionary.create(o), 'maxkeys', 'maxKeys'],
    ['new FingerprintSet()', (o) => new FingerprintSet(o), 'expectedKey', 'expectedKeys'],
    ['advanceEpoch()', async (o) => (await openInline()).advanceEpoch(o), 'onbusy', 'onBusy'],
    [
      'consume()',
      async (o) => (await openInline()).consume(() => undefined, o),
      'singal',
      'signal',
    ],
    ['epochs()', async (o) => (await openInline()).epochs(o), 'everyMS', 'everyMs'],
    ['flushed()', async (o) => (await openInline()).flushed(o), 'Signal', 'signal'],
    ['drained()', async (o) => (await openInline()).drained(o), 'signals', 'signal'],
    ['stop()', async (o) => (await openInline()).stop(o), 'graceMS', 'graceMs'],
    [
      'markMany()',
      async (o) => (await openInline()).openWriter().markMany([1], o),
      'atomar',
      'atomic',
    ],
    [
      'markLanes()',
      async (o) => (await openInline()).openWriter().markPairs(Uint32Array.of(1, 2), o),
      'Atomic',
      'atomic',
    ],
    [
      'flushTo()',
      async (o) => new TxnBuffer(1).flushTo((await openInline()).openWriter(), o),
      'atomc',
      'atomic',
    ],
    [
      'waitForRoom()',
      async (o) => (await openInline()).openWriter().waitForRoom(1, o),
      'signl',
      'signal',
    ],
  ]

  it.each(bags)(
    '%s: an unknown name is a TypeError that suggests the nearest known one',
    async (_, call, misspelt, meant) => {
      expectError(
        await rejected((async () => call({ [misspelt]: undefined }))()),
        INVALID_ARG,
        `"options.${misspelt}" expected no option of this name, got undefined. Did you mean "${meant}"?`,
      )
      expectError(
        await rejected((async () => call({ zzzzzzzzzzzz: 1 }))()),
        INVALID_ARG,
        'got 1. Known options: ',
        meant,
      )
    },
  )

  it.each(bags)('%s: only a plain object is a bag', async (_, call) => {
    for (const value of [
      null,
      5,
      'x',
      true,
      [],
      [1],
      () => undefined,
      Map,
      new Map(),
      new Set(),
      new Uint8Array(1),
      new Date(),
    ]) {
      expectError(
        await rejected((async () => call(value))()),
        INVALID_ARG,
        '"options" expected a plain object, got ',
      )
    }
    const error = await rejected((async () => call(new AbortController().signal))())
    expectError(
      error,
      INVALID_ARG,
      '"options" expected a plain object, got an instance of AbortSignal',
    )
  })

  it('a signal in place of the bag is told where it belongs', async () => {
    const tracker = await openInline()
    expectError(
      await rejected(tracker.flushed(AbortSignal.timeout(1000) as never)),
      INVALID_ARG,
      'Pass the signal as { signal }.',
    )
  })

  it('a bag may have no prototype, be frozen, be of a class of its own, or be a module', () => {
    class Options {
      capacity = 8
      get batchSize(): number {
        return 3
      }
    }
    expect(resolveOptions(new Options())).toMatchObject({ capacity: 8, batchSize: 3 })
    expect(resolveOptions(Object.assign(Object.create(null), { capacity: 4 }))).toMatchObject({
      capacity: 4,
    })
    expect(
      resolveOptions(Object.freeze({ [Symbol.toStringTag]: 'Module', capacity: 4 })),
    ).toMatchObject({ capacity: 4 })
  })

  it('each option is read once', () => {
    const reads: PropertyKey[] = []
    const bag = new Proxy(
      { aggregator: 'inline' as const, capacity: 4 },
      { get: (o, name) => (reads.push(name), Reflect.get(o, name)) },
    )
    resolveOptions(bag)
    expect(reads.filter((name) => name === 'aggregator' || name === 'capacity')).toEqual([
      'capacity',
      'aggregator',
    ])
  })
})

describe('C11: numbers that are taken modulo 2^32', () => {
  it.each([['1'], [1n], [null], [Symbol('1')], [{ valueOf: () => 1 }], [[1]]])(
    'are a TypeError where they are none: %p',
    (odd: any) => {
      const txn = new TxnBuffer(1)
      const set = new FingerprintSet()
      for (const act of [
        () => txn.markPair(odd, 1),
        () => txn.markPair(1, odd),
        () => txn.markPair(odd, 1),
        () => txn.markPair(1, odd),
        () => set.addPair(odd, 1),
        () => set.addPair(1, odd),
        () => set.hasPair(odd, 1),
        () => set.hasPair(1, odd),
      ]) {
        expectError(thrown(act), INVALID_ARG, 'expected a number, got ')
      }
      expect([txn.size, set.size]).toEqual([0, 0])
    },
  )
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

describe('the name that an unknown option is taken for', () => {
  const adviceFor = (name: string, ...known: string[]): string =>
    thrown(() => checkBag('options', { [name]: 1 }, known)).message.replace(/^.*? got 1\. /, '')

  it.each([
    // Of six letters two may differ, of fifteen five.
    ['sgnl', 'signal', true],
    ['sgn', 'signal', false],
    ['ssignall', 'signal', true],
    ['ssiggnall', 'signal', false],
    ['zignaz', 'signal', true],
    ['zignzz', 'signal', false],
    ['isgnal', 'signal', true],
    ['SIGNAL', 'signal', true],
    ['signal', 'SIGNAL', true],
    ['maxKeysPerEzzzz', 'maxKeysPerEpoch', true],
    ['maxKeysPerzzzzz', 'maxKeysPerEpoch', true],
    ['maxKeysPezzzzzz', 'maxKeysPerEpoch', false],
    ['maxKeysPer', 'maxKeysPerEpoch', true],
    ['maxKeysPe', 'maxKeysPerEpoch', false],
    ['a', 'b', true],
    ['ab', 'cd', true],
    ['abc', 'def', false],
  ])('%j is near %j: %p', (name, known, isNear) => {
    expect(adviceFor(name, known)).toBe(
      isNear ? `Did you mean "${known}"?` : `Known options: ${known}.`,
    )
  })

  it('is the nearest one, and the first of two that are as near', () => {
    expect(adviceFor('laneCapacty', 'capacity', 'laneCapacity', 'lineCapacity')).toBe(
      'Did you mean "laneCapacity"?',
    )
    expect(adviceFor('laneCapacty', 'lineCapacity', 'capacity', 'laneCapacity')).toBe(
      'Did you mean "laneCapacity"?',
    )
    expect(adviceFor('capazity', 'laneCapacity', 'capacity')).toBe('Did you mean "capacity"?')
    expect(adviceFor('size_', 'sized', 'sizes')).toBe('Did you mean "sized"?')
    expect(adviceFor('unheard-of', 'sized', 'signal')).toBe('Known options: sized, signal.')
  })

  it('a long name is shown in part', () => {
    const { message } = thrown(() => checkBag('options', { ['x'.repeat(1000)]: 1 }, ['signal']))
    expect(message).toBe(
      `"options.${'x'.repeat(40)}" expected no option of this name, got 1. Known options: signal.`,
    )
  })
})

describe('what is no bag', () => {
  class AbortSignal_ {
    readonly [Symbol.toStringTag] = 'AbortSignal'
  }
  const revoked = (): object => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  }
  const says = (value: unknown, ...known: string[]): string =>
    thrown(() => checkBag('options', value, known)).message

  it('is refused in words of its own, with advice for a signal where a signal is an option', () => {
    const signal = 'Pass the signal as { signal }.'
    const cases: [value: unknown, got: string, advice: string][] = [
      [undefined, 'undefined', ''],
      [null, 'null', ''],
      ['x', '"x"', ''],
      [5, '5', ''],
      [[], 'an instance of Array', ''],
      [new Map(), 'an instance of Map', ''],
      [revoked(), 'an object', ''],
      [new AbortSignal_(), 'an instance of AbortSignal_', signal],
      [AbortSignal.abort(), 'an instance of AbortSignal', signal],
    ]
    for (const [value, got, advice] of cases) {
      expect(says(value, 'signal')).toBe(
        `"options" expected a plain object, got ${got}${advice === '' ? '' : `. ${advice}`}`,
      )
      expect(says(value, 'graceMs')).toBe(`"options" expected a plain object, got ${got}`)
    }
    // What is called so, and is none.
    expect(
      says(
        Object.assign(() => undefined, { [Symbol.toStringTag]: 'AbortSignal' }),
        'signal',
      ),
    ).not.toContain('Pass the signal')
    expect(says(Object.assign([], { [Symbol.toStringTag]: 'Object' }))).toContain(
      'expected a plain object',
    )
    expect(says(Object.assign(() => undefined, { [Symbol.toStringTag]: 'Object' }))).toContain(
      'expected a plain object',
    )
  })

  it('an error of the engine is a TypeError without a code of this library', () => {
    const ours = Object.assign(new TypeError('x'), { code: 'ERR_DIRTYRING_INVALID_ARG' })
    const others = Object.assign(new TypeError('x'), { code: 'ERR_OF_ANOTHER' })
    const ends = Object.assign(new TypeError('x'), { code: 'ANOTHER_ERR_DIRTYRING_' })
    expect(
      [ours, others, ends, new TypeError('x'), new RangeError('x'), null, undefined, 5].map(
        isEngineError,
      ),
    ).toEqual([...[false, true, true, true], ...[false, false, false, false]])
    expect(isEngineError(Object.assign(new TypeError('x'), { code: 7 }))).toBe(true)
  })

  it('a view that is detached is refused with what the engine said as the cause; an empty one is not', () => {
    const view = new Uint8Array(8)
    structuredClone(view.buffer, { transfer: [view.buffer] })
    const error = thrown(() => viewLength(view, 3))
    expect(error.message).toMatch(
      /^"keys\[3\]" expected a view of memory that this thread has, got an instance of Uint8Array\. It is detached or out of bounds: /,
    )
    expect(error.cause).toBeInstanceOf(TypeError)
    expect([viewLength(new Uint8Array(0), 'key'), viewLength(new Uint8Array(3), 'key')]).toEqual([
      0, 3,
    ])
  })
})
