import { describe, expect, it } from '@jest/globals'
import {
  choiceAt,
  CUR,
  epochAt,
  JOB,
  LANE_ATTN,
  LANE_EVERYTHING,
  LANE_STAGED_END,
  laneAt,
  LINE,
  NAMESPACES_MAX,
  PLANS,
  SLOT_COUNT,
  SLOT_NAMESPACES,
  SLOT_STAMP,
} from '../../lib/memory/map.js'
import { jobWord } from '../../lib/memory/plan.js'
import { publish } from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import {
  controlToken,
  curWord,
  EPOCH_MASK,
  NOP,
  RESTORE,
  SEAL,
  STOP,
} from '../../lib/ring/token.js'
import {
  abandonSeal,
  askToPublish,
  canSealNow,
  closePlace,
  commitPlace,
  freeSlot,
  GIVEN_BACK,
  isDirty,
  isPublished,
  lastMerged,
  lastSlotOf,
  openOutbox,
  openPlace,
  type Outbox,
  requestEverything,
  requestReap,
  requestSeal,
  requestStop,
  restorePlace,
  sendFirst,
  settleLast,
  stagedKeys,
  stagedMarks,
  takeLastOf,
  takeSealed,
  type Ticket,
  TOO_LATE,
  trySeal,
  WITHDRAWN,
} from '../../lib/tracker/outbox.js'
import type { Place } from '../../lib/tracker/places.js'
import { open as openLane, run, send as sendKeys, stageKeys } from '../support/aggregators.js'
import { type MemoryOptions, smallMemory } from '../support/steps.js'

const outboxOf = (options: MemoryOptions = {}): Outbox => openOutbox(smallMemory(options), 0)

const withConsumers = (maxConsumers: number): Outbox =>
  outboxOf({ maxConsumers, epochSlots: 2 * maxConsumers + 2 })

function send(o: Outbox): void {
  while (o.queue.length > 0) expect(sendFirst(o)).toBe(true)
}

/** Seals the open epoch, and hands it out. */
function sealed(o: Outbox, place?: Place): Ticket {
  const ticket = { place }
  requestSeal(o, ticket)
  send(o)
  run(o.memory)
  expect(takeSealed(o)?.ticket).toBe(ticket)
  return ticket
}

function fillRing(o: Outbox): void {
  while (push(o.memory, controlToken(NOP, 0)));
}

const kindsIn = (o: Outbox): number[] => o.queue.map(({ kind }) => kind)

describe('a seal', () => {
  it('that finds no room in the ring, or is withdrawn, leaves its slot free, slot 0 too', () => {
    const o = outboxOf()
    sealed(o)
    freeSlot(o, 0)
    expect([o.openSlot, o.freeSlots]).toEqual([1, [2, 0]])
    fillRing(o)
    const ticket = {}
    expect(trySeal(o, ticket)).toBe(false)
    expect([o.freeSlots, o.queue]).toEqual([[2, 0], []])
    requestSeal(o, ticket)
    expect([sendFirst(o), kindsIn(o), o.freeSlots]).toEqual([false, [SEAL], [2]])
    expect(abandonSeal(o, ticket)).toBe(WITHDRAWN)
    expect([o.freeSlots, o.queue]).toEqual([[2, 0], []])
    run(o.memory)
    expect([trySeal(o, ticket), o.openSlot, o.freeSlots]).toEqual([true, 0, [2]])
  })

  it('that is withdrawn gives its slot to the one that waits longest', () => {
    const o = outboxOf()
    fillRing(o)
    const tickets = [{}, {}, {}, {}]
    for (const ticket of tickets) requestSeal(o, ticket)
    expect([kindsIn(o), o.waiting]).toEqual([[SEAL, SEAL], tickets.slice(2)])
    expect(abandonSeal(o, tickets[0])).toBe(WITHDRAWN)
    expect(o.queue.map(({ ticket }) => ticket)).toEqual([tickets[1], tickets[2]])
    expect(abandonSeal(o, tickets[3])).toBe(WITHDRAWN)
    expect([o.waiting, o.freeSlots]).toEqual([[], []])
  })

  it('that is in the ring is given back once, and not behind STOP', () => {
    for (const isStopping of [false, true]) {
      const o = outboxOf()
      const ticket = {}
      requestSeal(o, ticket)
      send(o)
      if (isStopping) requestStop(o)
      const queue = isStopping ? [STOP] : [RESTORE]
      for (let i = 0; i < 2; i++) {
        expect(abandonSeal(o, ticket)).toBe(isStopping ? TOO_LATE : GIVEN_BACK)
        expect([kindsIn(o), o.restoring.length]).toEqual([queue, isStopping ? 0 : 1])
      }
      if (!isStopping) expect(abandonSeal(o, {})).toBe(GIVEN_BACK)
      expect([kindsIn(o), o.sealing[0].abandoned]).toEqual([queue, !isStopping])
    }
  })
})

describe('STOP', () => {
  it('has no reap behind it', () => {
    const o = outboxOf()
    const reaping = requestReap(o, 0, 1, 5)
    expect(reaping).toEqual({ writer: 0, generation: 1, threadId: 5, keys: 0 })
    expect(requestReap(o, 0, 1, 5)).toBe(reaping)
    requestStop(o)
    const queue = kindsIn(o)
    expect(requestReap(o, 0, 1, 5)).toBe(undefined)
    expect(requestReap(o, 1, 1, 5)).toBe(undefined)
    expect([kindsIn(o), o.reaping]).toEqual([queue, [reaping]])
  })
})

describe('the marks of writers', () => {
  const laneOf = ({ memory }: Outbox, writer: number): number => laneAt(memory.layout, writer)

  it('that are not published are counted, asked for, and seen when they are', () => {
    const o = outboxOf({ maxWriters: 4 })
    const { words } = o
    expect([askToPublish(o), stagedKeys(o)]).toEqual([true, 0])
    const [one, idle, two] = [0, 1, 2].map(() => openLane(o.memory))
    stageKeys(one, 1, 2)
    stageKeys(two, 3)
    words[laneOf(o, 3) + LANE_STAGED_END] = 5 // no owner
    const marks = stagedMarks(o)
    expect(marks.map(({ writer }) => writer)).toEqual([0, 2])
    expect([stagedKeys(o), askToPublish(o)]).toEqual([3, false])
    expect([0, 1, 2].map((id) => words[laneOf(o, id) + LANE_ATTN])).toEqual([2, 0, 2])
    expect(marks.map((mark) => isPublished(o, mark))).toEqual([false, false])
    stageKeys(one, 4) // publishes before, because it is asked to
    expect(marks.map((mark) => isPublished(o, mark))).toEqual([true, false])
    stageKeys(one, 5)
    expect([isPublished(o, marks[0]), stagedKeys(o)]).toEqual([true, 2])
    publish(one)
    publish(two)
    expect([marks.every((mark) => isPublished(o, mark)), askToPublish(o)]).toEqual([true, true])
    words[laneOf(o, idle.id) + LANE_EVERYTHING] = 1
    const [everything] = stagedMarks(o)
    expect([everything.writer, stagedKeys(o), askToPublish(o)]).toEqual([1, 0, false])
    expect(isPublished(o, everything)).toBe(false)
    words[laneOf(o, idle.id) + LANE_EVERYTHING] = 0
    expect(isPublished(o, everything)).toBe(true)
  })

  it.each([
    [7, 0],
    [14, LINE],
  ])('are none behind the last writer of %d, where the first epoch slot begins', (writers, gap) => {
    const o = outboxOf({ maxWriters: writers, laneCapacity: 32 })
    const { words } = o
    const slot = epochAt(o.memory.layout, 0)
    expect(slot).toBe(laneOf(o, writers) + gap)
    words[slot + SLOT_COUNT] = 2
    words[slot + SLOT_STAMP] = 1
    for (let i = 1; i <= NAMESPACES_MAX; i++) words[slot + SLOT_NAMESPACES + i] = i
    const before = words.slice(slot)
    expect([stagedMarks(o), stagedKeys(o), askToPublish(o)]).toEqual([[], 0, true])
    requestStop(o)
    send(o)
    expect(words[laneOf(o, writers - 1) + LANE_ATTN]).toBe(1)
    expect(words.slice(slot)).toEqual(before)
  })

  it('are refused when STOP goes out, and not by another token', () => {
    const o = withConsumers(2)
    const place = openPlace(o, false, true, [5])
    requestEverything(o)
    requestEverything(o, 5)
    const before = JSON.stringify([o.places, o.freeSlots])
    send(o)
    expect([o.words[laneOf(o, 0) + LANE_ATTN], JSON.stringify([o.places, o.freeSlots])]).toEqual([
      0,
      before,
    ])
    requestStop(o)
    send(o)
    expect(o.words[laneOf(o, 0) + LANE_ATTN]).toBe(1)
    expect([place.backlog >= 0, o.freeSlots.includes(place.backlog)]).toEqual([true, false])
    expect(lastSlotOf(o, place)).toBe(place.backlog)
  })
})

describe('words of the aggregator that other code has changed', () => {
  it('are not taken for an answer', () => {
    const epoch = 2 ** 19 - 3
    const memory = smallMemory({ maxConsumers: 1, epochSlots: 4, start: { epoch } })
    const o = openOutbox(memory, epoch)
    const place = openPlace(o, false)
    requestSeal(o, { place })
    send(o)
    run(o.memory)
    const { words } = o
    const [cur, job] = [words[CUR], words[JOB]]
    for (const [at, word] of [
      [CUR, curWord(o.epoch & EPOCH_MASK, o.openSlot + 1)],
      [JOB, job ^ 1],
      [JOB, jobWord((o.epoch + 1) & EPOCH_MASK, 0)],
    ]) {
      words[at] = word
      expect(() => takeSealed(o)).toThrow('which no part of the library writes there')
      words[CUR] = cur
      words[JOB] = job
    }
    words[JOB] = 0 // no plan is taken yet
    o.sealing.shift() // the cut of openPlace()
    expect(takeSealed(o)).toBe(undefined)
    words[JOB] = job
    expect(takeSealed(o)?.slot).toBe(place.held)
  })
})

describe('isDirty()', () => {
  it('does not look at what an earlier epoch has left in the slot of the open one', () => {
    const o = outboxOf()
    const lane = openLane(o.memory)
    const mark = (key: bigint): void => {
      sendKeys(lane, key)
      run(o.memory)
    }
    mark(1n)
    expect(isDirty(o)).toBe(true)
    sealed(o)
    expect(isDirty(o)).toBe(false)
    freeSlot(o, 0)
    requestSeal(o, {})
    send(o)
    expect([o.openSlot, isDirty(o)]).toEqual([0, false])
    run(o.memory)
    expect(isDirty(o)).toBe(false)
    mark(2n)
    expect(isDirty(o)).toBe(true)
  })

  it('is true when STOP is near', () => {
    const o = outboxOf()
    expect(isDirty(o)).toBe(false)
    o.isClosing = true
    expect(isDirty(o)).toBe(true)
  })

  it('sees what is given back, and what is kept, once that is merged', () => {
    const o = withConsumers(2)
    const lane = openLane(o.memory)
    const [a, b] = [openPlace(o, false), openPlace(o, false)]
    run(o.memory)
    while (takeSealed(o) !== undefined);
    const dirty = (): boolean[] => [a, b].map((place) => isDirty(o, place))
    expect(dirty()).toEqual([false, false])
    sealed(o, a)
    expect([b.backlog >= 0, ...dirty()]).toEqual([true, false, false]) // and without keys
    sealed(o, b)
    commitPlace(o, b)
    commitPlace(o, a)
    sealed(o, b)
    commitPlace(o, b)
    expect([a.backlog >= 0, ...dirty()]).toEqual([true, false, false])
    sendKeys(lane, 1n)
    run(o.memory)
    sealed(o, b)
    expect(dirty()).toEqual([true, false])
    commitPlace(o, b)
    sealed(o, a) // in its hand are the keys
    sealed(o, b)
    expect([a.backlog >= 0, ...dirty()]).toEqual([true, false, false])
    restorePlace(o, a)
    expect([a.older >= 0, ...dirty()]).toEqual([true, true, false])
  })

  it('does not look at what an earlier epoch has left where keys are to be kept', () => {
    const o = withConsumers(2)
    const [a, b] = [openPlace(o, false), openPlace(o, false, true, [0])]
    run(o.memory)
    while (takeSealed(o) !== undefined);
    const countAt = (slot: number): number => epochAt(o.memory.layout, slot) + SLOT_COUNT
    for (const slot of o.freeSlots) o.words[countAt(slot)] = 1
    requestSeal(o, { place: a })
    send(o)
    expect([o.words[countAt(b.backlog)], isDirty(o, b)]).toEqual([1, false])
    run(o.memory)
    expect([o.words[countAt(b.backlog)], isDirty(o, b)]).toEqual([0, false])
  })
})

describe('lastMerged()', () => {
  it('is the last epoch that is where its plan says', () => {
    const o = withConsumers(2)
    expect(lastMerged(o)).toBe(-1)
    const [a, b] = [openPlace(o, false), openPlace(o, false)]
    expect([o.epoch, lastMerged(o)]).toEqual([2, -1])
    run(o.memory)
    expect([o.sealing.length, lastMerged(o)]).toEqual([2, 1])
    while (takeSealed(o) !== undefined);
    expect(lastMerged(o)).toBe(1)
    sealed(o, a)
    commitPlace(o, a)
    requestSeal(o, { place: a })
    send(o)
    expect([o.epoch, b.begun, lastMerged(o)]).toEqual([4, 2, 2])
    run(o.memory)
    expect([o.sealing.length, lastMerged(o)]).toEqual([1, 3])
    o.words[JOB] = jobWord(3, 0) // one merge is left
    expect(lastMerged(o)).toBe(2)
  })
})

describe('a named consumer', () => {
  const stampOf = (o: Outbox, slot: number): number =>
    o.words[epochAt(o.memory.layout, slot) + SLOT_STAMP]

  it('that holds nothing has nothing to settle', () => {
    const o = withConsumers(1)
    const place = openPlace(o, false)
    const seen = (): string => JSON.stringify([place, o.places, o.freeSlots, o.queue])
    const before = seen()
    restorePlace(o, place)
    commitPlace(o, place)
    expect(seen()).toBe(before)
    closePlace(o, place)
    const { freeSlots } = o
    const free = [...freeSlots]
    restorePlace(o, place)
    expect([place.held, freeSlots]).toEqual([-1, free])
  })

  it('knows which cut its backlog began with, and frees it and what was given back', () => {
    const o = withConsumers(3)
    const places = [0, 1, 2].map(() => openPlace(o, false))
    run(o.memory)
    while (takeSealed(o) !== undefined);
    const backlogs = new Set<number>()
    for (let i = 0; i < 60; i++) {
      const cutter = places[(i * i + (i >> 3)) % 3]
      const before = places.map(({ backlog, begun }) => ({ backlog, begun }))
      const { epoch } = o
      sealed(o, cutter)
      for (const [k, place] of places.entries()) {
        const { backlog, begun } = before[k]
        backlogs.add(backlog)
        expect(place.begun).toBe(place === cutter || backlog < 0 ? epoch : begun)
      }
      commitPlace(o, cutter)
    }
    expect(backlogs.has(0)).toBe(true)
    const lane = openLane(o.memory)
    for (let i = 0; places[0].held !== 0; i++) {
      const [one, ...others] = places
      sendKeys(lane, BigInt(i))
      run(o.memory)
      sealed(o, one)
      if (one.held === 0) break
      expect(i).toBeLessThan(60)
      for (const each of [one, others[(i * i + (i >> 3)) % 2]]) {
        if (each !== one) sealed(o, each)
        commitPlace(o, each)
      }
    }
    const [one, other] = places
    sealed(o, other)
    restorePlace(o, one)
    expect([one.older, o.freeSlots.includes(0)]).toEqual([0, false])
    expect([isDirty(o, one), isDirty(o, other)]).toEqual([true, false])
    closePlace(o, one)
    expect([one.older, o.freeSlots.includes(0)]).toEqual([-1, true])
  })

  it('makes no cut as long as the plans of so many are not carried out', () => {
    const most = PLANS / 2
    const o = outboxOf({ maxConsumers: 10, epochSlots: 22, capacity: 32 })
    for (let i = 0; i <= most; i++) openPlace(o, false)
    expect([o.epoch, o.sealing.length, o.queue]).toEqual([most, most, []])
    const place = o.places[0]
    requestSeal(o, { place })
    expect(sendFirst(o)).toBe(false)
    run(o.memory)
    expect(takeSealed(o)?.id).toBe(0)
    expect([sendFirst(o), o.epoch]).toEqual([true, most + 1])
  })

  it('makes no cut without a free slot, and keeps its SEAL until there is one', () => {
    const o = withConsumers(1)
    const free = o.freeSlots.splice(0)
    const place = openPlace(o, false) // from the open epoch on, because no cut can be made
    expect([o.places, o.queue, o.epoch]).toEqual([[place], [], 0])
    const ticket = { place }
    requestSeal(o, ticket)
    for (let i = 0; i < 2; i++)
      expect([sendFirst(o), kindsIn(o), o.epoch]).toEqual([false, [SEAL], 0])
    o.freeSlots.push(...free)
    expect([sendFirst(o), kindsIn(o), o.epoch]).toEqual([true, [], 1])
    run(o.memory)
    expect(takeSealed(o)?.ticket).toBe(ticket)
  })

  it('keeps a last epoch that another one has settled', () => {
    const o = withConsumers(2)
    const [a, b] = [openPlace(o, true), openPlace(o, true)]
    requestStop(o)
    send(o)
    run(o.memory)
    const [slot, same] = [takeLastOf(o, a), takeLastOf(o, b)]
    expect([slot, same]).toEqual([0, 0])
    settleLast(o, slot)
    expect(stampOf(o, slot)).not.toBe(0)
    settleLast(o, slot)
    expect(stampOf(o, slot)).toBe(0)
  })

  it('that holds slot 0 has no second epoch, and frees the slot when it settles', () => {
    for (const [settle, isFresh] of [
      [commitPlace, false],
      [restorePlace, true],
    ] as const) {
      const o = withConsumers(1)
      const place = openPlace(o, true)
      expect(canSealNow(o, place)).toBe(true)
      sealed(o, place)
      expect([place.held, stampOf(o, 0) !== 0]).toEqual([0, true])
      expect([canSealNow(o, place), trySeal(o, { place })]).toEqual([false, false])
      const waiting = { place }
      requestSeal(o, waiting)
      expect([o.waiting, o.queue]).toEqual([[waiting], []])
      settle(o, place)
      expect([place.held, place.isFresh, stampOf(o, 0)]).toEqual([-1, isFresh, 0])
      expect([o.waiting, kindsIn(o), o.freeSlots.includes(0)]).toEqual([[], [SEAL], true])
    }
  })

  it('that closes frees its backlog, and what it holds once that is settled', () => {
    for (const settle of [commitPlace, restorePlace]) {
      const o = withConsumers(2)
      const [a, b] = [openPlace(o, true), openPlace(o, true)]
      sealed(o, a)
      sealed(o, b)
      const { held, backlog } = a
      expect([held, backlog >= 0, o.freeSlots.includes(backlog)]).toEqual([0, true, false])
      closePlace(o, a)
      closePlace(o, a)
      expect([a.held, a.backlog, o.freeSlots.includes(backlog)]).toEqual([0, -1, true])
      expect([stampOf(o, 0) !== 0, o.places, o.freeSlots.includes(0)]).toEqual([
        true,
        [a, b],
        false,
      ])
      settle(o, a)
      expect([stampOf(o, 0), o.places, o.freeSlots.includes(0)]).toEqual([0, [b], true])
      commitPlace(o, b)
      expect([...o.freeSlots, o.openSlot].sort()).toEqual([0, 1, 2, 3, 4, 5])
    }
  })

  it('that knows its place begins behind a cut, if that can be made now', () => {
    const o = withConsumers(4)
    openPlace(o, true)
    expect(o.epoch).toBe(0)
    openPlace(o, false)
    expect([o.epoch, o.queue]).toEqual([1, []])
    fillRing(o)
    openPlace(o, false)
    expect([o.epoch, o.queue, o.places.length]).toEqual([1, [], 3])
    run(o.memory)
    o.isClosing = true
    openPlace(o, false)
    expect([o.epoch, o.queue, o.places.length]).toEqual([1, [], 4])
  })

  it('does not reuse the number of namespaces that a plan may name', () => {
    const o = withConsumers(3)
    const open = (namespace: number): Place => openPlace(o, false, true, [namespace])
    const [one, two] = [open(5), open(6)]
    expect([one.choice, two.choice]).toEqual([0, 1])
    closePlace(o, two) // no plan has named it
    const three = open(7)
    expect([three.choice, o.words[choiceAt(1) + 2]]).toEqual([1, 7])
    run(o.memory)
    expect(one.isPlanned).toBe(true)
    closePlace(o, one)
    const last = o.epoch
    for (const [epoch, choice] of [
      [last, 2],
      [last + PLANS / 2 + 1, 2],
      [last + PLANS / 2 + 2, 0],
    ]) {
      o.epoch = epoch
      const place = openPlace(o, false, false, [8])
      expect(place.choice).toBe(choice)
      closePlace(o, place)
    }
  })
})
