import {
  BATCHES,
  CUR,
  epochAt,
  EVENTS,
  FAILED,
  FINISHED,
  FORM_EXACT,
  HARVESTED,
  HEAD,
  KEYS,
  LANE_DELIVERED,
  LANE_KEYS,
  LANE_OWNER,
  LANE_PUBLISHED,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_TEXT_READ,
  LANE_THREAD,
  laneAt,
  type Layout,
  type SharedWords,
  SLOT_COUNT,
  SLOT_FILL,
  SLOT_FLAGS,
  SLOT_FORM,
  SLOT_GROWTH,
  SLOT_RESTORED,
  SLOT_TEXT_BYTES,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_END,
  SLOT_TEXT_GROWTH,
  SLOT_ZERO,
  STOP_POSITION,
  STOPPED,
  TAIL,
} from '../../lib/memory/map.js'
import { createMemory, type Memory } from '../../lib/memory/memory.js'
import type { Settings } from '../../lib/memory/settings.js'
import { readTotal } from '../../lib/memory/total.js'
import { type Start, startAt } from '../../lib/ring/start.js'
import { secretsOf } from '../../lib/set/mix.js'

/** What an access to shared words is told to a spec as. `index` is -1 where it is not known. */
export type OnAccess = (kind: 'load' | 'store', index: number) => void

let onAccess: OnAccess | undefined
const originals = new WeakMap<object, SharedWords>()
let installed = false

const LOADS = ['load'] as const
const STORES = [
  'store',
  'compareExchange',
  'exchange',
  'or',
  'add',
  'sub',
  'and',
  'notify',
  'wait',
] as const

/**
 * From here on every call of Atomics in this realm goes by `watchAccesses()`, and takes what
 * `watched()` made.
 */
function install(): void {
  if (installed) return
  installed = true
  const functions = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>
  for (const name of [...LOADS, ...STORES]) {
    const original = functions[name]
    const kind = name === 'load' ? 'load' : 'store'
    functions[name] = (words, index, ...more) => {
      onAccess?.(kind, index as number)
      return original(originals.get(words as object) ?? words, index, ...more)
    }
  }
}

/**
 * Run `body` with every Atomics call, and every plain store into watched() words, told to `watch`
 * before it happens.
 */
export function watchAccesses<T>(watch: OnAccess, body: () => T): T {
  install()
  const before = onAccess
  onAccess = (kind, index) => {
    // What the watcher does is its own.
    onAccess = undefined
    try {
      watch(kind, index)
    } finally {
      onAccess = guarded
    }
  }
  const guarded = onAccess
  try {
    return body()
  } finally {
    onAccess = before
  }
}

/** The same memory, with its plain stores seen, too. */
export function watched(memory: Memory): Memory {
  install()
  const raw = memory.words
  const words = new Proxy(raw, {
    get(target, name) {
      if (typeof name === 'string' && name.charCodeAt(0) <= 57)
        return target[name as unknown as number]
      return Reflect.get(target, name, target) as unknown
    },
    set(target, name, value: number) {
      onAccess?.('store', Number(name))
      target[Number(name)] = value
      return true
    },
  })
  originals.set(words, raw)
  return { words, layout: memory.layout, native: undefined }
}

/** What a planted death, or a planted exception, throws. */
export class Interrupted extends Error {}

/**
 * Throws Interrupted instead of the `deaths[0]`-th store, then instead of the `deaths[1]`-th after
 * that, and so on.
 */
export function interruptions(deaths: readonly number[]): {
  watch: OnAccess
  readonly left: number
} {
  let next = 0
  let stores = 0
  return {
    watch(kind) {
      if (kind !== 'store' || next === deaths.length || stores++ !== deaths[next]) return
      next++
      stores = 0
      throw new Interrupted()
    },
    get left() {
      return deaths.length - next
    },
  }
}

/**
 * Runs `drive` from the memory's state, then from every state that it was in just before a store,
 * then from every state that those runs were in, until there is no new one: deaths at every store,
 * any number of them in a row. `check` follows each run. Returns how many states there were.
 */
export function fromEveryDeath(
  memory: Memory,
  unimportant: ReadonlySet<number>,
  drive: () => void,
  check: () => void,
): number {
  const { words } = memory
  const before = words.slice()
  const touched = new Set<number>()
  const known = new Set<number>([0])
  const queue: Int32Array[] = [new Int32Array(0)]
  for (let state = queue.pop(); state !== undefined; state = queue.pop()) {
    words.set(before)
    let a = 0
    let b = 0
    const toggle = (index: number, value: number): void => {
      // A state's name: the exclusive or of its words' names, but for those that are as they were.
      if (value === before[index] || unimportant.has(index)) return
      const x = Math.imul(index ^ 0x2545f491, 0x9e3779b1) ^ value
      const y = Math.imul(x ^ (x >>> 15), 0x85ebca6b)
      a ^= Math.imul(y ^ (y >>> 13), 0xc2b2ae35)
      b ^= Math.imul(y ^ (y >>> 16) ^ index, 0x27d4eb2f)
    }
    for (let i = 0; i < state.length; i += 2) {
      words[state[i]] = state[i + 1]
      toggle(state[i], state[i + 1])
    }
    let pending = -1
    let old = 0
    const watch: OnAccess = (kind, index) => {
      if (kind !== 'store') return
      if (pending >= 0 && words[pending] !== old) {
        toggle(pending, old)
        toggle(pending, words[pending])
      }
      pending = index
      old = words[index]
      touched.add(index)
      const name = (a >>> 11) * 2 ** 32 + (b >>> 0)
      if (known.has(name)) return
      known.add(name)
      const changed: number[] = []
      for (const at of touched)
        if (words[at] !== before[at] && !unimportant.has(at)) changed.push(at, words[at])
      queue.push(Int32Array.from(changed))
    }
    watchAccesses(watch, drive)
    check()
  }
  return known.size
}

export interface MemoryOptions extends Partial<Settings> {
  start?: Start
  /** Cells of an epoch's table when it begins. */
  smallestTable?: number
}

/** A small memory, for specs that drive the core by hand. */
export function smallMemory({
  start = {},
  smallestTable = 4,
  ...settings
}: MemoryOptions = {}): Memory {
  const memory = createMemory(
    {
      capacity: 8,
      laneCapacity: 8,
      maxWriters: 2,
      epochSlots: 3,
      maxKeysPerEpoch: 16,
      laneTextBytes: 64,
      maxStringsPerEpoch: 0,
      maxStringBytesPerEpoch: 64,
      maxConsumers: 0,
      batchSize: 8,
      flushIntervalMs: 0,
      onFull: 'reject',
      maxWaitMs: 0,
      ...settings,
    },
    secretsOf(7),
  )
  startAt(memory, start)
  const layout: Layout = {
    ...memory.layout,
    smallestTable: Math.min(smallestTable, memory.layout.largestTable),
    smallestTextTable: Math.min(smallestTable, memory.layout.largestTextTable),
  }
  return { words: memory.words, layout, native: undefined }
}

/** Looks after no lane. */
export const noClock = { armed: true, arm: (): void => undefined }

/** An epoch slot's texts in order, and their table; undefined without texts. */
function textsIn({ words, layout }: Memory, slot: number) {
  const at = epochAt(layout, slot)
  const end = words[at + SLOT_TEXT_END]
  if (end === 0) return undefined
  const cells = layout.smallestTextTable * 2 ** words[at + SLOT_TEXT_GROWTH]
  return {
    count: words[at + SLOT_TEXT_COUNT],
    bytes: words[at + SLOT_TEXT_BYTES],
    arena: [...words.subarray(at + layout.arena, at + layout.arena + end)].join(),
    cells: [...words.subarray(at + layout.textTable, at + layout.textTable + cells * 2)].join(),
  }
}

/** The keys of an epoch slot's log, in order. */
export function logOf({ words, layout }: Memory, slot: number): bigint[] {
  const at = epochAt(layout, slot)
  return keysIn(words, at + layout.log, words[at + SLOT_COUNT])
}

export function keysIn(words: SharedWords, at: number, count: number): bigint[] {
  return Array.from({ length: count }, (_, i) => keyOf(words[at + 2 * i], words[at + 2 * i + 1]))
}

export function keyOf(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)
}

/** Lanes lo, hi, lo, hi … of keys. */
export function lanesOf(keys: readonly bigint[]): Int32Array {
  return new Int32Array(new BigUint64Array(keys).buffer)
}

/**
 * All of the shared state that has a meaning, and nothing that counts how often a thread looked.
 */
export function picture(memory: Memory) {
  const { words, layout } = memory
  const epochs = Array.from({ length: layout.epochSlots }, (_, slot) => {
    const at = epochAt(layout, slot)
    const form = words[at + SLOT_FORM]
    const cells =
      form === FORM_EXACT ? layout.smallestTable * 2 ** words[at + SLOT_GROWTH] : layout.filterCells
    return {
      form,
      fill: words[at + SLOT_FILL],
      keys: logOf(memory, slot).map(String),
      texts: form === FORM_EXACT ? textsIn(memory, slot) : textsIn(memory, slot)?.arena,
      cells: [...words.subarray(at + layout.table, at + layout.table + cells * 2)].join(),
      zero: words[at + SLOT_ZERO],
      flags: words[at + SLOT_FLAGS],
      restored: words[at + SLOT_RESTORED],
    }
  })
  const lanes = Array.from({ length: layout.maxWriters }, (_, writer) => {
    const at = laneAt(layout, writer)
    return {
      owner: words[at + LANE_OWNER],
      thread: words[at + LANE_THREAD],
      stagedEnd: words[at + LANE_STAGED_END],
      published: words[at + LANE_PUBLISHED],
      readEnd: words[at + LANE_READ_END],
      delivered: readTotal(words, at + LANE_DELIVERED),
      textRead: words[at + LANE_TEXT_READ],
      keys: keysIn(words, at + LANE_KEYS, layout.laneCapacity).map(String),
    }
  })
  return {
    epochs,
    lanes,
    totals: [EVENTS, BATCHES, KEYS, HARVESTED].map((at) => readTotal(words, at)),
    ring: [...words.subarray(layout.ring, layout.ring + layout.capacity)],
    control: [TAIL, HEAD, CUR, STOPPED, STOP_POSITION, FINISHED, FAILED].map((at) => words[at]),
  }
}
