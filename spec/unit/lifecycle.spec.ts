import { describe, expect, it } from '@jest/globals'
import { Listeners } from '../../lib/tracker/events.js'
import { Lifecycle } from '../../lib/tracker/lifecycle.js'
import { isPending, rejected, thrown, turns } from '../support/in-process.js'

const failure = new Error('planted')
const other = new Error('another')

describe('Lifecycle', () => {
  it('runs until the tracker stops, and then wakes each caller that waits for it', async () => {
    const lifecycle = new Lifecycle()
    const wakes: string[] = []
    lifecycle.onStop(() => wakes.push('one'))
    const end = lifecycle.onStop(() => wakes.push('two'))
    lifecycle.onStop(() => wakes.push('three'))
    end()
    expect([lifecycle.phase, lifecycle.isStopCalled, lifecycle.failure]).toEqual([
      'running',
      false,
      undefined,
    ])
    lifecycle.checkRunning()
    lifecycle.beginStop()
    expect([lifecycle.phase, lifecycle.isStopCalled, wakes]).toEqual(['closing', true, []])
    lifecycle.wake()
    expect(wakes).toEqual(['one', 'three'])
    expect(thrown(() => lifecycle.checkRunning())).toMatchObject({
      code: 'ERR_DIRTYRING_STOPPED',
      message: 'the tracker has stopped',
    })
    lifecycle.beginLastEpoch()
    expect([lifecycle.phase, await isPending(lifecycle.closed)]).toEqual(['stopping', true])
    lifecycle.finish()
    expect(lifecycle.phase).toBe('stopped')
    await lifecycle.closed
    // A failure that is reported later changes nothing of that.
    expect([lifecycle.fail(failure), lifecycle.phase]).toEqual([true, 'stopped'])
    await lifecycle.closed
  })

  it('fails once, and can be stopped then', async () => {
    const lifecycle = new Lifecycle()
    expect([lifecycle.fail(failure), lifecycle.fail(other)]).toEqual([true, false])
    expect([lifecycle.phase, lifecycle.isStopCalled, lifecycle.failure]).toEqual([
      'failed',
      false,
      failure,
    ])
    expect(thrown(() => lifecycle.checkRunning())).toBe(failure)
    expect(await rejected(lifecycle.closed)).toBe(failure)
    lifecycle.beginStop()
    expect([lifecycle.phase, thrown(() => lifecycle.checkRunning())]).toEqual(['closing', failure])
    lifecycle.beginLastEpoch()
    expect([lifecycle.phase, lifecycle.failure]).toEqual(['stopping', undefined])
    expect(thrown(() => lifecycle.checkRunning()).code).toBe('ERR_DIRTYRING_STOPPED')
  })

  it('is lost when it fails while STOP is out, and not while it is closing', async () => {
    const lifecycle = new Lifecycle()
    lifecycle.beginStop()
    expect([lifecycle.fail(failure), lifecycle.phase]).toEqual([true, 'closing'])
    lifecycle.beginLastEpoch()
    expect([lifecycle.fail(other), lifecycle.phase, lifecycle.failure]).toEqual([
      true,
      'lost',
      other,
    ])
    expect(await rejected(lifecycle.closed)).toBe(failure)
  })

  it('is lost when stop() rejects', async () => {
    const lifecycle = new Lifecycle()
    lifecycle.beginStop()
    lifecycle.lose(failure)
    expect([lifecycle.phase, await rejected(lifecycle.closed)]).toEqual(['lost', failure])
    expect([lifecycle.fail(other), lifecycle.phase]).toEqual([true, 'lost'])
  })

  it('leaves no rejection unhandled', async () => {
    const unhandled: unknown[] = []
    const note = (reason: unknown): void => void unhandled.push(reason)
    process.on('unhandledRejection', note)
    new Lifecycle().fail(failure)
    await turns(2)
    process.off('unhandledRejection', note)
    expect(unhandled).toEqual([])
  })
})

describe('Listeners', () => {
  const epoch = { id: 1, size: 2, exact: true, sealMs: 3 }

  it('are called in a microtask each, as often as they were added', async () => {
    const listeners = new Listeners()
    let changes = 0
    listeners.onChange = () => changes++
    const heard: unknown[] = []
    const hear = (event: unknown): void => void heard.push(event)
    const [first] = [listeners.add('epoch', hear), listeners.add('epoch', hear)]
    listeners.add('panic', hear)
    const counts = (): number[] => [
      listeners.count('epoch'),
      listeners.count('panic'),
      listeners.count('stall'),
      listeners.size,
      changes,
    ]
    expect(counts()).toEqual([2, 1, 0, 3, 3])
    listeners.tell('epoch', epoch)
    listeners.tell('stall', { what: 'lane', waitedMs: 0, unsettled: [] })
    expect(heard).toEqual([])
    await turns(1)
    expect(heard).toEqual([epoch, epoch])
    first()
    expect(counts()).toEqual([1, 1, 0, 2, 4])
    listeners.tell('epoch', epoch)
    await turns(1)
    expect(heard).toEqual([epoch, epoch, epoch])
  })

  it('need an event and a function', () => {
    const listeners = new Listeners()
    const add = listeners.add.bind(listeners) as (...args: unknown[]) => unknown
    for (const event of ['epoch', 'overflow', 'harvest', 'panic', 'restart', 'stall'])
      add(event, () => undefined)
    expect(thrown(() => add('epochs', () => undefined)).message).toMatch(/^"event" must be /)
    expect(thrown(() => add('epoch', 7)).message).toMatch(/^"listener" must be a function, got 7/)
    expect(listeners.size).toBe(6)
  })
})
