import { describe, expect, it } from '@jest/globals'
import {
  mark,
  openForConsumers,
  openHeld,
  openInline,
  rejected,
  thrown,
} from '../support/in-process.js'

/** Timers that keep this process alive. */
const timers = (): number =>
  process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length

describe('ref()', () => {
  it('keeps the process alive by one timer, until unref() or stop()', async () => {
    const tracker = await openInline()
    const none = timers()
    expect([tracker.ref(), tracker.ref()]).toEqual([tracker, tracker])
    expect(timers()).toBe(none + 1)
    expect([tracker.unref(), tracker.unref()]).toEqual([tracker, tracker])
    expect(timers()).toBe(none)
    tracker.ref()
    await tracker.stop({ graceMs: 0 })
    const stopped = timers()
    tracker.unref()
    expect(timers()).toBe(stopped)
  })

  it('does nothing once stop() is called', async () => {
    const { tracker, hand } = await openHeld()
    const stopping = tracker.stop({ graceMs: 0 })
    const isStopping = timers()
    tracker.ref()
    expect(timers()).toBe(isStopping)
    hand.release()
    await stopping
    const isOver = timers()
    tracker.ref()
    expect(timers()).toBe(isOver)
  })
})

describe('a tracker', () => {
  it('has the kernel that is asked for', async () => {
    for (const kernel of ['js', 'wasm'] as const)
      expect((await openInline({ kernel })).kernel).toBe(kernel)
  })

  it('has dealt with all epochs before its first one', async () => {
    for (const first of [0, 5]) {
      const tracker = await openInline({}, { epoch: first })
      mark(tracker, 1)
      const epoch = await tracker.advanceEpoch()
      expect(epoch.id).toBe(first)
      expect(epoch.since).toMatch(first === 0 ? /\.-1$/ : /\.4$/)
    }
  })

  it('shows its consumers, with the text of its memory', async () => {
    const tracker = await openForConsumers()
    tracker.consumer('one', { from: 'now' })
    tracker.consumer('a "second"')
    mark(tracker, 1, 'a')
    await tracker.drained()
    const lines = tracker.dump().split('\n')
    expect(lines.slice(-2)).toEqual([
      'consumer    "one": 2 keys of 0 epochs wait, exact',
      'consumer    "a \\"second\\"": 2 keys of 0 epochs wait, everything',
    ])
    expect(lines[0]).toMatch(/^dirtyring memory/)
  })

  it('says what is not allowed', async () => {
    const tracker = await openInline()
    for (const [namespace, message] of [
      [-1, '"namespace" must be a whole number from 0 to 4194303, got -1'],
      [2 ** 22, '"namespace" must be a whole number from 0 to 4194303, got 4194304'],
      ['0', '"namespace" must be a number, got "0"'],
    ] as [never, string][])
      expect(thrown(() => tracker.markEverything(namespace)).message).toBe(message)
    expect(thrown(() => tracker.save()).message).toBe(
      'the tracker runs: await tracker.stop() before tracker.save()',
    )
    const gone = new Uint8Array(20)
    structuredClone(gone, { transfer: [gone.buffer] })
    for (const [resume, message] of [
      [
        'bytes',
        '"options.resume" must be a Uint8Array, or undefined, got "bytes". ' +
          'Pass what tracker.save() returned, or undefined at the first start.',
      ],
      [
        gone,
        '"options.resume" must be a view of memory that this thread has, ' +
          'got an instance of Uint8Array. It is detached or out of bounds: ' +
          'it was transferred to another thread, or its buffer shrank.',
      ],
    ] as [never, string][])
      expect((await rejected(openInline({ resume }))).message).toBe(message)
  })
})
