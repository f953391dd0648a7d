import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { DirtyTracker, type TrackerOptions } from '../../lib/index.js'
import { range } from '../support/in-process.js'
import { runProgram } from '../support/program.js'

const realImmediate = setImmediate
/** Of the real event loop, until something is so. */
async function turnsUntil(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => realImmediate(resolve))
}

const kinds: Record<string, TrackerOptions['aggregator']> = {
  inline: 'inline',
  worker: () => new Worker(new URL('../../dist/aggregator/worker.js', import.meta.url)),
}
const options = {
  capacity: 4,
  laneCapacity: 64,
  batchSize: 8,
  maxWriters: 4,
  maxKeysPerEpoch: 4096,
}

afterEach(() => void jest.useRealTimers())

describe.each(Object.keys(kinds))(
  'under fake timers of Jest, all of them, with the aggregator %s',
  (kind) => {
    it('every call settles, in real time', async () => {
      jest.useFakeTimers()
      const tracker = await DirtyTracker.create({ ...options, aggregator: kinds[kind] })
      const writer = tracker.openWriter()
      writer.mark(1)
      expect(await tracker.consume((epoch) => [...epoch.ids()])).toEqual([1])
      writer.mark(2)
      await tracker.drained()
      await tracker.flushed()
      expect(writer.staged).toBe(0)
      for (const id of range(0, 500)) if (!writer.mark(id)) throw new Error('refused')
      await writer.waitForRoom(64)
      expect(writer.room).toBe(64)
      let epochs = 0
      for await (const epoch of tracker.epochs({ everyMs: 2, skipEmpty: false })) {
        epoch.commit()
        if (++epochs === 3) break
      }
      writer.mark(9999)
      const last = await tracker.stop()
      expect([...last.ids()]).toEqual([9999])
      expect(jest.getTimerCount()).toBe(0)
    })

    it('flushIntervalMs publishes during them, and after them', async () => {
      const tracker = await DirtyTracker.create({
        ...options,
        aggregator: kinds[kind],
        flushIntervalMs: 3,
      })
      const [during, after] = [tracker.openWriter(), tracker.openWriter()]
      jest.useFakeTimers()
      during.mark(1)
      await turnsUntil(() => during.staged === 0)
      during.mark(2)
      jest.useRealTimers()
      after.mark(3)
      await turnsUntil(() => during.staged + after.staged === 0)
      after.mark(4)
      await turnsUntil(() => after.staged === 0)
      const last = await tracker.stop()
      expect([...last.ids()].sort()).toEqual([1, 2, 3, 4])
    })
  },
)

describe('under mock timers of node:test', () => {
  it.each(['inline', 'worker'])(
    'every call settles, in real time, with the aggregator %s',
    async (kind) => {
      expect(await runProgram('fake-timers', { kind })).toEqual({
        consumed: [1],
        staged: 0,
        room: 64,
        epochs: 3,
        published: true,
        last: [9999],
      })
    },
  )
})
