import '../support/clock.js' // first: it holds the clock that the library takes when it is loaded
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { patience } from '../../lib/patience.js'
import { watching } from '../../lib/platform/watching.js'
import { Listeners } from '../../lib/tracker/events.js'
import { forSlot, forWriters, LongWaits, type PendingCall } from '../../lib/tracker/long-waits.js'
import { holdClock } from '../support/clock.js'

const usual = { ...patience }
let clock: ReturnType<typeof holdClock>
let warnings: string[]

beforeEach(() => {
  clock = holdClock()
  warnings = []
  patience.warningMs = 1500
  jest.spyOn(watching, 'warn').mockImplementation((text) => void warnings.push(text))
})

afterEach(() => {
  clock.end()
  Object.assign(patience, usual)
  jest.restoreAllMocks()
})

const forAggregator = (): string => 'for the aggregator'
const told = (): string[] => warnings.splice(0)

describe('LongWaits', () => {
  it('tells of a call once, when its time is over, and of the next one again', () => {
    const waits = new LongWaits(new Listeners())
    const [one, two] = [{}, {}]
    const look = (...pending: PendingCall[]): string[] => {
      waits.look(pending, forAggregator)
      return told()
    }
    const first = { wait: one, call: 'drained()' }
    expect(look(first)).toEqual([])
    clock.pass(1499)
    expect(look(first)).toEqual([])
    clock.pass(1)
    expect(look(first)).toEqual(['drained() has waited 1.5 s for the aggregator'])
    clock.pass(5000)
    expect(look(first)).toEqual([])
    // Another one, beside it, is of the same kind. One of another kind is not.
    const other = { wait: two, call: 'flushed()', forWhat: () => 'for a writer' }
    expect(look(first, other, { wait: {}, call: 'drained()' })).toEqual([])
    clock.pass(1500)
    expect(look(first, other)).toEqual(['flushed() has waited 1.5 s for a writer'])
    expect(look()).toEqual([])
    expect(look(first)).toEqual([])
    clock.pass(1500)
    expect(look(first)).toEqual(['drained() has waited 1.5 s for the aggregator'])
  })

  it('tells once of calls of one kind that wait together', () => {
    const waits = new LongWaits(new Listeners())
    const pending = [1, 2].map((id) => ({ wait: { id }, call: 'reap()' }))
    waits.look(pending, forAggregator)
    clock.pass(1500)
    waits.look(pending, forAggregator)
    expect(told()).toEqual(['reap() has waited 1.5 s for the aggregator'])
  })

  it("tells nothing while there is a listener for 'stall'", () => {
    const listeners = new Listeners()
    const waits = new LongWaits(listeners)
    const pending = [{ wait: {}, call: 'drained()' }]
    listeners.add('epoch', () => undefined)
    const remove = listeners.add('stall', () => undefined)
    waits.look(pending, forAggregator)
    clock.pass(1500)
    waits.look(pending, forAggregator)
    expect(told()).toEqual([])
    remove()
    // The listener was told of this one.
    waits.look(pending, forAggregator)
    expect(told()).toEqual([])
    waits.look([], forAggregator)
    waits.look(pending, forAggregator)
    clock.pass(1500)
    waits.look(pending, forAggregator)
    expect(told()).toHaveLength(1)
  })
})

describe('what a call waits for', () => {
  it('is a free epoch slot', () => {
    const epochs = 'for a free epoch slot: '
    expect([[], [7], [7, 8, 10]].map(forSlot)).toEqual([
      `${epochs}the epochs before it are not handed out yet`,
      `${epochs}epoch 7 is not settled. Call commit() or restore() on it.`,
      `${epochs}epochs 7, 8, 10 are not settled. Call commit() or restore() on them.`,
    ])
  })

  it('is a writer that does not publish', () => {
    const rest =
      'not published: no event loop turns there. ' +
      "Call flush() on the writer's thread, or pass a signal to flushed()."
    expect([[3], [3, 5]].map(forWriters)).toEqual([
      `for writer 3, which has ${rest}`,
      `for writers 3, 5, which have ${rest}`,
    ])
  })
})
