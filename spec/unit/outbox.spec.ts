import { describe, expect, it } from '@jest/globals'
import { choiceAt, epochAt, PLANS, SLOT_STAMP } from '../../lib/memory/map.js'
import { push } from '../../lib/ring/ring.js'
import { controlToken, NOP, RESTORE, SEAL, STOP } from '../../lib/ring/token.js'
import {
  abandonSeal,
  canSealNow,
  closePlace,
  commitPlace,
  freeSlot,
  GIVEN_BACK,
  openOutbox,
  openPlace,
  type Outbox,
  requestReap,
  requestSeal,
  requestStop,
  restorePlace,
  sendFirst,
  takeSealed,
  type Ticket,
  TOO_LATE,
  trySeal,
  WITHDRAWN,
} from '../../lib/tracker/outbox.js'
import type { Place } from '../../lib/tracker/places.js'
import { run } from '../support/aggregators.js'
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

describe('a named consumer', () => {
  const stampOf = (o: Outbox, slot: number): number =>
    o.words[epochAt(o.memory.layout, slot) + SLOT_STAMP]

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
