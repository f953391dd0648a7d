import { describe, expect, it } from '@jest/globals'
import { ClusterListeners } from '../../lib/cluster/events.js'
import { expectError, INVALID_ARG, OUT_OF_RANGE } from '../support/bad-input.js'
import { thrown } from '../support/in-process.js'

interface Events {
  warning: { message: string }
  back: { awayMs: number }
}

describe('the listeners of a publisher or a reader', () => {
  const open = (): ClusterListeners<Events> => new ClusterListeners<Events>(['warning', 'back'])

  it('are called in a microtask each, and the same function as often as it was added', async () => {
    const listeners = open()
    const told: unknown[] = []
    const listener = (event: Events['warning']): void => {
      told.push(event.message)
    }
    const remove = listeners.add('warning', listener)
    listeners.add('warning', listener)
    listeners.add('back', ({ awayMs }) => told.push(awayMs))

    expect([listeners.tell('warning', { message: 'one' }), told]).toEqual([true, []])
    await Promise.resolve()
    expect(told).toEqual(['one', 'one'])
    remove()
    remove()
    expect(listeners.tell('warning', { message: 'two' })).toBe(true)
    await Promise.resolve()
    expect(told).toEqual(['one', 'one', 'two'])
  })

  it('are known to be there or not, so that an event without any is not lost', () => {
    const listeners = open()
    const tell = (): boolean => listeners.tell('warning', { message: 'one' })
    listeners.add('back', () => undefined)

    expect(tell()).toBe(false)
    const remove = listeners.add('warning', () => undefined)
    expect(tell()).toBe(true)
    remove()
    expect(tell()).toBe(false)
  })

  it('are refused by the name of the argument that is none', () => {
    const add = (event: unknown, listener: unknown): any =>
      thrown(() => open().add(event as 'back', listener as () => void))

    expectError(add('back', 7), INVALID_ARG, '"listener" must be a function, got 7')
    expectError(
      add(7, () => undefined),
      INVALID_ARG,
      `"event" must be 'warning' or 'back', got 7`,
    )
    expectError(
      add('away', () => undefined),
      OUT_OF_RANGE,
      '"event" must be',
    )
  })
})
