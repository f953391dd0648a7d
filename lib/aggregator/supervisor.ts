import { BACKOFF_MS_MIN, backoffMs } from '../backoff.js'
import { DirtyRingError } from '../errors.js'
import { CANNOT_SEAL, cannotContinue, CORRUPT_RING } from '../memory/failure.js'
import {
  ERROR_LENGTH,
  ERROR_TEXT,
  ERROR_TEXT_MAX,
  FAILED,
  FAILED_AT,
  FAILURES,
  HEAD,
  ITERATIONS,
  JOB_FAILURES,
  KERNEL_SCRATCH,
  PANICS,
  PARKED,
  RETRYING,
  SECRETS,
  type SharedWords,
  slotAt,
} from '../memory/map.js'
import { checkIdentity, type Memory } from '../memory/memory.js'
import { kindOf, SEAL, STOP, tokenOf } from '../ring/token.js'
import { secretsAt } from '../set/mix.js'
import { nativeKernel } from '../set/native/native.js'
import { nowMs } from '../timers.js'
import { type Aggregator, recover, takeRole } from './state.js'
import { IDLE, LOST_ROLE, step, type StepResult, WORKED } from './step.js'
import { reportProgress } from './table.js'
import { doChores, signal } from './wake.js'

/** run(): a step threw, and nothing happens before `retryAt`. */
export const BACKING_OFF = 4

export type RunResult = typeof BACKING_OFF | Exclude<StepResult, typeof LOST_ROLE>

const FAILURES_MAX = 8

/**
 * Runs the steps on the aggregator's thread, and contains what they throw. It counts the failure,
 * and tries again from what recover() finds in shared memory.
 *
 * The first try comes after 10 ms, the next ones after twice as long, up to 1 s. A success, or
 * another token, begins at 10 ms again. A token that fails eight times is given up 10 ms after
 * that, and its epoch says so.
 */
export class Supervisor {
  readonly aggregator: Aggregator
  /** nowMs() before which run() does nothing. */
  retryAt = 0
  /** Of one token, since a step succeeded. */
  #failuresInARow = 0
  #recovered = false
  #running = false
  readonly #now: () => number

  /** Takes the role. Throws ERR_DIRTYRING_AGGREGATOR_TAKEN. */
  constructor(memory: Memory, threadId: number, now: () => number = nowMs) {
    this.#now = now
    checkIdentity(memory.words)
    // Before the role is taken, because nothing may throw while this thread has it.
    const native = nativeKernel(memory.native, secretsAt(memory.words, SECRETS), KERNEL_SCRATCH)
    this.aggregator = takeRole(memory, threadId)
    this.aggregator.set.native = native
    this.aggregator.texts.native = native
    this.aggregator.filter.native = native
    this.aggregator.target.set.native = native
    this.aggregator.target.texts.native = native
    this.aggregator.target.filter.native = native
    Atomics.store(memory.words, RETRYING, 0)
  }

  /**
   * Handles up to `budget` tokens. Throws if the aggregator cannot continue. Called from within
   * itself it does nothing.
   */
  run(budget: number): RunResult {
    if (this.#running) return WORKED
    const a = this.aggregator
    const { words } = a
    if (Atomics.load(words, FAILED) !== 0) {
      signal(a) // the tracker need not wait until it looks by itself
      throw cannotContinue(words)
    }
    if (this.retryAt !== 0) {
      reportProgress(words)
      if (this.#now() < this.retryAt) return BACKING_OFF
      this.retryAt = 0
      Atomics.store(words, RETRYING, 0)
    }
    this.#running = true
    let result: StepResult | typeof BACKING_OFF = WORKED
    try {
      if (!this.#recovered) this.#recover()
      this.#recovered = false // until the steps have come back
      words[ITERATIONS] += 1
      for (let i = 0; i < budget && result === WORKED; i++) result = step(a)
      if (result === IDLE) doChores(a)
      this.#failuresInARow = 0
      this.#recovered = true
      if (words[FAILED_AT] !== 0 && words[FAILED_AT] !== a.head + 1) words[FAILED_AT] = 0
    } catch (error) {
      this.#contain(error)
      result = BACKING_OFF
    } finally {
      this.#running = false
    }
    if (result === LOST_ROLE) {
      throw new DirtyRingError(
        'ERR_DIRTYRING_AGGREGATOR_TAKEN',
        'another aggregator handles the same tokens: this one has stopped',
      )
    }
    return result
  }

  #recover(): void {
    const a = this.aggregator
    recover(a)
    a.skip = a.words[FAILED_AT] === a.head + 1 && a.words[FAILURES] >= FAILURES_MAX
    this.#recovered = true
  }

  #contain(error: unknown): void {
    const { words, memory } = this.aggregator
    if (this.aggregator.isMerging) {
      this.#containMerge(error)
      return
    }
    const head = Atomics.load(words, HEAD)
    const failures = words[FAILED_AT] === head + 1 ? words[FAILURES] + 1 : 1
    // Another token's failures are no sign of how long this one will fail.
    this.#failuresInARow = failures === 1 ? 1 : this.#failuresInARow + 1
    words[FAILED_AT] = head + 1
    words[FAILURES] = failures
    this.#note(error)
    if (failures >= FAILURES_MAX) {
      const kind = kindOf(tokenOf(Atomics.load(words, slotAt(memory.layout, head))))
      if (kind === SEAL || kind === STOP) {
        Atomics.store(words, FAILED, CANNOT_SEAL)
        signal(this.aggregator)
      }
    }
    // At the last failure the token is given up: that need not wait for better times.
    const ms = failures === FAILURES_MAX ? BACKOFF_MS_MIN : backoffMs(this.#failuresInARow)
    this.#backOff(ms)
  }

  /** A merge has its own count: the token at head has not failed. */
  #containMerge(error: unknown): void {
    const { words } = this.aggregator
    this.aggregator.isMerging = false
    words[JOB_FAILURES] += 1
    this.#note(error)
    this.#backOff(backoffMs(words[JOB_FAILURES]))
  }

  #note(error: unknown): void {
    const { words } = this.aggregator
    writeError(words, error)
    Atomics.store(words, PANICS, words[PANICS] + 1)
    if ((error as { code?: unknown }).code === 'ERR_DIRTYRING_CORRUPT') {
      Atomics.store(words, FAILED, CORRUPT_RING)
      signal(this.aggregator) // the tracker need not wait until it looks by itself
    }
  }

  #backOff(ms: number): void {
    this.retryAt = this.#now() + ms
    Atomics.store(this.aggregator.words, RETRYING, ms)
  }

  /** Sleeps until it is time to try again, in short slices. For a thread that may block. */
  sleepOff(): void {
    const left = this.retryAt - this.#now()
    if (left > 0) Atomics.wait(this.aggregator.words, PARKED, 0, Math.min(left, BACKOFF_MS_MIN))
  }
}

function writeError(words: SharedWords, error: unknown): void {
  const text = error instanceof Error ? error.message : String(error)
  const length = Math.min(text.length, ERROR_TEXT_MAX)
  for (let i = 0; i < length; i++) words[ERROR_TEXT + i] = text.charCodeAt(i)
  Atomics.store(words, ERROR_LENGTH, length)
}
