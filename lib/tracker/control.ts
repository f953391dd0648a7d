import { cannotContinue } from '../memory/failure.js'
import { FAILED, SIGNAL } from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { clearInterval, ref, setInterval, unref } from '../timers.js'
import { whenNotified } from '../wait-async.js'
import type { Listeners } from './events.js'
import { type EpochCounts, HandedOut } from './handed-out.js'
import { Lifecycle, stopped } from './lifecycle.js'
import { LongWaits } from './long-waits.js'
import { askToPublish, openOutbox, type Outbox, refuseMarks, requestEverything } from './outbox.js'
import { Overflows } from './overflows.js'
import { Advances } from './pending/advances.js'
import { Drains } from './pending/drains.js'
import { Flushes } from './pending/flushes.js'
import type { Context, PendingKind } from './pending/kind.js'
import { LastSeal } from './pending/last-seal.js'
import { Reaps } from './pending/reaps.js'
import { Restores } from './pending/restores.js'
import type { Place } from './places.js'
import { Sender } from './sender.js'
import { Sleepers } from './sleepers.js'

/**
 * How often the tracker looks by itself: an aggregator that dies between its store and its signal
 * wakes no other thread.
 */
const POLL_MS = 50
/** How long a wait for a signal lasts while loops sleep. Their own timer looks more often. */
const LISTEN_MS = 10_000

/**
 * The poll loop of the tracker's thread: sends control tokens, and settles promises by what the
 * aggregator answers in shared memory. While anything is pending it looks when the aggregator
 * signals, and every 50 ms. While only epochs() loops sleep, it looks when the aggregator signals,
 * and every second.
 */
export class Control implements Context {
  readonly memory: Memory
  readonly outbox: Outbox
  readonly lifecycle = new Lifecycle()
  readonly listeners: Listeners
  readonly counts: EpochCounts = { sealed: 0, restored: 0, committed: 0 }
  readonly overflows: Overflows
  readonly sender: Sender
  readonly advances: Advances
  readonly restores: Restores
  readonly reaps: Reaps
  readonly drains: Drains
  readonly lastSeal: LastSeal
  readonly flushes: Flushes
  readonly sleepers: Sleepers
  /** Called now and then while something is pending, or a loop sleeps. */
  onPoll: () => void = () => undefined
  /** What the aggregator does instead of an answer, in the form "for the aggregator, which …". */
  describeAggregator: () => string = () => 'for the aggregator'

  /** Every kind of pending thing, in the order in which promises are settled. */
  readonly #kinds: readonly PendingKind[]
  readonly #handedOut = new Set<HandedOut>()
  readonly #longWaits: LongWaits
  #poll: ReturnType<typeof setInterval> | undefined
  #isListening = false

  constructor(memory: Memory, listeners: Listeners, firstEpoch = 0) {
    this.memory = memory
    this.listeners = listeners
    this.outbox = openOutbox(memory, firstEpoch)
    this.#longWaits = new LongWaits(listeners)
    this.overflows = new Overflows(this)
    this.sender = new Sender(this)
    this.#kinds = [
      (this.advances = new Advances(this, this.sender, this.counts, () => this.unsettled)),
      (this.drains = new Drains(this)),
      (this.restores = new Restores(this)),
      (this.reaps = new Reaps(this)),
      (this.lastSeal = new LastSeal(this, this.counts)),
      (this.flushes = new Flushes(this)),
    ]
    this.sleepers = new Sleepers(this)
    this.sleepers.onLook = () => this.onPoll()
    // A REAP that the aggregator gave up has no answer.
    this.lastSeal.onFinish = () => this.reaps.fail(stopped())
  }

  /** What holds the epochs of one more reader, which begins behind an epoch. */
  openHandedOut(
    position: number,
    place?: Place,
    onEmpty: (since: number, id: number) => void = () => undefined,
  ): HandedOut {
    const { restores, overflows, counts } = this
    const onEnd = (ended: HandedOut): boolean => this.#handedOut.delete(ended)
    const parts = { context: this, restores, overflows, counts, position, place, onEmpty, onEnd }
    const epochs = new HandedOut(parts)
    this.#handedOut.add(epochs)
    return epochs
  }

  /** Numbers of the epochs that readers were handed and have not settled, oldest first. */
  get unsettled(): number[] {
    return [...this.#handedOut].flatMap((epochs) => epochs.unsettled).sort((a, b) => a - b)
  }

  /** Harvests and frees every lane of a thread that has ended. */
  reapThread(threadId: number): void {
    this.reaps.requestThread(threadId)
  }

  /** Makes the open epoch say 'everything', of one namespace if there is one. */
  markEverything(namespace: number | undefined): void {
    requestEverything(this.outbox, namespace)
    this.poke()
  }

  /** Asks every writer to publish what it has staged. True when none has anything left. */
  askToPublish(): boolean {
    return askToPublish(this.outbox)
  }

  /** From here on no mark is taken. */
  refuseMarks(): void {
    refuseMarks(this.outbox)
  }

  /** Takes no more advances, and refuses those that wait for a slot. */
  close(): void {
    this.outbox.isClosing = true
    this.advances.refuseWaiting()
  }

  /**
   * The aggregator cannot continue: every pending promise is rejected. stop() can still deliver
   * what an aggregator on this thread delivers.
   */
  fail(reason: unknown): void {
    if (!this.lifecycle.fail(reason)) return
    for (const kind of this.#kinds) kind.fail(reason)
    this.sleepers.fail()
  }

  /**
   * Sends what can be sent, and settles what the aggregator has answered. While anything is
   * pending it looks again when the aggregator signals, and every 50 ms.
   */
  poke(): void {
    const { words } = this.memory
    const heard = Atomics.load(words, SIGNAL)
    this.sender.flush()
    try {
      for (const kind of this.#kinds) kind.collect()
      if (this.outbox.queue.length > 0) this.sender.flush() // a free slot lets a seal in
    } catch (error) {
      this.fail(error) // a corrupt slot
    }
    // After collect(): answers that came before the failure are still valid.
    if (Atomics.load(words, FAILED) !== 0) this.fail(cannotContinue(words))
    this.sleepers.look()
    if (!this.#isPending()) {
      if (this.#poll !== undefined) this.lookForLongWaits()
      clearInterval(this.#poll)
      this.#poll = undefined
      if (!this.sleepers.isEmpty) this.#listen(heard, LISTEN_MS)
      return
    }
    this.#poll ??= setInterval(() => {
      this.onPoll()
      this.lookForLongWaits()
      this.poke()
    }, POLL_MS)
    // A pending call keeps the process alive. A harvest that no caller asked for does not, nor does
    // what follows an abort.
    if (this.#kinds.some(({ isAwaited }) => isAwaited)) ref(this.#poll)
    else unref(this.#poll)
    this.#listen(heard, POLL_MS)
  }

  #isPending(): boolean {
    if (this.lifecycle.failure !== undefined) return false
    return this.outbox.queue.length > 0 || this.#kinds.some(({ isPending }) => isPending)
  }

  /** Warns of each call that has waited for very long, and says what it waits for. */
  lookForLongWaits(): void {
    const pending = this.#kinds.flatMap((kind) => kind.waits())
    this.#longWaits.look(pending, this.describeAggregator)
  }

  /** Tells listeners, once, if the open epoch has too many keys. */
  lookForOverflow(): void {
    this.overflows.look()
  }

  /** Tells listeners, once, of each advanceEpoch() that has waited so long for a slot. */
  lookForStalls(ms: number): void {
    this.advances.lookForStalls(ms)
  }

  #listen(heard: number, ms: number): void {
    if (this.#isListening) return
    // If the host cannot notify this thread, only the interval looks.
    this.#isListening = whenNotified(this.memory.words, SIGNAL, heard, ms, () => {
      this.#isListening = false
      this.poke()
    })
  }
}
