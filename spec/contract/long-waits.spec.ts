import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { DirtyTracker } from '../../lib/index.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { patience } from '../../lib/patience.js'
import { type Lane, openLane, stage } from '../../lib/ring/lane.js'
import {
  isPending,
  openHeld,
  openInline,
  openUnattended,
  turns,
  until,
} from '../support/in-process.js'
import { noClock } from '../support/steps.js'

const usual = { ...patience }
let warnings: string[] = []

beforeEach(() => {
  warnings = []
  patience.warningMs = 100
  jest
    .spyOn(process, 'emitWarning')
    .mockImplementation((message) => void warnings.push(String(message)))
})

afterEach(() => {
  Object.assign(patience, usual)
  jest.restoreAllMocks()
})

/** Looks often enough that a second warning would have come. */
async function another(ms = 150): Promise<void> {
  const end = performance.now() + ms
  await until(() => performance.now() > end)
  await turns(2)
}

async function holdSlots(tracker: DirtyTracker, count: number) {
  const writer = tracker.openWriter()
  const epochs = []
  for (let id = 0; id < count; id++) {
    writer.mark(id)
    epochs.push(await tracker.advanceEpoch())
  }
  return epochs
}

describe('a call that has waited for 10 s says once, by a process warning, what it waits for', () => {
  it('advanceEpoch() for a slot: which epochs are not settled, and what settles them', async () => {
    const tracker = await openInline({ epochSlots: 3 })
    const [first, second] = await holdSlots(tracker, 2)
    const waiting = [tracker.advanceEpoch(), tracker.advanceEpoch()]
    await until(() => warnings.length > 0)
    await another()
    expect(warnings).toEqual([
      'advanceEpoch() has waited 0.1 s for a free epoch slot: epochs 0, 1 are not settled. Call commit() or restore() on them.',
    ])
    first.commit()
    await waiting[0]
    await waiting[1]
    // A wait of its own is told again.
    tracker.openWriter().mark(1)
    await tracker.advanceEpoch()
    const third = tracker.advanceEpoch()
    await until(() => warnings.length > 1)
    expect(warnings[1]).toContain('epochs 1, 4 are not settled')
    second.commit()
    await third
  })

  it('a wait that is over in time is not told, however many follow each other', async () => {
    const tracker = await openInline({ epochSlots: 3 })
    const held = await holdSlots(tracker, 2)
    const began = performance.now()
    while (performance.now() - began < 300) {
      const next = tracker.advanceEpoch()
      expect(await isPending(next)).toBe(true)
      held.shift()!.commit()
      tracker.openWriter().close()
      held.push(await next)
      const writer = tracker.openWriter()
      writer.mark(1)
      writer.close()
      if (held.at(-1)!.size === 0) held.splice(-1, 1, await tracker.advanceEpoch())
    }
    expect(warnings).toEqual([])
  })

  it('drained(), restore(), reap() and stop(): that no aggregator answers, and what helps', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.mark(1)
    const cut = tracker.advanceEpoch()
    hand.run()
    const epoch = await cut
    writer.mark(2)
    const waits = [tracker.drained(), epoch.restore(), tracker.reap(openIdle(tracker))]
    await until(() => warnings.length === 3)
    const stopping = tracker.stop({ graceMs: 0 })
    await until(() => warnings.length === 4)
    await another()
    expect(warnings.map((text) => text.slice(0, text.indexOf(' has waited')))).toEqual([
      'drained()',
      'restore()',
      'reap()',
      'stop()',
    ])
    for (const text of warnings)
      expect(text).toContain('for the aggregator, which gives no answer.')
    hand.run()
    await Promise.all([...waits, stopping])
  })

  it('where no thread runs the aggregator it names runAggregator()', async () => {
    const tracker = await openUnattended()
    tracker.openWriter().mark(1)
    const cut = tracker.advanceEpoch()
    const drained = tracker.drained()
    await until(() => warnings.length > 1)
    for (const text of warnings)
      expect(text).toContain(
        'which no thread runs. Call runAggregator(tracker.handle) in a worker.',
      )
    await tracker.stop({ graceMs: 0 })
    await Promise.all([cut, drained])
  })

  it('flushed(): which writers have not published', async () => {
    const tracker = await openInline()
    const lane = openLane(attachMemory(tracker.handle, 'tracker'), 77, 4, noClock) as Lane
    stage(lane, 1, 0)
    const controller = new AbortController()
    const flushed = tracker.flushed({ signal: controller.signal })
    await until(() => warnings.length > 0)
    await another()
    expect(warnings).toEqual([
      "flushed() has waited 0.1 s for writer 0, which has not published: no event loop turns there. Call flush() on the writer's thread, or pass a signal to flushed().",
    ])
    controller.abort('enough')
    await expect(flushed).rejects.toBe('enough')
  })

  it("not where there is a listener for 'stall', which is told of the slot", async () => {
    const tracker = await openInline({ epochSlots: 3 })
    const off = tracker.on('stall', () => undefined)
    const [first] = await holdSlots(tracker, 2)
    const waiting = tracker.advanceEpoch()
    await another(300)
    expect(warnings).toEqual([])
    off()
    first.commit()
    await waiting
  })
})

function openIdle(tracker: DirtyTracker): number {
  return (openLane(attachMemory(tracker.handle, 'tracker'), 78, 4, noClock) as Lane).id
}
