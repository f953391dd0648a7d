import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import { describe, expect, it } from '@jest/globals'
import { randomFrom } from '../../lib/demo/random.js'
import {
  type DirtyTracker,
  fingerprint,
  type SealedEpoch,
  TxnBuffer,
  type Writer,
} from '../../lib/index.js'
import {
  bigintOf,
  isPending,
  openHeld,
  openInline,
  range,
  sortedIds,
  thrown,
  turns,
  until,
} from '../support/in-process.js'
import { take } from '../support/taking.js'

describe('C1: a cut takes everything that was published before it', () => {
  it('hands out the keys published before advanceEpoch(), and opens the next epoch', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    expect(tracker.epoch).toBe(0)
    writer.markMany([3, 1, 2])
    const epoch = await tracker.advanceEpoch()
    expect(epoch.id).toBe(0)
    expect(tracker.epoch).toBe(1)
    expect([...epoch.ids()]).toEqual([3, 1, 2])
    expect(epoch.exact).toBe(true)
    expect(epoch.reason).toBeUndefined()
    expect(epoch.state).toBe('sealed')
  })

  it('publishes what the writers of the calling thread have staged, all of them', async () => {
    const tracker = await openInline()
    const writers = [tracker.openWriter(), tracker.openWriter(), tracker.openWriter()]
    writers.forEach((writer, i) => writer.mark(i))
    expect(writers.map((writer) => writer.staged)).toEqual([1, 1, 1])
    expect(await take(tracker)).toEqual([0, 1, 2])
  })

  it('with an inline aggregator, takes what this thread has staged even when the ring was full', async () => {
    const tracker = await openInline({ capacity: 2, batchSize: 1 })
    const writer = tracker.openWriter()
    for (const id of range(0, 5)) writer.mark(id)
    expect(writer.staged).toBeGreaterThan(0)
    expect(await take(tracker)).toEqual([0, 1, 2, 3, 4])
  })

  it('C5: makes the cut before advanceEpoch() returns its promise', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const pending = tracker.advanceEpoch()
    expect(tracker.epoch).toBe(1)
    writer.mark(2)
    writer.flush()
    expect(sortedIds(await pending)).toEqual([1])
    expect(await take(tracker)).toEqual([2])
  })

  it('C5: makes the cut at once also while the aggregator is behind', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.markMany([1, 2])
    const first = tracker.advanceEpoch()
    writer.markMany([3, 4])
    const second = tracker.advanceEpoch()
    writer.markMany([5])
    expect(tracker.epoch).toBe(2)
    hand.run()
    expect(sortedIds(await first)).toEqual([1, 2])
    expect(sortedIds(await second)).toEqual([3, 4])
    expect(tracker.stats().distinct).toBe(1)
  })

  it('hands an epoch out only when everything ahead of the cut has been processed', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    for (const id of range(0, 10)) writer.markMany([id])
    const pending = tracker.advanceEpoch()
    expect(await isPending(pending)).toBe(true)
    hand.run(1) // the batches of one writer, in one go
    expect(tracker.stats().keys).toBe(10)
    expect(await isPending(pending)).toBe(true) // every batch is in, the seal is not
    hand.run(1)
    expect(sortedIds(await pending)).toEqual(range(0, 10))
  })

  it('strands no key in an epoch that is not handed out until the slots have gone round', async () => {
    const tracker = await openInline({ epochSlots: 4 })
    const writer = tracker.openWriter()
    for (const round of range(0, 30)) {
      writer.mark(2 * round)
      const pending = tracker.advanceEpoch()
      writer.mark(2 * round + 1)
      const epoch = await pending
      expect(epoch.id).toBe(round)
      expect(sortedIds(epoch)).toEqual(round === 0 ? [0] : [2 * round - 1, 2 * round])
      epoch.commit()
    }
  })

  it('has the keys of a thousand batches from many writers, whatever the order of their flushes', async () => {
    const tracker = await openInline({ capacity: 8, batchSize: 3 })
    const writers = range(0, 8).map(() => tracker.openWriter())
    const random = randomFrom(1)
    const marked = new Set<number>()
    for (let i = 0; i < 4000; i++) {
      const id = Math.floor(random() * 2000)
      const writer = writers[Math.floor(random() * writers.length)]
      writer.mark(id)
      marked.add(id)
      if (random() < 0.2) writer.flush()
    }
    for (const writer of writers) expect(writer.flush()).toBe(true)
    expect(await take(tracker)).toEqual([...marked].sort((a, b) => a - b))
  })
})

describe('C2: nothing is invented, and nothing is there twice', () => {
  it('holds a key once, however often, by any writer and in any form it was marked', async () => {
    const tracker = await openInline()
    const [a, b] = [tracker.openWriter(), tracker.openWriter()]
    for (const writer of [a, b, a]) {
      writer.mark(7)
      writer.mark(7n)
      writer.markPair(7, 0)
      writer.mark(7n)
      writer.markMany([7, 7n, 7])
      writer.markPairs(new Uint32Array([7, 0, 7, 0]))
    }
    const epoch = await tracker.advanceEpoch()
    expect([...epoch.bigints]).toEqual([7n])
    expect(epoch.size).toBe(1)
  })

  it('keeps the order of the first marks', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.markMany([5, 3, 9, 3, 5, 0, 9, 1])
    expect([...(await tracker.advanceEpoch()).ids()]).toEqual([5, 3, 9, 0, 1])
  })

  it('agrees with a plain Set over many epochs whose slots are used again', async () => {
    const tracker = await openInline({ epochSlots: 2, maxKeysPerEpoch: 8192 })
    const writer = tracker.openWriter()
    const random = randomFrom(2)
    for (const round of range(0, 12)) {
      const marked = new Set<bigint>()
      const few = round % 3 === 1
      for (let i = 0; i < (few ? 40 : 6000); i++) {
        const lo = Math.floor(random() * (few ? 50 : 2 ** 32))
        const hi = few ? 0 : Math.floor(random() * 2)
        writer.markPair(lo, hi)
        marked.add((BigInt(hi) << 32n) | BigInt(lo))
      }
      const epoch = await tracker.advanceEpoch()
      expect(epoch.exact).toBe(true)
      expect(epoch.size).toBe(marked.size)
      expect(new Set(epoch.bigints)).toEqual(marked)
      for (const key of marked) if (!epoch.has(key)) throw new Error(`${key} is not in`)
      epoch.commit()
    }
  })

  it('has() says false for what only earlier epochs of the same slot had', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(0)
    for (const id of range(1, 3000)) writer.mark(id)
    await tracker.consume((epoch) => expect(epoch.size).toBe(3001))
    await tracker.consume(() => undefined)
    for (const id of range(5000, 2000)) writer.mark(id)
    const epoch = await tracker.advanceEpoch()
    expect(range(0, 3001).filter((id) => epoch.has(id))).toEqual([])
    expect(range(5000, 2000).every((id) => epoch.has(id))).toBe(true)
  })
})

describe('C3: a cut never splits a batch', () => {
  const size = 10
  const sources: [string, (writer: Writer, keys: number[]) => void][] = [
    ['markMany()', (writer, keys) => void writer.markMany(keys)],
    [
      'markLanes()',
      (writer, keys) => void writer.markPairs(Uint32Array.from(keys.flatMap((key) => [key, 0]))),
    ],
    [
      'flush()',
      (writer, keys) => {
        for (const key of keys) writer.mark(key)
        writer.flush()
      },
    ],
    [
      'TxnBuffer.flushTo()',
      (writer, keys) => {
        const txn = new TxnBuffer(1)
        txn.markMany(keys)
        expect(txn.flushTo(writer)).toBe(true)
      },
    ],
    ['batch()', (writer, keys) => writer.batch(() => keys.forEach((key) => writer.mark(key)))],
  ]

  it.each(sources)(
    'keeps the keys of one %s together, wherever the cut and the aggregator stand',
    async (_, publish) => {
      const { tracker, hand } = await openHeld({ capacity: 4, batchSize: 64, onFull: 'reject' })
      const [a, b] = [tracker.openWriter(), tracker.openWriter()]
      const seen = new Map<number, Set<number>>()
      let next = 0
      // Every way to place a few aggregator steps between two batches and a cut, the ring full at
      // the cut included.
      for (const [before, between, after] of range(0, 64).map((i) => [
        i & 3,
        (i >> 2) & 3,
        i >> 4,
      ])) {
        const batches = [0, 1, 2].map((i) => {
          const keys = range(next, size)
          next += size
          publish(i === 1 ? b : a, keys)
          if (i === 0) hand.run(before)
          return keys
        })
        hand.run(between)
        const pending = tracker.advanceEpoch()
        hand.run(after)
        const late = range(next, size)
        next += size
        publish(b, late)
        await until(() => {
          hand.run()
          return (
            a.flush() &&
            b.flush() &&
            tracker.stats().sealed === tracker.epoch &&
            tracker.epoch > 0 &&
            tracker.stats().unsettled.length > 0
          )
        })
        const epoch = await pending
        for (const id of epoch.ids())
          seen.set(
            Math.floor(id / size),
            (seen.get(Math.floor(id / size)) ?? new Set()).add(epoch.id),
          )
        const counts = [...batches, late].map((keys) => keys.filter((key) => epoch.has(key)).length)
        for (const count of counts) expect([0, size]).toContain(count)
        epoch.commit()
      }
      // No batch was in two epochs, none was lost on the way.
      expect([...seen.values()].every((epochs) => epochs.size === 1)).toBe(true)
      hand.run()
      const last = tracker.advanceEpoch()
      hand.run()
      const rest = new Set([...(await last).ids()].map((id) => Math.floor(id / size)))
      expect(range(0, next / size).filter((batch) => !seen.has(batch) && !rest.has(batch))).toEqual(
        [],
      )
      expect([...rest].filter((batch) => seen.has(batch))).toEqual([])
    },
  )

  it('keeps the keys of one markMany() together with those staged before it', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    writer.mark(2)
    writer.markMany([3, 4])
    await tracker.drained()
    const { batches, keys } = tracker.stats()
    expect([batches, keys]).toEqual([1, 4])
  })

  it('keeps a batch together whose keys run across the end of the lane', async () => {
    const tracker = await openInline({ laneCapacity: 16 })
    const writer = tracker.openWriter()
    for (const round of range(0, 10)) {
      writer.markMany(range(round * 100, 11))
      expect(await take(tracker)).toEqual(range(round * 100, 11))
    }
  })
})

describe('C4: for one writer epochs never go backwards', () => {
  it('finds the marks of a writer in the order in which it made them', async () => {
    const tracker = await openInline({ capacity: 4, batchSize: 3, laneCapacity: 16 })
    const writer = tracker.openWriter()
    const random = randomFrom(3)
    const epochOf = new Map<number, number>()
    const note = (epoch: SealedEpoch): void => {
      for (const id of epoch.ids()) epochOf.set(id, epoch.id)
      epoch.commit()
    }
    for (const id of range(0, 1000)) {
      writer.mark(id)
      if (random() < 0.05) writer.flush()
      if (random() < 0.05) note(await tracker.advanceEpoch())
      if (random() < 0.02) await turns(1)
    }
    writer.flush()
    note(await tracker.advanceEpoch())
    const epochs = range(0, 1000).map((id) => epochOf.get(id)!)
    expect(epochs).toEqual(epochs.toSorted((a, b) => a - b))
    expect(new Set(epochs).size).toBeGreaterThan(20)
  })
})

describe('C7: an epoch is settled by commit() or by restore()', () => {
  async function sealed(
    ids = [1, 2],
  ): Promise<{ tracker: DirtyTracker; writer: Writer; epoch: SealedEpoch }> {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.markMany(ids)
    return { tracker, writer, epoch: await tracker.advanceEpoch() }
  }

  it('does not bring back what was committed', async () => {
    const { tracker, writer, epoch } = await sealed()
    epoch.commit()
    expect(epoch.state).toBe('committed')
    writer.mark(3)
    expect(await take(tracker)).toEqual([3])
    expect(tracker.stats().committed).toBe(2)
  })

  it('brings back what was restored, in the next epoch', async () => {
    const { tracker, writer, epoch } = await sealed()
    writer.mark(2)
    writer.mark(3)
    await epoch.restore()
    expect(epoch.state).toBe('restored')
    expect(await take(tracker)).toEqual([1, 2, 3])
    expect(await take(tracker)).toEqual([])
    expect(tracker.stats().restored).toBe(1)
  })

  it('brings it back in an advanceEpoch() that is called after restore() without awaiting it', async () => {
    const { tracker, epoch } = await sealed()
    const restoring = epoch.restore()
    const next = tracker.advanceEpoch()
    expect(sortedIds(await next)).toEqual([1, 2])
    await restoring
  })

  it('brings it back in that one also while the aggregator is behind and the ring is full', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, epochSlots: 4, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany([1, 2])
    const pending = tracker.advanceEpoch()
    hand.run()
    const epoch = await pending
    writer.markMany([3])
    writer.markMany([4]) // the ring is full
    const restoring = epoch.restore()
    const next = tracker.advanceEpoch()
    expect(await isPending(restoring)).toBe(true)
    await until(() => !hand.run() && tracker.stats().sealed === 2)
    expect(sortedIds(await next)).toEqual([1, 2, 3, 4])
    await restoring
  })

  it('gives back the keys of several epochs, in any order', async () => {
    const tracker = await openInline({ epochSlots: 8 })
    const writer = tracker.openWriter()
    const epochs: SealedEpoch[] = []
    for (const id of range(0, 5)) {
      writer.mark(id)
      epochs.push(await tracker.advanceEpoch())
    }
    for (const i of [3, 0, 4]) void epochs[i].restore()
    epochs[1].commit()
    expect(await take(tracker)).toEqual([0, 3, 4])
    expect(sortedIds(epochs[2])).toEqual([2])
    expect(tracker.stats().unsettled).toEqual([2])
  })

  it('never takes a key from a sealed epoch because it is marked again', async () => {
    const { tracker, writer, epoch } = await sealed([1, 2, 3])
    writer.markMany([2, 3, 4])
    const next = await tracker.advanceEpoch()
    expect(sortedIds(epoch)).toEqual([1, 2, 3])
    expect(sortedIds(next)).toEqual([2, 3, 4])
  })

  it('keeps an unsettled epoch as it is while others come and go', async () => {
    const { tracker, writer, epoch } = await sealed(range(0, 600))
    for (const round of range(0, 20)) {
      writer.markMany(range(1000 + round * 700, 700))
      expect(await take(tracker)).toHaveLength(700)
    }
    expect([...epoch.ids()]).toEqual(range(0, 600))
    expect(range(0, 600).every((id) => epoch.has(id))).toBe(true)
    expect(epoch.has(1000)).toBe(false)
  })

  it('is settled by the first of the two; what comes later does nothing', async () => {
    const { tracker, writer, epoch } = await sealed()
    epoch.commit()
    epoch.commit()
    await epoch.restore()
    await epoch[Symbol.asyncDispose]()
    epoch[Symbol.dispose]()
    expect(epoch.state).toBe('committed')
    writer.mark(5)
    const second = await tracker.advanceEpoch()
    expect(sortedIds(second)).toEqual([5])
    await second.restore()
    second.commit()
    await second.restore()
    expect(second.state).toBe('restored')
    expect(await take(tracker)).toEqual([5])
    const { committed, restored, unsettled } = tracker.stats()
    expect({ committed, restored, unsettled }).toEqual({ committed: 2, restored: 1, unsettled: [] })
  })

  it('does not commit what was restored, not even while the restore is on its way', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.markMany([1, 2])
    const pending = tracker.advanceEpoch()
    hand.run()
    const epoch = await pending
    const restoring = epoch.restore()
    epoch.commit()
    expect(epoch.state).toBe('restored')
    const next = tracker.advanceEpoch() // has to wait for the slot until the keys are out of it
    hand.run()
    await restoring
    await until(() => !hand.run() && tracker.stats().sealed === 2)
    expect(sortedIds(await next)).toEqual([1, 2])
  })

  it('restores when a scope is left without commit(), and not after it', async () => {
    const { tracker, writer, epoch } = await sealed([1])
    epoch[Symbol.dispose]()
    expect(epoch.state).toBe('restored')
    writer.mark(2)
    const second = await tracker.advanceEpoch()
    expect(sortedIds(second)).toEqual([1, 2])
    await second[Symbol.asyncDispose]()
    expect(second.state).toBe('restored')
    const third = await tracker.advanceEpoch()
    expect(sortedIds(third)).toEqual([1, 2])
    third.commit()
    third[Symbol.dispose]()
    await third[Symbol.asyncDispose]()
    expect(await take(tracker)).toEqual([])
  })

  it('throws ERR_DIRTYRING_SETTLED at every access to the keys from then on', async () => {
    for (const settle of ['commit', 'restore'] as const) {
      const { epoch } = await sealed()
      await epoch[settle]()
      const accesses: (() => unknown)[] = [
        () => epoch.bigints,
        () => epoch.pairs,
        () => epoch.ids(), // at once, not at the first step
        () => epoch[Symbol.iterator](),
        () => epoch.listed(),
        () => epoch.forEachPair(() => undefined),
        () => epoch.has(1),
        () => epoch.hasPair(1, 0),
        () => epoch.has('a'),
      ]
      for (const access of accesses) {
        const error = thrown(access)
        expect(error.code).toBe('ERR_DIRTYRING_SETTLED')
        expect(error.message).toContain(`epoch ${epoch.id} is ${epoch.state}`)
      }
      expect([epoch.id, epoch.size, epoch.exact]).toEqual([0, 2, true])
    }
  })

  it('throws it at empty epochs and at inexact ones too', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 1 })
    const writer = tracker.openWriter()
    const empty = await tracker.advanceEpoch()
    expect([...empty.bigints]).toEqual([])
    expect(empty.has(1)).toBe(false)
    empty.commit()
    expect(thrown(() => empty.has(1)).code).toBe('ERR_DIRTYRING_SETTLED')
    expect(thrown(() => empty.bigints).code).toBe('ERR_DIRTYRING_SETTLED')
    writer.markMany([1, 2])
    const inexact = await tracker.advanceEpoch()
    inexact.commit()
    expect(thrown(() => inexact.has(1)).code).toBe('ERR_DIRTYRING_SETTLED')
  })

  it('throws it from iterators that are running', async () => {
    const { epoch } = await sealed([1, 2, 3])
    const ids = epoch.ids()
    const keys = epoch[Symbol.iterator]()
    expect([ids.next().value, keys.next().value]).toEqual([1, 1])
    const visited: number[] = []
    const visiting = thrown(() =>
      epoch.forEachPair((lo) => {
        visited.push(lo)
        epoch.commit()
      }),
    )
    expect(visited).toEqual([1])
    expect([visiting.code, thrown(() => ids.next()).code, thrown(() => keys.next()).code]).toEqual(
      Array.from({ length: 3 }, () => 'ERR_DIRTYRING_SETTLED'),
    )
  })

  it('leaves a copy of the keys alone', async () => {
    const { tracker, writer, epoch } = await sealed([1, 2])
    const copy = epoch.bigints.slice()
    epoch.commit()
    for (const id of range(100, 20)) {
      writer.mark(id)
      await take(tracker)
    }
    expect([...copy]).toEqual([1n, 2n])
  })
})

describe('reading an epoch', () => {
  it('gives the keys as bigints, pairs, ids and visits, over the same shared memory', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const big = 2 ** 53 - 1
    writer.markMany([1, 2 ** 40 + 5, big])
    const epoch = await tracker.advanceEpoch()
    const expected = [1n, 2n ** 40n + 5n, BigInt(big)]
    expect([...epoch.bigints]).toEqual(expected)
    expect([...epoch.bigints]).toEqual(expected)
    expect([...epoch.ids()]).toEqual([1, 2 ** 40 + 5, big])
    expect([...epoch.pairs]).toEqual([1, 0, 5, 256, 2 ** 32 - 1, 2 ** 21 - 1])
    const visits: number[][] = []
    epoch.forEachPair((lo, hi, index) => visits.push([lo, hi, index]))
    expect(visits).toEqual([
      [1, 0, 0],
      [5, 256, 1],
      [2 ** 32 - 1, 2 ** 21 - 1, 2],
    ])
    expect(epoch.bigints.buffer).toBe(epoch.pairs.buffer)
    expect(Object.prototype.toString.call(epoch.bigints.buffer)).toBe('[object SharedArrayBuffer]')
    expect(epoch.bigints.byteOffset).toBe(epoch.pairs.byteOffset)
  })

  it('its bigints and pairs may be posted to a worker: nothing is copied', async () => {
    const tracker = await openInline()
    tracker.openWriter().markMany([1, 2, 3])
    const epoch = await tracker.advanceEpoch()
    const { port1, port2 } = new MessageChannel()
    port1.postMessage({ bigints: epoch.bigints, pairs: epoch.pairs })
    const { bigints, pairs } = receiveMessageOnPort(port2)!.message as Pick<
      SealedEpoch,
      'bigints' | 'pairs'
    >
    port1.close()
    expect([[...bigints], [...pairs]]).toEqual([
      [1n, 2n, 3n],
      [1, 0, 2, 0, 3, 0],
    ])
    expect(bigints.buffer).not.toBe(epoch.bigints.buffer)
    ;(epoch.bigints as BigUint64Array)[0] = 9n // not for users to do: the other view sees it
    expect([bigints[0], pairs[0]]).toEqual([9n, 9])
  })

  it('answers has() in every form of a key', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const bytes = new Uint8Array([1, 2, 3])
    writer.markMany([7, 2n ** 64n - 1n, 'user:7', bytes])
    writer.mark(fingerprint('user:8', { seed: 5 }))
    const epoch = await tracker.advanceEpoch()
    expect(epoch.size).toBe(5)
    expect([
      epoch.has(7),
      epoch.has(7n),
      epoch.hasPair(7, 0),
      epoch.has(2n ** 64n - 1n),
      epoch.hasPair(-1, -1),
    ]).toEqual(Array(5).fill(true))
    expect([epoch.has('user:7'), epoch.has(bytes), epoch.has(Uint8Array.of(1, 2, 3))]).toEqual(
      Array(3).fill(true),
    )
    expect([
      epoch.has(8),
      epoch.hasPair(7, 1),
      epoch.has('user:8'),
      epoch.has('\x01\x02\x03'),
      epoch.has(fingerprint('user:7')),
      epoch.has(fingerprint(bytes)),
      epoch.has(fingerprint('user:7', { seed: 5 })),
      epoch.has(0),
    ]).toEqual(Array(8).fill(false))
    expect(epoch.has(fingerprint('user:8', { seed: 5 }))).toBe(true)
  })

  it('ids() refuses a key above 2^53 - 1 at once, not half-way', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.markMany([1n, 2n ** 53n - 1n, 2n ** 53n, 2n])
    const epoch = await tracker.advanceEpoch()
    const error = thrown(() => epoch.ids())
    expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_DIRTYRING_OUT_OF_RANGE' })
    expect(error.message).toContain('9007199254740992n')
    expect([...epoch.bigints]).toEqual([1n, 2n ** 53n - 1n, 2n ** 53n, 2n])
  })

  it('is walked as numbers up to 2^53 - 1 and as bigints above, in order of first mark', async () => {
    const tracker = await openInline()
    tracker.openWriter().markMany([1n, 2n ** 53n, 0, 2n ** 53n - 1n, 2n ** 64n - 1n])
    const epoch = await tracker.advanceEpoch()
    const keys = [1, 2n ** 53n, 0, 2 ** 53 - 1, 2n ** 64n - 1n]
    expect([[...epoch], [...epoch.listed()]]).toEqual([keys, keys])
  })

  it('listed() gives the keys of an exact epoch, in order of first mark', async () => {
    const tracker = await openInline()
    tracker.openWriter().markMany([5, 3n, 2n ** 63n, 5])
    const epoch = await tracker.advanceEpoch()
    expect([...Array.from(epoch.listed(), bigintOf)]).toEqual([5n, 3n, 2n ** 63n])
  })

  it('has() of an empty epoch says false also when its slot is in use again', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    const empty = await tracker.advanceEpoch()
    expect([empty.size, empty.exact, empty.has(0)]).toEqual([0, true, false])
    const keys = range(0, 600)
    for (const _ of range(0, 4)) {
      writer.markMany(keys)
      // the slots take turns: two epochs later it is that of the empty one
      const next = await tracker.advanceEpoch()
      expect([next.size, keys.some((key) => empty.has(key)), empty.has('a')]).toEqual([
        600,
        false,
        false,
      ])
      expect([
        [...empty.ids()],
        [...empty.bigints],
        [...Array.from(empty.listed(), bigintOf)],
        [...empty.bigints],
        [...empty.pairs],
      ]).toEqual([[], [], [], [], []])
      next.commit()
    }
  })
})

describe('key 0', () => {
  it.each<[string, (writer: Writer) => void]>([
    ['mark(0)', (writer) => void writer.mark(0)],
    ['mark(0n)', (writer) => void writer.mark(0n)],
    ['mark(0, 0)', (writer) => void writer.markPair(0, 0)],
    ['markFingerprint(0n)', (writer) => void writer.mark(0n)],
    ['markMany([0])', (writer) => void writer.markMany([0])],
    ['markLanes([0, 0])', (writer) => void writer.markPairs(new Int32Array(2))],
    [
      'close(), staged',
      (writer) => {
        writer.mark(0)
        writer.close()
      },
    ],
  ])('is a key like any other: %s', async (_, mark) => {
    const tracker = await openInline()
    mark(tracker.openWriter())
    const epoch = await tracker.advanceEpoch()
    expect([...epoch.bigints]).toEqual([0n])
    expect([...epoch.ids()]).toEqual([0])
    expect(epoch.has(0)).toBe(true)
    await epoch.restore()
    const again = await tracker.advanceEpoch()
    expect([...again.bigints]).toEqual([0n])
    expect(again.has(0n)).toBe(true)
    again.commit()
    const empty = await tracker.advanceEpoch()
    expect([empty.size, empty.has(0)]).toEqual([0, false])
  })

  it('is there once, before, within and after the growth of the table', async () => {
    for (const at of [0, 150, 256, 257, 2000]) {
      const tracker = await openInline()
      const writer = tracker.openWriter()
      for (const id of range(1, at)) writer.mark(id)
      writer.mark(0)
      for (const id of range(at + 1, 2000)) writer.mark(id)
      writer.mark(0)
      const epoch = await tracker.advanceEpoch()
      expect(epoch.size).toBe(2001 + at)
      expect(epoch.bigints.indexOf(0n)).toBe(at)
      expect(epoch.bigints.lastIndexOf(0n)).toBe(at)
      expect(epoch.has(0)).toBe(true)
    }
  })

  it('is not in an epoch that follows one which had it in the same slot', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    for (const round of range(0, 6)) {
      writer.mark(round % 2 === 0 ? 0 : 1)
      const epoch = await tracker.advanceEpoch()
      expect([epoch.has(0), epoch.has(1)]).toEqual([round % 2 === 0, round % 2 === 1])
      epoch.commit()
      await take(tracker)
    }
  })
})
