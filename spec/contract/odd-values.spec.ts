import { types } from 'node:util'
import { afterEach, describe, expect, it } from '@jest/globals'
import * as library from '../../lib/index.js'
import {
  type BatchProducer,
  BatchRing,
  Consumer,
  DirtyTracker,
  fingerprint,
  FingerprintSet,
  KeyDictionary,
  SealedEpoch,
  TxnBuffer,
  Writer,
} from '../../lib/index.js'
import { type Declared, declaredFunctions } from '../support/declared.js'
import { nameOf, openInline } from '../support/in-process.js'
import { isTrue, type Odd, oddValues, OwnError } from '../support/odd-values.js'

/** One of everything that has methods; each store is looked at after each call. */
interface Scene {
  readonly tracker: DirtyTracker
  readonly writer: Writer
  readonly epoch: SealedEpoch
  readonly txn: TxnBuffer
  readonly set: FingerprintSet
  readonly dictionary: KeyDictionary
  readonly ring: BatchRing
  readonly producer: BatchProducer
  /** A tracker with named consumers, and one of them. */
  readonly named: DirtyTracker
  readonly consumer: Consumer
}

/** As nameOf() gives it. */
type KeyName = string

type Store = 'tracker' | 'txn' | 'set' | 'ring'
const STORES: readonly Store[] = ['tracker', 'txn', 'set', 'ring']

interface Valid {
  readonly on?: (scene: Scene) => object
  /** Arguments with which the call works. */
  readonly args: (scene: Scene) => unknown[]
  /** Where the call stores keys, and which: undefined if it has to refuse these arguments. */
  readonly into?: Store
  readonly keys?: (...args: any[]) => KeyName[] | undefined
  /**
   * At these arguments keys() says of every value whether it is allowed. At others the call may
   * refuse it.
   */
  readonly exact?: number[]
}

const SMALL = {
  capacity: 8,
  laneCapacity: 1024,
  maxWriters: 8,
  maxKeysPerEpoch: 4096,
  laneTextBytes: 2 ** 16,
  maxStringsPerEpoch: 4096,
  maxStringBytesPerEpoch: 2 ** 18,
  flushIntervalMs: 0,
  aggregator: 'inline',
} as const

// What each value means, by the declarations of Key and KeyList: not by the code under test.
function keyOf(value: unknown): KeyName | undefined {
  if (typeof value === 'number')
    return Number.isSafeInteger(value) && value >= 0 ? nameOf(BigInt(value)) : undefined
  if (typeof value === 'bigint') return value >= 0n && value < 2n ** 64n ? nameOf(value) : undefined
  return textOf(value)
}

function textOf(value: unknown, nameFor: (text: string | Uint8Array) => KeyName = nameOf) {
  return typeof value === 'string' || (types.isUint8Array(value) && isTrue(value))
    ? nameFor(value)
    : undefined
}

/** The same in a FingerprintSet. */
function printOf(value: unknown): KeyName | undefined {
  return textOf(value, (text) => nameOf(fingerprint(text))) ?? keyOf(value)
}

function keysOf(value: unknown, most = 1024, nameFor = keyOf): KeyName[] | undefined {
  if (!isTrue(value)) return undefined
  let keys: unknown[]
  if (types.isUint32Array(value) || types.isBigUint64Array(value)) keys = [...value.slice()]
  else if (types.isBigInt64Array(value))
    keys = Array.from(value, (each) => BigInt.asUintN(64, each))
  else if (Array.isArray(value))
    keys =
      value.length > 10_000 ? [undefined] : Array.from({ length: value.length }, (_, i) => value[i])
  else if (types.isSet(value)) keys = [...value]
  else return undefined
  if (keys.length > most) return undefined
  const found = keys.map(nameFor)
  return found.includes(undefined) ? undefined : (found as KeyName[])
}

function pairOf(low: unknown, high: unknown): KeyName[] | undefined {
  const isHalf = (half: unknown): half is number =>
    typeof half === 'number' && Number.isInteger(half) && half >= -(2 ** 31) && half < 2 ** 32
  if (!isHalf(low) || !isHalf(high)) return undefined
  return [nameOf((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0))]
}

function pairsOf(value: unknown, most = 1024): KeyName[] | undefined {
  if (!isTrue(value) || !(types.isUint32Array(value) || types.isInt32Array(value))) return undefined
  const pairs = value.slice() // with the length it has, whatever it says
  if (pairs.length % 2 !== 0 || pairs.length > 2 * most) return undefined
  return Array.from(
    { length: pairs.length / 2 },
    (_, i) => pairOf(pairs[2 * i], pairs[2 * i + 1])![0],
  )
}

const one = (key: KeyName | undefined): KeyName[] | undefined =>
  key === undefined ? undefined : [key]
const none = (): KeyName[] => []

const onTracker = (...args: unknown[]): Valid => ({
  on: (scene) => scene.tracker,
  args: () => [...args],
})
const onConsumer = (...args: unknown[]): Valid => ({
  on: (scene) => scene.consumer,
  args: () => [...args],
})
const onEpoch = (...args: unknown[]): Valid => ({
  on: (scene) => scene.epoch,
  args: () => [...args],
})
const onWriter = (args: unknown[], keys?: Valid['keys'], exact: number[] = [0]): Valid => ({
  on: (scene) => scene.writer,
  args: () => [...args],
  ...(keys === undefined ? {} : { into: 'tracker', keys, exact }),
})
const onTxn = (args: unknown[], keys: Valid['keys'], exact = [0]): Valid => ({
  on: (scene) => scene.txn,
  args: () => [...args],
  into: 'txn',
  keys: keys!,
  exact,
})
const onSet = (args: unknown[], keys: Valid['keys'], exact = [0]): Valid => ({
  on: (scene) => scene.set,
  args: () => [...args],
  into: 'set',
  keys: keys!,
  exact,
})
const free = (...args: unknown[]): Valid => ({ args: () => [...args] })
const withHandle = (...args: unknown[]): Valid => ({
  args: (scene) => [scene.tracker.handle, ...args],
})

/**
 * Valid arguments for everything that takes any. A function that is declared and missing here fails
 * the first spec.
 */
const valid: Record<string, Valid> = {
  'fingerprint(key, options)': free('x', { seed: 7 }),
  'isDirtyRingError(error)': free(new Error('x')),
  'memoryFootprint(options)': free({ ...SMALL }),
  'resolveOptions(options)': free({ ...SMALL }),
  'DirtyTracker.create(options)': free({ ...SMALL }),
  'DirtyTracker.watch(worker)': onTracker(undefined),
  'DirtyTracker.reap(writerId)': onTracker(7),
  'DirtyTracker.advanceEpoch(options)': onTracker({}),
  'DirtyTracker.consume(use, options)': onTracker(() => undefined, {}),
  'DirtyTracker.epochs(options)': onTracker({ everyMs: 1000 }),
  'DirtyTracker.consumer(name, options)': {
    on: (scene) => scene.named,
    args: () => ['another', { since: undefined, from: 'now' }],
  },
  // On the tracker whose epochs are not looked at.
  'DirtyTracker.markEverything(namespace)': { on: (scene) => scene.named, args: () => [7] },
  'DirtyTracker.forget(name)': { on: (scene) => scene.named, args: () => ['another'] },
  'Consumer.advanceEpoch(options)': onConsumer({}),
  'Consumer.consume(use, options)': onConsumer(() => undefined, {}),
  'Consumer.epochs(options)': onConsumer({ everyMs: 1000 }),
  'DirtyTracker.flushed(options)': onTracker({}),
  'DirtyTracker.drained(options)': onTracker({}),
  'DirtyTracker.on(event, listener)': onTracker('epoch', () => undefined),
  'DirtyTracker.stop(options)': onTracker({ graceMs: 0 }),
  'attachEpoch(handle)': { args: (scene) => [scene.epoch.handle] },
  'openWriter(handle)': withHandle(),
  'threadWriter(handle)': withHandle(),
  'withWriter(handle, use)': withHandle(() => undefined),
  'watchWorkers(handle)': withHandle(),
  'runAggregator(handle)': withHandle(),
  'Writer.markPair(low, high)': onWriter([7, 2], pairOf, [0, 1]),
  'Writer.mark(key)': onWriter([7], (key) => one(keyOf(key))),
  'Writer.markMany(keys, options)': onWriter([[7, 8], {}], (keys) => keysOf(keys)),
  'Writer.markPairs(pairs, options)': onWriter([Uint32Array.of(7, 8), {}], (pairs) =>
    pairsOf(pairs),
  ),
  'Writer.batch(use)': onWriter([() => 7]),
  'Writer.markEverything(namespace)': {
    on: ({ named }) => ({
      markEverything(...args: [number]) {
        const writer = named.openWriter()
        try {
          writer.markEverything(...args)
        } finally {
          writer.close()
        }
      },
    }),
    args: () => [7],
  },
  'Writer.tagTxn(txnId)': onWriter([7]),
  'Writer.waitForRoom(keys, options)': onWriter([7, {}]),
  'new TxnBuffer(txnId, expectedKeys)': free(7, 7),
  'TxnBuffer.mark(key)': onTxn([7], (key) => one(keyOf(key))),
  'TxnBuffer.markPair(low, high)': onTxn([7, 2], pairOf, [0, 1]),
  'TxnBuffer.markPairs(pairs)': onTxn([Uint32Array.of(7, 8)], (pairs) => pairsOf(pairs, 2 ** 29)),
  'TxnBuffer.has(key)': onTxn([7], none, []),
  'TxnBuffer.markMany(keys)': onTxn([[7, 8]], (keys) => keysOf(keys, 2 ** 29)),
  'TxnBuffer.reset(txnId)': onTxn([7], none, []),
  'TxnBuffer.flushTo(writer, options)': {
    on: (scene) => scene.txn,
    args: (scene) => [scene.writer, {}],
  },
  'SealedEpoch.forEachPair(visit)': onEpoch(() => undefined),
  'SealedEpoch.has(key)': onEpoch(7),
  'SealedEpoch.hasPair(low, high)': onEpoch(7, 2),
  'KeyDictionary.create(options)': free({ maxKeys: 7, maxBytes: 70 }),
  'KeyDictionary.attach(handle)': { args: (scene) => [scene.dictionary.handle] },
  'KeyDictionary.id(key)': { on: (scene) => scene.dictionary, args: () => ['x'] },
  'KeyDictionary.find(key)': { on: (scene) => scene.dictionary, args: () => ['x'] },
  'KeyDictionary.key(id)': { on: (scene) => scene.dictionary, args: () => [0] },
  'KeyDictionary.bytes(id)': { on: (scene) => scene.dictionary, args: () => [0] },
  'BatchProducer.push(batch)': {
    on: (scene) => scene.producer,
    args: () => [BigUint64Array.of(7n)],
    into: 'ring',
    keys: (batch) => (types.isBigUint64Array(batch) ? keysOf(batch) : undefined),
    exact: [0],
  },
  'BatchRing.create(options)': free({ capacity: 2, laneCapacity: 2, maxWriters: 1 }),
  'BatchRing.attach(handle)': { args: (scene) => [scene.ring.handle] },
  'BatchRing.drain(onBatch, limit)': {
    on: (scene) => scene.ring,
    args: () => [() => undefined, 7],
  },
  // There is a batch, so that no wait is a long one.
  'BatchRing.wait(ms)': {
    on: ({ ring, producer }) => ({
      wait(...args: [number]) {
        producer.push(BigUint64Array.of(7n))
        try {
          return ring.wait(...args)
        } finally {
          ring.drain(() => undefined)
        }
      },
    }),
    args: () => [7],
  },
  'BatchRing.batches(options)': {
    on: (scene) => scene.ring,
    args: () => [{ signal: AbortSignal.abort() }],
  },
  'new FingerprintSet(options)': free({ expectedKeys: 7, seed: 7, kernel: 'js' }),
  'FingerprintSet.addPair(low, high)': onSet([7, 2], pairOf, [0, 1]),
  'FingerprintSet.add(key)': onSet([7], (key) => one(printOf(key))),
  'FingerprintSet.addPairs(pairs)': onSet([Uint32Array.of(7, 8)], (pairs) =>
    pairsOf(pairs, 2 ** 28),
  ),
  'FingerprintSet.addMany(keys)': onSet([[7, 8]], (keys) => keysOf(keys, 2 ** 28, printOf)),
  'FingerprintSet.hasPair(low, high)': onSet([7, 2], none, []),
  'FingerprintSet.has(key)': onSet([7], none, []),
}

/** Only the library makes these; a caller has nothing to pass. */
const notForCallers = /^new DirtyRingError\(/

/** What the base arguments do not make work, and what is said then. */
const refused: Record<string, string> = {
  'DirtyTracker.watch(worker)': 'ERR_DIRTYRING_INVALID_ARG',
  'runAggregator(handle)': 'ERR_DIRTYRING_AGGREGATOR_TAKEN',
  'SealedEpoch.strings()': 'ERR_DIRTYRING_OUT_OF_RANGE', // the epoch has a number
  'DirtyTracker.save()': 'ERR_DIRTYRING_BUSY', // it runs
}

const declared = declaredFunctions().filter(({ name }) => !notForCallers.test(name))

async function newScene(): Promise<Scene> {
  const tracker = await openInline({ ...SMALL })
  tracker.openWriter() // number 0: reap() of an odd number that is one is not the scene's own
  const writer = tracker.openWriter()
  writer.mark(1)
  const dictionary = KeyDictionary.create({ maxKeys: 200 })
  dictionary.id('x')
  const named = await openInline({ ...SMALL, maxConsumers: 2 })
  const ring = BatchRing.create({ capacity: 8, laneCapacity: 1024, maxWriters: 2 })
  return {
    tracker,
    writer,
    epoch: await tracker.advanceEpoch(),
    txn: new TxnBuffer(1),
    set: new FingerprintSet(),
    dictionary,
    ring,
    producer: ring.openProducer(),
    named,
    consumer: named.consumer('one'),
  }
}

/**
 * Takes out what each store holds. The mark that goes first has to be there: the tracker works as
 * before.
 */
async function takeAll(
  { tracker, writer, txn, set, ring }: Scene,
  marker: bigint,
): Promise<Record<Store, KeyName[]>> {
  writer.mark(marker)
  const epoch = await within(tracker.advanceEpoch(), 'the epoch after it')
  if (!epoch.exact || !epoch.has(marker))
    throw new Error(`the mark that follows is not in the epoch (exact: ${epoch.exact})`)
  const keys = [...epoch].map(nameOf).filter((key) => key !== nameOf(marker))
  epoch.commit()
  const pushed: KeyName[] = []
  ring.drain((batch) => pushed.push(...Array.from(batch, nameOf)))
  const inSet = Array.from(set.bigints, nameOf)
  set.clear()
  return { tracker: keys, txn: txn.drain().map(nameOf), set: inSet, ring: pushed }
}

function within<T>(promise: PromiseLike<T>, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no end: ${what}`)), 5000)
    Promise.resolve(promise)
      .finally(() => clearTimeout(timer))
      .then(resolve, reject)
  })
}

function call({ owner, member, kind }: Declared, on: object | undefined, args: unknown[]): unknown {
  const scope: any = owner === undefined ? library : (library as any)[owner]
  if (kind === 'new') return new scope(...args)
  if (kind === 'method') return (on as any)[member](...args)
  return scope[member](...args)
}

/** Ends what a call has opened. */
async function end(result: unknown): Promise<void> {
  if (result instanceof DirtyTracker) await result.stop({ graceMs: 0 })
  else if (result instanceof Writer || result instanceof Consumer) result.close()
  else if (result instanceof SealedEpoch) result.commit()
  else if (typeof result === 'function') result()
  else if (typeof (result as AsyncGenerator | undefined)?.return === 'function')
    await (result as AsyncGenerator).return(undefined)
}

const isExpected = (error: any): boolean =>
  error instanceof OwnError ||
  // What the caller's own function throws when it is called.
  /^Class constructor |^Cannot perform 'apply' on a proxy/.test(error?.message) ||
  (typeof error?.code === 'string' &&
    error.code.startsWith('ERR_DIRTYRING_') &&
    ['TypeError', 'RangeError', 'DirtyRingError'].includes(error.name))

const sorted = (keys: readonly KeyName[]): KeyName[] => [...new Set(keys)].sort()

let scene: Scene | undefined
let marker = 2n ** 40n

afterEach(() => {
  scene = undefined
})

/** What went wrong when the function was called so: nothing, for most. */
async function problemOf(
  each: Declared,
  args: unknown[],
  isExact: boolean,
): Promise<string | undefined> {
  const { on, into, keys } = valid[each.name] ?? { args: () => [] }
  let error: any
  let result: unknown
  let threw = false
  try {
    result = call(each, on?.(scene!), args)
    if (typeof (result as PromiseLike<unknown> | undefined)?.then === 'function')
      result = await within(result as PromiseLike<unknown>, 'the call')
  } catch (thrown) {
    threw = true
    error = thrown
  }
  if (threw && !isExpected(error)) return `threw ${String(error?.stack ?? error)}`
  const should = keys?.(...args)
  if (into !== undefined && isExact && threw === (should !== undefined)) {
    if (!(error instanceof OwnError)) return threw ? `refused: ${error.message}` : `accepted`
  }
  const hasStopped = each.member === 'stop' && scene!.writer.room === 0
  if (hasStopped) scene = undefined
  else {
    await end(result)
    if (each.kind === 'method' && ['close', 'commit', 'restore'].includes(each.member)) {
      scene = undefined
      return undefined
    }
    const held = await takeAll(scene!, marker++)
    for (const store of STORES) {
      const expected = store === into && !threw ? should! : []
      if (sorted(held[store]).join() !== sorted(expected).join())
        return `${store} holds ${held[store].join()}, not ${expected.join()}`
    }
  }
  return undefined
}

describe('C11: odd values', () => {
  it('there are valid arguments for everything that the package declares', () => {
    expect(
      declared
        .filter(({ name, positions }) => positions.length > 0 && valid[name] === undefined)
        .map(({ name }) => name),
    ).toEqual([])
    expect(declared.length).toBeGreaterThan(60)
  })

  it('with the valid arguments every call works, and stores what it should', async () => {
    const problems: string[] = []
    for (const each of declared) {
      scene ??= await newScene()
      const on = valid[each.name]?.on?.(scene) ?? ownersIn(scene)[each.owner ?? '']
      const args = each.positions.length === 0 ? [] : valid[each.name].args(scene)
      const code = await Promise.resolve()
        .then(() => call(each, on, args))
        .then(end)
        .catch((error: unknown) => (error as { code?: unknown }).code ?? error)
      scene = undefined
      if (code !== refused[each.name]) problems.push(`${each.name}: ${String(code)}`)
    }
    expect(problems).toEqual([])
  })

  const positions = declared.flatMap((each) =>
    each.positions.map((position) => ({
      title: `${each.name}: ${position.label}`,
      each,
      position,
    })),
  )

  it.each(positions)('$title', async ({ each, position: { index, option } }) => {
    const problems: string[] = []
    const isExact = option === undefined && valid[each.name].exact?.includes(index) === true
    const proxied: Odd = [
      'a Proxy of what is valid',
      () => proxyOf(valid[each.name].args(scene!), index, option),
    ]
    for (const [name, make] of [...oddValues, proxied]) {
      scene ??= await newScene()
      const args = valid[each.name].args(scene)
      const odd = make()
      args[index] = option === undefined ? odd : { ...(args[index] as object), [option]: odd }
      const problem = await problemOf(each, args, isExact && name !== proxied[0]).catch(
        (error: unknown) => {
          scene = undefined
          return `afterwards: ${String((error as Error).stack)}`
        },
      )
      if (problem !== undefined) {
        problems.push(`${name}: ${problem}`)
        scene = undefined
      }
    }
    expect(problems).toEqual([])
  })
})

function proxyOf(args: unknown[], index: number, option: string | undefined): unknown {
  const value = option === undefined ? args[index] : (args[index] as any)[option]
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
    ? new Proxy(value, {})
    : value
}

function ownersIn(all: Scene): Record<string, object> {
  return {
    DirtyTracker: all.tracker,
    Writer: all.writer,
    SealedEpoch: all.epoch,
    TxnBuffer: all.txn,
    FingerprintSet: all.set,
    KeyDictionary: all.dictionary,
    BatchRing: all.ring,
    BatchProducer: all.producer,
    Consumer: all.consumer,
  }
}
