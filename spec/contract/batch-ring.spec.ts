import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { types } from 'node:util'
import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { BatchRing } from '../../lib/index.js'
import { OWNER, PARKED } from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { platform } from '../../lib/platform/current.js'
import { expectError, INVALID_ARG, OUT_OF_RANGE } from '../support/bad-input.js'
import { isPending, openInline, rejected, thrown, turns, until } from '../support/in-process.js'

const SMALL = { capacity: 4, laneCapacity: 8, maxWriters: 2 }
const TAKEN = { name: 'DirtyRingError', code: 'ERR_DIRTYRING_AGGREGATOR_TAKEN' }

const batch = (...keys: number[]): BigUint64Array => BigUint64Array.from(keys, BigInt)
const numbers = (keys: BigUint64Array): number[] => Array.from(keys, Number)

/** Everything there is, as lists of keys. */
function drained(ring: BatchRing): number[][] {
  const batches: number[][] = []
  ring.drain((keys) => batches.push(numbers(keys)))
  return batches
}

const workers = new Set<Worker>()
afterEach(async () => {
  for (const worker of workers) await worker.terminate()
  workers.clear()
  jest.restoreAllMocks()
})

/** A thread that runs `code` with the built package; `ring` is the ring there. */
function startThread(ring: BatchRing, code: string): Worker {
  const dist = new URL('../../dist/index.js', import.meta.url).href
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
     import(${JSON.stringify(dist)}).then(async ({ BatchRing, DirtyTracker }) => {
       const ring = BatchRing.attach(workerData)
       ${code}
     })`,
    { eval: true, workerData: ring.handle, execArgv: [] },
  )
  workers.add(worker)
  return worker
}

const messageOf = (worker: Worker): Promise<any> =>
  new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })

describe('BatchRing: wait()', () => {
  it('returns true at once if there is a batch, and leaves the batch in the ring', () => {
    const ring = BatchRing.create(SMALL)
    ring.openProducer().push(batch(1, 2))
    for (const ms of [undefined, 0, 5, Infinity]) expect(ring.wait(ms)).toBe(true)
    expect(drained(ring)).toEqual([[1, 2]])
  })

  it('returns false when the time has gone by', () => {
    const ring = BatchRing.create(SMALL)
    expect([ring.wait(0), ring.wait(0.1), ring.wait(20)]).toEqual([false, false, false])
  })

  it('does not take the end of a producer for a batch, and frees its id', () => {
    const ring = BatchRing.create({ ...SMALL, maxWriters: 1 })
    ring.openProducer().close()
    expect(ring.wait(0)).toBe(false)
    const next = ring.openProducer()
    expect(next.id).toBe(0)
    next.close()
    expect(ring.wait(10)).toBe(false)
    const last = ring.openProducer()
    last.push(batch(3))
    last.close()
    expect(ring.wait()).toBe(true)
    expect(drained(ring)).toEqual([[3]])
  })

  it('wakes for every batch of another thread, with no end of its own', async () => {
    const ring = BatchRing.create(SMALL)
    const consumer = startThread(
      ring,
      `let sum = 0n
       while (sum < 5050n && ring.wait()) ring.drain((keys) => { for (const key of keys) sum += key })
       parentPort.postMessage(sum)`,
    )
    const sum = messageOf(consumer)
    const producer = ring.openProducer()
    const { words } = attachMemory(ring.handle, 'ring')
    for (let key = 1; key <= 100; key++) {
      // Every tenth batch comes to a thread that is asleep.
      if (key % 10 === 1) await until(() => Atomics.load(words, PARKED) === 1)
      await until(() => producer.push(batch(key)))
    }
    expect(await sum).toBe(5050n)
  })

  it('lets an aggregator of the same thread go on while it sleeps', async () => {
    const ring = BatchRing.create(SMALL)
    const tracker = await openInline({ laneCapacity: 64, batchSize: 16 })
    const marker = startThread(
      ring,
      `const { openWriter } = await import(${JSON.stringify(
        new URL('../../dist/index.js', import.meta.url).href,
      )})
       parentPort.once('message', (handle) => {
         const writer = openWriter(handle)
         for (let id = 0; id < 500; id++) writer.mark(id)
         writer.flush()
         ring.openProducer().push(BigUint64Array.of(1n))
       })`,
    )
    marker.postMessage(tracker.handle)
    expect(ring.wait(20_000)).toBe(true)
    const epoch = await tracker.advanceEpoch()
    expect(epoch.size).toBe(500)
    epoch.commit()
  })

  it('C13: is for the consumer alone, and not for onBatch', () => {
    const ring = BatchRing.create(SMALL)
    ring.openProducer().push(batch(1))
    let error: any
    ring.drain(() => (error = thrown(() => ring.wait(0))))
    expectError(error, TAKEN, 'wait() was called from within onBatch')
    attachMemory(ring.handle, 'ring').words[OWNER] = 1000
    expectError(
      thrown(() => ring.wait(0)),
      TAKEN,
      'thread 999',
    )
  })

  it('C11: names what is wrong with its argument', () => {
    const ring = BatchRing.create(SMALL)
    for (const ms of ['1', null, 1n, {}])
      expectError(
        thrown(() => ring.wait(ms as never)),
        INVALID_ARG,
        '"ms" must be a number',
      )
    for (const ms of [-1, NaN, -Infinity])
      expectError(
        thrown(() => ring.wait(ms)),
        OUT_OF_RANGE,
        '"ms" must be a number from 0',
      )
  })

  it('where the thread may not sleep, it looks, and throws if there is nothing', () => {
    jest.spyOn(platform, 'canBlock').mockReturnValue(false)
    const ring = BatchRing.create(SMALL)
    expect(ring.wait(0)).toBe(false)
    expectError(
      thrown(() => ring.wait(1)),
      { name: 'DirtyRingError', code: 'ERR_DIRTYRING_WOULD_BLOCK' },
      'ring.wait(): there is no batch, and this thread may not sleep for one. ',
      'On this thread use batches(), or drain() now and then.',
    )
    ring.openProducer().push(batch(1))
    expect(ring.wait()).toBe(true)
  })
})

describe('BatchRing: batches()', () => {
  it('yields copies, the oldest first, of all producers', async () => {
    const ring = BatchRing.create(SMALL)
    const [a, b] = [ring.openProducer(), ring.openProducer()]
    a.push(batch(1, 2))
    b.push(batch(11))
    a.push(batch(3))
    const seen: [number, BigUint64Array][] = []
    for await (const { keys, producerId } of ring.batches()) {
      seen.push([producerId, keys])
      if (seen.length === 3) break
    }
    // What is pushed next overwrites the lanes, and not the copies.
    for (let i = 0; i < 4; i++) {
      a.push(batch(...Array<number>(8).fill(77)))
      expect(drained(ring)).toHaveLength(1)
    }
    expect(seen.map(([id, keys]) => [id, ...numbers(keys)])).toEqual([
      [0, 1, 2],
      [1, 11],
      [0, 3],
    ])
    expect(seen.some(([, { buffer }]) => types.isSharedArrayBuffer(buffer))).toBe(false)
  })

  it('copies a batch that runs across the end of its lane', async () => {
    const ring = BatchRing.create(SMALL)
    const producer = ring.openProducer()
    producer.push(batch(1, 2, 3, 4, 5))
    drained(ring)
    producer.push(batch(6, 7, 8, 9, 10, 11))
    const { value } = await ring.batches().next()
    expect(numbers((value as { keys: BigUint64Array }).keys)).toEqual([6, 7, 8, 9, 10, 11])
  })

  it('gives the room back when it hands a batch out', async () => {
    const ring = BatchRing.create(SMALL)
    const producer = ring.openProducer()
    const batches = ring.batches()
    for (let i = 0; i < 20; i++) {
      expect(producer.push(batch(1, 2, 3, 4, 5, 6, 7, 8))).toBe(true)
      expect(producer.push(batch(1))).toBe(false)
      await batches.next()
    }
  })

  it('wakes for the batches of another thread, and never blocks', async () => {
    const ring = BatchRing.create(SMALL)
    let isTurning = 0
    const clock = setInterval(() => isTurning++, 1)
    const batches = ring.batches()
    const first = batches.next()
    expect(await isPending(first)).toBe(true)
    startThread(
      ring,
      `const producer = ring.openProducer()
       for (let key = 1n; key <= 2000n; key++)
         while (!producer.push(BigUint64Array.of(key))) await new Promise(setImmediate)`,
    )
    let sum = Number((await first).value!.keys[0])
    for await (const { keys } of batches) {
      sum += Number(keys[0])
      if (keys[0] === 2000n) break
    }
    clearInterval(clock)
    expect(sum).toBe(2_001_000)
    expect(isTurning).toBeGreaterThan(0)
  })

  it('lets the event loop turn while there are always batches', async () => {
    const ring = BatchRing.create(SMALL)
    const producer = ring.openProducer()
    producer.push(batch(1))
    let isOver = false
    setTimeout(() => (isOver = true), 1)
    for await (const { keys } of ring.batches()) {
      if (isOver) break
      producer.push(keys)
    }
    expect(isOver).toBe(true)
  })

  it('ends without an error when the signal aborts, and leaves in the ring what it did not hand out', async () => {
    const ring = BatchRing.create(SMALL)
    const controller = new AbortController()
    const batches = ring.batches({ signal: controller.signal })
    const pending = batches.next()
    expect(await isPending(pending)).toBe(true)
    controller.abort()
    expect(await pending).toEqual({ done: true, value: undefined })
    ring.openProducer().push(batch(1))
    expect(await batches.next()).toEqual({ done: true, value: undefined })
    expect(await ring.batches({ signal: AbortSignal.abort() }).next()).toEqual({
      done: true,
      value: undefined,
    })
    expect(drained(ring)).toEqual([[1]])
  })

  it('ends a next() that is pending when return() is called', async () => {
    const ring = BatchRing.create(SMALL)
    const batches = ring.batches()
    const pending = batches.next()
    expect(await isPending(pending)).toBe(true)
    expect(await batches.return!()).toEqual({ done: true, value: undefined })
    expect(await pending).toEqual({ done: true, value: undefined })
  })

  it('ends a next() that is pending when throw() is called, and takes no batch then', async () => {
    const ring = BatchRing.create(SMALL)
    const producer = ring.openProducer()
    const batches = ring.batches()
    const pending = batches.next()
    expect(await isPending(pending)).toBe(true)
    const failed = rejected(batches.throw!(new Error('mine')))
    producer.push(batch(1))
    expect(await pending).toEqual({ done: true, value: undefined })
    expect(await failed).toEqual(new Error('mine'))
    expect(drained(ring)).toEqual([[1]])
  })

  it('leaves no listener on the signal', async () => {
    const ring = BatchRing.create(SMALL)
    const producer = ring.openProducer()
    const listeners = new Set<() => void>()
    const signal = {
      aborted: false,
      addEventListener: (_: 'abort', listener: () => void) => void listeners.add(listener),
      removeEventListener: (_: 'abort', listener: () => void) => void listeners.delete(listener),
    }
    const batches = ring.batches({ signal })
    for (let i = 0; i < 3; i++) {
      const next = batches.next()
      await turns(2)
      expect(listeners.size).toBe(1)
      producer.push(batch(i))
      await next
      expect(listeners.size).toBe(0)
    }
  })

  it('without waitAsync, it looks every few ms', async () => {
    const { waitAsync } = Atomics
    try {
      ;(Atomics as { waitAsync?: unknown }).waitAsync = undefined
      const ring = BatchRing.create(SMALL)
      const next = ring.batches().next()
      expect(await isPending(next)).toBe(true)
      ring.openProducer().push(batch(5))
      expect(numbers((await next).value!.keys)).toEqual([5])
    } finally {
      Atomics.waitAsync = waitAsync
    }
  })

  it('two loops share the batches, each handed out once', async () => {
    const ring = BatchRing.create(SMALL)
    const producer = ring.openProducer()
    const controller = new AbortController()
    const seen: number[] = []
    const walk = async (): Promise<void> => {
      for await (const { keys } of ring.batches({ signal: controller.signal })) {
        seen.push(Number(keys[0]))
        if (seen.length === 50) controller.abort()
      }
    }
    const walks = [walk(), walk()]
    for (let key = 0; key < 50; key++) {
      await until(() => producer.push(batch(key)))
      if (key % 7 === 0) await turns(3)
    }
    await Promise.all(walks)
    expect(seen).toEqual(Array.from({ length: 50 }, (_, key) => key))
  })

  it('keeps the process alive while a next() is pending, and not after', () => {
    const dist = new URL('../../dist/index.js', import.meta.url).href
    const program = `
      import { BatchRing } from ${JSON.stringify(dist)}
      import { Worker } from 'node:worker_threads'
      const ring = BatchRing.create({ capacity: 4, laneCapacity: 8 })
      const code = "import('${dist}').then(({ BatchRing }) => { setTimeout(() => { BatchRing.attach(require('node:worker_threads').workerData).openProducer().push(BigUint64Array.of(7n)) }, 20) })"
      new Worker(code, { eval: true, workerData: ring.handle, execArgv: [] }).unref()
      const batches = ring.batches()
      console.log(String((await batches.next()).value.keys[0]))
    `
    const { NODE_OPTIONS: _, ...env } = process.env
    const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      env,
      timeout: 20_000,
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
    })
    expect([stdout, status]).toEqual(['7\n', 0])
  })

  it('C13: is for the consumer alone, and not for onBatch', async () => {
    const ring = BatchRing.create(SMALL)
    ring.openProducer().push(batch(1))
    let next: Promise<unknown> | undefined
    ring.drain(() => {
      next = rejected(ring.batches().next())
    })
    expectError(await next, TAKEN, 'next() was called from within onBatch')
    attachMemory(ring.handle, 'ring').words[OWNER] = 1000
    expectError(await rejected(ring.batches().next()), TAKEN, 'thread 999')
  })

  it('C11: names what is wrong with its options, at once', () => {
    const ring = BatchRing.create(SMALL)
    for (const [options, says] of [
      [null, '"options" must be a plain object'],
      [AbortSignal.abort(), 'Pass the signal as { signal }'],
      [{ signal: 1 }, '"options.signal" must be an AbortSignal'],
      [{ singal: undefined }, 'Did you mean "signal"?'],
    ] as [never, string][])
      expectError(
        thrown(() => ring.batches(options)),
        INVALID_ARG,
        says,
      )
  })
})
