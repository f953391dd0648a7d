import { describe, expect, it } from '@jest/globals'
import type { SealedEpoch } from '../../lib/epochs/sealed-epoch.js'
import type { Memory } from '../../lib/memory/memory.js'
import { type Lane, publish, stage } from '../../lib/ring/lane.js'
import { nowMs } from '../../lib/timers.js'
import { Control } from '../../lib/tracker/control.js'
import { Listeners } from '../../lib/tracker/events.js'
import { HandedOut } from '../../lib/tracker/handed-out.js'
import { closePlace, openPlace } from '../../lib/tracker/outbox.js'
import type { Place } from '../../lib/tracker/places.js'
import { open, run } from '../support/aggregators.js'
import { rejected } from '../support/in-process.js'
import { smallMemory } from '../support/steps.js'

/** The epochs of one reader, over an aggregator that runs when the spec says so. */
class Scene {
  readonly memory: Memory
  readonly control: Control
  readonly lane: Lane
  readonly place: Place | undefined
  readonly epochs: HandedOut
  /** What the reader's epochs tell their owner. */
  readonly told: unknown[] = []

  constructor(options: { consumer?: boolean; namespaces?: number[] } = {}) {
    const isConsumer = options.consumer === true || options.namespaces !== undefined
    this.memory = smallMemory({ capacity: 16, epochSlots: 8, maxConsumers: isConsumer ? 2 : 0 })
    this.control = new Control(this.memory, new Listeners())
    this.lane = open(this.memory)
    const { restores, overflows, counts, outbox } = this.control
    this.place = isConsumer ? openPlace(outbox, false, false, options.namespaces) : undefined
    this.epochs = new HandedOut({
      context: this.control,
      restores,
      overflows,
      counts,
      place: this.place,
      position: -1,
      onEmpty: (since, id) => this.told.push(['empty', since, id]),
      onEnd: (ended) => this.told.push(['end', ended === this.epochs]),
    })
  }

  /** The next epoch, with these keys. Its cut was asked for at `startedAt`. */
  cut(keys: number[] = [], startedAt = nowMs()): SealedEpoch {
    for (const key of keys) stage(this.lane, key, 0)
    publish(this.lane)
    const { epochs, place, control } = this
    let epoch: SealedEpoch | undefined
    const resolve = (sealed: SealedEpoch): void => void (epoch = sealed)
    const reject = (reason: unknown): never => {
      throw reason as Error
    }
    control.advances.request({ resolve, reject, startedAt, epochs, place })
    this.run()
    return epoch!
  }

  run(): void {
    run(this.memory)
    this.control.poke()
  }
}

describe('the epochs that a reader was handed', () => {
  it('move its position when no earlier one is in hand, committed or given back', async () => {
    const scene = new Scene()
    const { epochs } = scene
    const [first, second, third, fourth] = [1, 2, 3, 4].map((key) => scene.cut([key]))
    expect([epochs.epochs, epochs.unsettled]).toEqual([
      [first, second, third, fourth],
      [0, 1, 2, 3],
    ])
    second.commit()
    expect([epochs.begin, epochs.commits, epochs.unsettled]).toEqual([0, 1, [0, 2, 3]])
    first.commit()
    expect([epochs.begin, epochs.position, epochs.commits]).toEqual([2, 1, 2])
    fourth.commit()
    expect([epochs.begin, epochs.commits]).toEqual([2, 3])
    const restored = third.restore()
    expect([epochs.begin, epochs.epochs]).toEqual([2, []])
    scene.run()
    await restored
    expect([epochs.begin, epochs.position]).toEqual([4, 3])
    expect(scene.cut().size).toBe(1)
    expect(scene.told).toEqual([])
    expect(scene.control.counts).toEqual({ sealed: 5, committed: 3, restored: 1 })
  })

  it('say since when its reader has had all: by the cut, and never earlier than before', () => {
    const scene = new Scene()
    const { epochs } = scene
    const opened = epochs.upToDateAt
    scene.cut([1], opened - 5000).commit()
    expect(epochs.upToDateAt).toBe(opened)
    scene.cut([2], opened + 5000).commit()
    expect(epochs.upToDateAt).toBeGreaterThanOrEqual(opened + 5000)
    const empty = scene.cut([], opened - 5000)
    expect(epochs.upToDateAt).toBeLessThan(opened)
    expect([epochs.position, epochs.begin]).toEqual([empty.id - 1, empty.id + 1])
  })

  it('that are exact and empty say that nothing was marked, unless one before is in hand', async () => {
    const scene = new Scene()
    const { epochs, told } = scene
    const empty = scene.cut()
    expect(told).toEqual([['empty', -1, 0]])
    const held = scene.cut([1])
    const { upToDateAt } = epochs
    scene.cut([], upToDateAt - 5000)
    expect([told.length, epochs.upToDateAt]).toEqual([1, upToDateAt])
    held.commit()
    scene.cut()
    expect(told.slice(1)).toEqual([['empty', 1, 3]])
    // There is nothing to give back. It counts as settled in this way all the same.
    await empty.restore()
    expect(scene.control.counts).toEqual({ sealed: 4, committed: 1, restored: 1 })
  })

  it('of some namespaces say nothing about the others', () => {
    const all = new Scene({ consumer: true })
    all.cut()
    expect(all.told).toEqual([['empty', -1, 0]])
    const some = new Scene({ namespaces: [7] })
    expect(some.cut([1]).size).toBe(0)
    expect(some.told).toEqual([])
  })

  it('end with the last of them: at once, or when it is committed or given back', async () => {
    const none = new Scene()
    expect(none.told).toEqual([])
    none.epochs.end()
    expect(none.told).toEqual([['end', true]])

    const commits = new Scene()
    const [one, two] = [commits.cut([1]), commits.cut([2])]
    one.commit()
    commits.epochs.end()
    expect(commits.told).toEqual([])
    two.commit()
    expect(commits.told).toEqual([['end', true]])

    const gives = new Scene({ consumer: true })
    const held = gives.cut([1])
    gives.epochs.end()
    await held.restore()
    expect(gives.told).toEqual([['end', true]])
  })

  it('cannot be given back once the tracker stops, unless the consumer was closed', async () => {
    for (const isClosed of [false, true]) {
      const scene = new Scene({ consumer: true })
      const { control, place, epochs } = scene
      const held = scene.cut([1])
      if (isClosed) closePlace(control.outbox, place!)
      control.close()
      if (isClosed) await held.restore()
      else expect((await rejected(held.restore())).code).toBe('ERR_DIRTYRING_STOPPED')
      expect([held.state, epochs.unsettled]).toEqual(isClosed ? ['restored', []] : ['sealed', [0]])
    }
  })
})
