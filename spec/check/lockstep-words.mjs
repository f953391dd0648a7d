/**
 * What the two sides of lockstep.mjs agree on: the words by which a worker is held and let go, and
 * what a thread's results are.
 */

/** Words of a worker, from its number × STRIDE. */
export const STRIDE = 32
export const COMMAND = 0
export const STATUS = 1
/**
 * The access that it is about to make, or has just made: its name's place in ACCESSES, its word,
 * its operands, what it gave.
 */
export const ACCESS = 2
export const WORD = 3
export const A = 4
export const B = 5
export const VALUE = 6
/** How long a sleep of it may last. */
export const MS = 7
/** What it is to be: one of the job's names; for an aggregator's successor, whose. */
export const JOB = 8
export const PREDECESSOR = 9
/** 2: at its end, 3: terminated. As in runtime.mjs. */
export const STATE = 10
export const WORKERS_MAX = 12
/** How many threads' ends there are to be told of, then their numbers. */
export const EXITS = WORKERS_MAX * STRIDE
export const CONTROL_WORDS = EXITS + STRIDE

/** Commands; 0: none. */
export const GO = 1
/** Answer as if the access had been made. */
export const SKIP = 2
export const ABANDON = 3

/** Statuses. */
export const RUNNING = 0
export const IDLE = 1
/** Before its first instruction; what a real program has done before its threads start is done. */
export const READY = 2
/** Right before an access. */
export const AT_ACCESS = 3
/** In Atomics.wait, or just about to be. */
export const SLEEPING = 4
export const WOKEN = 5
/** It waits for other threads, and looks again when it is let go. */
export const BETWEEN_LOOKS = 6
export const ENDED = 7
export const THREW = 8

export const ACCESSES = [
  'read',
  'write',
  'load',
  'store',
  'compareExchange',
  'wait',
  'notify',
  'exchange',
  'or',
  'and',
  'xor',
  'add',
  'sub',
]
export const WAKES = ['ok', 'not-equal', 'timed-out']

export const RESULT_BYTES = 4096

/** Infinity, and what is taken mod 2^32 by the memory. */
export const asWord = (value) => (value === Infinity ? 0x7fffffff : value | 0)

const METHODS = [
  'open',
  'openWhenFree',
  'mark',
  'markMany',
  'markWaiting',
  'markManyWaiting',
  'flush',
  'flushWaiting',
  'close',
]
const OF_TRACKER = [
  'seal',
  'sealed',
  'advance',
  'commit',
  'restore',
  'restored',
  'everything',
  'drained',
  'reap',
  'ask',
  'stop',
  'join',
]

/** A scenario's world that notes what each call gave its thread. */
export function noting(world, results) {
  const over = (target, names) =>
    Object.fromEntries(
      names.map((name) => [
        name,
        function* (...args) {
          const value = yield* target[name](...args)
          results.push(`${name} ${told(value)}`)
          return value
        },
      ]),
    )
  return {
    ...over(world, METHODS),
    tracker: over(world.tracker, OF_TRACKER),
    results: world.results,
    run: world.run,
  }
}

function told(value) {
  if (typeof value !== 'object') return String(value)
  if (value.generation !== undefined) return `lane ${value.id}`
  return value.keys === undefined
    ? 'a ticket'
    : `epoch ${value.id} in slot ${value.slot}, {${value.keys.join(' ')}}, ${value.exact}`
}
