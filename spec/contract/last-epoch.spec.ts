import { afterEach, describe, expect, it, jest } from '@jest/globals'
import type { SealedEpoch } from '../../lib/index.js'
import { FAILED } from '../../lib/memory/map.js'
import {
  isPending,
  openHeld,
  openInline,
  range,
  rejected,
  sortedIds,
  sortedListed,
  thrown,
  turns,
  until,
} from '../support/in-process.js'
import { STOPPED } from '../support/stopping.js'

afterEach(() => {
  jest.restoreAllMocks()
})

describe('the last epoch', () => {
  const everyMs = 1_000_000

  it('says last, and no other does', async () => {
    const tracker = await openInline()
    const epoch = await tracker.advanceEpoch()
    const last = await tracker.stop()
    expect([epoch.last, last.last]).toEqual([false, true])
  })

  it.each([0, 1])(
    'restore() on it rejects with ERR_DIRTYRING_STOPPED, and a scope may be left: with %d keys',
    async (keys) => {
      const tracker = await openInline()
      tracker.openWriter().markMany(range(0, keys))
      const last = await tracker.stop()
      expect((await rejected(last.restore())).code).toBe(STOPPED)
      last[Symbol.dispose]()
      await last[Symbol.asyncDispose]()
      expect([last.state, ...sortedIds(last)]).toEqual(['sealed', ...range(0, keys)])
      last.commit()
      await last.restore()
      expect(last.state).toBe('committed')
    },
  )

  describe('with an epochs() loop that runs', () => {
    it('is yielded to it, also empty or inexact, and stop() resolves with a read-only copy', async () => {
      for (const [maxKeysPerEpoch, keys] of [
        [4, []],
        [4, [1, 2, 3]],
        [4, range(0, 9)],
      ] as const) {
        const tracker = await openInline({ maxKeysPerEpoch })
        const epochs = tracker.epochs({ everyMs })
        const pending = epochs.next()
        tracker.openWriter().markMany(keys)
        const copy = await tracker.stop()
        const { value: epoch, done } = await pending
        const listed = range(0, 9)
          .filter((key) => (keys as readonly number[]).includes(key))
          .slice(0, maxKeysPerEpoch)
        for (const each of [copy, epoch]) {
          expect([done, each.last, each.id, each.exact, sortedListed(each)]).toEqual([
            false,
            true,
            0,
            keys.length <= 4,
            listed,
          ])
        }
        copy.commit()
        await copy.restore()
        await copy[Symbol.asyncDispose]()
        expect([copy.state, epoch.state, tracker.stats().committed]).toEqual([
          'sealed',
          'sealed',
          0,
        ])
        epoch.commit()
        expect([copy.state, epoch.state, tracker.stats().committed]).toEqual([
          'sealed',
          'committed',
          1,
        ])
        expect([sortedListed(copy), copy.has(keys[0] ?? 0)]).toEqual([listed, keys.length > 0])
        expect(await epochs.next()).toEqual({ done: true, value: undefined })
        expect([await tracker.stop(), tracker.stats().unsettled]).toEqual([copy, []])
      }
    })

    it('one loop deals with every key, and its body may await stop()', async () => {
      const tracker = await openInline()
      const writer = tracker.openWriter()
      writer.mark(0)
      const seen: number[] = []
      const lasts: boolean[] = []
      for await (const epoch of tracker.epochs({ everyMs: 0 })) {
        seen.push(...epoch.ids())
        lasts.push(epoch.last)
        if (seen.length < 5) writer.mark(seen.length)
        if (seen.length === 4) expect((await tracker.stop()).state).toBe('sealed')
        epoch.commit()
      }
      expect([seen, lasts.indexOf(true)]).toEqual([range(0, 5), lasts.length - 1])
      expect(tracker.stats()).toMatchObject({ unsettled: [], committed: lasts.length })
    })

    it('is preceded by the epoch that the body left unsettled, once more, because that cannot be restored', async () => {
      for (const settle of [true, false]) {
        const tracker = await openInline()
        const writer = tracker.openWriter()
        writer.mark(1)
        const seen: unknown[] = []
        let stopping: Promise<unknown> | undefined
        for await (const epoch of tracker.epochs({ everyMs: 0 })) {
          seen.push([epoch.id, epoch.last, sortedIds(epoch)])
          stopping ??= (writer.mark(2), tracker.stop())
          if (seen.length > 1 && settle) epoch.commit()
          if (seen.length > 4) throw new Error('it is yielded for ever')
        }
        const first = (seen[0] as number[])[0]
        expect(seen).toEqual([
          [first, false, [1]],
          [first, false, [1]],
          [first + 1, true, [2]],
        ])
        await stopping
        expect(tracker.stats().unsettled).toEqual(settle ? [] : [first, first + 1])
      }
    })

    it('comes after a cut that was made before stop(), which is yielded too', async () => {
      const { tracker, hand } = await openHeld()
      const writer = tracker.openWriter()
      writer.markMany([1])
      const epochs = tracker.epochs({ everyMs: 0 })
      const pending = epochs.next()
      await until(() => tracker.epoch === 1)
      writer.markMany([2])
      const stopping = tracker.stop({ graceMs: 0 })
      await until(() => !hand.run() && tracker.health().finished)
      const first: SealedEpoch = (await pending).value
      expect([first.id, first.last, ...sortedIds(first)]).toEqual([0, false, 1])
      first.commit()
      const last: SealedEpoch = (await epochs.next()).value
      expect([last.id, last.last, ...sortedIds(last)]).toEqual([1, true, 2])
      last.commit()
      await stopping
    })

    it('stays readable when the body leaves it unsettled, by any way out, and the loop ends without an error of its own', async () => {
      const error = new Error('the body failed')
      for (const how of ['goes on', 'breaks', 'throws']) {
        const tracker = await openInline()
        tracker.openWriter().mark(1)
        let last: SealedEpoch | undefined
        const run = async (): Promise<void> => {
          for await (const epoch of tracker.epochs({ everyMs })) {
            last = epoch
            if (how === 'breaks') break
            if (how === 'throws') throw error
          }
        }
        const running = run()
        const copy = await tracker.stop()
        if (how === 'throws') expect(await rejected(running)).toBe(error)
        else await running
        copy.commit() // read-only: the loop got the epoch
        expect([last!.state, last!.last, ...sortedIds(last!)]).toEqual(['sealed', true, 1])
        await tracker.stop({ consume: (epoch) => expect(epoch).toBe(last) })
        expect(last!.state).toBe('committed')
        expect(tracker.stats().unsettled).toEqual([])
      }
    })

    it.each(['break', 'throw', 'return()', 'abort'])(
      "is the caller's when the loop ends by %s before it got the epoch",
      async (how) => {
        const tracker = await openInline()
        const writer = tracker.openWriter()
        writer.mark(1)
        const controller = new AbortController()
        const epochs = tracker.epochs({ everyMs: 0, signal: controller.signal })
        const { value: first } = await epochs.next()
        first.commit()
        writer.mark(2)
        const copy = await tracker.stop()
        copy.commit()
        expect(copy.state).toBe('sealed') // the loop may still ask for it
        if (how === 'abort') controller.abort()
        else if (how === 'throw')
          await epochs.throw!(new Error('the body failed')).catch(() => undefined)
        else await epochs.return!()
        expect([copy.state, copy.last, ...sortedIds(copy)]).toEqual(['sealed', true, 2])
        expect((await rejected(copy.restore())).code).toBe(STOPPED)
        copy.commit()
        expect([copy.state, thrown(() => copy.bigints).code, tracker.stats().unsettled]).toEqual([
          'committed',
          'ERR_DIRTYRING_SETTLED',
          [],
        ])
        expect(await epochs.next()).toEqual({ done: true, value: undefined })
      },
    )

    it("is the caller's when the loop is aborted while stop() is under way", async () => {
      const { tracker, hand } = await openHeld()
      tracker.openWriter().markMany([1])
      const controller = new AbortController()
      const pending = tracker.epochs({ everyMs, signal: controller.signal }).next()
      const stopping = tracker.stop({ graceMs: 0 })
      expect(await isPending(pending)).toBe(true) // it waits for the last epoch
      controller.abort()
      await until(() => !hand.run() && tracker.health().finished)
      const last = await stopping
      expect(await pending).toEqual({ done: true, value: undefined })
      last.commit()
      expect([last.state, tracker.stats().unsettled]).toEqual(['committed', []])
    })

    it("is the caller's at once when the loop had been aborted before", async () => {
      const tracker = await openInline()
      const controller = new AbortController()
      void tracker.epochs({ everyMs, signal: controller.signal }).next()
      tracker.openWriter().mark(1)
      controller.abort()
      const last = await tracker.stop()
      last.commit()
      expect([last.state, tracker.stats().unsettled]).toEqual(['committed', []])
    })

    it('does not hold up stop(), whatever the body does', async () => {
      const tracker = await openInline()
      tracker.openWriter().mark(1)
      const dropped = tracker.epochs({ everyMs: 0 })
      await dropped.next()
      const copy = await tracker.stop() // and next() is never called again
      expect([copy.last, copy.size]).toEqual([true, 0])
      await tracker[Symbol.asyncDispose]()
    })

    it('rejects its pending next() with the error of stop() when the aggregator fails meanwhile', async () => {
      const { tracker, hand } = await openHeld()
      const pending = rejected(tracker.epochs({ everyMs }).next())
      const stopping = rejected(tracker.stop({ graceMs: 0 }))
      Atomics.store(hand.memory.words, FAILED, 1)
      const error = await stopping
      expect(error.code).toBe('ERR_DIRTYRING_CORRUPT')
      expect(await pending).toBe(error)
    })
  })

  describe('with stop({ consume })', () => {
    it('is given to `consume`, also when it is empty, and committed when that resolves', async () => {
      for (const keys of [[], [1, 2]]) {
        const tracker = await openInline()
        tracker.openWriter().markMany(keys)
        const seen: unknown[] = []
        const last = await tracker.stop({
          consume: async (epoch) => {
            seen.push(epoch.last, epoch.state, sortedIds(epoch))
            await turns(2)
            expect(epoch.state).toBe('sealed')
          },
        })
        expect([seen, last.state, last.size]).toEqual([
          [true, 'sealed', keys],
          'committed',
          keys.length,
        ])
        expect(await tracker.stop()).toBe(last)
      }
    })

    it('lets stand that `consume` committed it', async () => {
      const tracker = await openInline()
      tracker.openWriter().mark(1)
      const last = await tracker.stop({ consume: (epoch) => epoch.commit() })
      expect([last.state, tracker.stats().committed]).toEqual(['committed', 1])
    })

    it('rejects with the error of `consume`; the epoch stays readable, and stop() may be called again, in either form', async () => {
      const tracker = await openInline()
      tracker.openWriter().markMany([1, 2])
      const error = new Error('disk full')
      const failing: (() => unknown)[] = [
        () => {
          throw error
        },
        () => Promise.reject(error),
      ]
      for (const consume of failing) expect(await rejected(tracker.stop({ consume }))).toBe(error)
      const last = await tracker.stop()
      expect([last.state, ...sortedIds(last)]).toEqual(['sealed', 1, 2])
      expect(await rejected(tracker.stop({ consume: failing[1] }))).toBe(error)
      let ids: number[] = []
      expect(await tracker.stop({ consume: (epoch) => void (ids = sortedIds(epoch)) })).toBe(last)
      expect([ids, last.state, tracker.stats()]).toMatchObject([
        [1, 2],
        'committed',
        { sealed: 1, committed: 1, unsettled: [] },
      ])
      expect(tracker.health()).toMatchObject({ finished: true, state: 'finished' })
    })

    it('is not given to a later `consume` once it is settled, and is given to it otherwise', async () => {
      const tracker = await openInline()
      tracker.openWriter().mark(1)
      const last = await tracker.stop()
      let calls = 0
      await tracker.stop({ consume: () => calls++ })
      await tracker.stop({ consume: () => calls++ })
      expect([calls, last.state]).toEqual([1, 'committed'])
    })

    it('is dealt with by one of two calls at once, and by the second one if the first one fails', async () => {
      for (const isFailing of [false, true]) {
        const tracker = await openInline()
        const calls: number[] = []
        const consume = (call: number) => async () => {
          calls.push(call)
          await turns(2)
          if (isFailing && call === 1) throw new Error('disk full')
        }
        const results = await Promise.allSettled([
          tracker.stop({ consume: consume(1) }),
          tracker.stop({ consume: consume(2) }),
          tracker.stop(),
        ])
        expect(results.map(({ status }) => status)).toEqual([
          isFailing ? 'rejected' : 'fulfilled',
          'fulfilled',
          'fulfilled',
        ])
        expect(calls).toEqual(isFailing ? [1, 2] : [1])
        expect(tracker.stats().committed).toBe(1)
      }
    })

    it('is waited for by a later stop(), which rejects as it does, also if an earlier one fails', async () => {
      for (const isFailing of [false, true]) {
        const tracker = await openInline()
        tracker.openWriter().mark(1)
        let finish: () => void
        const finished = new Promise<void>((resolve) => (finish = resolve))
        const errors = [new Error('disk full'), new Error('disk gone')]
        const first = rejected(tracker.stop({ consume: () => Promise.reject(errors[0]) }))
        const second = tracker.stop({
          consume: async () => {
            await finished
            if (isFailing) throw errors[1]
          },
        })
        expect(await first).toBe(errors[0])
        const third = tracker.stop()
        const isWaiting = await isPending(third)
        finish!()
        expect(isWaiting).toBe(true)
        const [dealt, stopped] = await Promise.allSettled([second, third])
        expect(stopped).toEqual(dealt)
        expect(dealt.status).toBe(isFailing ? 'rejected' : 'fulfilled')
        expect(tracker.stats().committed).toBe(isFailing ? 0 : 1)
      }
    })

    it('is not yielded to a loop that runs when stop() is called once more', async () => {
      const tracker = await openInline()
      const writer = tracker.openWriter()
      writer.mark(1)
      const epochs = tracker.epochs({ everyMs: 0 })
      const { value: first } = await epochs.next()
      first.commit()
      writer.mark(2)
      let finish: () => void
      const finished = new Promise<void>((resolve) => (finish = resolve))
      const dealt = tracker.stop({ consume: () => finished })
      const stopped = tracker.stop()
      const next = await epochs.next()
      finish!()
      expect(next).toEqual({ done: true, value: undefined })
      expect(await stopped).toBe(await dealt)
    })

    it('is not yielded to a loop that runs: that one just ends; what its body left unsettled it gets once more', async () => {
      const tracker = await openInline()
      const writer = tracker.openWriter()
      writer.mark(1)
      const epochs = tracker.epochs({ everyMs: 0 })
      const { value: first } = await epochs.next()
      writer.mark(2)
      const asked: number[] = []
      const last = await tracker.stop({ consume: (epoch) => void asked.push(...epoch.ids()) })
      expect([asked, last.state]).toEqual([[2], 'committed'])
      expect((await epochs.next()).value).toBe(first)
      first.commit()
      expect(await epochs.next()).toEqual({ done: true, value: undefined })
    })

    it('takes over from a loop that has not got it yet; after a failure the copy of the first stop() settles it', async () => {
      const tracker = await openInline()
      tracker.openWriter().mark(1)
      const pending = tracker.epochs({ everyMs }).next()
      const first = tracker.stop()
      const error = new Error('disk full')
      const second = rejected(
        tracker.stop({
          consume: async (epoch) => {
            ;(await first).commit() // read-only
            expect(epoch.state).toBe('sealed')
            throw error
          },
        }),
      )
      expect(await pending).toEqual({ done: true, value: undefined })
      expect(await second).toBe(error)
      const copy = await first
      expect([copy.state, ...sortedIds(copy)]).toEqual(['sealed', 1])
      expect(await tracker.stop()).toBe(copy)
      copy.commit()
      expect([copy.state, tracker.stats().unsettled]).toEqual(['committed', []])
    })

    it('has to be a function', async () => {
      const tracker = await openInline()
      const error = await rejected(tracker.stop({ consume: 'save' as never }))
      expect([error.code, error.message]).toEqual([
        'ERR_DIRTYRING_INVALID_ARG',
        '"options.consume" must be a function, got "save"',
      ])
      expect(tracker.openWriter().mark(1)).toBe(true) // and nothing has begun
    })

    it('is not given to it when the aggregator fails', async () => {
      const { tracker, hand } = await openHeld()
      Atomics.store(hand.memory.words, FAILED, 1)
      let called = false
      const consume = (): void => void (called = true)
      const error = await rejected(tracker.stop({ graceMs: 0, consume }))
      expect([error.code, await rejected(tracker.stop()), called]).toEqual([
        'ERR_DIRTYRING_CORRUPT',
        error,
        false,
      ])
    })
  })
})
