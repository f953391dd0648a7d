import { afterEach, describe, expect, it } from '@jest/globals'
import type { SealedEpoch } from '../../lib/index.js'
import { FAILED, FINISHED } from '../../lib/memory/map.js'
import { publish } from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import { controlToken, NOP } from '../../lib/ring/token.js'
import type { Waiting } from '../../lib/signal.js'
import { nowMs } from '../../lib/timers.js'
import { Control } from '../../lib/tracker/control.js'
import { Listeners } from '../../lib/tracker/events.js'
import { closePlace, openPlace, requestStop } from '../../lib/tracker/outbox.js'
import type { Advance } from '../../lib/tracker/pending/advances.js'
import type { PendingKind } from '../../lib/tracker/pending/kind.js'
import { removeFirst } from '../../lib/tracker/pending/list.js'
import type { Place } from '../../lib/tracker/places.js'
import { open as openLane, run, stageKeys } from '../support/aggregators.js'
import { rejected, turns } from '../support/in-process.js'
import { type MemoryOptions, smallMemory } from '../support/steps.js'

const ERROR = new Error('gone')

const controls: Control[] = []

afterEach(() => {
  for (const control of controls.splice(0)) {
    control.fail(ERROR)
    control.poke() // ends its timer
  }
})

function controlOf(options: MemoryOptions = {}): Control {
  const control = new Control(smallMemory(options), new Listeners())
  controls.push(control)
  return control
}

function fillRing({ memory }: Control): void {
  while (push(memory, controlToken(NOP, 0)));
}

/** The aggregator does all, and the tracker looks. */
function settle(control: Control): void {
  for (let i = 0; i < 3; i++) {
    run(control.memory)
    control.poke()
  }
}

/** A call that notes what becomes of it. */
function call(): Waiting<unknown> & { got: unknown[] } {
  const got: unknown[] = []
  return { resolve: (value) => got.push(value ?? 'done'), reject: (error) => got.push(error), got }
}

type Call = Advance & { got: unknown[] }

function advanceOf(control: Control, place?: Place, startedAt = nowMs()): Call {
  const epochs = control.openHandedOut(-1, place)
  return { ...call(), startedAt, epochs, place }
}

const stateOf = (kind: PendingKind): unknown[] => [
  kind.isPending,
  kind.isAwaited,
  kind.waits().map(({ call, wait, forWhat }) => [call, wait, forWhat?.()]),
]

describe('calls of advanceEpoch()', () => {
  const name = 'advanceEpoch()'

  it('wait for the ring, for the aggregator, or for a slot, until they are withdrawn', () => {
    const control = controlOf()
    const { advances, counts } = control
    expect(stateOf(advances)).toEqual([false, false, []])
    fillRing(control)
    const [a, b, c] = [0, 1, 2].map(() => advanceOf(control))
    advances.request(a)
    expect(stateOf(advances)).toEqual([true, true, [[name, a, undefined]]])
    expect([advances.abandon(a), counts.restored]).toEqual([true, 0])
    expect(stateOf(advances)).toEqual([false, false, []])

    settle(control)
    for (const each of [a, b, c]) advances.request(each)
    expect(advances.waits().map(({ wait }) => wait)).toEqual([c, a, b])
    expect(advances.waits()[0].forWhat!()).toContain('slot')
    expect([advances.abandon(c), counts.restored]).toEqual([true, 0])
    expect(stateOf(advances)).toEqual([
      true,
      true,
      [
        [name, a, undefined],
        [name, b, undefined],
      ],
    ])
    for (const each of [a, a, b]) expect(advances.abandon(each)).toBe(true)
    expect([counts.restored, ...stateOf(advances)]).toEqual([2, true, false, []])
    settle(control)
    expect([counts.sealed, a.got, ...stateOf(advances)]).toEqual([2, [], false, false, []])

    advances.request(c)
    expect(advances.isAwaited).toBe(true)
    settle(control)
    expect([c.got.length, counts.sealed, ...stateOf(advances)]).toEqual([1, 3, false, false, []])
  })

  it('are answered before the call returns if the aggregator is on this thread', () => {
    const control = controlOf()
    control.sender.onPush = () => void run(control.memory)
    const advance = advanceOf(control)
    expect([control.advances.tryNow(advance), control.counts.sealed]).toEqual([true, 1])
    expect(advance.got).toHaveLength(1)
  })

  it('cannot be withdrawn behind STOP, and a consumer that closes gets no epoch then', () => {
    const control = controlOf({ maxConsumers: 1, epochSlots: 4 })
    const { advances, outbox, counts } = control
    const place = openPlace(outbox, true)
    const advance = advanceOf(control, place)
    advances.request(advance)
    requestStop(outbox)
    expect([advances.abandon(advance), counts.restored]).toEqual([false, 0])
    advances.refuse(place, ERROR)
    closePlace(outbox, place)
    settle(control)
    expect([advance.got, advance.epochs.unsettled, counts.restored]).toEqual([[ERROR], [], 0])
  })

  it('are awaited while they wait for a slot, and nothing else is pending', () => {
    const control = controlOf()
    const { advances, memory } = control
    const lane = openLane(memory)
    for (const key of [1, 2]) {
      stageKeys(lane, key)
      publish(lane)
      advances.request(advanceOf(control))
      settle(control)
    }
    expect([control.unsettled, ...stateOf(advances)]).toEqual([[0, 1], false, false, []])
    const waiting = advanceOf(control)
    advances.request(waiting)
    expect([advances.isPending, advances.isAwaited]).toEqual([true, true])
    expect(advances.waits()).toMatchObject([{ call: name, wait: waiting }])
  })

  it('reject if their epoch cannot be handed out, and the tracker fails', () => {
    const control = controlOf()
    const { advances, lifecycle } = control
    const epochs = {
      unsettled: [],
      handOut() {
        throw ERROR
      },
    }
    const advance = { ...advanceOf(control), epochs: epochs as never }
    advances.request(advance)
    settle(control)
    expect([advance.got, lifecycle.failure]).toEqual([[ERROR], ERROR])
  })

  it('reject when the aggregator fails, beside a cut that no call waits for', () => {
    const control = controlOf({ maxConsumers: 1, epochSlots: 4 })
    const { advances, outbox } = control
    const place = openPlace(outbox, false)
    const advance = advanceOf(control, place)
    advances.request(advance)
    expect(outbox.sealing.map(({ ticket }) => ticket)).toEqual([undefined, advance])
    control.fail(ERROR)
    expect(advance.got).toEqual([ERROR])
  })

  it('that wait long for a slot are told, once each', async () => {
    const told: unknown[] = []
    for (const maxConsumers of [0, 2]) {
      const control = controlOf({ maxConsumers, epochSlots: maxConsumers === 0 ? 2 : 6 })
      const { advances, outbox, listeners } = control
      const lane = openLane(control.memory)
      const places = maxConsumers > 0 ? [0, 1].map(() => openPlace(outbox, true)) : [undefined]
      const holders = places.map((place) => {
        const holder = advanceOf(control, place)
        stageKeys(lane, 1)
        publish(lane)
        advances.request(holder)
        settle(control)
        return holder
      })
      expect(control.unsettled).toEqual(places.map((_, id) => id))
      listeners.add('stall', ({ what, waitedMs, unsettled }) =>
        told.push([what, waitedMs > 90 && waitedMs < 1e6, unsettled]),
      )
      const waiting = [1000, -1000].map((ms) => {
        const advance = advanceOf(control, places[0], nowMs() - ms)
        return maxConsumers > 0 ? { ...advance, epochs: holders[0].epochs } : advance
      })
      for (const each of waiting) advances.request(each)
      for (let i = 0; i < 2; i++) control.lookForStalls(90)
      await turns(1)
      control.lookForStalls(90)
      await turns(1)
      for (const each of waiting) expect(advances.abandon(each)).toBe(true)
    }
    expect(told).toEqual([
      ['epoch-slot', true, [0]],
      ['epoch-slot', true, [0]],
    ])
  })
})

describe('calls of drained()', () => {
  it('wait in the queue, then for the head, and can be withdrawn and fail in both', () => {
    const control = controlOf()
    const { drains, outbox } = control
    expect(stateOf(drains)).toEqual([false, false, []])
    for (const isQueued of [true, false]) {
      fillRing(control)
      if (isQueued) control.markEverything(undefined) // a token that waits before them
      const [a, b, c] = [0, 1, 2].map(() => call())
      const end = [a, b, c].map((each) => drains.request(each))
      const length = (): number => (isQueued ? outbox.queue.length - 1 : outbox.draining.length)
      const waits = (calls: unknown[]): unknown =>
        calls.map((each) => ['drained()', each, undefined])
      expect([length(), ...stateOf(drains)]).toEqual([3, true, true, waits([a, b, c])])
      end[1]()
      end[1]()
      expect([length(), ...stateOf(drains)]).toEqual([2, true, true, waits([a, c])])
      settle(control)
      expect([a, b, c].map(({ got }) => got)).toEqual([['done'], [], ['done']])
      expect([outbox.queue, ...stateOf(drains)]).toEqual([[], false, false, []])
    }
    fillRing(control)
    const calls = [call(), call()]
    drains.request(calls[0])
    control.markEverything(undefined)
    drains.request(calls[1])
    drains.fail(ERROR)
    expect(calls.map(({ got }) => got)).toEqual([[ERROR], [ERROR]])
    expect([outbox.queue.length, ...stateOf(drains)]).toEqual([1, false, false, []])
    settle(control)
  })
})

describe('calls of restore()', () => {
  it('are awaited, unlike the restore that follows an abort, and can fail', async () => {
    const control = controlOf({ epochSlots: 4 })
    const { advances, restores, memory } = control
    const lane = openLane(memory)
    const cut = (): Call => {
      stageKeys(lane, 1)
      publish(lane)
      const advance = advanceOf(control)
      advances.request(advance)
      return advance
    }
    const [given, failing] = [cut(), cut()]
    settle(control)
    expect(stateOf(restores)).toEqual([false, false, []])
    const restored = (given.got[0] as SealedEpoch).restore()
    const waits = [['restore()', expect.anything(), undefined]]
    expect(stateOf(restores)).toEqual([true, true, waits])
    settle(control)
    await restored
    expect(stateOf(restores)).toEqual([false, false, []])

    advances.abandon(cut())
    expect(stateOf(restores)).toEqual([true, false, []])
    const refused = rejected((failing.got[0] as SealedEpoch).restore())
    expect(stateOf(restores)).toEqual([true, true, waits])
    restores.fail(ERROR)
    expect(await refused).toBe(ERROR)
    settle(control)
  })
})

describe('calls of flushed()', () => {
  it('are forgotten when they are aborted', async () => {
    const control = controlOf()
    const { flushes, memory } = control
    stageKeys(openLane(memory), 1)
    const controller = new AbortController()
    const flushed = rejected(flushes.request(controller.signal))
    expect(flushes.waits()).toHaveLength(1)
    controller.abort(ERROR)
    expect(await flushed).toBe(ERROR)
    expect(flushes.waits()).toEqual([])
  })

  it('wait for the writers that have not published yet, and are no part of the poll', async () => {
    const control = controlOf()
    const { flushes, memory } = control
    const [one, two] = [openLane(memory), openLane(memory)]
    stageKeys(one, 1)
    stageKeys(two, 2)
    const flushed = flushes.request(undefined)
    const writers = (): unknown => flushes.waits().map(({ call, forWhat }) => [call, forWhat!()])
    expect([flushes.isPending, flushes.isAwaited]).toEqual([false, false])
    const both = writers()
    publish(one)
    const late = writers()
    publish(two)
    expect(flushes.waits()).toEqual([])
    expect([both, late]).toEqual([
      [['flushed()', expect.stringMatching(/0.*1/)]],
      [['flushed()', expect.not.stringMatching(/0/)]],
    ])
    await flushed
  })
})

describe('the call of stop()', () => {
  it('waits for the last epoch, and takes none from an aggregator that has failed', async () => {
    for (const isFailing of [false, true]) {
      const control = controlOf()
      const { lastSeal, memory } = control
      expect(stateOf(lastSeal)).toEqual([false, false, []])
      const sealMs: number[] = []
      const last = lastSeal.request(nowMs() + 1e9, (cut) => {
        sealMs.push(cut.sealMs)
        return control.openHandedOut(-1).handOut(cut)
      })
      expect([lastSeal.isPending, lastSeal.isAwaited, lastSeal.waits()]).toMatchObject([
        true,
        true,
        [{ call: 'stop()' }],
      ])
      if (isFailing) {
        memory.words[FAILED] = memory.words[FINISHED] = 1
        control.poke()
        expect((await rejected(last)).code).toBe('ERR_DIRTYRING_CORRUPT')
        expect(sealMs).toEqual([])
      } else {
        settle(control)
        expect([(await last).last, sealMs.length, sealMs[0] < 0]).toEqual([true, 1, true])
      }
      expect(stateOf(lastSeal)).toEqual([false, false, []])
    }
  })
})

describe('the call of stop() whose last epoch cannot be handed out', () => {
  it('rejects', async () => {
    const control = controlOf()
    const { lastSeal } = control
    const last = rejected(
      lastSeal.request(nowMs(), () => {
        throw ERROR
      }),
    )
    settle(control)
    expect(await last).toBe(ERROR)
    expect(stateOf(lastSeal)).toEqual([false, false, []])
  })
})

describe('calls of reap()', () => {
  it('are awaited, unlike the reap of a thread; and end with STOP, or with an error', async () => {
    const control = controlOf({ maxWriters: 4 })
    const { reaps, memory, outbox } = control
    const lanes = [5, 6, 7, 8].map((thread) => openLane(memory, thread))
    expect([reaps.isPending, reaps.isAwaited]).toEqual([false, false])
    reaps.requestThread(5)
    expect([reaps.isPending, reaps.isAwaited]).toEqual([true, false])
    stageKeys(lanes[1], 1, 2)
    const keys = reaps.request(lanes[1].id)
    expect([reaps.isPending, reaps.isAwaited]).toEqual([true, true])
    settle(control)
    expect([await keys, reaps.isPending, reaps.isAwaited]).toEqual([2, false, false])
    expect(await reaps.request(lanes[1].id)).toBe(0)
    requestStop(outbox)
    expect((await rejected(reaps.request(lanes[2].id))).code).toBe('ERR_DIRTYRING_STOPPED')

    const failing = controlOf()
    const lane = openLane(failing.memory)
    failing.fail(ERROR)
    expect(await rejected(failing.reaps.request(lane.id))).toBe(ERROR)
  })
})

describe('removeFirst()', () => {
  it('removes one element, wherever it is', () => {
    const list = [1, 2, 3, 2, 1]
    const remove = (wanted: number): unknown => removeFirst(list, (each) => each === wanted)
    expect([remove(4), remove(1), remove(2), remove(1), list]).toEqual([undefined, 1, 2, 1, [3, 2]])
  })
})
