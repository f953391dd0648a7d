import '../support/clock.js' // first: it holds the clock that the library takes when it is loaded
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { FAILED, LANE_ATTN, laneAt } from '../../lib/memory/map.js'
import type { Cut } from '../../lib/tracker/handed-out.js'
import { holdClock } from '../support/clock.js'

/** The timers of stop() that wait; they fire when the spec says so. */
const timers: { callback: () => void; ms: number }[] = []
const real = await import('../../lib/timers.js')
jest.unstable_mockModule('../../lib/timers.js', () => ({
  ...real,
  setTimeout: (callback: () => void, ms: number) => timers.push({ callback, ms }),
}))
const { publish } = await import('../../lib/ring/lane.js')
const { Control } = await import('../../lib/tracker/control.js')
const { Listeners } = await import('../../lib/tracker/events.js')
const { sealLastEpoch } = await import('../../lib/tracker/stop.js')
const { onForget } = await import('../../lib/writer/lanes.js')
const { open, run, stageKeys } = await import('../support/aggregators.js')
const { rejected, turns } = await import('../support/in-process.js')
const { smallMemory } = await import('../support/steps.js')

const GRACE = 1000
const LAST = 'the last epoch' as never
const controls = new Set<InstanceType<typeof Control>>()
let clock: ReturnType<typeof holdClock>

beforeEach(() => {
  clock = holdClock()
  timers.length = 0
})

afterEach(() => {
  clock.end()
  for (const control of controls) {
    control.fail(new Error('the end')) // so that no timer goes on
    control.poke()
  }
  controls.clear()
})

/** A tracker's thread beside a writer of another thread that has staged a key. */
function start() {
  const memory = smallMemory()
  const { words, layout } = memory
  const control = new Control(memory, new Listeners())
  controls.add(control)
  const lane = open(memory)
  stageKeys(lane, 1)
  const attn = laneAt(layout, lane.id) + LANE_ATTN
  const takeover = { beforeStop: jest.fn(), ifAlone: jest.fn() }
  const cuts: Cut[] = []
  const stop = (graceMs: number): Promise<unknown> =>
    sealLastEpoch(
      control,
      takeover as never,
      (cut) => {
        cuts.push(cut)
        return LAST
      },
      graceMs,
    )
  return {
    memory,
    control,
    lane,
    takeover,
    cuts,
    stop,
    areRefused: () => (words[attn] & 1) === 1,
    /** How often the writer was asked to publish. */
    asked: () => words[attn] >> 1,
  }
}

/** Time passes, and then the timer that waits fires. */
async function pass(ms: number): Promise<void> {
  clock.pass(ms)
  expect(timers.map((timer) => timer.ms)).toEqual([1])
  timers.pop()!.callback()
  await turns(1)
}

describe('the steps of stop()', () => {
  it('give writers half of the time to publish before marks are refused, and half after it', async () => {
    const { memory, control, takeover, cuts, stop, areRefused, asked } = start()
    const { lifecycle } = control
    const stopping = stop(GRACE)
    const state = (): unknown[] => [lifecycle.phase, areRefused(), asked()]
    expect(state()).toEqual(['closing', false, 1])
    await pass(GRACE / 2 - 1)
    expect(state()).toEqual(['closing', false, 2])
    await pass(1)
    expect(state()).toEqual(['closing', true, 2])
    await pass(0) // behind this the other threads know that marks are refused
    expect(state()).toEqual(['closing', true, 3])
    await pass(GRACE / 2 - 1)
    expect(state()).toEqual(['closing', true, 4])
    expect(takeover.ifAlone).not.toHaveBeenCalled()
    await pass(1)
    expect([...state(), timers]).toEqual(['stopping', true, 4, []])
    expect(takeover.ifAlone).toHaveBeenCalledTimes(1)
    expect(takeover.beforeStop).toHaveBeenCalledTimes(6)
    run(memory)
    control.poke()
    expect(await stopping).toBe(LAST)
    expect([lifecycle.phase, cuts]).toEqual([
      'stopped',
      [{ id: 0, slot: 0, staged: 1, sealMs: GRACE, last: true }],
    ])
  })

  it('come at once when each writer has published', async () => {
    const { memory, control, lane, stop, areRefused } = start()
    const stopping = stop(GRACE)
    publish(lane)
    await pass(1)
    expect([control.lifecycle.phase, areRefused()]).toEqual(['closing', true])
    await pass(1)
    expect(control.lifecycle.phase).toBe('stopping')
    run(memory)
    control.poke()
    expect(await stopping).toBe(LAST)
  })

  it('ask no writer if there is no time', async () => {
    const { memory, control, stop, areRefused, asked } = start()
    const stopping = stop(0)
    await turns(1)
    expect([areRefused(), asked()]).toEqual([true, 0])
    await pass(0)
    expect([control.lifecycle.phase, asked()]).toEqual(['stopping', 0])
    run(memory)
    control.poke()
    expect(await stopping).toBe(LAST)
  })

  it('end before STOP if the aggregator has failed, and forget the writers in any case', async () => {
    for (const isFailing of [true, false]) {
      const { memory, control, stop } = start()
      const forget = jest.fn()
      onForget(forget)
      const stopping = stop(0)
      await turns(1)
      if (isFailing) memory.words[FAILED] = 1
      const ended = isFailing ? rejected(stopping) : stopping
      await pass(0)
      const { lifecycle, outbox } = control
      expect([lifecycle.phase, outbox.isStopping]).toEqual(
        isFailing ? ['lost', false] : ['stopping', true],
      )
      if (!isFailing) {
        run(memory)
        control.poke()
      }
      const error: unknown = await ended
      if (isFailing) expect(error).toMatchObject({ code: 'ERR_DIRTYRING_CORRUPT' })
      expect(forget).toHaveBeenCalledTimes(1)
    }
  })
})
