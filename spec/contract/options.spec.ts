import { describe, expect, it } from '@jest/globals'
import { checkBag, isEngineError, viewLength } from '../../lib/check.js'
import {
  BatchRing,
  DirtyTracker,
  FingerprintSet,
  KeyDictionary,
  memoryFootprint,
  resolveOptions,
  type TrackerOptions,
  TxnBuffer,
} from '../../lib/index.js'
import { resolveRingOptions } from '../../lib/options.js'
import { expectError, INVALID_ARG, OUT_OF_RANGE } from '../support/bad-input.js'
import { openInline, rejected, thrown } from '../support/in-process.js'

const numbers: [name: string, min: number, max: number, byDefault: number][] = [
  ['batchSize', 1, 16384, 64],
  ['capacity', 2, 2 ** 20, 1024],
  ['laneCapacity', 1, 2 ** 22, 16384],
  ['laneTextBytes', 2 ** 10, 2 ** 26, 2 ** 19],
  ['maxWriters', 1, 1024, 32],
  ['maxConsumers', 0, 7, 0],
  ['epochSlots', 2, 16, 4],
  ['maxConsumers', 0, 7, 0],
  ['maxKeysPerEpoch', 1, 2 ** 28, 2 ** 20],
  ['maxStringsPerEpoch', 0, 2 ** 26, 2 ** 20],
  ['maxStringBytesPerEpoch', 1, 2 ** 31 - 1, 2 ** 25],
  ['flushIntervalMs', 0, 2 ** 31 - 1, 10],
  ['maxWaitMs', 0, 2 ** 31 - 1, 30_000],
]

describe('C11: options', () => {
  it('have the defaults that are written down', () => {
    expect(resolveOptions()).toEqual({
      ...Object.fromEntries(numbers.map(([name, , , byDefault]) => [name, byDefault])),
      keys: 'any',
      onFull: 'wait',
      kernel: 'auto',
      aggregator: 'worker',
    })
    expect(resolveOptions({})).toEqual(resolveOptions())
    const none = Object.fromEntries(
      [...numbers.map(([name]) => name), 'keys', 'onFull', 'kernel', 'aggregator'].map((name) => [
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
        maxStringsPerEpoch: name === 'maxStringBytesPerEpoch' ? 1 : 0,
        epochSlots: 2,
        batchSize: 1,
      }
      if (/^max(Keys|StringBytes)PerEpoch$/.test(name) && value === max) continue
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
    expectError(error, INVALID_ARG, `"options.${name}"`, 'must be a number, got ')
    expectError(await rejected(DirtyTracker.create(options)), INVALID_ARG, error.message)
  })

  it.each([
    ['capacity', 3],
    ['capacity', 1000],
    ['capacity', 2 ** 20 - 1],
    ['laneCapacity', 3],
    ['laneCapacity', 16383],
    ['laneTextBytes', 2 ** 10 + 4],
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
    ['keys', `'any', 'string', 'number', 'bigint' or 'bytes'`],
    ['onFull', `'wait' or 'reject'`],
    ['kernel', `'auto', 'wasm' or 'js'`],
    ['aggregator', `'worker', 'none', 'inline' or a function`],
  ])('%s: any other text is a RangeError, any other type a TypeError', async (name, expected) => {
    for (const value of ['', 'Wait', 'something']) {
      const error = await rejected(DirtyTracker.create({ [name]: value }))
      expectError(
        error,
        OUT_OF_RANGE,
        `"options.${name}" must be ${expected}`,
        `got ${JSON.stringify(value)}`,
      )
    }
    for (const value of [0, true, null, {}, ['wait'], 1n]) {
      expectError(
        await rejected(DirtyTracker.create({ [name]: value })),
        INVALID_ARG,
        `"options.${name}" must be ${expected}`,
      )
    }
  })

  it('the bag itself has to be an object', async () => {
    for (const value of [null, 5, 'x', true, [], 5n, Symbol('x'), () => undefined] as never[]) {
      expectError(
        thrown(() => resolveOptions(value)),
        INVALID_ARG,
        '"options" must be a plain object, got ',
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
      expect(error.message).toMatch(/ maxWriters, laneCapacity or laneTextBytes\.$/)
      expect(Number(/got (\d+)\./.exec(error.message)![1])).toBeGreaterThan(2 ** 32)
      expect(thrown(() => memoryFootprint(options)).message).toBe(error.message)
    }
  })

  it('are not changed, and what is resolved resolves to itself', () => {
    const options = Object.freeze({ capacity: 8, aggregator: 'inline' as const })
    const resolved = resolveOptions(options)
    expect(options).toEqual({ capacity: 8, aggregator: 'inline' })
    expect(resolveOptions(resolved)).toEqual(resolved)
  })

  it.each(['number', 'bigint'] as const)(
    "reserve no memory for text with keys: '%s', whatever maxStringsPerEpoch says",
    async (keys) => {
      const none = { maxStringsPerEpoch: 0, maxStringBytesPerEpoch: 0 }
      const given = { maxStringsPerEpoch: 5, maxStringBytesPerEpoch: 2 ** 31 - 1 }
      expect(resolveOptions({ keys })).toEqual({ ...resolveOptions(), ...none, keys })
      expect(resolveOptions({ keys, ...given })).toEqual(resolveOptions({ keys }))
      expect(resolveOptions(resolveOptions({ keys }))).toEqual(resolveOptions({ keys }))
      expect(memoryFootprint({ keys })).toEqual(memoryFootprint({ maxStringsPerEpoch: 0 }))

      const tracker = await openInline({ keys })
      const writer = tracker.openWriter()
      expect(tracker.options).toMatchObject(none)
      expect(tracker.stats().bytes).toEqual(memoryFootprint(tracker.options))
      const error = thrown(() => writer.mark('7'))
      expectError(error, INVALID_ARG, '"key"', `a ${keys}, got "7"`, `made with keys: '${keys}'`)
      const key = keys === 'number' ? 7 : 7n
      expect([writer.mark(key), writer.roomForText]).toEqual([true, 0])
      expect([...(await tracker.advanceEpoch())]).toEqual([key])
    },
  )

  it.each([
    ['maxStringsPerEpoch', 0, 2 ** 26],
    ['maxStringBytesPerEpoch', 0, 2 ** 31 - 1],
  ])("%s: is checked also where it has no effect, with keys: 'number'", (name, min, max) => {
    for (const value of [-1, max + 1, 0.5])
      expectError(
        thrown(() => resolveOptions({ keys: 'number', [name]: value })),
        OUT_OF_RANGE,
        `"options.${name}"`,
        `${min} to ${max}`,
        `got ${value}`,
      )
    expectError(
      thrown(() => resolveOptions({ keys: 'number', [name]: '1' } as never)),
      INVALID_ARG,
      `"options.${name}"`,
    )
  })

  it('a kind of keys that does not exist is named before the options of text are looked at', () => {
    const options = { keys: 'text', maxStringsPerEpoch: -1 } as never
    expectError(
      thrown(() => resolveOptions(options)),
      OUT_OF_RANGE,
      '"options.keys"',
    )
  })

  it('take a function as the aggregator, and nowhere else', () => {
    const start = (): void => undefined
    expect(resolveOptions({ aggregator: start as never }).aggregator).toBe(start)
    expectError(
      thrown(() => resolveOptions({ onFull: start as never })),
      INVALID_ARG,
      '"options.onFull"',
    )
  })

  it('are the same with every kind of keys, but for the memory of texts', () => {
    const { flushIntervalMs, maxWaitMs } = resolveOptions()
    expect(resolveOptions({ keys: 'number' })).toMatchObject({ flushIntervalMs, maxWaitMs })
    expect([flushIntervalMs, maxWaitMs].includes(0)).toBe(false)
  })

  it('are named in words of their own where one is unknown, or no power of two', () => {
    expect(thrown(() => resolveRingOptions({ somethingElse: 1 } as never)).message).toContain(
      'Known options: capacity, maxWriters, laneCapacity.',
    )
    expect(thrown(() => resolveOptions({ capacity: 3 })).message).toBe(
      '"options.capacity" must be a power of two from 2 to 1048576, got 3',
    )
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
        laneTextBytes: 2 ** 16,
        maxStringsPerEpoch: 4096,
        maxStringBytesPerEpoch: 2 ** 18,
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

  it('is about 350 MiB by default, and about 100 MiB without text', () => {
    const mib = (options: TrackerOptions): number => memoryFootprint(options).total / 2 ** 20
    expect(Math.abs(mib({}) - 350)).toBeLessThan(10)
    expect(Math.abs(mib({ maxStringsPerEpoch: 0 }) - 100)).toBeLessThan(10)
  })

  it('holds as many texts of as many bytes as the options say, wherever they end in a word', () => {
    const without = memoryFootprint({ maxStringsPerEpoch: 0 })
    const texts = { maxStringsPerEpoch: 10_000, maxStringBytesPerEpoch: 70_001 }
    const { perWriter, perEpoch } = memoryFootprint({ ...texts, laneTextBytes: 2 ** 12 })
    expect(perWriter).toBe(without.perWriter + 2 ** 12)
    // a hash and a head, up to three bytes of zeros, and two cells of two words
    const least = 10_000 * (8 + 3 + 16) + 70_001
    expect(perEpoch).toBeGreaterThanOrEqual(without.perEpoch + least)
    expect(perEpoch).toBeLessThan(without.perEpoch + 2 * least)
    // without texts the other two options reserve nothing
    expect(memoryFootprint({ maxStringsPerEpoch: 0, laneTextBytes: 2 ** 26 })).toEqual(without)
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
        `"options.${misspelt}" is not an option. Did you mean "${meant}"?`,
      )
      expectError(
        await rejected((async () => call({ zzzzzzzzzzzz: 1 }))()),
        INVALID_ARG,
        'is not an option. Known options: ',
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
        '"options" must be a plain object, got ',
      )
    }
    const error = await rejected((async () => call(new AbortController().signal))())
    expectError(
      error,
      INVALID_ARG,
      '"options" must be a plain object, got an instance of AbortSignal',
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

describe('the name that an unknown option is taken for', () => {
  const adviceFor = (name: string, ...known: string[]): string =>
    thrown(() => checkBag('options', { [name]: 1 }, known)).message.replace(
      /^.*? is not an option\. /,
      '',
    )

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
    expect(message).toBe(`"options.${'x'.repeat(40)}" is not an option. Known options: signal.`)
  })
})

describe('an argument that is no option bag', () => {
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
        `"options" must be a plain object, got ${got}${advice === '' ? '' : `. ${advice}`}`,
      )
      expect(says(value, 'graceMs')).toBe(`"options" must be a plain object, got ${got}`)
    }
    // What is called so, and is none.
    expect(
      says(
        Object.assign(() => undefined, { [Symbol.toStringTag]: 'AbortSignal' }),
        'signal',
      ),
    ).not.toContain('Pass the signal')
    expect(says(Object.assign([], { [Symbol.toStringTag]: 'Object' }))).toContain(
      'must be a plain object',
    )
    expect(says(Object.assign(() => undefined, { [Symbol.toStringTag]: 'Object' }))).toContain(
      'must be a plain object',
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
      /^"keys\[3\]" must be a view of memory that this thread has, got an instance of Uint8Array\. It is detached or out of bounds: /,
    )
    expect(error.cause).toBeInstanceOf(TypeError)
    expect([viewLength(new Uint8Array(0), 'key'), viewLength(new Uint8Array(3), 'key')]).toEqual([
      0, 3,
    ])
  })
})
