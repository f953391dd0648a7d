import { DirtyRingError } from '../errors.js'
import { curWord } from '../aggregator/state.js'
import { cannotGoOn } from '../aggregator/supervisor.js'
import {
  CUR,
  epochAt,
  FAILED,
  FINISHED,
  FLAG_OVERFLOW,
  HEAD,
  LANE_ATTN,
  LANE_HARVESTED,
  LANE_OWNER,
  LANE_PUBLISHED,
  LANE_STAGED_END,
  LANE_THREAD,
  laneAt,
  LISTENING,
  SIGNAL,
  SLOT_FLAGS,
  SLOT_RESTORED,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { readSlot } from '../memory/slot.js'
import { SealedEpoch, type EpochKeeper } from '../epochs/sealed-epoch.js'
import { ownerBits } from '../ring/lane.js'
import { push, settledTail } from '../ring/ring.js'
import {
  controlToken,
  distance,
  EPOCH_MASK,
  epochDistance,
  epochPayload,
  EVERYTHING,
  REAP,
  RESTORE,
  SEAL,
  STOP,
  THREAD_BITS,
  THREAD_MASK,
  writerPayload,
} from '../ring/token.js'
import type { Waiting } from '../signal.js'
import { clearInterval, nowMs, queueMicrotask, ref, setInterval, setTimeout, unref } from '../timers.js'
import type { Listeners } from './events.js'
import { SealTimes } from './seal-times.js'

/** Control tokens in their order: `make` says which, when there is room for it; undefined asks for none. `done` follows the push. */
interface Outgoing {
  readonly make: () => number | undefined
  readonly done?: () => void
  /** Somebody waits for it alone: tell them that it will not be sent. */
  readonly fail?: (reason: unknown) => void
  /** For a SEAL: whose it is, and the slot it was given. */
  readonly seal?: { readonly advance: Advance; readonly slot: number }
  /** Somebody's promise hangs on it. */
  readonly awaited: boolean
}

/** An advanceEpoch() on its way. */
export interface Advance extends Waiting<SealedEpoch> {
  readonly startedAt: number
  /** Listeners know that it waits for a slot. */
  told?: boolean
}

/** A seal that is in the ring: epoch `id` was open in `slot` before it. */
interface Sealing {
  readonly advance: Advance
  readonly id: number
  readonly slot: number
  /** Keys that were marked and not published when it went in. */
  readonly staged: number
  /** Its caller has gone: the keys are given back, and nobody is told. */
  abandoned: boolean
}

/** A REAP on its way: the lane is free when its generation has moved on. */
interface Reaping {
  readonly writer: number
  readonly generation: number
  readonly threadId: number
  /** Somebody's reap(), told how many keys were harvested. */
  readonly asked: Waiting<number>[]
}

/** A writer's lane as it was: what it had staged is published, or harvested. */
export interface StagedMark {
  readonly lane: number
  readonly generation: number
  readonly end: number
}

/** How often the tracker looks by itself: the aggregator may die between a store and its signal. */
const POLL_MS = 50
/** How soon a token that found the ring full is tried again. */
const RETRY_MS = 1

/**
 * The tracker thread's side of the protocol: control tokens go out in one order, and what the aggregator answers in shared memory settles promises. Only
 * this thread seals, restores, reaps and stops, so there is nobody to race with.
 */
export class Control implements EpochKeeper {
  /** Number of the open epoch. */
  epoch: number
  sealed = 0
  restored = 0
  committed = 0
  readonly sealTimes = new SealTimes()
  /** After every push: an aggregator on this very thread can act at once. */
  onPush: () => void = () => undefined
  /** When there is no way on any more. */
  onFail: (reason: unknown) => void = () => undefined
  /** Now and then while something is pending. */
  onPoll: () => void = () => undefined

  readonly #memory: Memory
  readonly #outgoing: Outgoing[] = []
  /** The one freed last is used next: its memory is there already. */
  readonly #freeSlots: number[] = []
  readonly #waiting: Advance[] = []
  readonly #sealing: Sealing[] = []
  readonly #restoring: (Waiting<void> & { readonly slot: number; readonly epoch: number; readonly awaited: boolean })[] = []
  readonly #reaping: Reaping[] = []
  readonly #draining: { readonly position: number; readonly waiting: Waiting<void> }[] = []
  /** Epochs handed out and not settled, with their slots. */
  readonly #unsettled = new Map<SealedEpoch, number>()
  #openSlot = 0
  #overflows = 0
  /** The last epoch of which listeners know that it has too many keys. */
  #overflowTold = -1
  #stopping: Waiting<SealedEpoch> | undefined
  #closing = false
  #stopCalled = false
  #stopCalledAt = 0
  #finished = false
  #failure: unknown
  #poll: ReturnType<typeof setInterval> | undefined
  #listening = false
  #retrying = false

  readonly #listeners: Listeners

  constructor(memory: Memory, listeners: Listeners, firstEpoch = 0) {
    this.#memory = memory
    this.#listeners = listeners
    this.epoch = firstEpoch
    for (let slot = memory.layout.epochSlots - 1; slot > 0; slot--) this.#freeSlots.push(slot)
  }

  get unsettled(): number[] {
    return [...this.#unsettled.keys()].map(({ id }) => id)
  }

  /** Distinct keys in the open epoch, and the epochs that had too many, this one included. */
  get open(): { distinct: number; overflows: number } {
    const { words } = this.#memory
    const { count, flags } = readSlot(this.#memory, Atomics.load(words, CUR) & 15)
    const overflowing = !this.#finished && (flags & FLAG_OVERFLOW) !== 0
    return { distinct: count, overflows: this.#overflows + (overflowing ? 1 : 0) }
  }

  /** Whether advance() would cut at once. */
  get canSealNow(): boolean {
    return this.#waiting.length === 0 && this.#freeSlots.length > 0
  }

  get failure(): unknown {
    return this.#failure
  }

  /** STOP is in the ring, or on its way there. */
  get isStopping(): boolean {
    return this.#stopCalled
  }

  /** Seal the open epoch when a slot is free, in the order of the calls: at once where it can be, with the cut made before this returns. */
  advance(advance: Advance): void {
    if (this.canSealNow) this.#seal(advance, this.#freeSlots.pop()!)
    else this.#waiting.push(advance)
    this.poke()
  }

  /** The caller has gone. False if that comes too late: after stop() nobody else can be given the keys. */
  abandon(advance: Advance): boolean {
    const waiting = this.#waiting.indexOf(advance)
    const queued = this.#outgoing.findIndex(({ seal }) => seal?.advance === advance)
    if (waiting >= 0) this.#waiting.splice(waiting, 1)
    if (queued >= 0) this.#freeSlot(this.#outgoing.splice(queued, 1)[0].seal!.slot)
    if (waiting >= 0 || queued >= 0) {
      this.poke()
      return true
    }
    if (this.#stopCalled) return false
    const sealing = this.#sealing.find((each) => each.advance === advance)
    if (sealing !== undefined && !sealing.abandoned) {
      sealing.abandoned = true
      this.#restore(sealing.slot, sealing.id, false).catch(() => undefined)
    }
    return true
  }

  /** A seal that is queued behind a full ring takes its number and its slot only when it goes in. */
  #seal(advance: Advance, slot: number): void {
    this.#send({
      seal: { advance, slot },
      awaited: true,
      make: () => controlToken(SEAL, epochPayload(slot, this.epoch + 1)),
      done: () => {
        this.#sealing.push({ advance, id: this.epoch, slot: this.#openSlot, staged: this.#stagedNow(), abandoned: false })
        this.#openSlot = slot
        this.epoch++
      },
    })
  }

  commit(epoch: SealedEpoch): void {
    const slot = this.#unsettled.get(epoch)
    this.committed++
    if (slot === undefined) return
    this.#unsettled.delete(epoch)
    this.#freeSlot(slot)
    this.poke()
  }

  restore(epoch: SealedEpoch): Promise<void> {
    const slot = this.#unsettled.get(epoch)
    if (slot === undefined) {
      this.restored++
      return Promise.resolve() // exact and empty: nothing to give back
    }
    if (this.#closing) {
      throw new DirtyRingError(
        'ERR_DIRTYRING_STOPPED',
        `epoch ${epoch.id} cannot be restored: the tracker has stopped; its keys are still here to be dealt with`,
      )
    }
    if (this.#failure !== undefined) throw this.#failure as Error
    this.#unsettled.delete(epoch)
    const restored = this.#restore(slot, epoch.id, true)
    restored.catch(() => this.#unsettled.set(epoch, slot)) // its keys are where they were
    return restored
  }

  #restore(slot: number, id: number, awaited: boolean): Promise<void> {
    const epoch = id & EPOCH_MASK
    this.restored++
    const restored = new Promise<void>((resolve, reject) => {
      this.#restoring.push({ slot, epoch, awaited, resolve, reject })
    })
    this.#send({ make: () => controlToken(RESTORE, epochPayload(slot, epoch)), awaited })
    this.poke()
    return restored
  }

  /** Resolves when everything that is in the ring now has been handled. Returns the function that ends the wait. */
  drain(waiting: Waiting<void>): () => void {
    const outgoing: Outgoing = {
      awaited: true,
      fail: waiting.reject,
      make: () => {
        this.#draining.push({ position: settledTail(this.#memory), waiting })
        return undefined
      },
    }
    this.#send(outgoing)
    this.poke()
    return () => {
      remove(this.#outgoing, (each) => each === outgoing)
      remove(this.#draining, (each) => each.waiting === waiting)
      this.poke()
    }
  }

  /** The open epoch is about a change that no list of keys describes. */
  markEverything(): void {
    this.#send({ make: () => controlToken(EVERYTHING, 0), awaited: false })
    this.poke()
  }

  /** Harvest and free every lane of a thread that has ended. */
  reapThread(threadId: number): void {
    const { words, layout } = this.#memory
    for (let writer = 0; writer < layout.maxWriters; writer++) {
      const lane = laneAt(layout, writer)
      const owner = Atomics.load(words, lane + LANE_OWNER)
      if ((owner & THREAD_MASK) !== ownerBits(threadId)) continue
      const full = Atomics.load(words, lane + LANE_THREAD)
      if (full !== threadId + 1 && full !== 0) continue // another thread with the same low bits
      this.#reap(writer, owner, threadId)
    }
    this.poke()
  }

  /** Harvest and free one lane, if somebody has it. Resolves with the keys harvested. */
  reapWriter(writer: number): Promise<number> {
    const { words, layout } = this.#memory
    const lane = laneAt(layout, writer)
    const owner = Atomics.load(words, lane + LANE_OWNER)
    if ((owner & THREAD_MASK) === 0) return Promise.resolve(0)
    const reaping = this.#reap(writer, owner, Atomics.load(words, lane + LANE_THREAD) - 1)
    const failure = this.#failure as Error | undefined // of the sending itself, too: whoever waited before was told
    const keys = new Promise<number>((resolve, reject) => {
      reaping?.asked.push({ resolve, reject })
      if (reaping === undefined) reject(stopped())
      if (failure !== undefined) reject(failure)
    })
    this.poke()
    return keys
  }

  /** At most one REAP for each owner of a lane. Undefined when nothing is sent any more: nothing comes after STOP. */
  #reap(writer: number, owner: number, threadId: number): Reaping | undefined {
    if (this.#stopCalled) return undefined
    const generation = owner >>> THREAD_BITS
    const known = this.#reaping.find((each) => each.writer === writer && each.generation === generation)
    if (known !== undefined) return known
    const reaping: Reaping = { writer, generation, threadId, asked: [] }
    this.#reaping.push(reaping)
    this.#send({ make: () => controlToken(REAP, writerPayload(writer, generation)), awaited: false })
    return reaping
  }

  /** What every open writer has marked and not published. */
  stagedMarks(): StagedMark[] {
    const { words, layout } = this.#memory
    const marks: StagedMark[] = []
    for (let writer = 0; writer < layout.maxWriters; writer++) {
      const lane = laneAt(layout, writer)
      const owner = Atomics.load(words, lane + LANE_OWNER)
      const end = Atomics.load(words, lane + LANE_STAGED_END)
      if ((owner & THREAD_MASK) !== 0 && end !== Atomics.load(words, lane + LANE_PUBLISHED)) {
        marks.push({ lane, generation: owner >>> THREAD_BITS, end })
      }
    }
    return marks
  }

  isPublished({ lane, generation, end }: StagedMark): boolean {
    const { words } = this.#memory
    if (((Atomics.load(words, lane + LANE_PUBLISHED) - end) | 0) >= 0) return true
    return Atomics.load(words, lane + LANE_OWNER) >>> THREAD_BITS !== generation
  }

  /** Keys that open writers have marked and not published. */
  #stagedNow(): number {
    const { words } = this.#memory
    let keys = 0
    for (const { lane, end } of this.stagedMarks()) keys += Math.max(0, (end - Atomics.load(words, lane + LANE_PUBLISHED)) | 0)
    return keys
  }

  /** Ask every writer to publish what it has staged. True when none has anything left. */
  askToPublish(): boolean {
    const { words } = this.#memory
    const marks = this.stagedMarks()
    for (const { lane } of marks) {
      Atomics.store(words, lane + LANE_ATTN, words[lane + LANE_ATTN] + 2)
      Atomics.notify(words, lane + LANE_ATTN)
    }
    return marks.length === 0
  }

  /** No advance is taken any more; those that wait for a slot are refused. */
  close(): void {
    this.#closing = true
    for (const advance of this.#waiting.splice(0)) advance.reject(stopped())
  }

  /** Put STOP in, behind everything else. Resolves with the last epoch when all that was published is in it or in an earlier one. */
  stop(startedAt: number): Promise<SealedEpoch> {
    const { words, layout } = this.#memory
    this.#stopCalled = true
    this.#stopCalledAt = startedAt
    const finished = new Promise<SealedEpoch>((resolve, reject) => {
      this.#stopping = { resolve, reject }
    })
    this.#send({
      awaited: true,
      make: () => controlToken(STOP, 0),
      done: () => {
        for (let writer = 0; writer < layout.maxWriters; writer++) {
          const attn = laneAt(layout, writer) + LANE_ATTN
          Atomics.store(words, attn, words[attn] | 1)
          Atomics.notify(words, attn)
        }
      },
    })
    this.poke()
    return finished
  }

  /** There is no way on: nobody waits for ever. What stop() can still do without a worker it does: then `forgive` comes before it. */
  fail(reason: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = reason
    for (const advance of this.#waiting.splice(0)) advance.reject(reason)
    for (const { advance } of [...this.#sealing]) {
      this.abandon(advance)
      advance.reject(reason)
    }
    for (const outgoing of [...this.#outgoing]) {
      const { seal, fail } = outgoing
      if (seal !== undefined) {
        this.abandon(seal.advance)
        seal.advance.reject(reason)
      }
      if (fail !== undefined) {
        remove(this.#outgoing, (each) => each === outgoing)
        fail(reason)
      }
    }
    for (const { reject } of this.#restoring) reject(reason)
    for (const { waiting } of this.#draining.splice(0)) waiting.reject(reason)
    for (const { asked } of this.#reaping.splice(0)) for (const { reject } of asked) reject(reason)
    this.#stopping?.reject(reason)
    this.#stopping = undefined
    this.onFail(reason)
  }

  /** Tokens go out again: somebody has been found to handle them. */
  forgive(): void {
    this.#failure = undefined
  }

  /** Send what can be sent, see what has come to pass, and, while anything is pending, look again when the aggregator signals or a while has gone by. */
  poke(): void {
    const { words } = this.#memory
    const heard = Atomics.load(words, SIGNAL)
    this.#flush()
    this.#collectSeals()
    this.#collectRestores()
    this.#collectReaps()
    this.#collectDrains()
    if (Atomics.load(words, FAILED) !== 0) this.fail(cannotGoOn(words)) // what came to pass before it stands
    if (this.#stopping !== undefined && Atomics.load(words, FINISHED) !== 0) this.#finish(this.#stopping)
    if (!this.#isPending()) {
      clearInterval(this.#poll)
      this.#poll = undefined
      return
    }
    this.#poll ??= setInterval(() => {
      this.onPoll()
      this.poke()
    }, POLL_MS)
    // A pending call keeps the process alive; a harvest that nobody asked for, or what follows an abort, does not.
    if (this.#isAwaited()) ref(this.#poll)
    else unref(this.#poll)
    this.#listen(heard)
  }

  /** Something is on its way. */
  #isPending(): boolean {
    if (this.#failure !== undefined) return false
    const pending = [this.#waiting, this.#sealing, this.#restoring, this.#draining, this.#reaping, this.#outgoing]
    return pending.some(({ length }) => length > 0) || this.#stopping !== undefined
  }

  /** Somebody's promise hangs on it. */
  #isAwaited(): boolean {
    if (!this.#isPending()) return false
    return (
      this.#waiting.length + this.#draining.length > 0 ||
      this.#sealing.some(({ abandoned }) => !abandoned) ||
      this.#restoring.some(({ awaited }) => awaited) ||
      this.#reaping.some(({ asked }) => asked.length > 0) ||
      this.#outgoing.some(({ awaited }) => awaited) ||
      this.#stopping !== undefined
    )
  }

  #send(outgoing: Outgoing): void {
    this.#outgoing.push(outgoing)
    this.#flush()
  }

  #flush(): void {
    if (this.#failure !== undefined) return
    try {
      while (this.#outgoing.length > 0 && this.#sendFirst());
    } catch (error) {
      this.fail(error) // a corrupt ring
      return
    }
    this.onPush()
    if (this.#outgoing.length === 0 || this.#retrying) return
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
    const { make, done } = this.#outgoing[0]
    const token = make()
    if (token !== undefined && !push(this.#memory, token)) {
      this.onPush()
      if (this.#failure !== undefined || !push(this.#memory, token)) return false
    }
    this.#outgoing.shift()
    done?.()
    return true
  }

  #collectSeals(): void {
    if (this.#sealing.length === 0) return
    const cur = Atomics.load(this.#memory.words, CUR)
    if (cur !== curWord(this.epoch, this.#openSlot) && !this.#sealing.some(({ id, slot }) => cur === curWord(id, slot))) {
      this.fail(new DirtyRingError('ERR_DIRTYRING_CORRUPT', `CUR is ${cur}, which no part of the library writes there`))
      return
    }
    while (this.#sealing.length > 0) {
      const { advance, id, slot, staged, abandoned } = this.#sealing[0]
      if (epochDistance((cur >>> 4) & EPOCH_MASK, (id + 1) & EPOCH_MASK) < 0) return
      this.#sealing.shift()
      this.sealed++
      if (abandoned) continue
      const sealMs = nowMs() - advance.startedAt
      this.sealTimes.add(sealMs)
      try {
        advance.resolve(this.#handOut(id, slot, staged, sealMs))
      } catch (error) {
        advance.reject(error) // a corrupt slot
      }
    }
  }

  #handOut(id: number, slot: number, staged: number, sealMs: number): SealedEpoch {
    const epoch = new SealedEpoch(this.#memory, slot, id, staged, this)
    if ((this.#memory.words[epochAt(this.#memory.layout, slot) + SLOT_FLAGS] & FLAG_OVERFLOW) !== 0) {
      this.#overflows++
      this.#tellOverflow(id)
    }
    const { size, exact } = epoch
    this.#listeners.tell('epoch', { id, size, exact, sealMs })
    if (epoch.exact && epoch.size === 0) this.#freeSlot(slot)
    else this.#unsettled.set(epoch, slot)
    return epoch
  }

  #collectRestores(): void {
    const { words, layout } = this.#memory
    for (let i = 0; i < this.#restoring.length;) {
      const { slot, epoch, resolve } = this.#restoring[i]
      if (Atomics.load(words, epochAt(layout, slot) + SLOT_RESTORED) !== epoch + 1) {
        i++
        continue
      }
      this.#restoring.splice(i, 1)
      this.#freeSlot(slot)
      resolve()
    }
  }

  #collectReaps(): void {
    const { words, layout } = this.#memory
    for (let i = 0; i < this.#reaping.length;) {
      const { writer, generation, threadId, asked } = this.#reaping[i]
      const lane = laneAt(layout, writer)
      if (Atomics.load(words, lane + LANE_OWNER) >>> THREAD_BITS === generation) {
        i++
        continue
      }
      this.#reaping.splice(i, 1)
      const keys = words[lane + LANE_HARVESTED]
      for (const { resolve } of asked) resolve(keys)
      this.#listeners.tell('harvest', { writerId: writer, threadId, keys })
    }
  }

  /** Tell listeners, once, if the open epoch has too many keys. */
  lookForOverflow(): void {
    const { words, layout } = this.#memory
    const cur = Atomics.load(words, CUR)
    const isOpen = ((cur >>> 4) & EPOCH_MASK) === (this.epoch & EPOCH_MASK) && !this.#finished
    if (isOpen && (words[epochAt(layout, cur & 15) + SLOT_FLAGS] & FLAG_OVERFLOW) !== 0) this.#tellOverflow(this.epoch)
  }

  #tellOverflow(epoch: number): void {
    if (epoch <= this.#overflowTold) return
    this.#overflowTold = epoch
    this.#listeners.tell('overflow', { epoch, maxKeysPerEpoch: this.#memory.layout.maxKeysPerEpoch })
  }

  /** Tell listeners, once, of each advanceEpoch() that has waited so long for a slot. */
  lookForStalls(ms: number): void {
    const now = nowMs()
    for (const advance of this.#waiting) {
      const waitedMs = now - advance.startedAt
      if (advance.told === true || waitedMs <= ms) continue
      advance.told = true
      this.#listeners.tell('stall', { what: 'epoch-slot', waitedMs, unsettled: this.unsettled })
    }
  }

  #collectDrains(): void {
    const { words } = this.#memory
    if (this.#draining.length === 0) return
    Atomics.store(words, LISTENING, 1)
    while (this.#draining.length > 0 && distance(Atomics.load(words, HEAD), this.#draining[0].position) >= 0)
      this.#draining.shift()!.waiting.resolve()
  }

  #freeSlot(slot: number): void {
    const next = this.#closing ? undefined : this.#waiting.shift()
    if (next === undefined) this.#freeSlots.push(slot)
    else this.#seal(next, slot)
  }

  #finish(stopping: Waiting<SealedEpoch>): void {
    this.#stopping = undefined
    const staged = this.#stagedNow()
    this.#finished = true
    this.sealed++
    for (const { asked } of this.#reaping.splice(0)) for (const { reject } of asked) reject(stopped())
    try {
      stopping.resolve(this.#handOut(this.epoch, this.#openSlot, staged, nowMs() - this.#stopCalledAt))
    } catch (error) {
      stopping.reject(error) // a corrupt slot
    }
  }

  #listen(heard: number): void {
    if (this.#listening) return
    const waiting = typeof Atomics.waitAsync === 'function' ? Atomics.waitAsync(this.#memory.words, SIGNAL, heard, POLL_MS) : undefined
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
