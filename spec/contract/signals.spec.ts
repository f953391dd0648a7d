import { describe, expect, it } from '@jest/globals'
import type { AbortSignalLike, DirtyTracker, Writer } from '../../lib/index.js'
import {
  type Hand,
  isPending,
  openHeld,
  openInline,
  range,
  rejected,
  sortedIds,
  until,
} from '../support/in-process.js'

/** The least that a signal has to be, with its listeners in sight. */
class Signal implements AbortSignalLike {
  aborted = false
  reason: unknown
  readonly listeners = new Set<() => void>()

  addEventListener(_type: 'abort', listener: () => void): void {
    this.listeners.add(listener)
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.listeners.delete(listener)
  }

  abort(reason: unknown): void {
    this.aborted = true
    this.reason = reason
    for (const listener of [...this.listeners]) listener()
  }
}

interface Scene {
  readonly tracker: DirtyTracker
  readonly writer: Writer
  readonly hand: Hand
}

/**
 * Everything that can be waited for has to be: the ring and the lane are full, no epoch slot is
 * free, no aggregator takes tokens.
 */
async function busy(): Promise<Scene> {
  const { tracker, hand } = await openHeld({
    capacity: 4,
    laneCapacity: 8,
    batchSize: 1,
    epochSlots: 2,
  })
  const writer = tracker.openWriter()
  writer.mark(100)
  const pending = tracker.advanceEpoch()
  hand.run()
  await pending // and never settled
  for (const id of range(0, 8)) writer.mark(id)
  return { tracker, writer, hand }
}

type Call = (scene: Pick<Scene, 'tracker' | 'writer'>, signal: AbortSignalLike) => Promise<unknown>
const calls: [name: string, call: Call][] = [
  ['advanceEpoch()', ({ tracker }, signal) => tracker.advanceEpoch({ signal })],
  ['consume()', ({ tracker }, signal) => tracker.consume((epoch) => epoch.size, { signal })],
  ['flushed()', ({ tracker }, signal) => tracker.flushed({ signal })],
  ['drained()', ({ tracker }, signal) => tracker.drained({ signal })],
  ['waitForRoom()', ({ writer }, signal) => writer.waitForRoom(8, { signal })],
]

describe('C10: every promise takes a signal', () => {
  it.each(calls)(
    '%s rejects with the reason, at once or while it waits, with nothing lost and nothing left on the signal',
    async (_, call) => {
      const scene = await busy()
      const early = new Signal()
      early.abort('too early')
      expect(await rejected(call(scene, early))).toBe('too early')
      expect(early.listeners.size).toBe(0)

      const signal = new Signal()
      const waiting = call(scene, signal)
      expect(await isPending(waiting)).toBe(true)
      expect(signal.listeners.size).toBe(1)
      const reason = { enough: true }
      signal.abort(reason)
      expect(await rejected(waiting)).toBe(reason)
      expect(signal.listeners.size).toBe(0)

      const { tracker, hand } = scene
      hand.release()
      const last = await tracker.stop()
      expect([last.id, sortedIds(last)]).toEqual([1, range(0, 8)])
    },
  )

  it('epochs() ends, without an error, asleep or waiting for a slot, and leaves nothing on the signal', async () => {
    const { tracker, hand } = await busy()
    for (const everyMs of [1_000_000, 0]) {
      const signal = new Signal()
      const next = tracker.epochs({ everyMs, signal }).next()
      expect(await isPending(next)).toBe(true)
      if (everyMs === 0) await until(() => signal.listeners.size === 1)
      signal.abort('enough')
      expect(await next).toEqual({ done: true, value: undefined })
      expect(signal.listeners.size).toBe(0)
    }
    hand.release()
    expect((await tracker.stop()).size).toBe(8)
  })

  it('a thousand calls with one signal leave no listener on it', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const signal = new Signal()
    let most = 0
    for (const round of range(0, 1000)) {
      writer.mark(round)
      const [, call] = calls[round % calls.length]
      const result = (await call({ tracker, writer }, signal)) as
        { commit?: () => void } | undefined
      result?.commit?.()
      most = Math.max(most, signal.listeners.size)
    }
    const epochs = tracker.epochs({ everyMs: 0, signal, skipEmpty: false })
    for (const _ of range(0, 50)) {
      ;(await epochs.next()).value?.commit()
      most = Math.max(most, signal.listeners.size)
    }
    await epochs.return?.()
    expect([most, signal.listeners.size]).toEqual([0, 0])
    expect(tracker.stats().unsettled).toEqual([])
  })

  it.each(['aborted', 'addEventListener', 'removeEventListener'] as const)(
    'C11: refuses what is a signal but for its %s',
    async (member) => {
      const tracker = await openInline()
      for (const value of [undefined, 'x']) {
        const signal = Object.assign(new Signal(), { [member]: value }) as never
        const { code, message } = await rejected(tracker.advanceEpoch({ signal }))
        expect([code, message]).toEqual([
          'ERR_DIRTYRING_INVALID_ARG',
          expect.stringContaining('"options.signal" must be an AbortSignal'),
        ])
      }
    },
  )

  it.each(calls)(
    '%s: a signal that calls back while it is listened to rejects the call, and nothing is started',
    async (_, call) => {
      const scene = await busy()
      const signal = new Signal()
      signal.addEventListener = (_type, listener) => {
        signal.reason = 'at once'
        listener()
      }
      expect(await rejected(call(scene, signal))).toBe('at once')
      scene.hand.run()
      expect(scene.tracker.stats().unsettled).toEqual([0])
    },
  )

  it.each(calls)(
    '%s: a signal that cannot be left, or whose reason cannot be read, still settles the call',
    async (_, call) => {
      const scene = await busy()
      const signal = new Signal()
      const own = new Error('of the signal')
      const fail = (): never => {
        throw own
      }
      signal.removeEventListener = fail
      const pending = call(scene, signal)
      Object.defineProperty(signal, 'reason', { get: fail })
      signal.aborted = true
      for (const listener of [...signal.listeners]) listener()
      expect(await rejected(pending)).toBe(own)
    },
  )
})
