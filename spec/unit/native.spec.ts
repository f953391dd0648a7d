import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { type Aggregator, recover, takeRole } from '../../lib/aggregator/state.js'
import { IDLE, step } from '../../lib/aggregator/step.js'
import { randomFrom } from '../../lib/demo/random.js'
import { DirtyTracker, FingerprintSet } from '../../lib/index.js'
import {
  FLAG_OVERFLOW,
  IDENTITY_CHECK,
  KERNEL_SCRATCH,
  SECRETS,
  type SharedWords,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_GROWTH,
  TRACKER_ID,
} from '../../lib/memory/map.js'
import { createMemory, type Memory } from '../../lib/memory/memory.js'
import { cellsFor, keysFor } from '../../lib/memory/table-size.js'
import { memoryFootprint, resolveOptions } from '../../lib/options.js'
import { type Lane, openLane, publish, stage, stageText } from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import { controlToken, epochPayload, RESTORE, SEAL } from '../../lib/ring/token.js'
import { contains, indexLog, insertRun, type SetState, shiftFor } from '../../lib/set/kernel.js'
import { secretsAt, secretsOf, textSecretsAt } from '../../lib/set/mix.js'
import { nativeKernel, reserveNative, SCRATCH_WORDS } from '../../lib/set/native/native.js'
import { keyedHash } from '../../lib/set/sip.js'
import { indexTexts, insertTexts, recordWords, type TextSet } from '../../lib/set/text-set.js'
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
      aggregator.filter.native = aggregator.set.native
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
      await expect(DirtyTracker.create({ ...small, kernel: 'wasm' })).rejects.toMatchObject({
        message:
          `"options.kernel" must be 'auto' or 'js', got "wasm". WebAssembly, or ` +
          `${memoryFootprint(small).total} bytes of memory for it, is not available here. ` +
          'If the address space is limited (ulimit -v), raise the limit, ' +
          'or start Node with --disable-wasm-trap-handler.',
      })
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
    // Each is still of its kind, though it has grown, and has grown no more than the other.
    const kinds = [ts, wasm].map(({ bigints }) => Object.prototype.toString.call(bigints.buffer))
    expect(kinds).toEqual(['[object ArrayBuffer]', '[object SharedArrayBuffer]'])
    const more = wasm.bigints.buffer.byteLength - ts.bigints.buffer.byteLength
    expect(more).toBeLessThan(2 ** 17)
    expect(Buffer.compare(Buffer.from(wasm.pairs), Buffer.from(ts.pairs))).toBe(0)
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

/** A text or bytes, as a lane's ring has it: the head, and the words padded with zeros. */
interface Text {
  readonly head: number
  readonly words: Int32Array
}

function textOf(bytes: Uint8Array, isBytes = false): Text {
  const words = new Int32Array((bytes.length + 3) >>> 2)
  new Uint8Array(words.buffer).set(bytes)
  return { head: (bytes.length << 1) | (isBytes ? 1 : 0), words }
}

/** Two texts of eight bytes with one keyed hash. Among 2^17 texts there are two, as good as surely. */
function collidingTexts(key0: number, key1: number): Text[] {
  const seen = new Map<number, number>()
  const words = new Int32Array(2) as unknown as SharedWords
  for (let n = 0; ; n++) {
    words.set([n, 0x2e2e2e2e])
    const hash = keyedHash(words, 0, 16, key0, key1)
    const other = seen.get(hash)
    if (other !== undefined)
      return [other, n].map((first) => ({ head: 16, words: Int32Array.of(first, 0x2e2e2e2e) }))
    seen.set(hash, n)
  }
}

describe('The WebAssembly kernel of texts', () => {
  const SEED = 5
  const keys = textSecretsAt(secretsOf(SEED), 5)
  const colliding = collidingTexts(keys.key0, keys.key1)
  const LIST = 1024
  const ENTRIES = 65536

  /** The same empty set twice, what is inserted before it: in TypeScript, and in WebAssembly. */
  function textTwins(cells: number, texts: number, maxBytes: number): TextSet[] {
    const arena = LIST + ENTRIES
    const table = arena + Math.ceil((maxBytes + 3 * texts) / 4) + 2 * texts
    const size = table + cells * 2 + BEHIND
    const memory = reserveNative((size + SCRATCH_WORDS) * 4)
    const native = nativeKernel(memory, secretsAt(secretsOf(SEED), 0), size)
    if (memory === undefined || native === undefined)
      throw new Error('WebAssembly is not available')
    const words = new Int32Array(memory.buffer, 0, size) as SharedWords
    return [
      { words: new Int32Array(size) as unknown as SharedWords, native: undefined },
      { words, native },
    ].map((kernel) => ({
      arena,
      table,
      shift: 0,
      limit: 0,
      maxBytes,
      count: 0,
      bytes: 0,
      end: 0,
      ...keys,
      ...kernel,
    }))
  }

  function expectSameTexts([ts, wasm]: TextSet[]): void {
    expect([wasm.count, wasm.bytes, wasm.end]).toEqual([ts.count, ts.bytes, ts.end])
    expect(Buffer.compare(bytesOf(ts.words), bytesOf(wasm.words))).toBe(0)
  }

  /** Gives them a clear table of so many cells, full but for `free` of them, and fills it anew. */
  function resize(sets: TextSet[], cells: number, free: number): void {
    for (const set of sets) {
      set.words.fill(0, set.table, set.table + cells * 2)
      set.shift = shiftFor(cells)
      set.limit = cells - free
      for (let from = 0; from < set.end;) {
        let to = from
        for (let i = 0; i < 100 && to < set.end; i++)
          to += recordWords(set.words[set.arena + to + 1])
        indexTexts(set, from, to)
        from = to
      }
    }
    expectSameTexts(sets)
  }

  /**
   * Inserts texts into both, which grow at their limit, up to so many cells. Returns how many had no
   * room, and how often the table has grown.
   */
  function insertAll(
    sets: TextSet[],
    texts: readonly Text[],
    largest: number,
    free: number,
  ): { refused: number; grown: number } {
    for (const { words } of sets) {
      let at = LIST
      for (const [i, { head, words: payload }] of texts.entries()) {
        words.set([i + 1, head, ...payload], at)
        words[i] = at
        at += 2 + payload.length
      }
      words[at] = -1
      if (texts.length > LIST || at > LIST + ENTRIES) throw new Error('the texts are too many')
    }
    let refused = 0
    let grown = 0
    for (let i = 0; i < texts.length;) {
      const [ts, wasm] = sets.map((set) => insertTexts(set, 0, i, texts.length))
      expect(wasm).toBe(ts)
      expectSameTexts(sets)
      i = ts
      const cells = cellsOf(sets[0])
      if (i === texts.length) break
      if (sets[0].count === sets[0].limit && cells < largest) {
        resize(sets, cells * 4, free)
        grown++
      } else {
        refused++
        i++
      }
    }
    return { refused, grown }
  }

  function cellsOf(set: TextSet): number {
    return 2 ** (32 - set.shift)
  }

  const prefix = new Uint8Array(150).fill(0x61)
  const oneText = fc.oneof(
    fc.constantFrom(...colliding),
    fc
      .tuple(fc.uint8Array({ maxLength: 200 }), fc.boolean())
      .map(([bytes, isBytes]) => textOf(bytes, isBytes)),
    fc
      .tuple(fc.nat(150), fc.nat(3), fc.nat(6))
      .map(([length, byte, tail]) =>
        textOf(Uint8Array.of(...prefix.subarray(0, length), ...new Uint8Array(tail).fill(byte, 1))),
      ),
    // Lengths at which the 64-bit steps end, and the same bytes with zeros behind them.
    fc
      .tuple(fc.nat(20), fc.constantFrom(0, 0xff), fc.boolean())
      .map(([length, byte, isBytes]) => textOf(new Uint8Array(length).fill(byte), isBytes)),
    fc.integer({ min: 200, max: 3000 }).map((length) => textOf(new Uint8Array(length).fill(7))),
  )

  it('leaves the very bytes that the TypeScript kernel leaves, and says the same', () => {
    let [refused, grown] = [0, 0]
    fc.assert(
      fc.property(
        fc.array(fc.array(oneText, { maxLength: 60 }), { maxLength: 6 }),
        fc.constantFrom(1, 2),
        fc.constantFrom(2, 20_000, 200_000),
        (batches, free, maxBytes) => {
          const sets = textTwins(256, 256, maxBytes)
          resize(sets, 4, free)
          const distinct = new Set<string>()
          let none = 0
          for (const batch of batches) {
            const done = insertAll(sets, batch, 256, free)
            none += done.refused
            grown += done.grown
            for (const { head, words } of batch) distinct.add(`${head} ${words.join()}`)
          }
          refused += none
          if (none === 0) expect(sets[1].count).toBe(distinct.size)
          else expect(sets[1].count).toBeLessThan(distinct.size)
          resize(sets, cellsOf(sets[0]), free)
        },
      ),
      { numRuns: 150 },
    )
    expect(refused).toBeGreaterThan(0)
    expect(grown).toBeGreaterThan(0)
  })

  it('tells texts of one hash apart, in the cells next to each other', () => {
    const sets = textTwins(16, 8, 100)
    resize(sets, 16, 8)
    insertAll(sets, [...colliding, ...colliding], 16, 8)
    expect([sets[1].count, sets[1].end]).toEqual([2, 8])
    const [first, second] = [0, 4].map((record) => sets[1].words[sets[1].arena + record])
    expect(second).toBe(first)
  })

  it.each([
    ['their kind', [1, 2, 3], [1, 2, 3], true],
    ['a zero at the end', [1, 2, 3, 0], [1, 2, 3], false],
    ['all bytes', [1, 2], [], false],
    ['the only word', [1, 2, 3, 4], [1, 2, 3, 5], false],
    ['the first words', [1, 2, 3, 4, 5, 6, 7, 8], [9, 2, 3, 4, 5, 6, 7, 8], false],
    ['the word behind the first two', [1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 5, 6, 7, 8], false],
    ['the last word of three', [1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 5, 6, 7, 8, 10], false],
  ])('compares texts of one hash: %s', (_, one, other, isBytes) => {
    const sets = textTwins(16, 8, 100)
    const [first, second] = [textOf(Uint8Array.from(one)), textOf(Uint8Array.from(other), isBytes)]
    const words = second.words as unknown as SharedWords
    for (const set of sets) {
      // The first one lies there under the hash of the second.
      const hash = keyedHash(words, 0, second.head, keys.key0, keys.key1)
      set.words.set([hash, first.head, ...first.words], set.arena)
      set.end = 2 + first.words.length
      set.count = 1
    }
    resize(sets, 16, 8)
    insertAll(sets, [second, second], 16, 8)
    expect(sets[1].count).toBe(2)
  })

  // Beyond 2^17 cells the kernel fetches the cells and the records ahead of their use.
  it.each([1024, 2 ** 18])('takes more than 256 texts in one call, in %d cells', (cells) => {
    const sets = textTwins(cells, 1000, 32_000)
    resize(sets, cells, 1)
    const many = Array.from({ length: 700 }, (_, i) =>
      textOf(Buffer.from(`user:${Math.imul(i % 611, 0x9e3779b1)}`.slice(0, 5 + (i % 13)))),
    )
    expect(insertAll(sets, [...colliding, ...many, ...colliding], cells, 1).refused).toBe(0)
    expect(sets[1].count).toBeGreaterThan(450)
    const before = sets[1].words.slice()
    expect(insertAll(sets, [...colliding, ...many, ...colliding], cells, 1).refused).toBe(0)
    expect(Buffer.compare(bytesOf(before), bytesOf(sets[1].words))).toBe(0)
    resize(sets, cells, 1)
    expect(Buffer.compare(bytesOf(before), bytesOf(sets[1].words))).toBe(0)
  })

  it('drives an aggregator through growth, overflow, seals, restores and recovery to the very memory that the TypeScript one leaves', () => {
    const options = resolveOptions({
      capacity: 8,
      laneCapacity: 64,
      laneTextBytes: 16384,
      maxWriters: 1,
      maxKeysPerEpoch: 3000,
      maxStringsPerEpoch: 5000,
      maxStringBytesPerEpoch: 120_000,
      epochSlots: 3,
    })
    const memories: Memory[] = [createMemory(options, secretsOf(11))]
    const reserved = reserveNative(memories[0].words.byteLength)
    memories.push(createMemory(options, secretsOf(11), reserved))
    const runs = memories.map((memory) => {
      memory.words.fill(0, TRACKER_ID, TRACKER_ID + 2)
      memory.words.fill(0, IDENTITY_CHECK, IDENTITY_CHECK + 1)
      const aggregator = takeRole(memory, 1)
      const secrets = secretsAt(memory.words, SECRETS)
      const native = nativeKernel(memory.native, secrets, KERNEL_SCRATCH)
      aggregator.set.native = native
      aggregator.texts.native = native
      aggregator.filter.native = native
      recover(aggregator)
      return { memory, aggregator, lane: openLane(memory, 2, 64, noClock) as Lane }
    })
    expect(runs.map(({ aggregator }) => aggregator.texts.native === undefined)).toEqual([
      true,
      false,
    ])
    const random = randomFrom(3)
    const seen = { count: 0, growth: 0, flags: 0 }
    for (let round = 0; round < 600; round++) {
      const batch = Array.from({ length: 40 }, () => {
        const id = Math.floor(random() * 2 ** (round < 400 ? 14 : 9))
        return { id, text: textOf(Buffer.from(`${id}`.padEnd(id % 40, '.')), id % 3 === 0) }
      })
      const number = (round + 1) / 200
      for (const { aggregator, lane, memory } of runs) {
        for (const { id, text } of batch) {
          if (id % 5 === 0) stage(lane, id, 0)
          else stageText(lane, id, id, text.words, text.head)
        }
        publish(lane)
        if (Number.isInteger(number)) {
          push(memory, controlToken(SEAL, epochPayload(number % 3, number)))
          push(memory, controlToken(RESTORE, epochPayload(number - 1, number - 1)))
        }
        while (step(aggregator) !== IDLE);
        if (round % 97 === 0) recover(aggregator)
        const { words } = memory
        seen.count = Math.max(seen.count, words[aggregator.openAt + SLOT_TEXT_COUNT])
        seen.growth = Math.max(seen.growth, words[aggregator.openAt + SLOT_TEXT_GROWTH])
        seen.flags |= aggregator.flags
      }
      const [ts, wasm] = runs.map(({ aggregator }) => aggregator)
      expect([wasm.texts.count, wasm.texts.end]).toEqual([ts.texts.count, ts.texts.end])
    }
    memories[1].words.fill(0, KERNEL_SCRATCH, KERNEL_SCRATCH + SCRATCH_WORDS)
    const [ts, wasm] = memories.map(({ words }) => bytesOf(words))
    expect(Buffer.compare(ts, wasm)).toBe(0)
    expect(seen.count).toBeGreaterThan(4000)
    expect(seen).toMatchObject({ growth: 4, flags: FLAG_OVERFLOW })
  })
})
