/**
 * Both kernels of the text set on one thread, in ns a text: `known` texts, in random order, which
 * are all in, and `fresh` ones, each of them new, in a table that grows from its smallest.
 * Arguments: the rows to measure, as [distinct, bytes]. Prints one JSON line.
 */
import { randomFrom } from '../../dist/demo/random.js'
import { GATHERED_MAX } from '../../dist/memory/map.js'
import {
  arenaFor,
  SMALLEST_TABLE,
  textCellsFor,
  textsFor,
  wordsFor,
} from '../../dist/memory/table-size.js'
import { shiftFor } from '../../dist/set/kernel.js'
import { secretsAt, secretsOf, textSecretsAt } from '../../dist/set/mix.js'
import { nativeKernel, reserveNative, SCRATCH_WORDS } from '../../dist/set/native/native.js'
import { indexTexts, insertTexts, recordWords } from '../../dist/set/text-set.js'
import { args, report, unlessQuick } from '../harness/args.js'

const COUNT = unlessQuick(1_000_000, 5_000)
const ROUNDS = unlessQuick(args.rounds ?? 5, 1)
/** Texts of a batch. */
const BATCH = args.batch ?? GATHERED_MAX
/** Doublings at once. */
const GROWTH = args.growth ?? 2
const secrets = secretsOf(5)
const {
  rows = [
    [20_000, 16],
    [100_000, 16],
    [1_000_000, 16],
    [100_000, 8],
    [100_000, 32],
    [100_000, 128],
  ],
} = args

report({ rows: rows.map(([distinct, bytes]) => measure(distinct, bytes)) })

/** The kernels take turns, and the best round of each counts. */
function measure(distinct, bytes) {
  const kinds = { js: prepare(distinct, bytes, false), wasm: prepare(distinct, bytes, true) }
  const row = { distinct, bytes }
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, { fresh, known }] of Object.entries(kinds)) {
      for (const [what, ns] of Object.entries({ fresh: fresh(), known: known() })) {
        const key = `${name} ${what}`
        row[key] = Math.min(row[key] ?? Infinity, Math.round(ns * 10) / 10)
      }
    }
  }
  return row
}

/**
 * A lane's ring of entries with all texts, as often as it takes to COUNT of them, and a set for
 * them.
 */
function prepare(distinct, bytes, isNative) {
  const entry = 2 + wordsFor(bytes)
  const entries = Math.max(COUNT, distinct)
  const cells = textCellsFor(distinct)
  const list = entries * entry
  const arena = list + GATHERED_MAX
  const table = arena + arenaFor(distinct, bytes * distinct)
  const scratch = table + 2 * cells
  const memory = reserveNative((scratch + SCRATCH_WORDS) * 4)
  const words = new Int32Array(memory.buffer)
  const native = isNative ? nativeKernel(memory, secretsAt(secrets, 0), scratch) : undefined
  const random = randomFrom(1)
  const fill = (at, id) => {
    words[at] = id + 1
    words[at + 1] = bytes << 1
    for (let k = 2; k < entry; k++) words[at + k] = 0x30303030
    for (let k = 0; k < Math.min(8, bytes); k++)
      words[at + 2 + (k >>> 2)] += ((id >>> (4 * k)) & 15) << (8 * (k & 3))
  }
  const set = {
    words,
    arena,
    table,
    shift: 0,
    limit: 0,
    maxBytes: bytes * distinct,
    count: 0,
    bytes: 0,
    end: 0,
    native,
    ...textSecretsAt(secrets, 5),
  }
  const resize = (to) => {
    words.fill(0, table, table + 2 * to)
    set.shift = shiftFor(to)
    set.limit = Math.min(textsFor(to), distinct)
    for (let from = 0; from < set.end;) {
      let place = from
      for (let i = 0; i < GATHERED_MAX && place < set.end; i++)
        place += recordWords(words[arena + place + 1])
      indexTexts(set, from, place)
      from = place
    }
  }
  const insert = (count) => {
    const began = performance.now()
    for (let first = 0; first < count; first += BATCH) {
      const n = Math.min(BATCH, count - first)
      for (let i = 0; i < n; i++) words[list + i] = (first + i) * entry
      for (let i = 0; i < n;) {
        i = insertTexts(set, list, i, n)
        if (i < n) resize(Math.min(cells, 2 ** (32 - set.shift + GROWTH)))
      }
    }
    return ((performance.now() - began) / count) * 1e6
  }
  return {
    fresh() {
      for (let i = 0; i < distinct; i++) fill(i * entry, i)
      Object.assign(set, { count: 0, bytes: 0, end: 0 })
      resize(Math.min(SMALLEST_TABLE, cells))
      const ns = insert(distinct)
      if (set.count !== distinct) throw new Error(`${set.count} texts of ${distinct}`)
      return ns
    },
    known() {
      for (let i = 0; i < entries; i++) fill(i * entry, Math.floor(random() * distinct))
      const ns = insert(COUNT)
      if (set.count !== distinct) throw new Error(`${set.count} texts of ${distinct}`)
      return ns
    },
  }
}
