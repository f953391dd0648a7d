/**
 * What the models are made of, beside the core: accesses of their own, waiting, parts in which
 * exceptions are planted, and what makes two states one.
 */
import { $, BLOCKED, current, mix, Planted, racyHistory, run, version, words } from './runtime.mjs'

const SITE_MODEL = -1

/** Atomics.load of a model's own. */
export function* load(memory, i) {
  return $.aload(memory, i, SITE_MODEL) ? yield : $.v
}
export function* store(memory, i, value) {
  return $.astore(memory, i, value, SITE_MODEL) ? yield : $.v
}
export function* read(memory, i) {
  return $.r(memory, i, SITE_MODEL) ? yield : $.v
}

/**
 * Do `look` until it returns true. In between the thread is blocked until another one has written a
 * word that `look` read or, with `event`, something happened outside of shared memory; with
 * `sleepOn`, a word, only a notify on that counts, and what was written does not; with `ends: false`
 * that sleep has no end of its own, also after a death.
 *
 * @param {() => Generator<any, any, any>} look
 * @param {{ event?: boolean, polls?: () => boolean, sleepOn?: number, ends?: boolean }} [options]
 */
export function* until(
  look,
  { event = false, polls = () => true, sleepOn = -1, ends = true } = {},
) {
  for (;;) {
    const thread = current
    thread.polling = new Map()
    const seenEvents = run.events
    const heard = sleepOn >= 0 ? version[sleepOn] : 0
    let there
    try {
      there = yield* look()
    } catch (error) {
      thread.polling = null
      throw error
    }
    const polled = thread.polling
    thread.polling = null
    if (there) return
    if (sleepOn >= 0 && version[sleepOn] !== heard) continue // waitAsync would return at once
    thread.state = BLOCKED
    thread.polled = polls() ? polled : null
    thread.onEvent = event
    thread.seenEvents = seenEvents
    thread.waitAt = sleepOn
    thread.waitEnds = sleepOn >= 0 && ends
    yield
    thread.timedOut = false
    thread.waitEnds = false
    thread.waitAt = -1
    thread.onEvent = false
    thread.polled = null
  }
}

/**
 * Run a part of a thread in which exceptions may be planted; what it throws otherwise goes on.
 * Returns [true, value], or [false].
 */
export function* attempt(part) {
  const thread = current
  thread.mayThrow++
  try {
    return [true, yield* part]
  } catch (error) {
    if (!(error instanceof Planted)) throw error
    return [false]
  } finally {
    thread.mayThrow--
  }
}

/** To its end, outside of an execution. */
export function drive(generator) {
  for (;;) {
    const { done, value } = generator.next($.v)
    if (done) return value
  }
}

/**
 * By values: from here on, what the thread does follows from these numbers and from what it was
 * told by `say`; how it came to them does not matter.
 */
export function forget(...objects) {
  const thread = current
  if (thread === null || !run.byValue) return
  let a = mix(thread.said, thread.id)
  let b = mix(thread.id, thread.said)
  const fold = (object) => {
    for (const value of Object.values(object)) {
      if (typeof value === 'number' || typeof value === 'boolean') {
        a = mix(a, Number(value) | 0)
        b = mix(Number(value) | 0, b)
      } else if (
        typeof value === 'object' &&
        value !== null &&
        (ArrayBuffer.isView(value) ? value !== words : 'count' in value)
      ) {
        fold(value)
      }
    }
  }
  for (const object of objects) fold(object)
  thread.hist = a
  thread.hist2 = b
}

/**
 * A millisecond goes by, in which every core's stores reach the others: from here on no read gives
 * a value that was overwritten before. The language does not promise that, the hardware does; it
 * orders nothing else, and races are still races.
 */
export function storesArrive() {
  for (const history of racyHistory.values()) history.splice(0, history.length - 1)
  run.known = mix(run.known, 5)
}

/** A result that a scenario's thread got, and may act on. */
export function say(value) {
  if (current !== null) current.said = mix(current.said, Number(value))
}

export function currentThread() {
  return current
}
