import { corruptCur, corruptJob } from '../errors.js'
import {
  DIRTY_WANTED,
  epochAt,
  FINISHED,
  HEAD,
  JOB,
  LANE_ATTN,
  LANE_EVERYTHING,
  LANE_HARVESTED,
  LANE_OWNER,
  LANE_PUBLISHED,
  LANE_STAGED_END,
  laneAt,
  LISTENING,
  PLANS,
  type SharedWords,
  SLOT_COUNT,
  SLOT_FLAGS,
  SLOT_RESTORED,
  SLOT_STAMP,
  SLOT_TEXT_END,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { epochOfJob, indexOfJob, isJob, readPlan, storeChoice, storePlan } from '../memory/plan.js'
import { stampOf } from '../memory/slot.js'
import { push, settledTail } from '../ring/ring.js'
import {
  type ControlKind,
  controlToken,
  curWord,
  distance,
  EPOCH_MASK,
  epochDistance,
  epochOfCur,
  epochPayload,
  EVERYTHING,
  generationOf,
  isOwned,
  readCur,
  REAP,
  RESTORE,
  SEAL,
  STOP,
  writerPayload,
} from '../ring/token.js'
import { newPlace, type Place, planCut, planLast, type PlannedCut } from './places.js'

/** The caller's own: the object that waits for the outcome. */
export interface Ticket {
  /** The named consumer that a seal is for. */
  readonly place?: Place | undefined
}

/**
 * The tracker thread's side of the protocol: the control tokens that go out in one order, and the
 * meaning of the aggregator's answers in shared memory. Only this thread sends SEAL, RESTORE, REAP,
 * EVERYTHING and STOP. These are plain functions over a plain record, so that the checker runs them
 * as they are. sender.ts adds the retries, pending/ the promises, control.ts the timers.
 */
export interface Outbox {
  readonly memory: Memory
  readonly words: SharedWords
  /** Number of the open epoch. */
  epoch: number
  /** The epoch slot of the open epoch. */
  openSlot: number
  /**
   * Free epoch slots. The slot freed last is used next, because its pages are in memory already.
   */
  readonly freeSlots: number[]
  /** Control tokens that are not yet in the ring, oldest first. They never overtake each other. */
  readonly queue: Outgoing[]
  /** Tickets of the seals that wait for a free epoch slot, oldest first. */
  readonly waiting: Ticket[]
  /** Of each named consumer. Without one, the tracker's own epochs take any slot. */
  readonly places: Place[]
  /** Of each choice of namespaces, the epoch up to which a plan may have named it. */
  readonly chosenUntil: number[]
  /** Seals that are in the ring, oldest first. */
  readonly sealing: Sealing[]
  /** Restores that are not done. */
  readonly restoring: Restoring[]
  /** Reaps that are not done. */
  readonly reaping: Reaping[]
  /** Drains that have a position, lowest first. */
  readonly draining: Draining[]
  /** The slots of last epochs that consumers were handed and have not settled. */
  readonly lasts: number[]
  /** requestEverything() was called. */
  isEverythingMarked: boolean
  /** A slot that becomes free goes to no waiting seal any more. */
  isClosing: boolean
  /** STOP is queued, or in the ring: no token comes behind it. */
  isStopping: boolean
}

/** A control token that is not yet in the ring. Its kind says which of the fields count. */
export interface Outgoing {
  /** A token's kind, or DRAIN. */
  readonly kind: ControlKind | typeof DRAIN
  readonly slot: number
  /** Of a RESTORE: the epoch, modulo 2^19. */
  readonly epoch: number
  readonly writer: number
  readonly generation: number
  /** Of an EVERYTHING: 0, or the number of a namespace + 1. */
  readonly what: number
  readonly ticket: Ticket | undefined
}

/** A seal in the ring: it seals epoch `id` in slot `sealed`. What is handed out is in `slot`. */
export interface Sealing {
  /** Undefined: no caller waits for it. */
  readonly ticket: Ticket | undefined
  readonly id: number
  readonly sealed: number
  readonly slot: number
  /** Merges that the hand-out waits for. */
  readonly own: number
  /** Keys that writers had staged and not published when it went in. */
  staged: number
  /** Its caller was aborted: the keys go back into the open epoch. */
  abandoned: boolean
}

/** A RESTORE. It is done when the epoch slot names this epoch in SLOT_RESTORED. */
export interface Restoring {
  readonly slot: number
  /** Modulo 2^19. */
  readonly epoch: number
  readonly ticket: object | undefined
}

/** A REAP. It is done when the lane has another generation. */
export interface Reaping {
  readonly writer: number
  readonly generation: number
  readonly threadId: number
  /** Set once it is done: the keys that were harvested. */
  keys: number
}

/** A drain. It is done when the aggregator's head has come to the position. */
export interface Draining {
  readonly position: number
  readonly ticket: object
}

/**
 * The kind of an Outgoing that is not a token. It notes where the ring's tail is, behind everything
 * that was queued before it.
 */
export const DRAIN = 0

export function openOutbox(memory: Memory, firstEpoch: number): Outbox {
  const freeSlots: number[] = []
  for (let slot = memory.layout.epochSlots - 1; slot > 0; slot--) freeSlots.push(slot)
  return {
    memory,
    words: memory.words,
    epoch: firstEpoch,
    openSlot: 0,
    freeSlots,
    queue: [],
    waiting: [],
    places: [],
    chosenUntil: [],
    sealing: [],
    restoring: [],
    reaping: [],
    draining: [],
    lasts: [],
    isEverythingMarked: false,
    isClosing: false,
    isStopping: false,
  }
}

function outgoing(kind: ControlKind | typeof DRAIN, fields: Partial<Outgoing>): Outgoing {
  return {
    kind,
    slot: 0,
    epoch: 0,
    writer: 0,
    generation: 0,
    what: 0,
    ticket: undefined,
    ...fields,
  }
}

// ------------------------------------------------------------------------------- what is asked for

/** Cuts in flight at once, so that a plan is not overwritten before it is carried out. */
const CUTS_MAX = PLANS / 2

/** Whether requestSeal() puts its SEAL into the queue at once. */
export function canSealNow(o: Outbox, place?: Place): boolean {
  if (place === undefined) return o.waiting.length === 0 && o.freeSlots.length > 0
  return isReady(o, place) && !o.waiting.some((ticket) => ticket.place === place)
}

/** Whether a consumer has settled its last epoch, and has no cut that is not yet answered. */
function isReady(o: Outbox, place: Place): boolean {
  const isIts = ({ ticket }: { ticket: Ticket | undefined }): boolean => ticket?.place === place
  return place.held < 0 && !o.queue.some(isIts) && !o.sealing.some(isIts)
}

/** Seals the open epoch when a slot is free, in the order of the calls. */
export function requestSeal(o: Outbox, ticket: Ticket): void {
  if (!canSealNow(o, ticket.place)) o.waiting.push(ticket)
  else queueSeal(o, ticket)
}

/** A named consumer's slots are found when the SEAL gets in, because others may cut before it. */
function queueSeal(o: Outbox, ticket: Ticket): void {
  const slot = ticket.place === undefined ? o.freeSlots.pop()! : -1
  o.queue.push(outgoing(SEAL, { slot, ticket }))
}

/**
 * Makes the cut now. Returns false and leaves no trace if another token waits, if no epoch slot is
 * free, or if the ring is full.
 */
export function trySeal(o: Outbox, ticket: Ticket): boolean {
  if (o.queue.length > 0 || o.isClosing || !canSealNow(o, ticket.place)) return false
  queueSeal(o, ticket)
  if (sendFirst(o)) return true
  const { slot } = o.queue.pop()!
  if (slot >= 0) o.freeSlots.push(slot)
  return false
}

/** The seal was withdrawn before it was made: the epoch stays open. */
export const WITHDRAWN = 0
/** The cut was made: a RESTORE takes its keys back into the open epoch. */
export const GIVEN_BACK = 1
/** The cut was made, and STOP is queued: no later epoch can take the keys. */
export const TOO_LATE = 2

export type Abandoned = typeof WITHDRAWN | typeof GIVEN_BACK | typeof TOO_LATE

/** The caller of a seal was aborted. */
export function abandonSeal(o: Outbox, ticket: Ticket): Abandoned {
  const waiting = o.waiting.indexOf(ticket)
  if (waiting >= 0) {
    o.waiting.splice(waiting, 1)
    return WITHDRAWN
  }
  const queued = o.queue.findIndex((each) => each.ticket === ticket)
  if (queued >= 0) {
    const { slot } = o.queue.splice(queued, 1)[0]
    if (slot >= 0) freeSlot(o, slot)
    else admitWaiting(o)
    return WITHDRAWN
  }
  if (o.isStopping) return TOO_LATE
  const sealing = o.sealing.find((each) => each.ticket === ticket)
  if (sealing !== undefined && !sealing.abandoned) {
    sealing.abandoned = true
    if (ticket.place === undefined) requestRestore(o, sealing.slot, sealing.id, undefined)
    else restorePlace(o, ticket.place)
  }
  return GIVEN_BACK
}

/** Gives a sealed epoch's keys back. An epoch that is sealed after this call has them. */
export function requestRestore(
  o: Outbox,
  slot: number,
  id: number,
  ticket: object | undefined,
): void {
  const epoch = id & EPOCH_MASK
  o.restoring.push({ slot, epoch, ticket })
  o.queue.push(outgoing(RESTORE, { slot, epoch, ticket }))
}

export function requestEverything(o: Outbox, namespace?: number): void {
  o.isEverythingMarked = true
  o.queue.push(outgoing(EVERYTHING, { what: namespace === undefined ? 0 : namespace + 1 }))
}

export function requestDrain(o: Outbox, ticket: object): void {
  o.queue.push(outgoing(DRAIN, { ticket }))
}

/**
 * Harvests and frees a lane, if its owner is still of that generation. One owner of a lane gets one
 * REAP at most: a second request returns the first one's record. Returns undefined behind STOP.
 */
export function requestReap(
  o: Outbox,
  writer: number,
  generation: number,
  threadId: number,
): Reaping | undefined {
  if (o.isStopping) return undefined
  const known = o.reaping.find((each) => each.writer === writer && each.generation === generation)
  if (known !== undefined) return known
  const reaping: Reaping = { writer, generation, threadId, keys: 0 }
  o.reaping.push(reaping)
  o.queue.push(outgoing(REAP, { writer, generation }))
  return reaping
}

/** Puts STOP behind everything else. */
export function requestStop(o: Outbox): void {
  o.isStopping = true
  o.queue.push(outgoing(STOP, {}))
}

/**
 * Frees an epoch slot whose keys are no longer needed: for the seal that waits longest, if any.
 *
 * Takes the stamp back first, because from here on the slot may be used again. It is an exchange,
 * which sees the checks that readers made before: so what they had copied until then is ordered
 * before all that is written into the slot later.
 */
export function freeSlot(o: Outbox, slot: number): void {
  takeStampBack(o, slot)
  const hasConsumers = o.memory.layout.maxConsumers > 0
  const next = o.isClosing || hasConsumers ? undefined : o.waiting.shift()
  if (next === undefined) o.freeSlots.push(slot)
  else o.queue.push(outgoing(SEAL, { slot, ticket: next }))
}

function takeStampBack(o: Outbox, slot: number): void {
  Atomics.exchange(o.words, epochAt(o.memory.layout, slot) + SLOT_STAMP, 0)
}

// ------------------------------------------------------------------------------- named consumers

/**
 * Opens a place. If `isCut`, makes a cut before, so that nothing older is in the place's range. If
 * that can't be done now, and without `isCut`, the range begins with the open epoch: then it has
 * some keys too many, and none too few.
 */
export function openPlace(
  o: Outbox,
  isFresh: boolean,
  isCut = !isFresh,
  namespaces?: readonly number[],
): Place {
  const choice = namespaces === undefined ? -1 : chooseNamespaces(o, namespaces)
  const place = newPlace(isFresh, choice, namespaces)
  if (isCut && o.queue.length === 0 && !o.isClosing) {
    const seal = outgoing(SEAL, { slot: -1 })
    o.queue.push(seal)
    try {
      sendFirst(o)
    } finally {
      if (o.queue[0] === seal) o.queue.pop() // the ring is full, or corrupt
    }
  }
  o.places.push(place)
  return place
}

/**
 * Stores the namespaces that a consumer wants, under a number that no plan names which is still to be
 * carried out. There are more numbers than places and cuts in flight together.
 */
function chooseNamespaces(o: Outbox, namespaces: readonly number[]): number {
  const isTaken = (choice: number): boolean => o.places.some((place) => place.choice === choice)
  let choice = 0
  while (isTaken(choice) || (o.chosenUntil[choice] ?? -Infinity) > o.epoch - CUTS_MAX - 2) choice++
  storeChoice(o.words, choice, namespaces)
  return choice
}

/** The consumer has dealt with what it holds. */
export function commitPlace(o: Outbox, place: Place): void {
  const { held } = place
  place.held = -1
  place.isFresh = false
  if (held >= 0) freeSlot(o, held)
  settled(o, place)
}

/**
 * The consumer's next epoch has the keys of the one that it holds. From here on its slot may change,
 * so readers lose it at once.
 */
export function restorePlace(o: Outbox, place: Place): void {
  const { held } = place
  place.held = -1
  if (held < 0) return
  if (place.isClosed) freeSlot(o, held)
  else if (place.isFresh) {
    freeSlot(o, held)
    dropBacklog(o, place) // its next epoch says that everything has changed
  } else {
    takeStampBack(o, held)
    if (place.backlog < 0) place.backlog = held
    else place.older = held
  }
  settled(o, place)
}

/** Ends a place. What it holds stays readable until it is settled. */
export function closePlace(o: Outbox, place: Place): void {
  if (place.isClosed) return
  place.isClosed = true
  dropBacklog(o, place)
  settled(o, place)
}

function dropBacklog(o: Outbox, place: Place): void {
  const { backlog, older } = place
  place.backlog = -1
  place.older = -1
  if (backlog >= 0) freeSlot(o, backlog)
  if (older >= 0) freeSlot(o, older)
}

function settled(o: Outbox, place: Place): void {
  if (place.isClosed && place.held < 0 && o.places.includes(place)) {
    o.places.splice(o.places.indexOf(place), 1)
    if (place.choice >= 0 && place.isPlanned) o.chosenUntil[place.choice] = o.epoch
  }
  admitWaiting(o)
}

/** Queues the seals of consumers that waited until theirs was settled. */
function admitWaiting(o: Outbox): void {
  if (o.isClosing) return
  for (let i = 0; i < o.waiting.length; i++) {
    const ticket = o.waiting[i]
    if (ticket.place === undefined || !isReady(o, ticket.place)) continue
    o.waiting.splice(i--, 1)
    queueSeal(o, ticket)
  }
}

/** The slot of a place's last epoch, once the aggregator has executed STOP. */
export function lastSlotOf(o: Outbox, place: Place): number {
  return place.backlog >= 0 ? place.backlog : o.openSlot
}

/** Takes the slot of a place's last epoch for its hand-out. Several places may have the same one. */
export function takeLastOf(o: Outbox, place: Place): number {
  const slot = lastSlotOf(o, place)
  place.backlog = -1 // closing the place leaves the epoch readable
  o.lasts.push(slot)
  stamp(o, slot, o.epoch)
  return slot
}

/** A consumer has dealt with its last epoch. No later epoch uses the slot. */
export function settleLast(o: Outbox, slot: number): void {
  o.lasts.splice(o.lasts.indexOf(slot), 1)
  if (!o.lasts.includes(slot)) takeStampBack(o, slot)
}

// ----------------------------------------------------------------------------------- what goes out

/**
 * Sends the oldest control token. Returns false when the ring is full. A seal takes its epoch's
 * number only here, because one that is aborted before uses none.
 */
export function sendFirst(o: Outbox): boolean {
  const { memory } = o
  const { kind, slot, epoch, writer, generation, what, ticket } = o.queue[0]
  if (kind === DRAIN) {
    o.draining.push({ position: settledTail(memory), ticket: ticket! })
  } else if (kind === SEAL) {
    if (!(slot < 0 ? sendPlanned(o, ticket) : sendSeal(o, slot, ticket, o.openSlot, 0)))
      return false
  } else if (kind === RESTORE) {
    if (!push(memory, controlToken(RESTORE, epochPayload(slot, epoch)))) return false
  } else if (kind === REAP) {
    if (!push(memory, controlToken(REAP, writerPayload(writer, generation)))) return false
  } else {
    if (kind === STOP) refuseMarks(o)
    const isPlanned = kind === STOP && memory.layout.maxConsumers > 0
    const plan = isPlanned ? planLast(o.places, o.openSlot, o.freeSlots) : undefined
    if (plan !== undefined) storePlan(o.words, o.epoch & EPOCH_MASK, plan)
    if (!push(memory, controlToken(kind, what))) return false
    if (plan !== undefined) takePlan(o, plan)
  }
  o.queue.shift()
  return true
}

function sendSeal(
  o: Outbox,
  open: number,
  ticket: Ticket | undefined,
  promised: number,
  own: number,
): boolean {
  if (!push(o.memory, controlToken(SEAL, epochPayload(open, o.epoch + 1)))) return false
  const abandoned = ticket === undefined
  const sealed = o.openSlot
  o.sealing.push({ ticket, id: o.epoch, sealed, slot: promised, own, staged: 0, abandoned })
  o.openSlot = open
  o.epoch++
  return true
}

/** Sends a SEAL with the plan for the epoch that it seals. */
function sendPlanned(o: Outbox, ticket: Ticket | undefined): boolean {
  if (o.sealing.length >= CUTS_MAX) return false
  const place = ticket?.place
  const plan = planCut(o.places, o.openSlot, o.freeSlots, place)
  if (plan === undefined) return false
  const id = o.epoch
  storePlan(o.words, id & EPOCH_MASK, plan)
  if (!sendSeal(o, plan.open, ticket, plan.promised, plan.own)) return false
  if (place !== undefined) {
    place.held = plan.promised
    place.begun = id
    place.backlog = -1
    place.older = -1
  }
  for (const [other] of plan.backlogs) if (other.backlog < 0) other.begun = id
  for (const each of o.places) each.isPlanned = true
  takePlan(o, plan)
  return true
}

/** Where the backlogs are once the token of a plan is in the ring. */
function takePlan(o: Outbox, { backlogs, free }: Pick<PlannedCut, 'backlogs' | 'free'>): void {
  for (const [place, backlog] of backlogs) place.backlog = backlog
  o.freeSlots.splice(0, o.freeSlots.length, ...free)
}

/** Where a writer's lane ended at one moment, for isPublished(). */
export interface StagedMark {
  readonly writer: number
  readonly lane: number
  readonly generation: number
  readonly end: number
}

/** What every open writer has marked and not published. */
export function stagedMarks(o: Outbox): StagedMark[] {
  const { words } = o
  const { layout } = o.memory
  const marks: StagedMark[] = []
  for (let writer = 0; writer < layout.maxWriters; writer++) {
    const lane = laneAt(layout, writer)
    const owner = Atomics.load(words, lane + LANE_OWNER)
    if (!isOwned(owner)) continue
    const end = Atomics.load(words, lane + LANE_STAGED_END)
    if (
      end === Atomics.load(words, lane + LANE_PUBLISHED) &&
      Atomics.load(words, lane + LANE_EVERYTHING) === 0
    )
      continue
    marks.push({ writer, lane, generation: generationOf(owner), end })
  }
  return marks
}

/** Whether what was staged at that moment is published, or harvested. */
export function isPublished(o: Outbox, mark: StagedMark): boolean {
  const { words } = o
  const { lane, generation, end } = mark
  const isInRing =
    ((Atomics.load(words, lane + LANE_PUBLISHED) - end) | 0) >= 0 &&
    Atomics.load(words, lane + LANE_EVERYTHING) === 0
  return isInRing || generationOf(Atomics.load(words, lane + LANE_OWNER)) !== generation
}

/** Keys that open writers have marked and not published. */
export function stagedKeys(o: Outbox): number {
  const { words } = o
  const marks = stagedMarks(o)
  let keys = 0
  for (let i = 0; i < marks.length; i++) {
    keys += Math.max(0, (marks[i].end - Atomics.load(words, marks[i].lane + LANE_PUBLISHED)) | 0)
  }
  return keys
}

/** Asks each writer that has staged keys to publish them. Returns true when none has any. */
export function askToPublish(o: Outbox): boolean {
  const { words } = o
  const marks = stagedMarks(o)
  for (let i = 0; i < marks.length; i++) {
    const attn = marks[i].lane + LANE_ATTN
    Atomics.store(words, attn, words[attn] + 2)
    Atomics.notify(words, attn)
  }
  return marks.length === 0
}

/**
 * From here on no mark is taken. Call this before STOP goes out: each mark that was taken is then
 * staged before the aggregator's last look at the lanes, and that look finds what is left. A store
 * takes a while to reach another core; the caller waits for that, see docs/memory-model.md.
 */
export function refuseMarks(o: Outbox): void {
  const { words } = o
  const { layout } = o.memory
  for (let writer = 0; writer < layout.maxWriters; writer++) {
    const attn = laneAt(layout, writer) + LANE_ATTN
    if ((words[attn] & 1) !== 0) continue
    Atomics.store(words, attn, words[attn] | 1)
    Atomics.notify(words, attn)
  }
}

// --------------------------------------------------------------------------- what has come to pass

/**
 * Takes the oldest seal in the ring, once the aggregator has executed it. Its epoch may be read, by
 * other threads too.
 */
export function takeSealed(o: Outbox): Sealing | undefined {
  if (o.sealing.length === 0) return undefined
  const cur = readCur(o.words)
  if (
    cur !== curWord(o.epoch, o.openSlot) &&
    !o.sealing.some(({ id, sealed }) => cur === curWord(id, sealed))
  )
    throw corruptCur(cur)
  if (epochDistance(epochOfCur(cur), (o.sealing[0].id + 1) & EPOCH_MASK) < 0) return undefined
  if (o.memory.layout.maxConsumers > 0 && !isMerged(o, o.sealing[0])) return undefined
  const sealing = o.sealing.shift()!
  if (sealing.abandoned) admitWaiting(o)
  else stamp(o, sealing.slot, sealing.id)
  return sealing
}

/** Whether the merges are made that a cut's hand-out waits for. */
function isMerged(o: Outbox, { id, own }: Sealing): boolean {
  const job = readJob(o)
  if (job === 0) return false
  const beyond = epochDistance(epochOfJob(job), id & EPOCH_MASK)
  return beyond > 0 || (beyond === 0 && indexOfJob(job) >= own)
}

/** The plan that the aggregator took last, and how many of its merges are made; 0: none yet. */
function readJob(o: Outbox): number {
  const job = Atomics.load(o.words, JOB)
  if (job === 0) return 0
  const isToCome = epochDistance(epochOfJob(job), o.epoch & EPOCH_MASK) > 0
  if (!isJob(job) || isToCome) throw corruptJob(job)
  return job
}

/** From here on other threads may read the epoch that is sealed in the slot. */
function stamp(o: Outbox, slot: number, id: number): void {
  Atomics.store(o.words, epochAt(o.memory.layout, slot) + SLOT_STAMP, stampOf(id))
}

/** Takes a restore that is done, and frees its slot. */
export function takeRestored(o: Outbox): Restoring | undefined {
  const { words } = o
  const { layout } = o.memory
  for (let i = 0; i < o.restoring.length; i++) {
    const restoring = o.restoring[i]
    if (
      Atomics.load(words, epochAt(layout, restoring.slot) + SLOT_RESTORED) !==
      restoring.epoch + 1
    )
      continue
    o.restoring.splice(i, 1)
    freeSlot(o, restoring.slot)
    return restoring
  }
  return undefined
}

/** Takes a reap that is done. */
export function takeReaped(o: Outbox): Reaping | undefined {
  const { words } = o
  const { layout } = o.memory
  for (let i = 0; i < o.reaping.length; i++) {
    const reaping = o.reaping[i]
    const lane = laneAt(layout, reaping.writer)
    if (generationOf(Atomics.load(words, lane + LANE_OWNER)) === reaping.generation) continue
    o.reaping.splice(i, 1)
    reaping.keys = words[lane + LANE_HARVESTED]
    return reaping
  }
  return undefined
}

/** Takes the oldest drain, once it is done. */
export function takeDrained(o: Outbox): Draining | undefined {
  const { words } = o
  if (o.draining.length === 0) return undefined
  Atomics.store(words, LISTENING, 1)
  return distance(Atomics.load(words, HEAD), o.draining[0].position) >= 0
    ? o.draining.shift()
    : undefined
}

/**
 * Asks the aggregator to signal when the open epoch begins to have something, then looks whether
 * there is something already. In this order, because a key that comes between the two is either
 * seen or told (Dekker's handshake).
 */
export function wantDirty(o: Outbox, place?: Place): boolean {
  Atomics.store(o.words, DIRTY_WANTED, 1)
  return isDirty(o, place)
}

/** No loop sleeps any more, so the aggregator need not tell. */
export function forgetDirty(o: Outbox): void {
  Atomics.store(o.words, DIRTY_WANTED, 0)
}

/**
 * Whether a cut would give something, or STOP is near. Without a place: a cut by the tracker's own
 * reader. False while the aggregator still has cuts before it: its signal follows.
 */
export function isDirty(o: Outbox, place?: Place): boolean {
  if (o.isClosing) return true
  if (place !== undefined && (place.isFresh || isBacklogDirty(o, place))) return true
  // Before the cut is executed, the slot holds what an earlier epoch left there.
  return readCur(o.words) === curWord(o.epoch, o.openSlot) && hasAny(o, o.openSlot)
}

/** A backlog only gains keys, so it can be read while more is merged into it. */
function isBacklogDirty(o: Outbox, { backlog, older, begun }: Place): boolean {
  if (backlog < 0 || lastMerged(o) < begun) return false
  return hasAny(o, backlog) || (older >= 0 && hasAny(o, older))
}

function hasAny(o: Outbox, slot: number): boolean {
  const { words } = o
  const at = epochAt(o.memory.layout, slot)
  return (
    Atomics.load(words, at + SLOT_COUNT) !== 0 ||
    Atomics.load(words, at + SLOT_TEXT_END) !== 0 ||
    Atomics.load(words, at + SLOT_FLAGS) !== 0
  )
}

/** The last epoch that is sealed and merged wherever its plan says; or one before it. */
export function lastMerged(o: Outbox): number {
  const { words } = o
  const job = readJob(o)
  if (job === 0) return (o.sealing.length > 0 ? o.sealing[0].id : o.epoch) - 1
  const id = o.epoch - epochDistance(o.epoch & EPOCH_MASK, epochOfJob(job))
  return indexOfJob(job) >= readPlan(words, epochOfJob(job)).merges.length ? id : id - 1
}

/** Whether the aggregator has executed STOP. The open epoch is then the last one. */
export function isFinished(o: Outbox): boolean {
  return Atomics.load(o.words, FINISHED) !== 0
}

/** Takes the last epoch, once the aggregator has executed STOP: its number and its slot. */
export function takeLast(o: Outbox): { readonly id: number; readonly slot: number } | undefined {
  if (!isFinished(o)) return undefined
  stamp(o, o.openSlot, o.epoch)
  return { id: o.epoch, slot: o.openSlot }
}
