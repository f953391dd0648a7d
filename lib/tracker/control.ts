import { cannotGoOn } from '../aggregator/supervisor.js'
import {
  cannotRestore,
  makeEpoch,
  type EpochKeeper,
  type SealedEpoch,
} from '../epochs/sealed-epoch.js'
import { DirtyRingError } from '../errors.js'
import {
  CUR,
  epochAt,
  FAILED,
  FLAG_OVERFLOW,
  LANE_OWNER,
  LANE_THREAD,
  laneAt,
  SIGNAL,
  SLOT_FLAGS,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { readSlot } from '../memory/slot.js'
import { orphansOf } from '../ring/reap.js'
import { EPOCH_MASK, SEAL, THREAD_BITS, THREAD_MASK } from '../ring/token.js'
import type { Waiting } from '../signal.js'
import {
  clearInterval,
  nowMs,
  queueMicrotask,
  ref,
  setInterval,
  setTimeout,
  unref,
} from '../timers.js'
import type { Listeners } from './events.js'
import { forSlot, forWriters, LongWaits, type PendingCall } from './long-waits.js'
import {
  abandonSeal,
  askToPublish,
  canSealNow,
  DRAIN,
  freeSlot,
  isFinished,
  isPublished,
  openOutbox,
  refuseMarks,
  requestDrain,
  requestEverything,
  requestReap,
  requestRestore,
  requestSeal,
  requestStop,
  sendFirst,
  stagedKeys,
  stagedMarks,
  takeDrained,
  takeReaped,
  takeRestored,
  takeSealed,
  TOO_LATE,
  trySeal,
  type Outbox,
  type Reaping,
  type StagedMark,
} from './outbox.js'
import { SealTimes } from './seal-times.js'

/** An advanceEpoch() on its way. */
export interface Advance extends Waiting<SealedEpoch> {
  readonly startedAt: number
  /** Listeners know that it waits for a slot. */
  told?: boolean
}

/** How often the tracker looks by itself: the aggregator may die between a store and its signal. */
const POLL_MS = 50
/** How soon a token that found the ring full is tried again. */
const RETRY_MS = 1

/**
 * Promises and timers over the tracker thread's side of the protocol (outbox.ts): asks for tokens,
 * sees what the aggregator answers, settles promises. While anything is pending it looks when the
 * aggregator signals, and every 50 ms.
 */
export class Control implements EpochKeeper {
  sealed = 0
  restored = 0
  committed = 0
  readonly sealTimes = new SealTimes()
  /** After every push: an aggregator on this very thread can act at once. */
  onPush: () => void = () => undefined
  /** When the aggregator cannot continue. */
  onFail: (reason: unknown) => void = () => undefined
  /** Now and then while something is pending. */
  onPoll: () => void = () => undefined
  /** What the aggregator does instead of an answer, in the form "for the aggregator, which …". */
  describeAggregator: () => string = () => 'for the aggregator'
  /** Calls of flushed() that are pending, with the marks that they wait for. */
  readonly flushing = new Set<readonly StagedMark[]>()

  readonly #memory: Memory
  readonly #outbox: Outbox
  /** Epochs handed out and not settled, with their slots. */
  readonly #unsettled = new Map<SealedEpoch, number>()
  /** Callers of reap(), told how many keys were harvested. */
  readonly #askedToReap = new Map<Reaping, Waiting<number>[]>()
  #overflows = 0
  /** The last epoch of which listeners know that it has too many keys. */
  #overflowTold = -1
  #stopping: Waiting<SealedEpoch> | undefined
  #stopCalledAt = 0
  #finished = false
  #failure: unknown
  #poll: ReturnType<typeof setInterval> | undefined
  #listening = false
  #retrying = false

  readonly #listeners: Listeners
  readonly #longWaits: LongWaits

  constructor(memory: Memory, listeners: Listeners, firstEpoch = 0) {
    this.#memory = memory
    this.#listeners = listeners
    this.#longWaits = new LongWaits(listeners)
    this.#outbox = openOutbox(memory, firstEpoch)
  }

  /** Number of the open epoch. */
  get epoch(): number {
    return this.#outbox.epoch
  }

  get unsettled(): number[] {
    return [...this.#unsettled.keys()].map(({ id }) => id)
  }

  /** Distinct keys in the open epoch, and the epochs that had too many, this one included. */
  get open(): { distinct: number; overflows: number } {
    const { count, flags } = readSlot(this.#memory, Atomics.load(this.#memory.words, CUR) & 15)
    const overflowing = !this.#finished && (flags & FLAG_OVERFLOW) !== 0
    return { distinct: count, overflows: this.#overflows + (overflowing ? 1 : 0) }
  }

  /** Whether advance() would cut at once. */
  get canSealNow(): boolean {
    return canSealNow(this.#outbox)
  }

  get failure(): unknown {
    return this.#failure
  }

  /** STOP is in the ring, or on its way there. */
  get isStopping(): boolean {
    return this.#outbox.isStopping
  }

  /**
   * Seals the open epoch when a slot is free, in the order of the calls: at once where it can be,
   * with the cut made before this returns.
   */
  advance(advance: Advance): void {
    requestSeal(this.#outbox, advance)
    this.poke()
  }

  /** Makes the cut now; false, and no trace of it, if it would have to wait. */
  tryAdvance(advance: Advance): boolean {
    if (this.#failure !== undefined) return false
    this.#flush()
    let done: boolean
    try {
      done = trySeal(this.#outbox, advance)
      if (!done) {
        this.onPush()
        done = trySeal(this.#outbox, advance)
      }
    } catch (error) {
      this.fail(error) // a corrupt ring
      return false
    }
    if (done) this.#noteStaged()
    this.poke()
    return done
  }

  /**
   * The caller was aborted. False if that comes too late: after stop() no later epoch can be given
   * the keys.
   */
  abandon(advance: Advance): boolean {
    const before = this.#outbox.restoring.length
    const how = abandonSeal(this.#outbox, advance)
    if (this.#outbox.restoring.length > before) this.restored++
    this.poke()
    return how !== TOO_LATE
  }

  commit(epoch: SealedEpoch): void {
    const slot = this.#unsettled.get(epoch)
    this.committed++
    if (slot === undefined) return
    this.#unsettled.delete(epoch)
    freeSlot(this.#outbox, slot)
    this.poke()
  }

  restore(epoch: SealedEpoch): Promise<void> {
    const slot = this.#unsettled.get(epoch)
    if (slot === undefined) {
      this.restored++
      return Promise.resolve() // exact and empty: nothing to give back
    }
    if (this.#outbox.isClosing) throw cannotRestore(epoch)
    if (this.#failure !== undefined) throw this.#failure as Error
    this.#unsettled.delete(epoch)
    this.restored++
    const restored = new Promise<void>((resolve, reject) => {
      requestRestore(this.#outbox, slot, epoch.id, { resolve, reject } satisfies Waiting<void>)
    })
    this.poke()
    restored.catch(() => this.#unsettled.set(epoch, slot)) // its keys are where they were
    return restored
  }

  /**
   * Resolves when everything that is in the ring now has been handled. Returns the function that
   * ends the wait.
   */
  drain(waiting: Waiting<void>): () => void {
    requestDrain(this.#outbox, waiting)
    this.poke()
    return () => {
      remove(this.#outbox.queue, (each) => each.ticket === waiting)
      remove(this.#outbox.draining, (each) => each.ticket === waiting)
      this.poke()
    }
  }

  /** The open epoch is about a change that no list of keys describes. */
  markEverything(): void {
    requestEverything(this.#outbox)
    this.poke()
  }

  /**
   * Harvests and frees every lane of a thread that has ended, and of the threads that ended with
   * it.
   */
  reapThread(threadId: number): void {
    for (const { writer, generation, threadId: owner } of orphansOf(this.#memory, threadId))
      requestReap(this.#outbox, writer, generation, owner)
    this.poke()
  }

  /** Harvests and frees one lane, if it is owned. Resolves with the keys harvested. */
  reapWriter(writer: number): Promise<number> {
    const { words, layout } = this.#memory
    const lane = laneAt(layout, writer)
    const owner = Atomics.load(words, lane + LANE_OWNER)
    if ((owner & THREAD_MASK) === 0) return Promise.resolve(0)
    const reaping = requestReap(
      this.#outbox,
      writer,
      owner >>> THREAD_BITS,
      Atomics.load(words, lane + LANE_THREAD) - 1,
    )
    if (reaping === undefined) return Promise.reject(stopped())
    const keys = new Promise<number>((resolve, reject) => {
      const asked = this.#askedToReap.get(reaping) ?? []
      this.#askedToReap.set(reaping, asked)
      asked.push({ resolve, reject })
    })
    if (this.#failure !== undefined) this.#endReaps(this.#failure)
    this.poke()
    return keys
  }

  /** What every open writer has marked and not published. */
  stagedMarks(): StagedMark[] {
    return stagedMarks(this.#outbox)
  }

  isPublished(mark: StagedMark): boolean {
    return isPublished(this.#outbox, mark)
  }

  /** Asks every writer to publish what it has staged. True when none has anything left. */
  askToPublish(): boolean {
    return askToPublish(this.#outbox)
  }

  /** From here on no mark is taken. */
  refuseMarks(): void {
    refuseMarks(this.#outbox)
  }

  /** No advance is taken any more; those that wait for a slot are refused. */
  close(): void {
    this.#outbox.isClosing = true
    for (const advance of this.#outbox.waiting.splice(0)) (advance as Advance).reject(stopped())
  }

  /**
   * Puts STOP in, behind everything else. Resolves with the last epoch when all that was published
   * is in it or in an earlier one.
   */
  stop(startedAt: number): Promise<SealedEpoch> {
    this.#stopCalledAt = startedAt
    const finished = new Promise<SealedEpoch>((resolve, reject) => {
      this.#stopping = { resolve, reject }
    })
    requestStop(this.#outbox)
    this.poke()
    return finished
  }

  /**
   * The aggregator cannot continue: every pending promise is rejected. What stop() can still do
   * without a worker it does: then `forgive` comes before it.
   */
  fail(reason: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = reason
    const { waiting, sealing, queue, restoring, draining } = this.#outbox
    const advances = [
      ...waiting,
      ...sealing.map(({ ticket }) => ticket),
      ...queue.filter(({ kind }) => kind === SEAL).map(({ ticket }) => ticket!),
    ]
    for (const advance of advances) {
      this.abandon(advance as Advance)
      ;(advance as Advance).reject(reason)
    }
    for (const each of queue.filter(({ kind }) => kind === DRAIN)) {
      remove(queue, (other) => other === each)
      ;(each.ticket as Waiting<void>).reject(reason)
    }
    for (const { ticket } of restoring) (ticket as Waiting<void> | undefined)?.reject(reason)
    for (const { ticket } of draining.splice(0)) (ticket as Waiting<void>).reject(reason)
    this.#endReaps(reason)
    this.#stopping?.reject(reason)
    this.#stopping = undefined
    this.onFail(reason)
  }

  #endReaps(reason: unknown): void {
    for (const asked of this.#askedToReap.values()) for (const { reject } of asked) reject(reason)
    this.#askedToReap.clear()
    this.#outbox.reaping.length = 0
  }

  /** Tokens go out again: an aggregator has been found to handle them. */
  forgive(): void {
    this.#failure = undefined
  }

  /**
   * Sends what can be sent, sees what has come to pass, and, while anything is pending, looks again
   * when the aggregator signals or a while has gone by.
   */
  poke(): void {
    const { words } = this.#memory
    const heard = Atomics.load(words, SIGNAL)
    this.#flush()
    try {
      this.#collect()
    } catch (error) {
      this.fail(error) // a corrupt slot
    }
    // what came to pass before it stands
    if (Atomics.load(words, FAILED) !== 0) this.fail(cannotGoOn(words))
    if (this.#stopping !== undefined && isFinished(this.#outbox)) this.#finish(this.#stopping)
    if (!this.#isPending()) {
      if (this.#poll !== undefined) this.lookForLongWaits()
      clearInterval(this.#poll)
      this.#poll = undefined
      return
    }
    this.#poll ??= setInterval(() => {
      this.onPoll()
      this.lookForLongWaits()
      this.poke()
    }, POLL_MS)
    // A pending call keeps the process alive; a harvest that was not asked for, or what follows an
    // abort, does not.
    if (this.#isAwaited()) ref(this.#poll)
    else unref(this.#poll)
    this.#listen(heard)
  }

  /** Something is on its way. */
  #isPending(): boolean {
    if (this.#failure !== undefined) return false
    const { waiting, sealing, restoring, draining, reaping, queue } = this.#outbox
    return (
      [waiting, sealing, restoring, draining, reaping, queue].some(({ length }) => length > 0) ||
      this.#stopping !== undefined
    )
  }

  /** A promise hangs on it. */
  #isAwaited(): boolean {
    const { waiting, sealing, restoring, draining } = this.#outbox
    return (
      waiting.length + draining.length + this.#askedToReap.size > 0 ||
      sealing.some(({ abandoned }) => !abandoned) ||
      restoring.some(({ ticket }) => ticket !== undefined) ||
      this.#outbox.queue.some(({ ticket }) => ticket !== undefined) ||
      this.#stopping !== undefined
    )
  }

  #flush(): void {
    const { queue } = this.#outbox
    if (this.#failure !== undefined) return
    try {
      while (queue.length > 0 && this.#sendFirst());
    } catch (error) {
      this.fail(error) // a corrupt ring
      return
    }
    this.onPush()
    if (queue.length === 0 || this.#retrying) return
    this.#retrying = true
    unref(
      setTimeout(() => {
        this.#retrying = false
        this.poke()
      }, RETRY_MS),
    )
  }

  /** False when the ring is full. */
  #sendFirst(): boolean {
    const { kind } = this.#outbox.queue[0]
    if (!sendFirst(this.#outbox)) {
      this.onPush()
      if (this.#failure !== undefined || !sendFirst(this.#outbox)) return false
    }
    if (kind === SEAL) this.#noteStaged()
    return true
  }

  #noteStaged(): void {
    const made = this.#outbox.sealing.at(-1)
    if (made !== undefined) made.staged = stagedKeys(this.#outbox)
  }

  /** Settles the promises of what has come to pass. */
  #collect(): void {
    const o = this.#outbox
    for (let sealed = takeSealed(o); sealed !== undefined; sealed = takeSealed(o)) {
      this.sealed++
      if (sealed.abandoned) continue
      const advance = sealed.ticket as Advance
      const sealMs = nowMs() - advance.startedAt
      this.sealTimes.add(sealMs)
      try {
        advance.resolve(this.#handOut(sealed.id, sealed.slot, sealed.staged, sealMs))
      } catch (error) {
        advance.reject(error)
        throw error
      }
    }
    for (let restored = takeRestored(o); restored !== undefined; restored = takeRestored(o)) {
      ;(restored.ticket as Waiting<void> | undefined)?.resolve()
    }
    for (let reaped = takeReaped(o); reaped !== undefined; reaped = takeReaped(o)) {
      const { writer, threadId, keys } = reaped
      for (const { resolve } of this.#askedToReap.get(reaped) ?? []) resolve(keys)
      this.#askedToReap.delete(reaped)
      this.#listeners.tell('harvest', { writerId: writer, threadId, keys })
    }
    for (let drained = takeDrained(o); drained !== undefined; drained = takeDrained(o))
      (drained.ticket as Waiting<void>).resolve()
    if (o.queue.length > 0) this.#flush() // a slot that came free lets a seal in
  }

  #handOut(id: number, slot: number, staged: number, sealMs: number, last = false): SealedEpoch {
    const epoch = makeEpoch(this.#memory, slot, id, staged, this, last)
    if (
      (this.#memory.words[epochAt(this.#memory.layout, slot) + SLOT_FLAGS] & FLAG_OVERFLOW) !==
      0
    ) {
      this.#overflows++
      this.#tellOverflow(id)
    }
    const { size, exact } = epoch
    this.#listeners.tell('epoch', { id, size, exact, sealMs })
    if (epoch.exact && epoch.size === 0) freeSlot(this.#outbox, slot)
    else this.#unsettled.set(epoch, slot)
    return epoch
  }

  /** Tells listeners, once, if the open epoch has too many keys. */
  lookForOverflow(): void {
    const { words, layout } = this.#memory
    const cur = Atomics.load(words, CUR)
    const isOpen = ((cur >>> 4) & EPOCH_MASK) === (this.epoch & EPOCH_MASK) && !this.#finished
    if (isOpen && (words[epochAt(layout, cur & 15) + SLOT_FLAGS] & FLAG_OVERFLOW) !== 0)
      this.#tellOverflow(this.epoch)
  }

  #tellOverflow(epoch: number): void {
    if (epoch <= this.#overflowTold) return
    this.#overflowTold = epoch
    this.#listeners.tell('overflow', {
      epoch,
      maxKeysPerEpoch: this.#memory.layout.maxKeysPerEpoch,
    })
  }

  /** Tells listeners, once, of each advanceEpoch() that has waited so long for a slot. */
  lookForStalls(ms: number): void {
    for (const advance of this.#outbox.waiting as Advance[]) {
      const waitedMs = nowMs() - advance.startedAt
      if (advance.told === true || waitedMs <= ms) continue
      advance.told = true
      this.#listeners.tell('stall', { what: 'epoch-slot', waitedMs, unsettled: this.unsettled })
    }
  }

  /** Says what a call waits for that has waited for very long. */
  lookForLongWaits(): void {
    const { waiting, queue, sealing, draining, restoring } = this.#outbox
    const slot = (): string => forSlot(this.unsettled)
    const aggregator = (): string => this.describeAggregator()
    const pending: PendingCall[] = []
    const add = (call: string, wait: object | undefined, forWhat: () => string): void => {
      if (wait !== undefined) pending.push({ call, wait, forWhat })
    }
    for (const advance of waiting) add('advanceEpoch()', advance, slot)
    for (const { kind, ticket } of queue)
      if (kind === SEAL) add('advanceEpoch()', ticket, aggregator)
    for (const { ticket, abandoned } of sealing)
      if (!abandoned) add('advanceEpoch()', ticket, aggregator)
    for (const { kind, ticket } of queue) if (kind === DRAIN) add('drained()', ticket, aggregator)
    for (const { ticket } of draining) add('drained()', ticket, aggregator)
    for (const { ticket } of restoring) add('restore()', ticket, aggregator)
    for (const reaping of this.#askedToReap.keys()) add('reap()', reaping, aggregator)
    add('stop()', this.#stopping, aggregator)
    for (const marks of this.flushing) {
      const writers = marks.filter((mark) => !this.isPublished(mark)).map(({ writer }) => writer)
      if (writers.length > 0) add('flushed()', marks, () => forWriters(writers))
    }
    this.#longWaits.look(pending)
  }

  #finish(stopping: Waiting<SealedEpoch>): void {
    this.#stopping = undefined
    const staged = stagedKeys(this.#outbox)
    this.#finished = true
    this.sealed++
    this.#endReaps(stopped())
    try {
      stopping.resolve(
        this.#handOut(
          this.epoch,
          this.#outbox.openSlot,
          staged,
          nowMs() - this.#stopCalledAt,
          true,
        ),
      )
    } catch (error) {
      stopping.reject(error)
    }
  }

  #listen(heard: number): void {
    if (this.#listening) return
    const waiting =
      typeof Atomics.waitAsync === 'function'
        ? Atomics.waitAsync(this.#memory.words, SIGNAL, heard, POLL_MS)
        : undefined
    if (waiting === undefined) return // the interval has to do
    this.#listening = true
    const heardIt = (): void => {
      this.#listening = false
      this.poke()
    }
    if (waiting.async) void waiting.value.then(heardIt)
    else queueMicrotask(heardIt)
  }
}

/** The first one that is so. */
function remove<T>(list: T[], isSo: (each: T) => boolean): void {
  const at = list.findIndex(isSo)
  if (at >= 0) list.splice(at, 1)
}

export function stopped(): DirtyRingError {
  return new DirtyRingError('ERR_DIRTYRING_STOPPED', 'the tracker has stopped')
}
