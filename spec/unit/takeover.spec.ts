import { describe, expect, it } from '@jest/globals'
import { DirtyRingError } from '../../lib/errors.js'
import type { AggregatorHost } from '../../lib/tracker/aggregator-host.js'
import type { Control } from '../../lib/tracker/control.js'
import { Listeners } from '../../lib/tracker/events.js'
import { Lifecycle } from '../../lib/tracker/lifecycle.js'
import { Takeover } from '../../lib/tracker/takeover.js'
import { turns } from '../support/in-process.js'

const TAKEN = new DirtyRingError('ERR_DIRTYRING_AGGREGATOR_TAKEN', 'planted')
const CORRUPT = new DirtyRingError('ERR_DIRTYRING_CORRUPT', 'planted')

/** What one call of takeOver() gives. */
type Outcome = boolean | Error

/**
 * A control and a host that note what is done with them. No other thread runs the aggregator, until
 * all of `outcomes` were given.
 */
function start(...outcomes: Outcome[]) {
  const calls: unknown[] = []
  const lifecycle = new Lifecycle()
  const listeners = new Listeners()
  const control = {
    lifecycle,
    listeners,
    sender: { onPush: () => undefined },
    describeAggregator: () => '',
    onPoll: () => undefined,
    poke: () => calls.push('poke'),
    fail: (reason: unknown) => calls.push(['fail', reason]),
  } as unknown as Control
  const host = {
    onFailure: (() => undefined) as (error: DirtyRingError) => void,
    onRestart: (() => undefined) as (restarts: number, cause: string) => void,
    isAbsent: true,
    hasBacklog: true,
    pump: () => calls.push('pump'),
    describeWait: () => 'for a test',
    lookForLife: (isStopping: boolean) => calls.push(['look', isStopping]),
    takeOver() {
      calls.push('work')
      const outcome = outcomes.shift()
      host.isAbsent = outcomes.length > 0
      if (outcome instanceof Error) throw outcome
      return outcome
    },
  }
  const takeover = new Takeover(control, host as unknown as AggregatorHost)
  const stops = (): void => {
    lifecycle.beginStop()
    lifecycle.beginLastEpoch()
  }
  /** What was called since the last time. */
  const done = (): unknown[] => calls.splice(0)
  return { control, lifecycle, host, takeover, stops, done }
}

describe("The tracker's thread, before STOP", () => {
  it('handles what is in the ring, once, if no other thread will', () => {
    for (const [isAbsent, hasBacklog, work] of [
      [true, true, ['work', 'poke']],
      [true, false, []],
      [false, true, []],
      [false, false, []],
    ] as const) {
      const { host, takeover, done } = start(false, false)
      Object.assign(host, { isAbsent, hasBacklog })
      takeover.beforeStop()
      expect([isAbsent, hasBacklog, ...done()]).toEqual([isAbsent, hasBacklog, ...work])
    }
  })

  it("does none of the aggregator's work while the tracker runs, and passes a failure on", () => {
    const { control, host, lifecycle, takeover, done } = start(false, false)
    for (const begin of [() => undefined, () => lifecycle.beginStop()]) {
      begin()
      takeover.ifAlone()
      control.onPoll()
      host.onFailure(CORRUPT)
      expect(done()).toEqual([
        ['look', false],
        ['fail', CORRUPT],
      ])
    }
  })
})

describe("The tracker's thread, once STOP is on its way", () => {
  it("does the aggregator's work to the end, if no other thread will", () => {
    const { control, host, stops, takeover, done } = start(false, false, true, true, true, true)
    stops()
    takeover.ifAlone()
    expect(done()).toEqual(['work', 'poke', 'work', 'poke', 'work', 'poke'])
    control.onPoll()
    expect(done()).toEqual([['look', true], 'work', 'poke'])
    host.onFailure(CORRUPT) // the aggregator has ended, and no other one comes
    expect(done()).toEqual(['work', 'poke'])
    host.isAbsent = false
    takeover.ifAlone()
    expect(done()).toEqual([])
    host.onFailure(CORRUPT)
    expect(done()).toEqual([['fail', CORRUPT]])
  })

  it('does no more of it after a failure, because STOP may not have gone in', () => {
    const { lifecycle, stops, takeover, done } = start(false, false)
    stops()
    lifecycle.fail(CORRUPT)
    takeover.ifAlone()
    expect(done()).toEqual([])
  })

  it('leaves it to a thread that was faster, and tells of any other error', () => {
    for (const [error, told] of [
      [TAKEN, []],
      [CORRUPT, [['fail', CORRUPT]]],
    ] as const) {
      const { stops, takeover, done } = start(error, true, true)
      stops()
      takeover.ifAlone()
      expect(done()).toEqual(['work', ...told])
    }
  })
})

describe("The control of a tracker's thread and the host of its aggregator", () => {
  it('are connected: pushes, waits and restarts', async () => {
    const { control, host, done } = start()
    const restarts: unknown[] = []
    control.listeners.add('restart', (restart) => restarts.push(restart))
    host.onRestart(3, 'planted')
    control.sender.onPush()
    expect([control.describeAggregator(), done()]).toEqual(['for a test', ['pump']])
    await turns(1) // listeners are called in microtasks
    expect(restarts).toEqual([{ restarts: 3, cause: 'planted' }])
  })
})
