import { describe, expect, it } from '@jest/globals'
import { type ClusterEpoch, type ClusterReader, publishEpochs } from '../../lib/cluster/index.js'
import { openReader } from '../support/cluster-nodes.js'
import { Draw, FaultLog, type FaultRates } from '../support/fault-log.js'
import { openInline } from '../support/in-process.js'

const RATES: Partial<FaultRates> = {
  lostBefore: 0.05,
  lostAfter: 0.05,
  late: 0.03,
  dropped: 0.02,
  repeated: 0.05,
  reordered: 0.03,
  away: 0.05,
  cutLost: 0.2,
  cutRepeated: 0.2,
}
const KEYS = 200
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** What a reader keeps of the store: each epoch says what to look up again. */
class Copy {
  rows = new Map<number, number>()
  #saved = { rows: new Map<number, number>(), clock: undefined as string | undefined }

  take(epoch: ClusterEpoch, store: ReadonlyMap<number, number>): void {
    const keys = epoch.exact ? epoch : [...store.keys()].filter(epoch.has, epoch)
    for (const key of keys) this.rows.set(Number(key), store.get(Number(key))!)
    this.#saved = { rows: new Map(this.rows), clock: epoch.clock }
  }

  /** The process dies: what it had in memory is what it had saved. */
  restart(): string | undefined {
    this.rows = new Map(this.#saved.rows)
    return this.#saved.clock
  }
}

async function run(seed: number): Promise<void> {
  const draw = new Draw(seed)
  const log = new FaultLog({ seed, rates: RATES, readMax: 7 })
  const store = new Map<number, number>()
  const nodes = await Promise.all(
    ['a', 'b', 'c'].map(async (node) => {
      const tracker = await openInline({ maxConsumers: 1 })
      const consumer = tracker.consumer('cluster', { from: 'now' })
      const options = { node, sink: log.sink(), everyMs: 3, beatMs: 20 }
      const publisher = await publishEpochs(consumer, options)
      publisher.on('error', () => undefined)
      return { publisher, writer: tracker.openWriter() }
    }),
  )
  let version = 0
  const write = (): void => {
    const key = draw.below(KEYS)
    store.set(key, ++version)
    draw.pick(nodes).writer.mark(key)
  }

  const [cache, checkpoint] = [new Copy(), new Copy()]
  const open = (since?: string): ClusterReader =>
    openReader(log, { since, timeoutMs: 200, goneMs: 60_000 })
  const ofCache = open()
  const looping = (async () => {
    for await (const epoch of ofCache.epochs({ everyMs: 2 })) {
      if (draw.happens(0.2)) continue // it is restored
      cache.take(epoch, store)
      epoch.commit()
    }
  })()
  let reader = open()
  for (let step = 0; step < 40; step++) {
    for (let i = draw.below(6); i > 0; i--) write()
    if (draw.happens(0.1)) log.trim(draw.below(log.length))
    if (draw.happens(0.05)) log.forgetTail(draw.below(3))
    if (draw.happens(0.05)) log.makeAnew()
    if (draw.happens(0.1)) {
      log.goAway()
      await pause(5)
      log.comeBack()
    }
    if (draw.happens(0.15)) {
      await reader.close()
      reader = open(checkpoint.restart())
    }
    if (draw.happens(0.3)) {
      const consumed = reader.consume((epoch) => {
        if (draw.happens(0.2)) throw new Error('disk full')
        checkpoint.take(epoch, store)
      })
      await consumed.catch((error: unknown) => {
        const { code, message } = error as { code?: string; message: string }
        if (message !== 'disk full' && code !== 'ERR_DIRTYRING_AWAY') throw error
      })
    }
    await pause(2)
  }

  log.quiet()
  await Promise.all(nodes.map(({ publisher }) => publisher.appended()))
  // Whatever was published before a call is in its epoch, or the epoch is not exact.
  await reader.consume((epoch) => checkpoint.take(epoch, store))
  await reader.consume((epoch) => checkpoint.take(epoch, store))
  expect([...checkpoint.rows].sort()).toEqual([...store].sort())
  // A loop asks for no cuts: it has the rest when it has read all that is in the log.
  const isEqual = (): boolean => [...store].every(([key, row]) => cache.rows.get(key) === row)
  for (let i = 0; i < 1000 && !isEqual(); i++) await pause(2)
  await ofCache.close()
  await looping
  expect([...cache.rows].sort()).toEqual([...store].sort())
  await Promise.all(nodes.map(({ publisher }) => publisher.close()))
}

describe('readers of publishers over a log that goes wrong', () => {
  it.each([1, 2, 3])('end with copies that equal the store, seed %i', run)
})
