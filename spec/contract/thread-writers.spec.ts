import { describe, expect, it } from '@jest/globals'
import { type DirtyTracker, threadWriter, withWriter } from '../../lib/index.js'
import { openHeld, openInline, range, rejected, sortedIds, thrown } from '../support/in-process.js'

/**
 * The handle as another message would bring it: a SharedArrayBuffer received twice is two objects.
 */
function receivedAgain(tracker: DirtyTracker): DirtyTracker['handle'] {
  const again = structuredClone(tracker.handle)
  expect((again as unknown as { buffer: unknown }).buffer).not.toBe(
    (tracker.handle as unknown as { buffer: unknown }).buffer,
  )
  return again
}

describe('threadWriter()', () => {
  it("is this thread's one writer for a tracker, by the tracker's identity, whichever copy of the handle it is asked with", async () => {
    const [a, b] = [await openInline(), await openInline()]
    const writer = threadWriter(a.handle)

    for (const handle of [a.handle, receivedAgain(a), receivedAgain(a)])
      expect(threadWriter(handle)).toBe(writer)
    expect(threadWriter(b.handle)).not.toBe(writer)
    expect(threadWriter(receivedAgain(b))).toBe(threadWriter(b.handle))
    expect(a.stats().writers.filter(({ open }) => open)).toHaveLength(1)
    expect(a.openWriter()).not.toBe(writer)
  })

  it('is kept when other trackers stop, and other writers are closed', async () => {
    const [one, other, third] = [await openInline(), await openInline(), await openInline()]
    const writer = threadWriter(one.handle)
    threadWriter(other.handle).close()
    await other.stop()
    third.openWriter()
    expect([threadWriter(one.handle) === writer, writer.closed]).toEqual([true, false])
  })

  it('is another one once that is closed, and throws ERR_DIRTYRING_STOPPED once the tracker has stopped', async () => {
    const tracker = await openInline()
    const writer = threadWriter(tracker.handle)
    writer.close()
    const next = threadWriter(tracker.handle)
    expect([next === writer, next.closed, next.mark(1)]).toEqual([false, false, true])
    await tracker.stop()
    expect(thrown(() => threadWriter(tracker.handle))).toMatchObject({
      code: 'ERR_DIRTYRING_STOPPED',
      message: 'the tracker has stopped',
    })
    const another = await openInline()
    expect(threadWriter(another.handle).mark(1)).toBe(true)
  })
})

describe('withWriter()', () => {
  it('a finished task is a published task: it flushes when use has returned, and gives what that gave', async () => {
    const tracker = await openInline()
    for (const id of range(0, 3)) {
      expect(
        withWriter(
          id % 2 === 0 ? tracker.handle : receivedAgain(tracker),
          (writer) => writer.mark(id) && writer.id,
        ),
      ).toBe(0)
      expect(tracker.stats()).toMatchObject({ staged: 0, writers: [{ batches: id + 1 }] })
    }
    expect(sortedIds(await tracker.advanceEpoch())).toEqual([0, 1, 2])
  })

  it('it flushes also when use throws, which it passes on', async () => {
    const tracker = await openInline()
    const mine = new Error('mine')
    const task = () =>
      withWriter(tracker.handle, (writer) => {
        writer.mark(1)
        throw mine
      })
    expect(thrown(task)).toBe(mine)
    expect(tracker.stats()).toMatchObject({ staged: 0, writers: [{ published: 1 }] })
  })

  it('of a promise, it flushes when that has settled, either way, before it settles itself', async () => {
    const tracker = await openInline()
    let finish = (): void => undefined
    const working = new Promise<void>((resolve) => {
      finish = resolve
    })
    const task = withWriter(tracker.handle, async (writer) => {
      writer.mark(1)
      await working
      writer.mark(2)
      return 'done'
    })
    expect(tracker.stats().staged).toBe(1)
    finish()
    expect(await task).toBe('done')
    expect(tracker.stats()).toMatchObject({ staged: 0, writers: [{ published: 2 }] })

    const mine = new Error('mine')
    const failing = withWriter(tracker.handle, async (writer) => {
      await Promise.resolve()
      writer.mark(3)
      throw mine
    })
    expect(await rejected(failing)).toBe(mine)
    expect(tracker.stats()).toMatchObject({ staged: 0, writers: [{ published: 3 }] })
  })

  it('C6: tells that it could not publish: ERR_DIRTYRING_STALLED, and the keys go out with the next batch', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, batchSize: 1, onFull: 'reject' })
    const mark = (id: number) => () => withWriter(tracker.handle, (writer) => writer.mark(id))
    for (const id of [0, 1]) mark(id)()
    expect(thrown(mark(2))).toMatchObject({
      code: 'ERR_DIRTYRING_STALLED',
      message: expect.stringContaining('the ring is full, and this thread may not wait'),
    })
    const promised = withWriter(tracker.handle, async (writer) => writer.mark(3))
    expect((await rejected(promised)).code).toBe('ERR_DIRTYRING_STALLED')
    // The error of a task is its own, not that of the flush after it.
    const mine = new Error('mine')
    const failing = () =>
      withWriter(tracker.handle, () => {
        throw mine
      })
    expect(thrown(failing)).toBe(mine)
    hand.run()
    mark(4)()
    const pending = tracker.advanceEpoch()
    hand.run()
    expect(sortedIds(await pending)).toEqual(range(0, 5))
  })

  it('C11: takes a handle and a function', async () => {
    const tracker = await openInline()
    expect(thrown(() => withWriter(tracker.handle, undefined as never)).message).toContain(
      '"use" must be a function, got undefined',
    )
    for (const call of [() => withWriter({} as never, () => 1), () => threadWriter({} as never)]) {
      expect(thrown(call)).toMatchObject({ name: 'TypeError', code: 'ERR_DIRTYRING_BAD_HANDLE' })
    }
    expect(tracker.stats().writers).toEqual([])
  })
})
