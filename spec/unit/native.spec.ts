import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { type Aggregator, recover, takeRole } from '../../lib/aggregator/state.js'
import { IDLE, step } from '../../lib/aggregator/step.js'
import { randomFrom } from '../../lib/demo/random.js'
import { DirtyTracker, FingerprintSet } from '../../lib/index.js'
import {
  IDENTITY_CHECK,
  KERNEL_SCRATCH,
  SECRETS,
  type SharedWords,
  TRACKER_ID,
} from '../../lib/memory/map.js'
import { createMemory, type Memory } from '../../lib/memory/memory.js'
import { cellsFor, keysFor } from '../../lib/memory/table-size.js'
import { resolveOptions } from '../../lib/options.js'
import { type Lane, openLane, publish, stage } from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import { controlToken, epochPayload, SEAL } from '../../lib/ring/token.js'
import { contains, indexLog, insertRun, type SetState, shiftFor } from '../../lib/set/kernel.js'
import { secretsAt, secretsOf } from '../../lib/set/mix.js'
import { nativeKernel, reserveNative, SCRATCH_WORDS } from '../../lib/set/native/native.js'
import { lanesOf, noClock } from '../support/steps.js'

const SOURCE = 16384
/**
 * Words behind the table, which stay zero: a kernel that runs over the table's end takes them for
 * empty cells.
 */
const BEHIND = 32

/** The same empty set twice, the keys before it: in TypeScript, and in WebAssembly. */
function twins(cells: number, seed: number): SetState[] {
  const limit = keysFor(cells)
  const secrets = secretsAt(secretsOf(seed), 0)
  const size = SOURCE + limit * 2 + cells * 2 + BEHIND
  const memory = reserveNative((size + SCRATCH_WORDS) * 4)
  const native = nativeKernel(memory, secrets, size)
  if (memory === undefined || native === undefined) throw new Error('WebAssembly is not available')
  const set = {
    log: SOURCE,
    table: SOURCE + limit * 2,
    shift: shiftFor(cells),
    limit,
    count: 0,
    zero: false,
    ...secrets,
  }
  const words = new Int32Array(memory.buffer, 0, size) as SharedWords
  return [
    { ...set, words: new Int32Array(size) as unknown as SharedWords, native: undefined },
    { ...set, words, native },
  ]
}

function bytesOf(words: Int32Array): Buffer {
  return Buffer.from(words.buffer, words.byteOffset, words.byteLength)
}

function expectSame([ts, wasm]: SetState[]): void {
  expect([wasm.count, wasm.zero]).toEqual([ts.count, ts.zero])
  expect(Buffer.compare(bytesOf(ts.words), bytesOf(wasm.words))).toBe(0)
}

/** Streams that are told from random ones by how they lie in the table. */
const key = fc.oneof(
  fc.constantFrom(0n, 1n, 2n ** 32n, 2n ** 64n - 1n),
  fc.bigInt(0n, 40n),
  fc.bigInt(0n, 40n).map((id) => id << 32n),
  fc.bigInt(0n, 2n ** 16n).map((id) => (id << 48n) | (id << 16n)),
  fc.bigInt(0n, 2n ** 64n - 1n),
)

describe('The WebAssembly kernel', () => {
  it('is what its source compiles to, byte for byte', () => {
    execFileSync(
      process.execPath,
      [fileURLToPath(new URL('../../lib/set/native/compile.js', import.meta.url)), '--check'],
      {
        env: { ...process.env, NODE_OPTIONS: '' },
      },
    )
  }, 30_000)

  it('leaves the very bytes that the TypeScript kernel leaves, and says the same', () => {
    fc.assert(
      fc.property(
        fc.array(key, { maxLength: 300 }),
        fc.constantFrom(4, 16, 64, 256, 1024),
        fc.nat(),
        (keys, cells, seed) => {
          const sets = twins(cells, seed)
          const lanes = lanesOf(keys)
          for (const set of sets) set.words.set(lanes)
          for (let at = 0; at < lanes.length;) {
            const end = Math.min(lanes.length, at + 128)
            const [ts, wasm] = sets.map((set) => insertRun(set, set.words, at, end))
            expect(wasm).toBe(ts)
            expectSame(sets)
            at = ts === at ? at + 2 : ts // full: the next key may be one that is in
          }
          for (const set of sets) {
            set.words.fill(0, set.table)
            set.zero = false
            indexLog(set, 0, set.count)
          }
          expectSame(sets)
          const [ts, { native, table, shift }] = sets
          for (const [lo, hi] of keys.map((each) => lanesOf([each]))) {
            if ((lo | hi) !== 0)
              expect(native!.contains(lo, hi, table << 2, shift) === 1).toBe(contains(ts, lo, hi))
          }
        },
      ),
      { numRuns: 150 },
    )
  })

  it('takes long runs in one call', () => {
    const sets = twins(cellsFor(6000), 3)
    const lanes = lanesOf(
      Array.from({ length: 8000 }, (_, i) => BigInt(i % 5500) * 0x9e3779b97f4a7c15n),
    ).map((lane) => lane | 0)
    for (const set of sets) {
      set.words.set(lanes.subarray(0, SOURCE))
      expect(insertRun(set, set.words, 0, 16000)).toBe(16000)
    }
    expect(sets[1].count).toBe(5500)
    expectSame(sets)
  })

  it('drives an aggregator through growth, overflow, seals and recovery to the very memory that the TypeScript one leaves', () => {
    const options = resolveOptions({
      capacity: 8,
      laneCapacity: 64,
      maxWriters: 1,
      maxKeysPerEpoch: 3000,
      epochSlots: 3,
    })
    const seeds = secretsOf(11)
    const memories: Memory[] = [createMemory(options, seeds)]
    const native = reserveNative(memories[0].words.byteLength)
    memories.push(createMemory(options, seeds, native))
    const runs = memories.map((memory) => {
      memory.words.fill(0, TRACKER_ID, TRACKER_ID + 2)
      memory.words.fill(0, IDENTITY_CHECK, IDENTITY_CHECK + 1)
      const aggregator = takeRole(memory, 1)
      aggregator.set.native = nativeKernel(
        memory.native,
        secretsAt(memory.words, SECRETS),
        KERNEL_SCRATCH,
      )
      recover(aggregator)
      return { memory, aggregator, lane: openLane(memory, 2, 64, noClock) as Lane }
    })
    expect(runs.map(({ aggregator }) => aggregator.set.native === undefined)).toEqual([true, false])
    const work = (aggregator: Aggregator): void => {
      while (step(aggregator) !== IDLE);
    }
    const random = randomFrom(1)
    for (let round = 0; round < 400; round++) {
      const batch = Array.from({ length: 40 }, () =>
        Math.floor(random() * 2 ** (round < 300 ? 14 : 11)),
      )
      for (const { aggregator, lane, memory } of runs) {
        for (const id of batch) stage(lane, id, id & 7)
        publish(lane)
        if (round % 150 === 149)
          push(memory, controlToken(SEAL, epochPayload(((round + 1) / 150) % 3, (round + 1) / 150)))
        work(aggregator)
        if (round % 97 === 0) recover(aggregator)
      }
    }
    memories[1].words.fill(0, KERNEL_SCRATCH, KERNEL_SCRATCH + SCRATCH_WORDS)
    const [ts, wasm] = memories.map(({ words }) => bytesOf(words))
    expect(Buffer.compare(ts, wasm)).toBe(0)
    expect(runs[1].aggregator.set.count).toBeGreaterThan(100)
  })

  it('is what a tracker takes where it can, and says so', async () => {
    for (const [kernel, used] of [
      [undefined, 'wasm'],
      ['auto', 'wasm'],
      ['wasm', 'wasm'],
      ['js', 'js'],
    ] as const) {
      const tracker = await DirtyTracker.create({
        kernel,
        aggregator: 'inline',
        maxKeysPerEpoch: 5000,
      })
      expect(tracker.kernel).toBe(used)
      const writer = tracker.openWriter()
      for (let id = 0; id < 5000; id++) writer.mark(id)
      writer.flush()
      const epoch = await tracker.advanceEpoch()
      expect([epoch.size, epoch.exact, epoch.has(0), epoch.has(4999), epoch.has(5000)]).toEqual([
        5000,
        true,
        true,
        true,
        false,
      ])
      epoch.commit()
      await tracker.stop()
    }
  })

  it('leaves the work to the TypeScript kernel where WebAssembly is forbidden or has no address space', async () => {
    const { WebAssembly } = globalThis as unknown as { WebAssembly: { Memory: unknown } }
    const { Memory: real } = WebAssembly
    const small = { aggregator: 'inline', maxKeysPerEpoch: 100 } as const
    const refuse = (): never => {
      throw new RangeError('WebAssembly.Memory(): could not allocate memory')
    }
    WebAssembly.Memory = refuse
    try {
      const tracker = await DirtyTracker.create(small)
      expect(tracker.kernel).toBe('js')
      tracker.openWriter().mark(7)
      const epoch = await tracker.stop()
      expect([...epoch.ids()]).toEqual([7])
      await expect(DirtyTracker.create({ ...small, kernel: 'wasm' })).rejects.toThrow(
        /^"options.kernel" must be 'auto' or 'js', got "wasm"\. WebAssembly/,
      )
      expect(new FingerprintSet({ kernel: 'wasm' }).addMany([1, 2, 1])).toBe(2)
      // A set that had WebAssembly, and does not get it when it grows in the middle of a call.
      WebAssembly.Memory = real
      const set = new FingerprintSet({ kernel: 'wasm', expectedKeys: 8000 })
      WebAssembly.Memory = refuse
      const keys = BigUint64Array.from({ length: 20_000 }, (_, i) => BigInt(i))
      expect(set.addMany(keys)).toBe(20_000)
      expect(
        Buffer.compare(Buffer.from(set.bigints.slice().buffer), Buffer.from(keys.buffer)),
      ).toBe(0)
      expect([set.has(0), set.has(19_999), set.has(20_000)]).toEqual([true, true, false])
    } finally {
      WebAssembly.Memory = real
    }
  })

  it('makes a FingerprintSet of the same keys in the same order', () => {
    const [ts, wasm] = (['js', 'wasm'] as const).map(
      (kernel) => new FingerprintSet({ kernel, seed: 5 }),
    )
    const random = randomFrom(1)
    for (let round = 0; round < 60; round++) {
      const keys = BigUint64Array.from({ length: round * 97 }, () =>
        BigInt(Math.floor(random() * 2 ** 15)),
      )
      expect(wasm.addMany(keys)).toBe(ts.addMany(keys))
      expect(wasm.add(round)).toBe(ts.add(round))
    }
    expect(wasm.size).toBeGreaterThan(10_000)
    expect(
      Buffer.compare(
        Buffer.from(wasm.bigints.slice().buffer),
        Buffer.from(ts.bigints.slice().buffer),
      ),
    ).toBe(0)
    expect([wasm.has(0), wasm.has(59), wasm.has(2 ** 40)]).toEqual([true, true, false])
    wasm.clear()
    expect([wasm.size, wasm.has(59), wasm.add(59)]).toEqual([0, false, true])
  })
})

describe('The WebAssembly kernel at the end of its table', () => {
  /** The home cell that mix.ts describes. */
  function homeOf(
    { seedLo, mulLo, seedHi, mulHi, mulMix, shift }: SetState,
    lo: number,
    hi: number,
  ): number {
    const rotl = (x: number, bits: number): number => (x << bits) | (x >>> (32 - bits))
    const x = Math.imul(lo ^ seedLo, mulLo) ^ rotl(Math.imul(hi ^ seedHi, mulHi), 16)
    return Math.imul(rotl(x, 11) ^ (x >>> 3), mulMix) >>> shift
  }

  /** So many keys whose home is a cell, among the numbers in a row from 1. */
  function keysAt(set: SetState, home: number, count: number): bigint[] {
    const keys: bigint[] = []
    for (let lo = 1; keys.length < count; lo++)
      if (homeOf(set, lo, 5) === home) keys.push((5n << 32n) | BigInt(lo))
    return keys
  }

  // Beyond 2^17 cells the kernel fetches the home cells ahead of their use, in a loop of its own.
  describe.each([16, 64, 2 ** 18])('of %d cells', (cells) => {
    const seed = 7
    const [probe] = twins(4, seed)
    const { crowd, absent } = (() => {
      const set = { ...probe, shift: shiftFor(cells) }
      const last = keysAt(set, cells - 1, 7)
      const beforeLast = keysAt(set, cells - 2, 3)
      const first = keysAt(set, 0, 3)
      // As many as 16 cells take is 4. Their places: the last cell but one, the last, and on from
      // the first.
      const all = [
        last[0],
        beforeLast[0],
        last[1],
        last[2],
        first[0],
        beforeLast[1],
        last[3],
        first[1],
      ]
      return { crowd: all.slice(0, keysFor(cells)), absent: [last[6], beforeLast[2], first[2]] }
    })()

    /**
     * Both have these keys, in the cells that a model of linear probing says, and nothing beside
     * them.
     */
    function expectCrowd(sets: SetState[], keys: bigint[]): void {
      const model = new Int32Array(cells * 2)
      for (const each of keys) {
        const [lo, hi] = lanesOf([each])
        let cell = homeOf(sets[0], lo, hi)
        while (model[cell * 2] !== 0) cell = (cell + 1) % cells
        model.set([lo, hi], cell * 2)
      }
      for (const { words, table } of sets) {
        expect(
          Buffer.compare(bytesOf(words.subarray(table, table + cells * 2)), bytesOf(model)),
        ).toBe(0)
      }
      expectSame(sets)
    }

    it('inserts a key behind the last cell in the first one, and finds it there', () => {
      const sets = twins(cells, seed)
      const lanes = lanesOf(crowd)
      for (const set of sets) {
        set.words.set(lanes)
        for (let at = 0; at < lanes.length; at += 2)
          expect(insertRun(set, set.words, at, at + 2)).toBe(at + 2)
        expect(set.count).toBe(crowd.length)
        // All of them again, in one run: none is new.
        expect(insertRun(set, set.words, 0, lanes.length)).toBe(lanes.length)
        expect(set.count).toBe(crowd.length)
      }
      expectCrowd(sets, crowd)
      const [, { native, table, shift }] = sets
      const has = (each: bigint): number =>
        native!.contains(Number(each & 0xffffffffn), 5, table << 2, shift)
      expect(crowd.map(has)).toEqual(crowd.map(() => 1))
      expect(absent.map(has)).toEqual([0, 0, 0])
    })

    it('inserts them in one run as one by one', () => {
      const sets = twins(cells, seed)
      const lanes = lanesOf(crowd)
      for (const set of sets) {
        set.words.set(lanes)
        expect(insertRun(set, set.words, 0, lanes.length)).toBe(lanes.length)
      }
      expectCrowd(sets, crowd)
    })

    it('enters the log into a table that was cleared in the same cells', () => {
      const sets = twins(cells, seed)
      const lanes = lanesOf(crowd)
      for (const set of sets) {
        set.words.set(lanes)
        insertRun(set, set.words, 0, lanes.length)
        set.words.fill(0, set.table, set.table + cells * 2)
        indexLog(set, 0, set.count)
      }
      expectCrowd(sets, crowd)
    })
  })
})
