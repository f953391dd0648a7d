import { types } from 'node:util'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import fc from 'fast-check'
import {
  HEAD,
  LANE_OWNER,
  LANE_PUBLISHED,
  LANE_READ_END,
  LANE_STAGED_END,
  laneAt,
  OWNER,
  PARKED,
  TAIL,
  VERSION_VALUE,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { BatchRing } from '../../lib/ring/batch-ring.js'
import { freeSlot, GONE, NOTHING, peek } from '../../lib/ring/consume.js'
import { passToken, takeToken } from '../../lib/ring/drain.js'
import { openLane } from '../../lib/ring/lane.js'
import { push, settledTail } from '../../lib/ring/ring.js'
import type { ControlKind } from '../../lib/ring/token.js'
import {
  advance,
  BATCH,
  CLOSE,
  controlToken,
  distance,
  emptyWord,
  EPOCH_BITS,
  EPOCH_MASK,
  epochDistance,
  epochPayload,
  fullWord,
  GENERATION_BITS,
  GENERATION_MASK,
  KIND_SHIFT,
  lapOf,
  NOP,
  PAYLOAD_MASK,
  POISON,
  SEAL,
  THREAD_MASK,
  tokenOf,
  writerPayload,
} from '../../lib/ring/token.js'
import { nearTheEndOfTheStack, range, until } from '../support/in-process.js'
import { smallMemory, watchAccesses } from '../support/steps.js'

const CORRUPT = expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' })
const RANGE = 2 ** 30

const ringOf = (capacity: number, position = 0): Memory =>
  smallMemory({ capacity, start: { position } })

/** A token that says who it is. */
const token = (n: number): number => controlToken(NOP, n & PAYLOAD_MASK)
const payloadOf = (word: number): number => tokenOf(word) & PAYLOAD_MASK

function slotAt({ layout }: Memory, position: number): number {
  return layout.ring + (position & (layout.capacity - 1))
}

/** A producer that is stopped right after its slot's compareExchange. */
function fillOnly(memory: Memory, n: number): void {
  const tail = memory.words[TAIL]
  push(memory, token(n))
  memory.words[TAIL] = tail
}

/** Consume one token: its payload, or undefined. */
function take(memory: Memory): number | undefined {
  for (;;) {
    const head = memory.words[HEAD]
    const seen = peek(memory, head)
    if (seen === NOTHING) return undefined
    if (seen !== GONE && !freeSlot(memory, head, seen)) throw new Error('another consumer')
    memory.words[HEAD] = advance(head, 1)
    if (seen !== GONE) return payloadOf(seen)
  }
}

function takeAll(memory: Memory): number[] {
  const taken: number[] = []
  for (let n = take(memory); n !== undefined; n = take(memory)) taken.push(n)
  return taken
}

const geometry = fc.record({
  bits: fc.integer({ min: 0, max: 20 }),
  position: fc.integer({ min: 0, max: RANGE - 1 }),
})
const position = fc.integer({ min: 0, max: RANGE - 1 })

describe('Words', () => {
  it('are below 2^30, whatever they say', () => {
    fc.assert(
      fc.property(geometry, fc.integer({ min: 0, max: 2 ** 28 - 1 }), ({ bits, position }, any) => {
        const lap = lapOf(position, bits)
        for (const word of [emptyWord(lap), fullWord(lap, any)])
          if (!(word >= 0 && word < RANGE)) return false
        return (
          tokenOf(fullWord(lap, any)) === any && (fullWord(lap, any) & 3) === (((lap & 1) << 1) | 1)
        )
      }),
    )
  })

  it('tell the laps of one slot apart', () => {
    fc.assert(
      fc.property(geometry, ({ bits, position }) => {
        const capacity = 2 ** bits
        const laps = [-1, 0, 1].map((by) => lapOf(advance(position, by * capacity), bits))
        const words = laps.map(emptyWord)
        expect(new Set(words).size).toBe(3)
        expect(laps[0] & 1).toBe(laps[2] & 1)
        expect(laps[0] & 1).not.toBe(laps[1] & 1)
      }),
    )
  })

  it('keep kind and payload of control tokens, apart from batches', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: SEAL, max: NOP }),
        fc.integer({ min: 0, max: PAYLOAD_MASK }),
        (kind, payload) => {
          const control = controlToken(kind as ControlKind, payload)
          expect([control >>> KIND_SHIFT, control & PAYLOAD_MASK, control & BATCH]).toEqual([
            kind,
            payload,
            0,
          ])
        },
      ),
    )
  })

  it('keep slot and epoch, and writer and generation, in a payload', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 15 }),
        fc.nat(),
        fc.integer({ min: 0, max: 1023 }),
        fc.nat(),
        (slot, epoch, writer, generation) => {
          const sealed = epochPayload(slot, epoch)
          expect([sealed >>> EPOCH_BITS, sealed & EPOCH_MASK]).toEqual([slot, epoch % 2 ** 19])
          const closed = writerPayload(writer, generation)
          expect([closed >>> GENERATION_BITS, closed & GENERATION_MASK]).toEqual([
            writer,
            generation % 2 ** 13,
          ])
          expect(Math.max(sealed, closed)).toBeLessThanOrEqual(PAYLOAD_MASK)
        },
      ),
    )
  })

  it('measure distances across the wraps', () => {
    fc.assert(
      fc.property(position, fc.integer({ min: -(2 ** 20), max: 2 ** 20 }), (from, by) => {
        expect(distance(advance(from, by), from)).toBe(by)
      }),
    )
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: EPOCH_MASK }),
        fc.integer({ min: -1000, max: 1000 }),
        (from, by) => {
          expect(epochDistance((from + by) & EPOCH_MASK, from)).toBe(by)
        },
      ),
    )
  })
})

const capacities = [1, 2, 4, 16]
const startsFor = (capacity: number): number[] => [
  0,
  capacity * 5 + 1,
  RANGE / 2 - 1,
  ...[1, 2, capacity - 1, capacity, capacity + 1, 2 * capacity].map((below) => RANGE - below),
]
const rings = capacities.flatMap((capacity) =>
  [...new Set(startsFor(capacity))].map((position) => ({ capacity, position: position % RANGE })),
)

describe.each(rings)('A ring of $capacity from position $position', ({ capacity, position }) => {
  it('hands out tokens in the order they went in, through several laps, at every fill', () => {
    for (const fill of new Set([1, Math.ceil(capacity / 2), capacity])) {
      const memory = ringOf(capacity, position)
      let sent = 0
      for (let lap = 0; lap < 5; lap++) {
        const wanted = Array.from({ length: fill }, () => sent++)
        for (const n of wanted) expect(push(memory, token(n))).toBe(true)
        expect(takeAll(memory)).toEqual(wanted)
      }
      expect(memory.words[HEAD]).toBe(advance(position, 5 * fill))
      expect(memory.words[TAIL]).toBe(advance(position, 5 * fill))
    }
  })

  it('C6: is full at its capacity, stores nothing then, and takes one more for each one taken', () => {
    const memory = ringOf(capacity, position)
    for (let n = 0; n < capacity; n++) expect(push(memory, token(n))).toBe(true)
    for (let n = 0; n < capacity * 3; n++) {
      const words = [...memory.words.subarray(0, memory.layout.lanes)].join()
      if (
        push(memory, token(999)) ||
        words !== [...memory.words.subarray(0, memory.layout.lanes)].join()
      )
        throw new Error('it was stored')
      expect(take(memory)).toBe(n)
      expect(push(memory, token(capacity + n))).toBe(true)
    }
    expect(takeAll(memory)).toEqual(Array.from({ length: capacity }, (_, i) => capacity * 3 + i))
  })

  it('C10: goes on when a producer died between filling its slot and moving the tail', () => {
    for (let lap = 0; lap < 3; lap++) {
      for (let offset = 0; offset < capacity; offset++) {
        const memory = ringOf(capacity, advance(position, offset + lap * capacity))
        fillOnly(memory, 1)
        if (capacity > 1) expect(push(memory, token(2))).toBe(true)
        else expect(push(memory, token(2))).toBe(false)
        expect(takeAll(memory)).toEqual(capacity > 1 ? [1, 2] : [1])
        expect(push(memory, token(3))).toBe(true)
        expect(takeAll(memory)).toEqual([3])
      }
    }
  })

  it('C10: goes on when that slot was consumed before another producer came', () => {
    for (let offset = 0; offset <= capacity; offset++) {
      const memory = ringOf(capacity, advance(position, offset))
      fillOnly(memory, 1)
      expect(takeAll(memory)).toEqual([1])
      expect(push(memory, token(2))).toBe(true)
      expect(takeAll(memory)).toEqual([2])
      fillOnly(memory, 3)
      expect(takeAll(memory)).toEqual([3])
      expect(settledTail(memory)).toBe(advance(position, offset + 3))
      expect(memory.words[TAIL]).toBe(memory.words[HEAD])
    }
  })

  it('C8: goes on when a consumer died between freeing its slot and moving the head', () => {
    for (let offset = 0; offset <= capacity; offset++) {
      const memory = ringOf(capacity, advance(position, offset))
      for (const again of [false, true]) {
        const head = memory.words[HEAD]
        push(memory, token(1))
        freeSlot(memory, head, peek(memory, head))
        if (again) {
          // and the slot has been filled anew since
          for (let n = 0; n < capacity; n++) expect(push(memory, token(2 + n))).toBe(true)
          expect(peek(memory, head)).toBe(GONE)
          expect(takeAll(memory)).toEqual(Array.from({ length: capacity }, (_, n) => 2 + n))
        } else {
          expect(peek(memory, head)).toBe(GONE)
          expect(takeAll(memory)).toEqual([])
        }
      }
    }
  })

  it('heals slots that the tail has overtaken, and takes what lies behind them', () => {
    for (let by = 1; by < capacity && by < 5; by++) {
      const memory = ringOf(capacity, position)
      memory.words[TAIL] = advance(position, by)
      expect(push(memory, token(7))).toBe(true)
      expect(takeAll(memory)).toEqual([...new Array<number>(by).fill(0), 7])
      expect(memory.words[HEAD]).toBe(advance(position, by + 1))
    }
  })

  it('is full for a tail that has overtaken a whole lap, until that is healed', () => {
    const memory = ringOf(capacity, position)
    memory.words[TAIL] = advance(position, capacity)
    expect(push(memory, token(7))).toBe(false)
    expect(memory.words[TAIL]).toBe(advance(position, capacity))
    expect(takeAll(memory)).toEqual(new Array<number>(capacity).fill(0))
    expect(push(memory, token(8))).toBe(true)
    expect(takeAll(memory)).toEqual([8])
  })

  it('takes a word of the other lap at the head for corrupt, unless the tail has come round: both sides would wait for each other', () => {
    const memory = ringOf(capacity, position)
    const lap = lapOf(position, Math.log2(capacity))
    memory.words[slotAt(memory, position)] = fullWord(lap + 1, token(7))
    expect(push(memory, token(1))).toBe(false)
    expect(() => peek(memory, position)).toThrow(CORRUPT)
    memory.words[TAIL] = advance(position, capacity - 1)
    expect(() => peek(memory, position)).toThrow(CORRUPT)
    memory.words[TAIL] = advance(position, capacity)
    expect(peek(memory, position)).toBe(GONE)
  })

  it('takes a tail that is laps ahead of the head, or laps behind it, for corrupt', () => {
    for (const by of [capacity * 2 + 1, 2 ** 29 - 1, 2 ** 29, -capacity * 2 - 1]) {
      const memory = ringOf(capacity, position)
      memory.words[TAIL] = advance(position, by)
      expect(() => peek(memory, position)).toThrow(CORRUPT)
    }
    for (const by of [capacity * 2, -capacity * 2]) {
      const memory = ringOf(capacity, position)
      memory.words[TAIL] = advance(position, by)
      expect(() => peek(memory, position)).not.toThrow()
    }
  })

  it('passes no word at the head but a token of the next lap, also when the ring is full', () => {
    const lap = lapOf(position, Math.log2(capacity))
    for (const word of [-1, RANGE, emptyWord(lap - 1), emptyWord(lap + 2)]) {
      const memory = ringOf(capacity, position)
      memory.words[TAIL] = advance(position, capacity)
      memory.words[slotAt(memory, position)] = word
      expect(() => peek(memory, position)).toThrow(CORRUPT)
    }
  })

  it('refuses an unknown word on both sides, and the tail never runs over it', () => {
    const lap = lapOf(position, Math.log2(capacity))
    for (const word of [
      -1,
      -(2 ** 31),
      RANGE,
      2 ** 31 - 1,
      emptyWord(lap + 2),
      emptyWord(lap + 3),
    ]) {
      const memory = ringOf(capacity, position)
      memory.words[slotAt(memory, position)] = word
      expect(() => push(memory, token(1))).toThrow(CORRUPT)
      expect(() => peek(memory, position)).toThrow(CORRUPT)
      expect(() => settledTail(memory)).toThrow(CORRUPT)
      expect([
        memory.words[TAIL],
        memory.words[HEAD],
        memory.words[slotAt(memory, position)],
      ]).toEqual([position, position, word])
    }
  })

  it('loses and repeats nothing, whatever others do between any two accesses of a push', () => {
    const others: ((memory: Memory) => number[] | undefined)[] = [
      (memory) => void push(memory, token(100)),
      (memory) => {
        fillOnly(memory, 100)
        return undefined
      },
      (memory) => {
        push(memory, token(100))
        return takeAll(memory)
      },
      (memory) => {
        fillOnly(memory, 100)
        return takeAll(memory)
      },
      (memory) => {
        for (let n = 0; n <= capacity; n++) push(memory, token(100 + n))
        return capacity > 1 ? [take(memory)!] : undefined
      },
      (memory) => {
        const taken: number[] = []
        for (let n = 0; n < 2 * capacity; n++) {
          push(memory, token(100 + n))
          taken.push(...takeAll(memory))
        }
        return taken
      },
      (memory) => takeAll(memory),
    ]
    let races = 0
    for (const filled of new Set([0, capacity - 1, capacity])) {
      for (const other of others) {
        for (let access = 0, more = true; more; access++) {
          const memory = ringOf(capacity, position)
          const sent: number[] = []
          for (let n = 0; n < filled; n++) {
            push(memory, token(1 + n))
            sent.push(1 + n)
          }
          let taken: number[] = []
          let accesses = 0
          const mine = watchAccesses(
            () => {
              if (accesses++ !== access) return
              taken = other(memory) ?? []
            },
            () => push(memory, token(50)),
          )
          more = accesses > access
          taken.push(...takeAll(memory))
          const theirs = taken.filter((n) => n >= 100)
          const found = {
            sent: taken.filter((n) => n < 50).join(),
            mine: taken.filter((n) => n === 50).length,
            theirs: theirs.join(),
            stuck: !push(memory, token(77)) || takeAll(memory).join() !== '77',
          }
          const wanted = {
            sent: sent.join(),
            mine: mine ? 1 : 0,
            theirs: [...new Set(theirs)].sort((a, b) => a - b).join(),
            stuck: false,
          }
          if (JSON.stringify(found) !== JSON.stringify(wanted))
            expect({ access, filled, ...found }).toEqual({ access, filled, ...wanted })
          races++
        }
      }
    }
    expect(races).toBeGreaterThan(50)
  })

  it('settles its tail behind everything that is in it', () => {
    const memory = ringOf(capacity, position)
    for (let n = 0; n < capacity; n++) fillOnly(memory, n)
    memory.words[TAIL] = position
    expect(settledTail(memory)).toBe(advance(position, capacity))
    expect(memory.words[TAIL]).toBe(advance(position, capacity))
    expect(settledTail(memory)).toBe(advance(position, capacity))
  })
})

describe('A push', () => {
  it('takes back the word of an aggregator that sleeps, and leaves that of one that does not', () => {
    const memory = ringOf(4)
    memory.words[PARKED] = 1
    const notify = jest.spyOn(Atomics, 'notify')
    push(memory, token(1))
    expect(memory.words[PARKED]).toBe(0)
    expect(notify).toHaveBeenCalledTimes(1)
    push(memory, token(2))
    expect(notify).toHaveBeenCalledTimes(1)
    notify.mockRestore()
  })

  it('finds a ring that was poisoned full', () => {
    const memory = ringOf(4)
    for (let i = 0; i < 4; i++)
      memory.words[memory.layout.ring + i] = fullWord(0, controlToken(POISON, 0))
    expect(push(memory, token(1))).toBe(false)
    expect(memory.words[TAIL]).toBe(4)
  })
})

describe('BatchRing', () => {
  afterEach(() => {
    jest.useRealTimers()
  })

  const batch = (...keys: number[]): BigUint64Array => BigUint64Array.from(keys, BigInt)
  const small = { capacity: 4, laneCapacity: 8, maxWriters: 2 }
  const code = (code: string) => expect.objectContaining({ code })

  /** Everything there is, as [producer, ...keys]. */
  function drained(ring: BatchRing, limit?: number): number[][] {
    const batches: number[][] = []
    const count = ring.drain(
      (keys, producer) => batches.push([producer, ...Array.from(keys, Number)]),
      limit,
    )
    expect(count).toBe(batches.length)
    return batches
  }

  it('forgets a batch whose push() threw', () => {
    for (let size = 0; size < 30; size++) {
      const ring = BatchRing.create({ capacity: 64, laneCapacity: 64 })
      const producer = ring.openProducer()
      nearTheEndOfTheStack(() => producer.push(BigUint64Array.of(1n, 2n)), size)
      const lengths = new Set<number>()
      ring.drain((keys) => lengths.add(keys.length))
      expect([...lengths].filter((length) => length !== 2)).toEqual([])
    }
  })

  it('hands out whole batches in one order for all producers', () => {
    const ring = BatchRing.create(small)
    const [a, b] = [ring.openProducer(), ring.openProducer()]
    expect([a.id, b.id]).toEqual([0, 1])
    expect(a.push(batch(1, 0, 1))).toBe(true)
    expect(b.push(batch(2))).toBe(true)
    expect(a.push(batch(3, 4))).toBe(true)
    expect(drained(ring)).toEqual([
      [0, 1, 0, 1],
      [1, 2],
      [0, 3, 4],
    ])
    expect(drained(ring)).toEqual([])
  })

  it('keeps all 64 bits', () => {
    const ring = BatchRing.create(small)
    const keys = BigUint64Array.of(0n, 2n ** 64n - 1n, 2n ** 63n, 1n)
    ring.openProducer().push(keys)
    ring.drain((got) => expect([...got]).toEqual([...keys]))
    expect.assertions(1)
  })

  it('takes a batch of another realm', () => {
    const ring = BatchRing.create(small)
    expect(
      ring.openProducer().push(runInNewContext('new BigUint64Array([1n, 2n])') as BigUint64Array),
    ).toBe(true)
    ring.drain((got) => expect([...got]).toEqual([1n, 2n]))
    expect.assertions(2)
  })

  it('is the same ring when attached by its handle', () => {
    const ring = BatchRing.create(small)
    const other = BatchRing.attach(ring.handle)
    other.openProducer().push(batch(1))
    expect(ring.openProducer().id).toBe(1)
    expect(drained(ring)).toEqual([[0, 1]])
    expect(drained(other)).toEqual([])
  })

  it('stops at the limit and goes on from there', () => {
    const ring = BatchRing.create(small)
    const producer = ring.openProducer()
    for (const n of [1, 2, 3]) producer.push(batch(n))
    expect(drained(ring, 0)).toEqual([])
    expect(drained(ring, 2)).toEqual([
      [0, 1],
      [0, 2],
    ])
    expect(drained(ring, Infinity)).toEqual([[0, 3]])
  })

  it('C6: stores nothing of a batch that finds the ring full', () => {
    const ring = BatchRing.create(small)
    const { words, layout } = attachMemory(ring.handle, 'ring')
    const producer = ring.openProducer()
    for (const n of [1, 2, 3, 4]) expect(producer.push(batch(n))).toBe(true)
    expect(producer.push(batch(5, 6))).toBe(false)
    const header = laneAt(layout, 0)
    expect([words[header + LANE_STAGED_END], words[header + LANE_PUBLISHED]]).toEqual([4, 4])
    expect(drained(ring, 1)).toEqual([[0, 1]])
    expect(producer.push(batch(7))).toBe(true)
    expect(drained(ring)).toEqual([
      [0, 2],
      [0, 3],
      [0, 4],
      [0, 7],
    ])
  })

  it('C6: stores nothing of a batch that finds its lane full, and other producers do not mind', () => {
    const ring = BatchRing.create({ ...small, capacity: 64 })
    const [a, b] = [ring.openProducer(), ring.openProducer()]
    expect(a.push(batch(1, 2, 3, 4, 5, 6))).toBe(true)
    expect(a.push(batch(7, 8, 9))).toBe(false)
    expect(b.push(batch(10))).toBe(true)
    expect(a.push(batch(7, 8))).toBe(true)
    expect(drained(ring)).toEqual([
      [0, 1, 2, 3, 4, 5, 6],
      [1, 10],
      [0, 7, 8],
    ])
    expect(a.push(batch(7, 8, 9))).toBe(true)
  })

  it('copies a batch across the end of its lane', () => {
    const ring = BatchRing.create(small)
    const producer = ring.openProducer()
    for (let first = 0; first < 40; first += 5) {
      const keys = [0, 1, 2, 3, 4].map((i) => first + i)
      expect(producer.push(batch(...keys))).toBe(true)
      expect(drained(ring)).toEqual([[0, ...keys]])
    }
    expect(producer.push(batch(1, 2, 3, 4, 5, 6, 7, 8))).toBe(true)
    expect(drained(ring)).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8]])
  })

  it('hands out a view of the lane, and a copy of a batch across its end alone', () => {
    const ring = BatchRing.create(small)
    const producer = ring.openProducer()
    const isShared = [5, 3, 6, 6].map((size) => {
      producer.push(new BigUint64Array(size))
      let answer: boolean | undefined
      ring.drain(({ buffer }) => (answer = types.isSharedArrayBuffer(buffer)))
      return answer
    })
    expect(isShared).toEqual([true, true, true, false])
  })

  it('passes a token that is no batch without a store into a lane', () => {
    const memory = attachMemory(BatchRing.create(small).handle, 'ring')
    push(memory, token(1))
    const stored: number[] = []
    watchAccesses(
      (kind, index) => {
        if (kind === 'store') stored.push(index)
      },
      () => passToken(memory, takeToken(memory)!),
    )
    expect(stored).toEqual([slotAt(memory, 0), HEAD])
  })

  it('gives back the room of the producer that closes, and of no other', () => {
    const ring = BatchRing.create(small)
    const [a, b] = [ring.openProducer(), ring.openProducer()]
    const { words, layout } = attachMemory(ring.handle, 'ring')
    a.push(batch(1, 2, 3))
    drained(ring)
    words[laneAt(layout, 1) + LANE_STAGED_END] = 2 // of a push() that an exception has ended
    b.close()
    drained(ring)
    expect(words[laneAt(layout, 1) + LANE_READ_END]).toBe(2)
    expect(a.push(batch(1, 2, 3, 4, 5, 6, 7, 8))).toBe(true)
  })

  it('closes a producer once: a second close() takes no slot of the ring', () => {
    const ring = BatchRing.create(small)
    const producer = ring.openProducer()
    for (const _ of range(0, 3)) producer.close()
    expect(attachMemory(ring.handle, 'ring').words[TAIL]).toBe(1)
  })

  it('answers as a plain queue of arrays does', () => {
    const operation = fc.oneof(
      fc.record({ producer: fc.nat(1), keys: fc.array(fc.nat(20), { maxLength: 8 }) }),
      fc.record({ limit: fc.nat(5) }),
    )
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const ring = BatchRing.create(small)
        const producers = [ring.openProducer(), ring.openProducer()]
        const queue: number[][] = []
        for (const each of operations) {
          if ('limit' in each) {
            expect(drained(ring, each.limit)).toEqual(queue.splice(0, each.limit))
            continue
          }
          const { producer, keys } = each
          const inLane = queue.reduce(
            (sum, [id, ...some]) => sum + (id === producer ? some.length : 0),
            0,
          )
          const fits = keys.length === 0 || (queue.length < 4 && inLane + keys.length <= 8)
          expect(producers[producer].push(batch(...keys))).toBe(fits)
          if (fits && keys.length > 0) queue.push([producer, ...keys])
        }
        expect(drained(ring)).toEqual(queue)
      }),
    )
  })

  it('takes an empty batch, and hands nothing out for it', () => {
    const ring = BatchRing.create(small)
    expect(ring.openProducer().push(batch())).toBe(true)
    expect(drained(ring)).toEqual([])
  })

  it('counts a batch as handed out when onBatch throws', () => {
    const ring = BatchRing.create(small)
    const producer = ring.openProducer()
    for (const n of [1, 2, 3]) producer.push(batch(n, n))
    const seen: number[] = []
    expect(() =>
      ring.drain((keys) => {
        seen.push(Number(keys[0]))
        if (keys[0] === 2n) throw new Error('mine')
      }),
    ).toThrow('mine')
    expect(seen).toEqual([1, 2])
    expect(drained(ring)).toEqual([[0, 3, 3]])
    expect(producer.push(batch(1, 2, 3, 4, 5, 6, 7, 8))).toBe(true)
  })

  it('refuses to be drained from within onBatch, and takes pushes from there', () => {
    const ring = BatchRing.create(small)
    const producer = ring.openProducer()
    producer.push(batch(1))
    const batches: number[] = []
    ring.drain((keys) => {
      batches.push(Number(keys[0]))
      expect(() => ring.drain(() => undefined)).toThrow(
        expect.objectContaining({
          code: 'ERR_DIRTYRING_AGGREGATOR_TAKEN',
          message: 'drain() was called from within onBatch',
        }),
      )
      if (batches.length < 10) producer.push(batch(batches.length + 1))
    })
    expect(batches).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect.assertions(11)
  })

  it('C13: has one consumer', () => {
    const ring = BatchRing.create(small)
    const { words } = attachMemory(ring.handle, 'ring')
    words[OWNER] = 1000
    expect(() => ring.drain(() => undefined)).toThrow(code('ERR_DIRTYRING_AGGREGATOR_TAKEN'))
    expect(() => ring.drain(() => undefined)).toThrow('thread 999')
  })

  it('gives the id of a closed producer to the next one, once all it pushed was handed out', () => {
    const ring = BatchRing.create({ ...small, maxWriters: 1 })
    const first = ring.openProducer()
    first.push(batch(1, 2, 3))
    first.close()
    first.close()
    expect(() => first.push(batch(4))).toThrow(code('ERR_DIRTYRING_CLOSED'))
    expect(() => first.push(batch(4))).toThrow(/^producer 0 is closed$/)
    expect(() => ring.openProducer()).toThrow(code('ERR_DIRTYRING_NO_WRITER_SLOT'))
    expect(() => ring.openProducer()).toThrow(/^no free producer: all 1 \(maxWriters\) are taken$/)
    expect(drained(ring)).toEqual([[0, 1, 2, 3]])
    const second = ring.openProducer()
    expect(second.id).toBe(0)
    expect(second.push(batch(5, 6, 7, 8, 9, 10, 11, 12))).toBe(true)
    expect(() => first.push(batch(4))).toThrow(code('ERR_DIRTYRING_CLOSED'))
    expect(drained(ring)).toEqual([[0, 5, 6, 7, 8, 9, 10, 11, 12]])
  })

  it('where the stack ends in close(), a further close() gives the id back', () => {
    const ring = BatchRing.create({ capacity: 512, laneCapacity: 4, maxWriters: 1 })
    for (const size of range(0, 40)) {
      const producer = ring.openProducer()
      nearTheEndOfTheStack(() => producer.close(), size)
      producer.close()
      expect(drained(ring)).toEqual([])
    }
  })

  it('closes by and by when the ring is full', async () => {
    const ring = BatchRing.create(small)
    const producer = ring.openProducer()
    const { words, layout } = attachMemory(ring.handle, 'ring')
    for (const n of [1, 2, 3, 4]) producer.push(batch(n))
    producer.close()
    expect(() => producer.push(batch(5))).toThrow(code('ERR_DIRTYRING_CLOSED'))
    const isTaken = (): boolean => (words[laneAt(layout, 0) + LANE_OWNER] & THREAD_MASK) !== 0
    expect(drained(ring)).toHaveLength(4)
    expect(isTaken()).toBe(true)
    await until(() => drained(ring).length === 0 && !isTaken())
  })

  it('does not use the id of a producer whose thread died again', () => {
    const ring = BatchRing.create(small)
    const memory = attachMemory(ring.handle, 'ring')
    openLane(memory, 77, 8, { armed: true, arm: () => undefined })
    expect(ring.openProducer().id).toBe(1)
    expect(() => ring.openProducer()).toThrow(code('ERR_DIRTYRING_NO_WRITER_SLOT'))
  })

  it('steps over a slot that was freed without a move of the head', () => {
    const ring = BatchRing.create(small)
    const memory = attachMemory(ring.handle, 'ring')
    const producer = ring.openProducer()
    producer.push(batch(1))
    expect(drained(ring)).toHaveLength(1)
    memory.words[HEAD] = 0
    producer.push(batch(2))
    expect(drained(ring)).toEqual([[0, 2]])
  })

  it('leaves the lane of a later owner alone when a CLOSE comes late', () => {
    const ring = BatchRing.create({ ...small, maxWriters: 1 })
    const memory = attachMemory(ring.handle, 'ring')
    const first = ring.openProducer()
    first.close()
    drained(ring)
    const second = ring.openProducer()
    push(memory, controlToken(CLOSE, writerPayload(0, 0)))
    second.push(batch(1))
    expect(drained(ring)).toEqual([[0, 1]])
    expect(() => ring.openProducer()).toThrow(code('ERR_DIRTYRING_NO_WRITER_SLOT'))
    expect(second.push(batch(2))).toBe(true)
  })

  it('C11: names what is wrong with an argument', () => {
    const ring = BatchRing.create(small)
    const producer = ring.openProducer()
    const bad = (call: () => unknown, type: typeof TypeError | typeof RangeError, what: string) => {
      expect(call).toThrow(type)
      expect(call).toThrow(what)
    }
    bad(() => producer.push([1n] as any), TypeError, '"batch" must be a BigUint64Array')
    bad(
      () => producer.push(new BigUint64Array(9)),
      RangeError,
      '"batch" must be at most 8 keys (laneCapacity), got 9',
    )
    const gone = new BigUint64Array(1)
    structuredClone(gone.buffer, { transfer: [gone.buffer] })
    bad(() => producer.push(gone), TypeError, '"batch" must be a view of memory')
    bad(() => ring.drain(1 as any), TypeError, '"onBatch" must be a function, got 1')
    bad(() => ring.drain(() => undefined, '1' as any), TypeError, '"limit" must be a number')
    bad(
      () => ring.drain(() => undefined, -1),
      RangeError,
      '"limit" must be a whole number from 0 on, or Infinity, got -1',
    )
    bad(() => ring.drain(() => undefined, NaN), RangeError, '"limit"')
    bad(() => BatchRing.create({ capacity: 3 }), RangeError, '"options.capacity"')
    bad(
      () => BatchRing.create({ laneCapacity: 2 ** 27, maxWriters: 2 }),
      RangeError,
      '"options.laneCapacity"',
    )
    bad(() => BatchRing.create({ maxWriters: 1025 }), RangeError, '"options.maxWriters"')
    bad(() => BatchRing.create(null as any), TypeError, '"options"')
    bad(() => BatchRing.attach(ring as any), TypeError, 'ring.handle')
    bad(() => BatchRing.attach(null as any), TypeError, 'ring.handle')
    expect(() =>
      BatchRing.attach({ dirtyring: VERSION_VALUE, buffer: smallMemory().words.buffer } as any),
    ).toThrow(
      expect.objectContaining({
        code: 'ERR_DIRTYRING_BAD_HANDLE',
        message: expect.stringContaining('DirtyTracker'),
      }),
    )
    expect(() =>
      BatchRing.attach({ dirtyring: VERSION_VALUE + 1, buffer: smallMemory().words.buffer } as any),
    ).toThrow(code('ERR_DIRTYRING_VERSION'))
    expect(drained(ring)).toEqual([])
  })
})
