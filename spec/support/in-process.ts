import { afterEach } from '@jest/globals'
import { leaveRole, recover, takeRole } from '../../lib/aggregator/state.js'
import { IDLE, step, WORKED } from '../../lib/aggregator/step.js'
import { doChores } from '../../lib/aggregator/wake.js'
import { DirtyTracker, type Key, type TrackerOptions } from '../../lib/index.js'
import { attachMemory, type Memory } from '../../lib/memory/memory.js'
import { threadIdFor } from '../../lib/memory/thread.js'
import type { Start } from '../../lib/ring/start.js'

/** Small enough that a spec can have hundreds of them. */
const SMALL: TrackerOptions = {
  capacity: 64,
  laneCapacity: 1024,
  maxWriters: 8,
  maxKeysPerEpoch: 4096,
  laneTextBytes: 2 ** 16,
  maxStringsPerEpoch: 4096,
  maxStringBytesPerEpoch: 2 ** 18,
  flushIntervalMs: 0,
}

const made = new Set<DirtyTracker>()
const hands = new Set<Hand>()

afterEach(async () => {
  for (const hand of hands) hand.release()
  hands.clear()
  for (const tracker of made) await tracker.stop({ graceMs: 0 }).catch(() => undefined)
  made.clear()
})

/** A tracker whose aggregator runs on this thread; stopped after the spec. */
export async function openInline(
  options: TrackerOptions = {},
  start: Start = {},
): Promise<DirtyTracker> {
  return remember(
    await DirtyTracker.createAt({ ...SMALL, aggregator: 'inline', ...options }, start),
  )
}

/** The same for three named consumers, whose epochs have room for few keys. */
export function openForConsumers(options: TrackerOptions = {}): Promise<DirtyTracker> {
  return openInline({
    maxConsumers: 3,
    maxKeysPerEpoch: 64,
    maxStringsPerEpoch: 64,
    maxStringBytesPerEpoch: 1024,
    ...options,
  })
}

/** Marks keys by a writer that is closed behind them. */
export function mark(tracker: DirtyTracker, ...keys: Key[]): void {
  const writer = tracker.openWriter()
  writer.markMany(keys)
  writer.close()
}

/**
 * A tracker whose aggregator does nothing but what the spec has it do, token by token; stopped
 * after the spec.
 */
export async function openHeld(
  options: TrackerOptions = {},
  start: Start = {},
): Promise<{ tracker: DirtyTracker; hand: Hand }> {
  const tracker = remember(
    await DirtyTracker.createAt({ ...SMALL, ...options, aggregator: 'none' }, start),
  )
  return { tracker, hand: holdAggregator(tracker) }
}

/** A tracker whose aggregator's role is free; stopped after the spec. */
export async function openUnattended(options: TrackerOptions = {}): Promise<DirtyTracker> {
  return remember(await DirtyTracker.create({ ...SMALL, ...options, aggregator: 'none' }))
}

function remember(tracker: DirtyTracker): DirtyTracker {
  made.add(tracker)
  return tracker
}

/** The aggregator's role in a spec's hand. */
export interface Hand {
  readonly memory: Memory
  /**
   * Makes `steps` steps: a token each, or a run of one writer's batches. By default it goes on
   * until the ring is empty. True if tokens may be left.
   */
  run(steps?: number): boolean
  /** Gives the role back, so that another aggregator can take it. */
  release(): void
}

export function holdAggregator(tracker: DirtyTracker): Hand {
  const memory = attachMemory(tracker.handle, 'tracker')
  const aggregator = takeRole(memory, threadIdFor(memory))
  try {
    recover(aggregator)
  } catch (error) {
    leaveRole(aggregator)
    throw error
  }
  let held = true
  const hand: Hand = {
    memory,
    run(steps = Infinity) {
      for (let i = 0; i < steps; i++) {
        const result = step(aggregator)
        if (result === IDLE) doChores(aggregator)
        if (result !== WORKED) return false
      }
      return true
    },
    release() {
      if (held) leaveRole(aggregator)
      held = false
    },
  }
  hands.add(hand)
  return hand
}

/** What a function throws; fails if it throws nothing. */
export function thrown(act: () => unknown): any {
  try {
    act()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

/** What a promise rejects with; fails if it resolves. */
export async function rejected(promise: PromiseLike<unknown>): Promise<any> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('the promise was not rejected')
}

/**
 * Call it where the stack is about to end: again and again on the way back, from frames of another
 * size. What it throws is let go.
 */
export function nearTheEndOfTheStack(call: () => void, size: number): void {
  let calls = 300
  const deeper = (...args: number[]): void => {
    try {
      deeper(...args)
    } catch {
      // the end
    }
    if (calls-- <= 0) return
    try {
      call()
    } catch {
      // a frame too many
    }
  }
  deeper(...range(0, size))
}

/** So many turns of the event loop. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** Until something is so; fails after a long while. */
export async function until(isSo: () => boolean): Promise<void> {
  const end = performance.now() + 20_000
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`never so: ${String(isSo)}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** The ids of an epoch, in ascending order. */
export function sortedIds(epoch: { ids(): Iterable<number> }): number[] {
  return [...epoch.ids()].sort((a, b) => a - b)
}

/** What is listed of an epoch, exact or not, as ids in ascending order. */
export function sortedListed(epoch: { listed(): Iterable<Key> }): number[] {
  return Array.from(epoch.listed(), (key) => Number(bigintOf(key))).sort((a, b) => a - b)
}

/** A numeric key as a bigint. Fails for a text, which BigInt() might read as digits. */
export function bigintOf(key: Key): bigint {
  if (typeof key === 'number' || typeof key === 'bigint') return BigInt(key)
  throw new Error(`among numbers: ${nameOf(key)}`)
}

/** A key's name: two keys have the same one if they are the same key. */
export function nameOf(key: Key): string {
  if (typeof key === 'string') return `text ${JSON.stringify(key)}`
  return typeof key === 'object' ? `bytes ${key.join()}` : `number ${key}`
}

/** from, from + 1 … : so many. */
export function range(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i)
}

/** Whether a promise is still pending after the event loop turned a few times. */
export async function isPending(promise: PromiseLike<unknown>): Promise<boolean> {
  let settled = false
  const settle = (): void => {
    settled = true
  }
  promise.then(settle, settle)
  await turns(5)
  return !settled
}

export { randomFrom } from '../../lib/demo/random.js'
