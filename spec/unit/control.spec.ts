import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { patience } from '../../lib/patience.js'
import { watching } from '../../lib/platform/watching.js'
import { push } from '../../lib/ring/ring.js'
import { controlToken, NOP } from '../../lib/ring/token.js'
import { nowMs } from '../../lib/timers.js'
import { Control } from '../../lib/tracker/control.js'
import { Listeners } from '../../lib/tracker/events.js'
import type { HandedOut } from '../../lib/tracker/handed-out.js'
import { open, run, send } from '../support/aggregators.js'
import { turns } from '../support/in-process.js'
import { smallMemory } from '../support/steps.js'

const usual = { ...patience }
const controls: Control[] = []

afterEach(() => {
  for (const control of controls.splice(0)) {
    control.fail(new Error('the end')) // so that no timer goes on
    control.poke()
  }
  Object.assign(patience, usual)
  jest.restoreAllMocks()
})

function start() {
  const memory = smallMemory({ epochSlots: 2 })
  const listeners = new Listeners()
  const control = new Control(memory, listeners)
  controls.push(control)
  /** The aggregator does what there is to do, and the tracker's thread notices it. */
  const answer = (): void => {
    run(memory)
    control.poke()
  }
  return { memory, listeners, control, answer }
}

/** A call that is pending, and what became of it. */
function call() {
  const outcome: unknown[] = []
  return {
    outcome,
    resolve: (value: unknown) => void outcome.push(value),
    reject: (reason: unknown) => void outcome.push(reason),
  }
}

/** Sends the token that harvests a writer whose thread has ended. */
function harvestOne(control: Control): void {
  open(control.memory, 9)
  control.reapThread(9)
}

/** Says which epochs a reader holds. */
function holding(epochs: HandedOut, ...ids: number[]): HandedOut {
  return Object.defineProperty(epochs, 'unsettled', { get: () => ids })
}

/** What is done to the timers that keep the process alive, or do not. */
function watchTimers(): { refs: string[]; waits: () => number } {
  const refs: string[] = []
  const timer = setTimeout(() => undefined)
  clearTimeout(timer)
  const prototype = Object.getPrototypeOf(timer) as NodeJS.Timeout
  for (const name of ['ref', 'unref'] as const)
    jest.spyOn(prototype, name).mockImplementation(function (this: NodeJS.Timeout) {
      refs.push(name)
      return this
    })
  const { calls } = jest.spyOn(Atomics, 'waitAsync').mock
  return { refs, waits: () => calls.length }
}

describe("the control of a tracker's thread", () => {
  it('knows the epochs in the hands of all readers, oldest first, until a reader ends', () => {
    const { control } = start()
    expect(control.unsettled).toEqual([])
    const one = holding(control.openHandedOut(-1), 7, 11)
    holding(control.openHandedOut(-1), 2, 8, 10)
    expect(control.unsettled).toEqual([2, 7, 8, 10, 11])
    one.end()
    expect(control.unsettled).toEqual([2, 8, 10])
  })

  it('tells which epochs a call waits for that finds no free slot', async () => {
    const { control, listeners, answer } = start()
    const stalls: unknown[] = []
    listeners.add('stall', (stall) => stalls.push(stall))
    const epochs = control.openHandedOut(-1)
    const waiting = call()
    control.markEverything(undefined)
    const first = call()
    for (const each of [first, waiting]) {
      control.advances.request({ ...each, startedAt: nowMs() - 10, epochs })
      answer()
    }
    control.lookForStalls(5)
    await turns(1) // listeners are called in microtasks
    const waitedMs: unknown = expect.any(Number)
    expect(stalls).toEqual([{ what: 'epoch-slot', waitedMs, unsettled: [0] }])
    expect(waiting.outcome).toEqual([])
    ;(first.outcome[0] as { commit(): void }).commit()
    answer()
    expect(waiting.outcome).toEqual([expect.objectContaining({ id: 1, size: 0 })])
  })

  it('cuts for a call that waits, at the look that finds its slot free', () => {
    const { memory, control, answer } = start()
    const { advances, outbox } = control
    const epochs = control.openHandedOut(-1)
    const [first, waiting] = [call(), call()]
    send(open(memory), 1n)
    for (const each of [first, waiting]) advances.request({ ...each, startedAt: nowMs(), epochs })
    answer()
    expect([waiting.outcome, outbox.epoch, outbox.waiting.length]).toEqual([[], 1, 1])
    void (first.outcome[0] as { restore(): Promise<void> }).restore()
    answer()
    expect([outbox.epoch, outbox.waiting, outbox.queue]).toEqual([2, [], []])
    answer()
    expect(waiting.outcome).toEqual([expect.objectContaining({ id: 1, size: 1 })])
  })

  it('tells that the open epoch has too many keys', async () => {
    const { memory, control, listeners } = start()
    const overflows: unknown[] = []
    listeners.add('overflow', (overflow) => overflows.push(overflow))
    const lane = open(memory)
    for (let key = 1; key < 18; key++) {
      expect(overflows).toEqual([])
      send(lane, BigInt(key))
      run(memory)
      control.lookForOverflow()
      await turns(1) // listeners are called in microtasks
    }
    expect(overflows).toEqual([{ epoch: 0, limit: 'maxKeysPerEpoch', maxKeysPerEpoch: 16 }])
  })

  it('looks after the aggregator while a loop sleeps', () => {
    const { control } = start()
    const looks = jest.fn()
    control.onPoll = looks
    control.sleepers.onLook()
    expect(looks).toHaveBeenCalledTimes(1)
  })

  it('rejects a harvest that the aggregator gave up once the last epoch is there', async () => {
    const { memory, control } = start()
    const { outcome, resolve, reject } = call()
    control.reaps.request(open(memory).id).then(resolve, reject)
    control.lastSeal.onFinish()
    await turns(1)
    expect(outcome).toEqual([expect.objectContaining({ code: 'ERR_DIRTYRING_STOPPED' })])
  })

  it('warns of a call that waits for long, and again of a later one', () => {
    const { control, answer } = start()
    const warnings: string[] = []
    jest.spyOn(watching, 'warn').mockImplementation((text) => void warnings.push(text))
    patience.warningMs = 0
    for (let count = 1; count < 3; count++) {
      const waiting = call()
      harvestOne(control) // so that there is something to wait for
      control.drains.request(waiting)
      control.lookForLongWaits()
      control.lookForLongWaits()
      expect(warnings).toEqual(
        Array<string>(count).fill('drained() has waited 0 s for the aggregator'),
      )
      answer()
      expect(waiting.outcome).toEqual([undefined])
    }
  })

  it('keeps the process alive while a caller waits, and for no other reason', () => {
    const { control, answer } = start()
    const { refs } = watchTimers()
    harvestOne(control)
    expect(refs).toEqual(['unref'])
    control.drains.request(call())
    expect(refs).toEqual(['unref', 'ref'])
    answer()
    expect(refs).toEqual(['unref', 'ref'])
  })

  it('listens to the aggregator while something is pending, or a loop sleeps', () => {
    for (const how of ['idle', 'pending', 'queued', 'asleep', 'failed'] as const) {
      const { control, memory } = start()
      const { waits } = watchTimers()
      if (how === 'failed') {
        control.fail(new Error('planted'))
        control.outbox.queue.push({} as never)
      } else if (how === 'pending') harvestOne(control)
      else if (how === 'queued') {
        while (push(memory, controlToken(NOP, 0)));
        control.markEverything(undefined)
      }
      const sleeper = { place: undefined, wake: () => undefined }
      if (how === 'asleep') control.sleepers.add(sleeper)
      control.poke()
      control.sleepers.delete(sleeper)
      expect([how, waits()]).toEqual([how, how === 'idle' || how === 'failed' ? 0 : 1])
      jest.restoreAllMocks()
    }
  })
})
