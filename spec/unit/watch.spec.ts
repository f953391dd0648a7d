import { afterEach, describe, expect, it, jest } from '@jest/globals'
import {
  epochAt,
  ERROR_LENGTH,
  LANE_OWNER,
  LANE_THREAD,
  LANE_WAITING,
  laneAt,
  LINE,
  PANICS,
  RETRYING,
  SLOT_COUNT,
  SLOT_GROWTH,
  SLOT_STAMP,
  WAIT_FOR_ROOM,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { freeOwner, ownerBits } from '../../lib/ring/token.js'

/** The intervals that run, and a clock that a spec sets. */
const timers = new Set<{ look(): void; ms: number; isUnref: boolean }>()
let made = 0
let now = 0
const real = await import('../../lib/timers.js')
jest.unstable_mockModule('../../lib/timers.js', () => ({
  ...real,
  nowMs: () => now,
  setInterval(look: () => void, ms: number) {
    const timer = { look, ms, isUnref: false, unref: () => void (timer.isUnref = true) }
    timers.add(timer)
    made++
    return timer
  },
  clearInterval: (timer: never) => void timers.delete(timer),
}))
const { Watch } = await import('../../lib/tracker/watch.js')
const { Listeners } = await import('../../lib/tracker/events.js')
const { smallMemory } = await import('../support/steps.js')

const ignore = (): void => undefined

afterEach(() => {
  timers.clear()
  made = 0
})

function start(memory: Memory = smallMemory()) {
  const listeners = new Listeners()
  const told: unknown[] = []
  listeners.tell = (event, what) => void told.push({ event, ...what })
  const control = { lookForOverflow: jest.fn(), lookForStalls: jest.fn(), unsettled: [3] }
  const watch = new Watch(memory, control as never, listeners)
  const looks = (): number => control.lookForOverflow.mock.calls.length
  return { memory, listeners, told, control, watch, looks }
}

describe("the tracker's look at shared memory", () => {
  it.each(['overflow', 'panic', 'stall'] as const)(
    'is made every 100 ms while there is a listener of %s',
    (event) => {
      const { listeners, control, looks } = start()
      const epoch = listeners.add('epoch', ignore)
      expect(timers.size).toBe(0)
      const off = listeners.add(event, ignore)
      const [timer] = timers
      expect(timer).toMatchObject({ ms: 100, isUnref: true })
      timer.look()
      expect([looks(), control.lookForStalls.mock.calls]).toEqual([1, [[1000]]])
      const other = listeners.add('overflow', ignore)
      epoch()
      other()
      expect([...timers, made]).toEqual([timer, 1])
      off()
      listeners.add('harvest', ignore)()
      expect([timers.size, made]).toEqual([0, 1])
      listeners.add(event, ignore)
      expect([timers.size, made]).toEqual([1, 2])
    },
  )

  it('is made once more at the end, and not again', () => {
    const { listeners, watch, looks } = start()
    listeners.add('panic', ignore)
    watch.end()
    expect([timers.size, looks()]).toEqual([0, 1])
    listeners.add('panic', ignore)
    expect(timers.size).toBe(0)
  })

  it('finds the panics since the one before', () => {
    const memory = smallMemory()
    const { words } = memory
    words[PANICS] = 2
    const { told, watch } = start(memory)
    watch.look()
    expect(told).toEqual([])
    words[PANICS] = 4
    words[RETRYING] = 40
    words[ERROR_LENGTH] = 0
    for (let i = 0; i < 2; i++) watch.look()
    const error: unknown = expect.any(Error)
    expect(told).toEqual([{ event: 'panic', error, panics: 4, retryInMs: 40 }])
  })

  it('finds no wait in a lane that no writer has, or that one is about to open', () => {
    for (const [isOwned, thread, isWait] of [
      [false, 0, false],
      [false, 78, false],
      [true, 0, false],
      [true, 78, true],
    ] as const) {
      const { memory, told, watch } = start()
      const { words, layout } = memory
      const lane = laneAt(layout, 1)
      words[lane + LANE_OWNER] = freeOwner(5) | (isOwned ? ownerBits(77) : 0)
      words[lane + LANE_THREAD] = thread
      words[lane + LANE_WAITING] = WAIT_FOR_ROOM // of the writer before, which died in its wait
      now = 0
      watch.look()
      now = 1001
      watch.look()
      const stall = { event: 'stall', what: 'lane', waitedMs: 1001, unsettled: [3], writerId: 1 }
      expect([isOwned, thread, told]).toEqual([isOwned, thread, isWait ? [stall] : []])
    }
  })

  it('finds no writer behind the last one, where the first epoch slot begins', () => {
    const { memory, told, watch } = start(smallMemory({ maxWriters: 14, laneCapacity: 32 }))
    const { words, layout } = memory
    const slot = epochAt(layout, 0)
    expect(slot).toBe(laneAt(layout, 14) + LINE)
    for (const at of [SLOT_COUNT, SLOT_GROWTH, SLOT_STAMP]) words[slot + at] = 1
    now = 0
    watch.look()
    now = 1001
    watch.look()
    expect(told).toEqual([])
  })
})
