import type { SlotContent } from '../aggregator/load.js'
import { epochAt, FORM_EXACT, FORM_FILTER } from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { NAMESPACE_MAX, type SlotHeader } from '../memory/slot.js'
import { BLOCK_WORDS } from '../set/filter.js'
import { HEAD_AT, recordWords } from '../set/text-set.js'
import { digest, hashWords } from '../text/murmur.js'

/**
 * The bytes of tracker.save(): what the consumers have not dealt with, for create({ resume }).
 *
 * ```
 *  "DRST"  version  hash (2 words) of all that follows
 *  words of the list   the list, JSON in UTF-8, padded with spaces
 *  of each content, in the list's order: pairs, records, filter
 * ```
 *
 * All words are little-endian, as all that the library keeps.
 */
const STATE_MAGIC = 0x54535244
const STATE_VERSION = 1
const HEADER_WORDS = 5

/** A tracker that has stopped, and the number of its last epoch: clocks up to there can be served. */
export interface Lineage {
  /** What its clocks begin with. */
  readonly instance: string
  readonly upTo: number
}

export interface SavedConsumer {
  readonly name: string
  /** Where it stood: a clock; undefined: it is fresh. */
  readonly since: string | undefined
  /** The namespaces that it wants; undefined: all. */
  readonly namespaces: readonly number[] | undefined
  readonly contents: readonly SlotContent[]
}

export interface SavedState {
  /** The newest first. */
  readonly lineage: readonly Lineage[]
  readonly consumers: readonly SavedConsumer[]
}

/** A copy of what a sealed slot holds. */
export function contentOf(memory: Memory, slot: number, header: SlotHeader): SlotContent {
  const { words, layout } = memory
  const at = epochAt(layout, slot)
  const { count, textEnd, flags, namespaces, form } = header
  const filterWords = form === FORM_FILTER ? layout.filterCells * 2 : 0
  return {
    flags,
    namespaces,
    form,
    pairs: Int32Array.from(words.subarray(at + layout.log, at + layout.log + count * 2)),
    records: Int32Array.from(words.subarray(at + layout.arena, at + layout.arena + textEnd)),
    filter: Int32Array.from(words.subarray(at + layout.table, at + layout.table + filterWords)),
  }
}

/** What the list says of a content: all but its words. */
interface Listed {
  readonly flags: number
  readonly namespaces: readonly number[]
  readonly form: number
  readonly words: readonly [pairs: number, records: number, filter: number]
}

export function encodeState({ lineage, consumers }: SavedState): Uint8Array {
  const parts: Int32Array[] = []
  const listed = consumers.map(({ name, since, namespaces, contents }) => ({
    name,
    since,
    namespaces,
    contents: contents.map(({ flags, namespaces, form, pairs, records, filter }): Listed => {
      parts.push(pairs, records, filter)
      return { flags, namespaces, form, words: [pairs.length, records.length, filter.length] }
    }),
  }))
  const list = new TextEncoder().encode(JSON.stringify({ lineage, consumers: listed }))
  const listWords = Math.ceil(list.length / 4)
  const size = parts.reduce((sum, { length }) => sum + length, HEADER_WORDS + listWords)
  const words = new Int32Array(size)
  const bytes = new Uint8Array(words.buffer)
  words[0] = STATE_MAGIC
  words[1] = STATE_VERSION
  words[4] = listWords
  bytes.fill(0x20, HEADER_WORDS * 4, (HEADER_WORDS + listWords) * 4)
  bytes.set(list, HEADER_WORDS * 4)
  let at = HEADER_WORDS + listWords
  for (const part of parts) {
    words.set(part, at)
    at += part.length
  }
  hashRest(words)
  words[2] = digest[0]
  words[3] = digest[1]
  return bytes
}

function hashRest(words: Int32Array): void {
  const rest = words.subarray(4)
  hashWords(rest, rest.length * 4, STATE_VERSION)
}

/** The state in these bytes, or what is wrong with them. */
export function decodeState(bytes: Uint8Array): SavedState | string {
  if (bytes.length < HEADER_WORDS * 4 || bytes.length % 4 !== 0)
    return `have a length of ${bytes.length}`
  const words = new Int32Array(bytes.slice().buffer)
  if (words[0] !== STATE_MAGIC) return 'were not made by tracker.save()'
  if (words[1] !== STATE_VERSION)
    return `are of version ${words[1]}, and this is version ${STATE_VERSION}`
  hashRest(words)
  if (words[2] !== digest[0] || words[3] !== digest[1]) return 'are damaged'
  // From here on nothing is wrong that a caller did not make so on purpose.
  const listEnd = HEADER_WORDS + words[4]
  if (words[4] < 0 || listEnd > words.length) return 'are damaged'
  try {
    const text = new TextDecoder().decode(
      new Uint8Array(words.buffer).subarray(HEADER_WORDS * 4, listEnd * 4),
    )
    return readList(JSON.parse(text) as ListedState, words, listEnd)
  } catch {
    return 'are damaged'
  }
}

interface ListedState {
  readonly lineage: readonly Lineage[]
  readonly consumers: readonly (Omit<SavedConsumer, 'contents'> & {
    readonly contents: readonly Listed[]
  })[]
}

function readList(list: ListedState, words: Int32Array, from: number): SavedState | string {
  let at = from
  const take = (length: number): Int32Array => {
    if (!Number.isSafeInteger(length) || length < 0 || at + length > words.length)
      throw new RangeError('a length')
    at += length
    return words.subarray(at - length, at)
  }
  const consumers = list.consumers.map(({ name, since, namespaces, contents }) => ({
    name: checkText(name),
    since: since === undefined ? undefined : checkText(since),
    namespaces: namespaces === undefined ? undefined : namespaces.map(checkNamespace),
    contents: contents.map((each) => readContent(each, take)),
  }))
  const lineage = list.lineage.map(({ instance, upTo }) => ({
    instance: checkText(instance),
    upTo: checkEpoch(upTo),
  }))
  return at === words.length ? { lineage, consumers } : 'are damaged'
}

function readContent(listed: Listed, take: (length: number) => Int32Array): SlotContent {
  const { flags, namespaces, form } = listed
  const [pairs, records, filter] = listed.words.map(take)
  const blocks = filter.length / BLOCK_WORDS
  const isFilter = form === FORM_FILTER && blocks >= 1 && Number.isInteger(Math.log2(blocks))
  if (!isFilter && (form !== FORM_EXACT || filter.length > 0)) throw new RangeError('a form')
  if (pairs.length % 2 !== 0 || !Number.isInteger(flags)) throw new RangeError('pairs or flags')
  let at = 0
  while (at < records.length) {
    if (records[at + HEAD_AT] < 0) throw new RangeError('a record')
    at += recordWords(records[at + HEAD_AT])
  }
  if (at !== records.length) throw new RangeError('records')
  return { flags, namespaces: namespaces.map(checkNamespace), form, pairs, records, filter }
}

function checkNamespace(namespace: number): number {
  if (Number.isInteger(namespace) && namespace >= 0 && namespace <= NAMESPACE_MAX) return namespace
  throw new RangeError('a namespace')
}

function checkText(value: unknown): string {
  if (typeof value === 'string') return value
  throw new TypeError('no text')
}

function checkEpoch(value: unknown): number {
  if (Number.isSafeInteger(value)) return value as number
  throw new TypeError('no number')
}
