import { afterEach, describe, expect, it, jest } from '@jest/globals'
import type { DirtyTracker } from '../../lib/index.js'
import { FAILED, HEAD, TAIL } from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { openHeld, openInline, openUnattended, rejected, turns } from '../support/in-process.js'

/** Stores a word into the ring's next slot that no part of the library writes there. */
function corrupt(tracker: DirtyTracker): void {
  const { words, layout } = attachMemory(tracker.handle, 'tracker')
  words[layout.ring + (words[TAIL] & (layout.capacity - 1))] = 0x7fffffff
}

describe('when the aggregator cannot continue, every promise rejects:', () => {
  it('reap(), whose own token finds the ring corrupt', async () => {
    const tracker = await openUnattended()
    const writer = tracker.openWriter()
    corrupt(tracker)
    expect(await rejected(tracker.reap(writer.id))).toMatchObject({ code: 'ERR_DIRTYRING_CORRUPT' })
    expect(await rejected(tracker.reap(writer.id))).toMatchObject({ code: 'ERR_DIRTYRING_CORRUPT' })
  })

  it('flushed(), when an aggregator elsewhere has given up', async () => {
    const tracker = await openUnattended({ capacity: 2, onFull: 'reject' })
    const writer = tracker.openWriter()
    for (let i = 0; i < 3; i++) writer.markEverything()
    writer.mark(1)
    const flushed = rejected(tracker.flushed())
    Atomics.store(attachMemory(tracker.handle, 'tracker').words, FAILED, 1)
    expect(await flushed).toMatchObject({ code: 'ERR_DIRTYRING_CORRUPT' })
  })

  it('stop(), on a thread that is left alone with a tail at which no token can be put in', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2 })
    const writer = tracker.openWriter()
    for (let id = 0; id < 7; id++) {
      writer.mark(id)
      writer.flush()
      hand.run()
    }
    hand.release()
    hand.memory.words[TAIL] = 0
    expect(await rejected(tracker.stop({ graceMs: 0 }))).toMatchObject({
      code: 'ERR_DIRTYRING_CORRUPT',
    })
  })

  it('restore(), each time: the epoch stays sealed, and its keys stay readable', async () => {
    const tracker = await openInline()
    tracker.openWriter().mark(7)
    const epoch = await tracker.advanceEpoch()
    corrupt(tracker)
    for (let i = 0; i < 2; i++) {
      expect(await rejected(epoch.restore())).toMatchObject({ code: 'ERR_DIRTYRING_CORRUPT' })
      expect([epoch.state, ...epoch.ids()]).toEqual(['sealed', 7])
    }
    expect(tracker.stats().unsettled).toEqual([epoch.id])
  })
})

describe('an aggregator on a thread that sleeps in waitAsync', () => {
  afterEach(() => {
    jest.useRealTimers()
  })

  it('is woken by a publication, also when timers have ended its sleeps before that', async () => {
    jest.useFakeTimers({ doNotFake: ['performance', 'setImmediate', 'queueMicrotask', 'nextTick'] })
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const { words } = attachMemory(tracker.handle, 'tracker')
    for (let i = 0; i < 3; i++) {
      jest.advanceTimersByTime(60)
      await turns(2)
    }
    const head = Atomics.load(words, HEAD)
    writer.mark(1)
    writer.flush()
    await turns(200)
    expect(Atomics.load(words, HEAD)).toBe(head + 1)
  })
})
