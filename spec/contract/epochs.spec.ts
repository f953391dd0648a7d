import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import { describe, expect, it } from '@jest/globals'
import {
  epochAt,
  FAILED,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  FLAG_OVERFLOW,
  FLAG_UNPUBLISHED,
  SLOT_FLAGS,
} from '../../lib/memory/map.js'
import {
  fingerprint,
  TxnBuffer,
  type DirtyTracker,
  type SealedEpoch,
  type Writer,
} from '../../lib/index.js'
import {
  holdAggregator,
  isPending,
  openHeld,
  openInline,
  range,
  rejected,
  seeded,
  sortedIds,
  sortedListed,
  thrown,
  turns,
  until,
} from '../support/in-process.js'

/** Seal, read the ids, commit. */
async function take(tracker: DirtyTracker): Promise<number[]> {
  const epoch = await tracker.advanceEpoch()
  expect(epoch.exact).toBe(true)
  const ids = sortedIds(epoch)
  epoch.commit()
  return ids
}

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
    const random = seeded(1)
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
  it('holds a key once, however often, by whomever and in whatever form it was marked', async () => {
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
    const random = seeded(2)
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
    const random = seeded(3)
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
  it('gives the keys as bigints, lanes, ids and visits, over the same shared memory', async () => {
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
    expect([
      epoch.has('user:7'),
      epoch.has('user:7'),
      epoch.has(fingerprint('user:7')),
      epoch.has(bytes),
    ]).toEqual(Array(4).fill(true))
    expect([
      epoch.has(8),
      epoch.hasPair(7, 1),
      epoch.has('user:8'),
      epoch.has(fingerprint('user:7', { seed: 5 })),
      epoch.has(0),
    ]).toEqual(Array(5).fill(false))
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
    expect([...Array.from(epoch.listed(), BigInt)]).toEqual([5n, 3n, 2n ** 63n])
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
        [...Array.from(empty.listed(), BigInt)],
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

describe('growth and overflow', () => {
  it('grows over many doublings, in the middle of batches too, and stays exact', async () => {
    const tracker = await openInline({
      maxKeysPerEpoch: 2 ** 18,
      laneCapacity: 4096,
      epochSlots: 2,
    })
    const writer = tracker.openWriter()
    for (const round of range(0, 2)) {
      const expected = BigUint64Array.from(
        range(0, 150_001),
        (i) => (BigInt(i * 7919) << 20n) | BigInt(round),
      )
      for (let at = 0; at < expected.length; at += 1500)
        writer.markMany(expected.subarray(at, at + 1500))
      const epoch = await tracker.advanceEpoch()
      expect([epoch.size, epoch.exact]).toEqual([expected.length, true])
      expect(
        Buffer.compare(
          Buffer.from(epoch.bigints.slice().buffer),
          Buffer.from(expected.slice().buffer),
        ),
      ).toBe(0)
      for (let i = 0; i < expected.length; i += 97)
        if (!epoch.has(expected[i])) throw new Error(`${expected[i]} is not in`)
      expect(epoch.has(1n << 19n)).toBe(false)
      await epoch.restore()
      expect((await take(tracker)).length).toBe(expected.length)
    }
  })

  it('is exact at exactly maxKeysPerEpoch distinct keys, repetitions included', async () => {
    for (const maxKeysPerEpoch of [1, 2, 3, 100, 256, 257, 1000]) {
      const tracker = await openInline({ maxKeysPerEpoch })
      const writer = tracker.openWriter()
      for (const _ of range(0, 3)) for (const id of range(0, maxKeysPerEpoch)) writer.mark(id)
      const epoch = await tracker.advanceEpoch()
      expect([epoch.size, epoch.exact]).toEqual([maxKeysPerEpoch, true])
      expect(epoch.has(maxKeysPerEpoch)).toBe(false)
      expect(tracker.stats().overflows).toBe(0)
    }
  })

  it.each([1, 4, 100, 300])(
    'C6: says exact: false beyond maxKeysPerEpoch (%d), and has() is true for every key',
    async (maxKeysPerEpoch) => {
      const tracker = await openInline({ maxKeysPerEpoch })
      const writer = tracker.openWriter()
      for (const id of range(0, maxKeysPerEpoch + 1)) expect(writer.mark(id)).toBe(true)
      const epoch = await tracker.advanceEpoch()
      expect([epoch.exact, epoch.reason, epoch.size]).toEqual([false, 'overflow', maxKeysPerEpoch])
      expect(sortedListed(epoch)).toEqual(range(0, maxKeysPerEpoch))
      expect([
        epoch.has(0),
        epoch.has(maxKeysPerEpoch),
        epoch.has(2n ** 60n),
        epoch.hasPair(9, 9),
        epoch.has('x'),
      ]).toEqual(Array(5).fill(true))
      expect([
        epoch.has('anything'),
        epoch.has(fingerprint(new Uint8Array(3), { seed: 4 })),
      ]).toEqual([true, true])
      expect(tracker.stats().overflows).toBe(1)
      epoch.commit()
      writer.mark(5)
      const next = await tracker.advanceEpoch()
      expect([next.exact, next.size, next.has(6)]).toEqual([true, 1, false])
      expect(tracker.stats().overflows).toBe(1)
    },
  )

  it('C6: says so also when the one key too many is key 0', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 4 })
    const writer = tracker.openWriter()
    writer.markMany([1, 2, 3, 4, 0])
    const epoch = await tracker.advanceEpoch()
    expect([epoch.exact, epoch.size]).toEqual([false, 4])
  })

  it('makes the open epoch inexact when an inexact one is restored', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 4 })
    const writer = tracker.openWriter()
    writer.markMany(range(0, 10))
    const epoch = await tracker.advanceEpoch()
    void epoch.restore()
    const next = await tracker.advanceEpoch()
    expect([next.exact, next.reason, next.has(9)]).toEqual([false, 'overflow', true])
    next.commit()
    expect((await tracker.advanceEpoch()).exact).toBe(true)
  })

  it('says exact: false when restored keys and new ones are too many together', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 4 })
    const writer = tracker.openWriter()
    writer.markMany([1, 2, 3])
    const epoch = await tracker.advanceEpoch()
    writer.markMany([3, 4, 5])
    await epoch.restore()
    const next = await tracker.advanceEpoch()
    expect([next.exact, next.reason]).toEqual([false, 'overflow'])
  })

  it.each<[string, (epoch: SealedEpoch) => unknown]>([
    ['keys', (epoch) => epoch.bigints],
    ['lanes', (epoch) => epoch.pairs],
    ['ids()', (epoch) => epoch.ids()],
    ['its iterator', (epoch) => epoch[Symbol.iterator]()],
    ['forEachPair()', (epoch) => epoch.forEachPair(() => expect('a visit').toBe('none'))],
  ])(
    'C2: of an inexact epoch %s throws ERR_DIRTYRING_INEXACT at once, because a part would be taken for the whole',
    async (_, list) => {
      const tracker = await openInline({ maxKeysPerEpoch: 4 })
      tracker.openWriter().markMany([...range(0, 9), 2n ** 60n])
      const epoch = await tracker.advanceEpoch()
      const error = thrown(() => list(epoch))
      expect(error.code).toBe('ERR_DIRTYRING_INEXACT')
      for (const part of [
        "epoch 0 is not exact ('overflow')",
        'has()',
        'treat all rows as dirty',
        'listed()',
      ]) {
        expect(error.message).toContain(part)
      }
      expect([epoch.size, [...Array.from(epoch.listed(), BigInt)], epoch.state]).toEqual([
        4,
        [0n, 1n, 2n, 3n],
        'sealed',
      ])
      expect(
        [0, 8, 99, 'a key', 2n ** 61n].every((key) => epoch.has(key)) &&
          epoch.has(fingerprint('b', { seed: 2 })),
      ).toBe(true)
      epoch.commit()
      expect(thrown(() => list(epoch)).code).toBe('ERR_DIRTYRING_SETTLED')
      expect(thrown(() => epoch.listed()).code).toBe('ERR_DIRTYRING_SETTLED')
    },
  )

  it('C2: an inexact epoch without keys throws too', async () => {
    const tracker = await openInline()
    tracker.markEverything()
    const epoch = await tracker.advanceEpoch()
    expect([epoch.size, [...Array.from(epoch.listed(), BigInt)], epoch.has(1)]).toEqual([
      0,
      [],
      true,
    ])
    expect(thrown(() => epoch.ids()).code).toBe('ERR_DIRTYRING_INEXACT')
  })

  it('an epoch with several reasons names the first of everything, fault, unpublished, overflow', async () => {
    const flags = {
      everything: FLAG_EVERYTHING,
      fault: FLAG_FAULT,
      unpublished: FLAG_UNPUBLISHED,
      overflow: FLAG_OVERFLOW,
    }
    const order = Object.keys(flags) as (keyof typeof flags)[]
    for (const set of range(1, 15)) {
      const reasons = order.filter((_, i) => ((set >> i) & 1) === 1)
      const { tracker, hand } = await openHeld()
      tracker.openWriter().markMany([1])
      const pending = tracker.advanceEpoch()
      hand.run(1) // the batch, not yet the seal
      hand.release() // a running aggregator believes its own flags; the next one reads these
      for (const reason of reasons)
        Atomics.or(hand.memory.words, epochAt(hand.memory.layout, 0) + SLOT_FLAGS, flags[reason])
      holdAggregator(tracker).run()
      const epoch = await pending
      expect([reasons, epoch.exact, epoch.reason]).toEqual([reasons, false, reasons[0]])
      epoch.commit()
    }
  })

  it('holds a slot for an inexact epoch', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 1, epochSlots: 2 })
    tracker.openWriter().markMany([1, 2])
    const epoch = await tracker.advanceEpoch()
    expect(tracker.stats().unsettled).toEqual([0])
    expect((await rejected(tracker.advanceEpoch({ onBusy: 'reject' }))).code).toBe(
      'ERR_DIRTYRING_NO_EPOCH_SLOT',
    )
    epoch.commit()
    expect(tracker.stats().unsettled).toEqual([])
  })
})

describe('advanceEpoch()', () => {
  it('takes no slot for an exact epoch without keys', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    for (const id of range(0, 10)) {
      const epoch = await tracker.advanceEpoch({ onBusy: 'reject' })
      expect([epoch.id, epoch.size, epoch.exact]).toEqual([id, 0, true])
    }
    expect(tracker.stats()).toMatchObject({ unsettled: [], sealed: 10, epoch: 10 })
  })

  it('serves two calls at once in their order, with consecutive numbers', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = tracker.advanceEpoch()
    const second = tracker.advanceEpoch()
    const [a, b] = await Promise.all([first, second])
    expect([a.id, b.id]).toEqual([0, 1])
    expect([sortedIds(a), sortedIds(b)]).toEqual([[1], []])
  })

  it('serves many calls at once in their order, beyond the slots there are', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 3, capacity: 4, onFull: 'reject' })
    const writer = tracker.openWriter()
    const order: number[] = []
    const all = range(0, 9).map(async () => {
      writer.markMany([writer.staged])
      const epoch = await tracker.advanceEpoch()
      order.push(epoch.id)
      epoch.commit()
    })
    await until(() => {
      hand.run()
      return order.length === 9
    })
    await Promise.all(all)
    expect(order).toEqual(range(0, 9))
  })

  it('waits until a slot is free, holds up no writer meanwhile, and is served by a commit', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = await tracker.advanceEpoch()
    const second = tracker.advanceEpoch()
    expect(await isPending(second)).toBe(true)
    expect(tracker.epoch).toBe(1)
    for (const id of range(2, 3000)) expect(writer.mark(id)).toBe(true)
    expect(writer.flush()).toBe(true)
    first.commit()
    expect(tracker.epoch).toBe(2) // the slot went to the one that waited, before commit() returned
    expect(sortedIds(await second)).toEqual(range(2, 3000))
  })

  it('is served by a restore, with the restored keys', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = await tracker.advanceEpoch()
    const second = tracker.advanceEpoch()
    writer.mark(2)
    writer.flush()
    await first.restore()
    expect(sortedIds(await second)).toEqual([1, 2])
  })

  it('rejects at once with onBusy: reject, naming the epochs that hold the slots, and nothing is lost', async () => {
    const tracker = await openInline({ epochSlots: 3 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = await tracker.advanceEpoch({ onBusy: 'reject' })
    writer.mark(2)
    await tracker.advanceEpoch({ onBusy: 'reject' })
    writer.mark(3)
    const error = await rejected(tracker.advanceEpoch({ onBusy: 'reject' }))
    expect(error.code).toBe('ERR_DIRTYRING_NO_EPOCH_SLOT')
    expect(error.message).toMatch(/3 \(epochSlots\).*0, 1/)
    expect(tracker.epoch).toBe(2)
    first.commit()
    const third = await tracker.advanceEpoch({ onBusy: 'reject' })
    expect([third.id, ...third.ids()]).toEqual([2, 3])
  })

  it('rejects with onBusy: reject rather than overtake a call that waits', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    tracker.openWriter().mark(1)
    const first = await tracker.advanceEpoch()
    const second = tracker.advanceEpoch()
    expect((await rejected(tracker.advanceEpoch({ onBusy: 'reject' }))).code).toBe(
      'ERR_DIRTYRING_NO_EPOCH_SLOT',
    )
    first.commit()
    expect((await second).id).toBe(1)
  })

  it('names the unsettled epochs in stats(), oldest first, and counts what was sealed', async () => {
    const tracker = await openInline({ epochSlots: 5 })
    const writer = tracker.openWriter()
    const epochs: SealedEpoch[] = []
    for (const id of range(0, 4)) {
      writer.mark(id)
      epochs.push(await tracker.advanceEpoch())
    }
    expect(tracker.stats()).toMatchObject({
      unsettled: [0, 1, 2, 3],
      sealed: 4,
      committed: 0,
      restored: 0,
      epoch: 4,
    })
    epochs[1].commit()
    await epochs[2].restore()
    expect(tracker.stats()).toMatchObject({
      unsettled: [0, 3],
      sealed: 4,
      committed: 1,
      restored: 1,
      epoch: 4,
    })
    const { sealMs } = tracker.stats()
    expect(sealMs.count).toBe(4)
    expect(sealMs.max).toBeGreaterThanOrEqual(sealMs.p99)
    expect(sealMs.p99).toBeGreaterThanOrEqual(sealMs.p50)
    expect(sealMs.max).toBeGreaterThanOrEqual(sealMs.mean)
  })
})

describe('an aborted advanceEpoch()', () => {
  it('rejects with the reason, and does nothing, when the signal is aborted already', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const reason = { why: 'a test' }
    expect(await rejected(tracker.advanceEpoch({ signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect([tracker.epoch, writer.staged]).toEqual([0, 1])
    expect(await take(tracker)).toEqual([1])
  })

  it('leaves the queue when it waited for a slot: no number is used, nothing is lost, the next one is served', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = await tracker.advanceEpoch()
    const controller = new AbortController()
    const aborted = tracker.advanceEpoch({ signal: controller.signal })
    const served = tracker.advanceEpoch()
    writer.mark(2)
    controller.abort('enough')
    expect(await rejected(aborted)).toBe('enough')
    first.commit()
    const epoch = await served
    expect([epoch.id, ...epoch.ids()]).toEqual([1])
    expect(await take(tracker)).toEqual([2])
  })

  it('uses no number when its cut found the ring full', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany([1])
    writer.markMany([2])
    const controller = new AbortController()
    const aborted = tracker.advanceEpoch({ signal: controller.signal })
    expect(tracker.epoch).toBe(0)
    controller.abort('enough')
    expect(await rejected(aborted)).toBe('enough')
    hand.run()
    const pending = tracker.advanceEpoch()
    await until(() => !hand.run() && tracker.stats().sealed === 1)
    const epoch = await pending
    expect([epoch.id, ...sortedIds(epoch)]).toEqual([0, 1, 2])
  })

  it('skips its number after the cut, and its keys are in the next epoch', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.markMany([1, 2])
    const controller = new AbortController()
    const aborted = tracker.advanceEpoch({ signal: controller.signal })
    expect(tracker.epoch).toBe(1)
    writer.markMany([3])
    controller.abort('enough')
    expect(await rejected(aborted)).toBe('enough') // at once: the aggregator has done nothing yet
    const next = tracker.advanceEpoch()
    await until(() => !hand.run() && tracker.stats().sealed === 2)
    const epoch = await next
    expect([epoch.id, ...sortedIds(epoch)]).toEqual([1, 1, 2, 3])
    expect(tracker.stats().unsettled).toEqual([1])
  })

  it('loses nothing when several in a row are aborted after their cuts', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 4 })
    const writer = tracker.openWriter()
    const controller = new AbortController()
    const aborted = [1, 2, 3].map((id) => {
      writer.markMany([id])
      return rejected(tracker.advanceEpoch({ signal: controller.signal }))
    })
    writer.markMany([4])
    controller.abort('enough')
    expect(await Promise.all(aborted)).toEqual(['enough', 'enough', 'enough'])
    const next = tracker.advanceEpoch()
    await until(() => !hand.run() && tracker.stats().sealed === 4)
    const epoch = await next
    expect([epoch.id, ...sortedIds(epoch)]).toEqual([3, 1, 2, 3, 4])
  })

  it('is not aborted once it was served, and takes its listener off the signal', async () => {
    const tracker = await openInline()
    tracker.openWriter().mark(1)
    const listeners = new Set<() => void>()
    const signal = {
      aborted: false,
      addEventListener: (_: 'abort', listener: () => void) => void listeners.add(listener),
      removeEventListener: (_: 'abort', listener: () => void) => void listeners.delete(listener),
    }
    const epoch = await tracker.advanceEpoch({ signal })
    expect(listeners.size).toBe(0)
    expect(sortedIds(epoch)).toEqual([1])
    const controller = new AbortController()
    const second = await tracker.advanceEpoch({ signal: controller.signal })
    controller.abort()
    expect(second.state).toBe('sealed')
  })
})

describe('consume()', () => {
  it('commits when the callback returns, and resolves with what it returned', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    let epoch: SealedEpoch | undefined
    expect(await tracker.consume((each) => [(epoch = each).state, ...each.ids()])).toEqual([
      'sealed',
      1,
    ])
    expect(epoch!.state).toBe('committed')
    writer.mark(2)
    expect(await tracker.consume(async (each) => [...each.ids()])).toEqual([2])
  })

  it('restores when the callback throws or rejects, and rejects with the same error', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const error = new Error('the checkpoint failed')
    writer.mark(1)
    const failing: ((epoch: SealedEpoch) => unknown)[] = [
      () => {
        throw error
      },
      () => Promise.reject(error),
      async (epoch) => {
        await turns(2)
        epoch.bigints.slice()
        throw error
      },
    ]
    for (const use of failing) expect(await rejected(tracker.consume(use))).toBe(error)
    expect(await take(tracker)).toEqual([1])
  })

  it('lets stand what the callback did with the epoch itself', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    await tracker.consume((epoch) => epoch.restore())
    const error = new Error('after the commit')
    const committed = tracker.consume((epoch) => {
      expect(sortedIds(epoch)).toEqual([1])
      epoch.commit()
      throw error
    })
    expect(await rejected(committed)).toBe(error)
    expect(await take(tracker)).toEqual([])
  })

  it('passes the options of advanceEpoch() on', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    tracker.openWriter().mark(1)
    await tracker.advanceEpoch()
    let called = false
    const use = (): void => void (called = true)
    expect((await rejected(tracker.consume(use, { onBusy: 'reject' }))).code).toBe(
      'ERR_DIRTYRING_NO_EPOCH_SLOT',
    )
    expect(await rejected(tracker.consume(use, { signal: AbortSignal.abort('no') }))).toBe('no')
    expect(called).toBe(false)
  })
})

describe('epochs()', () => {
  it('gives one epoch after the other, and every key once', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const seen: number[] = []
    let next = 0
    writer.mark(next++)
    for await (const epoch of tracker.epochs({ everyMs: 1 })) {
      seen.push(...epoch.ids())
      epoch.commit()
      if (next === 20) break
      writer.mark(next++)
    }
    expect(seen).toEqual(range(0, 20))
  })

  it('skips epochs without keys, unless it is told not to', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const timer = setTimeout(() => writer.mark(1), 20)
    for await (const epoch of tracker.epochs({ everyMs: 1 })) {
      expect(sortedIds(epoch)).toEqual([1])
      expect(epoch.id).toBeGreaterThan(0)
      epoch.commit()
      break
    }
    clearTimeout(timer)
    const before = tracker.epoch
    const ids: number[] = []
    for await (const epoch of tracker.epochs({ everyMs: 1, skipEmpty: false })) {
      expect(epoch.size).toBe(0)
      ids.push(epoch.id)
      if (ids.length === 3) break
    }
    expect(ids).toEqual(range(before, 3))
  })

  it('does not skip an inexact epoch', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 1 })
    tracker.openWriter().markMany([1, 2])
    for await (const epoch of tracker.epochs({ everyMs: 1 })) {
      expect(epoch.exact).toBe(false)
      epoch.commit()
      break
    }
  })

  it('restores before the next one what the body left unsettled', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    const seen: number[][] = []
    writer.mark(0)
    for await (const epoch of tracker.epochs({ everyMs: 1 })) {
      seen.push(sortedIds(epoch))
      writer.mark(seen.length)
      if (seen.length === 3) {
        epoch.commit()
        break
      }
    }
    expect(seen).toEqual([[0], [0, 1], [0, 1, 2]])
    expect(await take(tracker)).toEqual([3])
  })

  it('never seals while a slow body has an epoch', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    let rounds = 0
    for await (const epoch of tracker.epochs({ everyMs: 1 })) {
      const open = tracker.epoch
      await new Promise((resolve) => setTimeout(resolve, 20))
      expect(tracker.epoch).toBe(open)
      epoch.commit()
      writer.mark(1)
      if (++rounds === 3) break
    }
    expect(rounds).toBe(3)
  })

  it('restores on break, on throw and on return()', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const error = new Error('the body failed')
    for await (const epoch of tracker.epochs({ everyMs: 0 })) {
      expect(sortedIds(epoch)).toEqual([1])
      break
    }
    const failing = async (): Promise<void> => {
      for await (const epoch of tracker.epochs({ everyMs: 0 })) {
        expect(sortedIds(epoch)).toEqual([1])
        throw error
      }
    }
    expect(await rejected(failing())).toBe(error)
    const iterator = tracker.epochs({ everyMs: 0 })
    const { value } = await iterator.next()
    expect(sortedIds(value)).toEqual([1])
    expect(await iterator.return!()).toEqual({ done: true, value: undefined })
    expect(value.state).toBe('restored')
    expect(await take(tracker)).toEqual([1])
  })

  it('does not restore on break what the body committed', async () => {
    const tracker = await openInline()
    tracker.openWriter().mark(1)
    for await (const epoch of tracker.epochs({ everyMs: 0 })) {
      epoch.commit()
      break
    }
    expect(await take(tracker)).toEqual([])
  })

  it('ends without an error when the signal aborts, asleep or waiting for a slot, and nothing is lost', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    expect(await tracker.epochs({ everyMs: 0, signal: AbortSignal.abort() }).next()).toEqual({
      done: true,
      value: undefined,
    })

    const asleep = new AbortController()
    const sleeping = tracker.epochs({ everyMs: 1_000_000, signal: asleep.signal }).next()
    expect(await isPending(sleeping)).toBe(true)
    asleep.abort()
    expect(await sleeping).toEqual({ done: true, value: undefined })

    writer.mark(1)
    const holding = await tracker.advanceEpoch()
    writer.mark(2)
    const busy = new AbortController()
    const waiting = tracker.epochs({ everyMs: 0, signal: busy.signal }).next()
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(await isPending(waiting)).toBe(true)
    busy.abort()
    expect(await waiting).toEqual({ done: true, value: undefined })
    holding.commit()
    expect(await take(tracker)).toEqual([2])
  })

  it('finishes the body that runs when the signal aborts', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const controller = new AbortController()
    writer.mark(1)
    const seen: number[] = []
    for await (const epoch of tracker.epochs({ everyMs: 0, signal: controller.signal })) {
      controller.abort()
      writer.mark(2)
      seen.push(...epoch.ids())
      epoch.commit()
    }
    expect(seen).toEqual([1])
    expect(await take(tracker)).toEqual([2])
  })

  it('ends without an error when the tracker stops, asleep or waiting for a slot', async () => {
    const sleeper = await openInline()
    const asleep = sleeper.epochs({ everyMs: 1_000_000 })
    const sleeping = asleep.next()
    expect(await isPending(sleeping)).toBe(true)
    await sleeper.stop()
    expect((await sleeping).value).toMatchObject({ id: 0, last: true })
    expect(await asleep.next()).toEqual({ done: true, value: undefined })

    const busy = await openInline({ epochSlots: 2 })
    const writer = busy.openWriter()
    writer.mark(1)
    await busy.advanceEpoch()
    writer.mark(2)
    const epochs = busy.epochs({ everyMs: 0 })
    const waiting = epochs.next()
    await until(() => writer.staged === 0) // published: its cut waits
    expect(await isPending(waiting)).toBe(true)
    await busy.stop()
    expect((await waiting).value).toMatchObject({ id: 1, last: true })
    expect(await epochs.next()).toEqual({ done: true, value: undefined })
    expect(await busy.epochs({ everyMs: 0 }).next()).toEqual({ done: true, value: undefined })
  })
})

describe('tryAdvanceEpoch()', () => {
  it('C5: cuts before it returns, with what this thread has staged; what is marked after it is in the next epoch', async () => {
    for (const open of [openInline, async () => (await openHeld()).tracker]) {
      const tracker = await open()
      const writers = [tracker.openWriter(), tracker.openWriter()]
      writers.forEach((writer, id) => writer.mark(id))
      const pending = tracker.tryAdvanceEpoch()
      expect([
        pending instanceof Promise,
        tracker.epoch,
        ...writers.map(({ staged }) => staged),
      ]).toEqual([true, 1, 0, 0])
      writers[0].markMany([7])
      if (open !== openInline) continue
      const epoch = (await pending)!
      expect([epoch.id, sortedIds(epoch)]).toEqual([0, [0, 1]])
      epoch.commit()
      expect(await take(tracker)).toEqual([7])
    }
  })

  it('is served in order with advanceEpoch(), and counted like it', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 4 })
    const writer = tracker.openWriter()
    writer.markMany([1])
    const first = tracker.advanceEpoch()
    writer.markMany([2])
    const second = tracker.tryAdvanceEpoch()!
    hand.run()
    expect([sortedIds(await first), sortedIds(await second)]).toEqual([[1], [2]])
    expect(tracker.stats()).toMatchObject({ sealed: 2, sealMs: { count: 2 }, unsettled: [0, 1] })
  })

  it('returns undefined where no slot is free, and leaves no trace', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const first = await tracker.advanceEpoch()
    writer.mark(2)
    for (const _ of range(0, 3)) expect(tracker.tryAdvanceEpoch()).toBeUndefined()
    expect(tracker.epoch).toBe(1)
    first.commit()
    const second = (await tracker.tryAdvanceEpoch())!
    expect([second.id, sortedIds(second)]).toEqual([1, [2]])
  })

  it('returns undefined rather than overtake an advanceEpoch() that waits, also one that waits for the ring', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 3, capacity: 2, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany([1])
    writer.markMany([2]) // the ring is full
    const queued = tracker.advanceEpoch()
    expect([tracker.epoch, tracker.tryAdvanceEpoch()]).toEqual([0, undefined])
    await until(() => !hand.run() && tracker.stats().sealed === 1)
    writer.markMany([3])
    const second = tracker.advanceEpoch()
    const waiting = tracker.advanceEpoch() // no slot
    expect(tracker.tryAdvanceEpoch()).toBeUndefined()
    await until(() => !hand.run() && tracker.stats().sealed === 2)
    ;(await queued).commit()
    await until(() => !hand.run() && tracker.stats().sealed === 3)
    expect([(await second).id, (await waiting).id]).toEqual([1, 2])
  })

  it('returns undefined where the ring has no room for the cut, or for what is staged, and loses no key and no slot', async () => {
    const { tracker, hand } = await openHeld({ capacity: 2, epochSlots: 2, onFull: 'reject' })
    const writer = tracker.openWriter()
    writer.markMany([1])
    writer.markMany([2])
    expect(tracker.tryAdvanceEpoch()).toBeUndefined() // no room for the cut
    writer.mark(3)
    expect([tracker.tryAdvanceEpoch(), writer.staged]).toEqual([undefined, 1])
    hand.run()
    writer.markMany([4])
    writer.mark(5)
    // room for the key, none for the cut
    expect([tracker.tryAdvanceEpoch(), writer.staged, tracker.epoch]).toEqual([undefined, 0, 0])
    hand.run()
    const pending = tracker.tryAdvanceEpoch()
    expect(tracker.epoch).toBe(1)
    hand.run()
    expect(sortedIds((await pending)!)).toEqual([1, 2, 3, 4, 5])
    expect(tracker.stats().sealed).toBe(1)
  })

  it('inside batch() of the same thread cuts without the batch', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    let pending: Promise<SealedEpoch> | undefined
    writer.batch(() => {
      writer.mark(2)
      pending = tracker.tryAdvanceEpoch()
      expect(tracker.epoch).toBe(1)
    })
    const epoch = (await pending)!
    expect(sortedIds(epoch)).toEqual([1])
    epoch.commit()
    expect(await take(tracker)).toEqual([2])
  })

  it('throws, and does not return a promise, where advanceEpoch() would reject: after stop(), beside a loop, after a failure', async () => {
    const stopped = await openInline()
    const stopping = stopped.stop()
    expect(thrown(() => stopped.tryAdvanceEpoch()).code).toBe('ERR_DIRTYRING_STOPPED')
    await stopping

    const busy = await openInline()
    void busy.epochs({ everyMs: 1_000_000 }).next()
    expect(thrown(() => busy.tryAdvanceEpoch()).code).toBe('ERR_DIRTYRING_BUSY')

    for (const isKnown of [true, false]) {
      const { tracker, hand } = await openHeld()
      // a word that the library does not write
      hand.memory.words.fill(-1, hand.memory.layout.ring, hand.memory.layout.ring + 1)
      if (isKnown)
        expect((await rejected(tracker.advanceEpoch())).code).toBe('ERR_DIRTYRING_CORRUPT')
      expect(thrown(() => tracker.tryAdvanceEpoch()).code).toBe('ERR_DIRTYRING_CORRUPT')
    }
  })
})

describe('while an epochs() loop runs', () => {
  const BUSY = 'ERR_DIRTYRING_BUSY'

  async function expectBusy(tracker: DirtyTracker): Promise<void> {
    let called = false
    const errors = [
      await rejected(tracker.advanceEpoch()),
      await rejected(tracker.advanceEpoch({ onBusy: 'reject' })),
      await rejected(tracker.consume(() => (called = true))),
      await rejected(tracker.epochs({ everyMs: 0 }).next()),
      thrown(() => tracker.tryAdvanceEpoch()),
    ]
    for (const error of errors) {
      expect(error.code).toBe(BUSY)
      for (const part of [
        'epochs() loop owns the epochs',
        'dropped without return()',
        'call its return()',
      ]) {
        expect(error.message).toContain(part)
      }
    }
    expect(called).toBe(false)
  }

  async function expectFree(tracker: DirtyTracker): Promise<void> {
    ;(await tracker.advanceEpoch()).commit()
    await tracker.consume(() => undefined)
    ;(await tracker.tryAdvanceEpoch())!.commit()
  }

  it('other readers are ERR_DIRTYRING_BUSY, from its first next() on, asleep and in its body, and no key is split off', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const epochs = tracker.epochs({ everyMs: 20 })
    await expectFree(tracker)
    const first = epochs.next()
    await expectBusy(tracker) // it sleeps
    writer.mark(1)
    const { value } = await first
    await expectBusy(tracker) // its body runs
    expect(sortedIds(value)).toEqual([1])
    await epochs.return!()
    await expectFree(tracker)
  })

  it('they are free again after break, throw, abort and a return() beside a next() that sleeps', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    for await (const _ of tracker.epochs({ everyMs: 0 })) break
    await expectFree(tracker)

    writer.mark(2)
    const error = new Error('the body failed')
    const failing = async (): Promise<void> => {
      for await (const _ of tracker.epochs({ everyMs: 0 })) throw error
    }
    expect(await rejected(failing())).toBe(error)
    await expectFree(tracker)

    writer.mark(2)
    const thrownInto = tracker.epochs({ everyMs: 0 })
    await thrownInto.next()
    expect(await rejected(thrownInto.throw!(error))).toBe(error)
    await expectFree(tracker)

    const controller = new AbortController()
    writer.mark(3)
    const dropped = tracker.epochs({ everyMs: 0, signal: controller.signal })
    const { value } = await dropped.next()
    await expectBusy(tracker)
    controller.abort()
    expect(value.state).toBe('sealed')
    value.commit()
    await expectFree(tracker) // although next() and return() are not called any more

    const asleep = tracker.epochs({ everyMs: 1_000_000 })
    const sleeping = asleep.next()
    await expectBusy(tracker)
    const returned = asleep.return!()
    expect(await sleeping).toEqual({ done: true, value: undefined })
    expect(await returned).toEqual({ done: true, value: undefined })
    await expectFree(tracker)
  })

  it('they are free again when the loop failed, and a loop that was busy ended itself', async () => {
    const { tracker, hand } = await openHeld()
    const first = tracker.epochs({ everyMs: 0 })
    const pending = first.next()
    const second = tracker.epochs({ everyMs: 0 })
    expect((await rejected(second.next())).code).toBe(BUSY)
    expect(await second.next()).toEqual({ done: true, value: undefined })
    await expectBusy(tracker)
    Atomics.store(hand.memory.words, FAILED, 1)
    expect((await rejected(pending)).code).toBe('ERR_DIRTYRING_CORRUPT')
    expect((await rejected(tracker.advanceEpoch())).code).toBe('ERR_DIRTYRING_CORRUPT')
  })

  it('a return() beside a cut that waits for a slot ends both, and the next epoch has the keys', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const held = await tracker.advanceEpoch()
    writer.mark(2)
    const epochs = tracker.epochs({ everyMs: 0 })
    const waiting = epochs.next()
    await until(() => writer.staged === 0) // published: its cut waits
    expect(await isPending(waiting)).toBe(true)
    await epochs.return!()
    expect(await waiting).toEqual({ done: true, value: undefined })
    held.commit()
    expect(await take(tracker)).toEqual([2])
  })

  it('a loop that waits its turn does not hold up calls made before it', async () => {
    const tracker = await openInline()
    tracker.openWriter().mark(1)
    const before = tracker.advanceEpoch()
    void tracker.epochs({ everyMs: 1_000_000 }).next()
    const epoch = await before
    expect(sortedIds(epoch)).toEqual([1])
    epoch.commit()
    expect(tracker.stats().committed).toBe(1)
  })
})

describe('drained()', () => {
  it('resolves when everything published before the call is in the sets, and not before; it publishes the writers of the calling thread first', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.markMany([1, 2])
    writer.mark(3) // staged by this very thread: published first
    const drained = tracker.drained()
    expect(writer.staged).toBe(0)
    writer.markMany([4])
    expect(await isPending(drained)).toBe(true)
    hand.run(1)
    expect(await isPending(drained)).toBe(true)
    hand.run()
    await drained
    expect(tracker.stats()).toMatchObject({ distinct: 4, queued: 0 })
  })

  it('makes no cut, and comes at once where nothing is published', async () => {
    const tracker = await openInline()
    await tracker.drained()
    await Promise.all([tracker.drained(), tracker.drained()])
    expect(tracker.epoch).toBe(0)
  })

  it('rejects with the reason of its signal, and takes its listener off it', async () => {
    const { tracker, hand } = await openHeld()
    const writer = tracker.openWriter()
    writer.markMany([1])
    expect(await rejected(tracker.drained({ signal: AbortSignal.abort('no') }))).toBe('no')
    const controller = new AbortController()
    const drained = tracker.drained({ signal: controller.signal })
    controller.abort('enough')
    expect(await rejected(drained)).toBe('enough')
    hand.run()
    const quiet = new AbortController()
    await tracker.drained({ signal: quiet.signal })
    quiet.abort()
    expect(tracker.stats().distinct).toBe(1)
  })
})

describe('epochs() beside a body of any speed', () => {
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

  it('never makes up for the cuts that a slow body missed: after it they come an interval apart again', async () => {
    const tracker = await openInline()
    const order: string[] = []
    let cuts = 0
    for await (const epoch of tracker.epochs({ everyMs: 100, skipEmpty: false })) {
      order.push('cut')
      epoch.commit()
      if (++cuts === 5) break
      if (cuts === 1) await pause(450)
      else setTimeout(() => order.push('a part of an interval'), 25)
    }
    // The second one is overdue when the slow body ends.
    expect(order.slice(2)).toEqual([
      'a part of an interval',
      'cut',
      'a part of an interval',
      'cut',
      'a part of an interval',
      'cut',
    ])
  })

  it('makes the cut that is overdue when a slow body ends at once, not a whole interval later', async () => {
    const tracker = await openInline()
    const order: string[] = []
    for await (const epoch of tracker.epochs({ everyMs: 200, skipEmpty: false })) {
      order.push('cut')
      epoch.commit()
      if (order.filter((each) => each === 'cut').length === 2) break
      await pause(250)
      setTimeout(() => order.push('half an interval'), 100)
    }
    expect(order).toEqual(['cut', 'cut'])
  })

  it('waits for the rest of the interval after a quick body, and for all of it before the first cut', async () => {
    const tracker = await openInline()
    const order: string[] = []
    setTimeout(() => order.push('half an interval'), 50)
    for await (const epoch of tracker.epochs({ everyMs: 100, skipEmpty: false })) {
      order.push('cut')
      epoch.commit()
      if (order.length === 4) break
      setTimeout(() => order.push('half an interval'), 50)
    }
    expect(order).toEqual(['half an interval', 'cut', 'half an interval', 'cut'])
  })
})
