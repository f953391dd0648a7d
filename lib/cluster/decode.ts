import { inflateRawSync } from 'node:zlib'
import { crc32 } from '../crc32.js'
import {
  MESSAGE_BIGINTS,
  MESSAGE_FILTER,
  MESSAGE_HIDES_TEXTS,
  MESSAGE_NUMBERS_DEFLATED,
  MESSAGE_PRINTS,
  MESSAGE_TEXTS_DEFLATED,
  MESSAGE_VERSION,
  PRECISIONS,
  RAW_MAX,
  REASONS,
  TEXTS_MAX,
} from '../epochs/encode.js'
import type { EpochKeys, InexactReason } from '../epochs/epoch.js'
import { describe, DirtyRingError } from '../errors.js'
import { NAMESPACE_MAX } from '../memory/slot.js'
import { BLOCK_WORDS } from '../set/filter.js'
import { decodeText } from '../text/decode.js'
import { packText, scratch } from '../text/encode.js'

/** The keys of one message, in memory of their own. */
export interface KeyMessage {
  readonly precision: EpochKeys['precision']
  readonly reason: InexactReason | undefined
  readonly everythingIn: readonly number[]
  /** The numeric keys come back as bigints. */
  readonly isBigint: boolean
  /** Some texts are among the numbers, by their fingerprints. */
  readonly hasPrints: boolean
  /** Their process keeps the texts themselves, so that the list is not what was marked. */
  readonly hidesTexts: boolean
  /** Low, high, low, high …; sorted, each key once. */
  readonly pairs: Uint32Array
  readonly strings: readonly string[]
  /** How many bytes each of them has as WTF-8. */
  readonly stringBytes: readonly number[]
  readonly byteKeys: readonly Uint8Array[]
  /** Of a superset: blocks of a filter of so many. The words are the message's own. */
  readonly filter: FilterBlocks | undefined
}

export interface FilterBlocks {
  readonly blocksLog2: number
  /** The first block that is here. */
  readonly from: number
  readonly words: Int32Array
}

const KEYS_HEAD = 5
const CRC = 4
const FLAGS =
  MESSAGE_NUMBERS_DEFLATED |
  MESSAGE_TEXTS_DEFLATED |
  MESSAGE_FILTER |
  MESSAGE_BIGINTS |
  MESSAGE_PRINTS |
  MESSAGE_HIDES_TEXTS
/** 256 MiB of filter, as an epoch of 2^28 keys has. */
const BLOCKS_LOG2_MAX = 23
/** An epoch has 24 at most, and its reader names as many more. */
export const EVERYTHING_IN_MAX = 4096

/**
 * Reads a message that epoch.encode() made. Nothing is believed: counts and lengths are compared
 * with the bytes that are there, and with RAW_MAX and TEXTS_MAX, before memory is taken for them.
 *
 * @throws ERR_DIRTYRING_BAD_MESSAGE
 */
export function decodeKeys(bytes: Uint8Array): KeyMessage {
  const end = bytes.length - CRC
  if (end < KEYS_HEAD || bytes[0] !== 0x44 || bytes[1] !== 0x52)
    throw badMessage('they do not begin as one does')
  if (bytes[2] !== MESSAGE_VERSION)
    throw badMessage(`their format is ${bytes[2]}, and this version reads ${MESSAGE_VERSION}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(end, true) !== crc32(bytes.subarray(0, end)))
    throw badMessage('their checksum is another')
  const flags = bytes[3]
  const precision = PRECISIONS[bytes[4] & 15] as EpochKeys['precision'] | undefined
  const reason = REASONS[bytes[4] >>> 4]
  if ((flags & ~FLAGS) !== 0 || precision === undefined || bytes[4] >>> 4 >= REASONS.length)
    throw badMessage(`their head has flags ${flags} and ${bytes[4]}`)

  const from = new Input(bytes, KEYS_HEAD, end)
  const everythingIn = from.differences(EVERYTHING_IN_MAX, NAMESPACE_MAX)
  if ((precision === 'exact' && everythingIn.length === 0) !== (reason === undefined))
    throw badMessage(`they are '${precision}' with the reason ${describe(reason)}`)
  const count = from.varint()
  const rawNumbers = from.part(count, (flags & MESSAGE_NUMBERS_DEFLATED) !== 0, RAW_MAX)
  const pairs = pairsIn(rawNumbers, count)
  const stringCount = from.varint()
  const byteKeyCount = from.varint()
  const texts = textsIn(
    from.part(
      stringCount + byteKeyCount,
      (flags & MESSAGE_TEXTS_DEFLATED) !== 0,
      RAW_MAX - rawNumbers.length,
    ),
    stringCount,
    byteKeyCount,
  )
  const hasFilter = (flags & MESSAGE_FILTER) !== 0
  if (hasFilter !== (precision === 'superset'))
    throw badMessage(`they are '${precision}' ${hasFilter ? 'with' : 'without'} a filter`)
  const filter = hasFilter ? filterIn(from) : undefined
  from.checkEnd()
  const hidesTexts = (flags & MESSAGE_HIDES_TEXTS) !== 0
  return {
    precision,
    reason: reason ?? (hidesTexts ? 'overflow' : undefined),
    everythingIn,
    isBigint: (flags & MESSAGE_BIGINTS) !== 0,
    hasPrints: (flags & MESSAGE_PRINTS) !== 0,
    hidesTexts,
    pairs,
    ...texts,
    filter,
  }
}

/** The error for bytes that are none of ours. */
export function badMessage(why: string): DirtyRingError {
  return new DirtyRingError(
    'ERR_DIRTYRING_BAD_MESSAGE',
    `these bytes are not what the library wrote: ${why}`,
  )
}

/** Reads a message from the left. */
export class Input {
  readonly #bytes: Uint8Array
  readonly #end: number
  #at: number

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.#bytes = bytes
    this.#at = at
    this.#end = end
  }

  byte(): number {
    if (this.#at >= this.#end) throw badMessage('they end early')
    return this.#bytes[this.#at++]
  }

  /** A whole number below 2^32. */
  varint(): number {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte()
      value += (byte & 0x7f) * 2 ** shift
      if (byte <= 0x7f) {
        if ((byte === 0 && shift > 0) || value > 0xffffffff) break
        return value
      }
      if (shift >= 28) break
    }
    throw badMessage('a number in them is not written as the library does')
  }

  /** At most so many numbers up to `max`, sorted, each once. */
  differences(most: number, max: number): number[] {
    const count = this.varint()
    if (count > most) throw badMessage(`they list ${count} namespaces`)
    const values: number[] = []
    let value = 0
    for (let i = 0; i < count; i++) {
      const more = this.varint()
      if (i > 0 && more === 0) throw badMessage('a namespace is in them twice')
      value += more
      if (value > max) throw badMessage(`they name the namespace ${value}`)
      values.push(value)
    }
    return values
  }

  bytes(count: number): Uint8Array {
    if (count > this.#end - this.#at) throw badMessage('they end early')
    this.#at += count
    return this.#bytes.subarray(this.#at - count, this.#at)
  }

  /** Numbers or texts: each takes a byte or more. Of none nothing follows. */
  part(count: number, isDeflated: boolean, most: number): Uint8Array {
    if (count === 0) {
      if (isDeflated) throw badMessage('nothing in them is said to be deflated')
      return new Uint8Array(0)
    }
    const length = this.varint()
    if (length > most) throw badMessage(`${length} bytes of keys are more than a message has`)
    if (count > length) throw badMessage(`${count} keys are said to be in ${length} bytes`)
    return isDeflated ? inflated(this.bytes(this.varint()), length) : this.bytes(length)
  }

  rest(): Uint8Array {
    return this.bytes(this.#end - this.#at)
  }

  checkEnd(): void {
    if (this.#at !== this.#end) throw badMessage('they go on behind the end')
  }
}

function inflated(bytes: Uint8Array, length: number): Uint8Array {
  let raw: Uint8Array
  let taken: number
  try {
    const options = { maxOutputLength: length, info: true }
    const result = inflateRawSync(bytes, options) as unknown as {
      buffer: Uint8Array
      engine: { bytesWritten: number }
    }
    raw = result.buffer
    taken = result.engine.bytesWritten
  } catch {
    throw badMessage('a part of them cannot be inflated')
  }
  if (raw.length !== length || taken !== bytes.length)
    throw badMessage('a part of them has another length')
  return raw
}

/** The caller has checked that there is a byte for each. */
function pairsIn(bytes: Uint8Array, count: number): Uint32Array {
  const pairs = new Uint32Array(count * 2)
  let at = 0
  let low = 0
  let high = 0
  for (let i = 0; i < count * 2; i += 2) {
    let byte = bytes[at++]
    let x = byte & 0x7f
    let y = 0
    if (byte > 0x7f) {
      let shift = 7
      do {
        byte = bytes[at++] // undefined behind the end, and checked there
        const bits = byte & 0x7f
        if (shift < 28) x |= bits << shift
        else if (shift === 28) {
          x = (x | (bits << 28)) >>> 0
          y = bits >>> 4
        } else if (shift < 63) y |= bits << (shift - 32)
        else if (bits > 1) throw notSorted()
        else y |= bits << 31
        shift += 7
      } while (byte > 0x7f && shift < 70)
      if (byte === 0 || byte > 0x7f) throw notSorted()
      x >>>= 0
      y >>>= 0
    }
    if (i > 0 && x === 0 && y === 0) throw notSorted()
    low += x
    high += y
    if (low > 0xffffffff) {
      low -= 2 ** 32
      high++
    }
    if (high > 0xffffffff) throw notSorted()
    pairs[i] = low
    pairs[i + 1] = high
  }
  if (at !== bytes.length) throw badMessage('their numbers have another length')
  return pairs
}

function notSorted(): DirtyRingError {
  return badMessage('their numbers are not sorted, or not written as the library does')
}

/** The caller has checked that there is a byte for each. */
function textsIn(
  bytes: Uint8Array,
  stringCount: number,
  byteKeyCount: number,
): Pick<KeyMessage, 'strings' | 'stringBytes' | 'byteKeys'> {
  const strings: string[] = []
  const stringBytes: number[] = []
  const byteKeys: Uint8Array[] = []
  const from = new Input(bytes, 0, bytes.length)
  const text = new Text()
  let textBytes = 0
  for (let i = 0; i < stringCount + byteKeyCount; i++) {
    if (i === stringCount) text.length = 0
    const shared = from.varint()
    const more = from.varint()
    if (shared > text.length) throw badMessage('a text shares more than there is')
    textBytes += shared + more
    if (textBytes > TEXTS_MAX) throw badMessage(`their texts have more than ${TEXTS_MAX} bytes`)
    text.set(shared, from.bytes(more))
    if (i < stringCount) {
      strings.push(text.string())
      stringBytes.push(text.length)
    } else {
      byteKeys.push(text.bytes.slice(0, text.length))
    }
  }
  from.checkEnd()
  return { strings, stringBytes, byteKeys }
}

/** The text that was read last. */
class Text {
  length = 0
  words = new Int32Array(64)
  bytes = new Uint8Array(this.words.buffer)

  set(at: number, more: Uint8Array): void {
    this.length = at + more.length
    if (this.length > this.bytes.length) {
      const words = new Int32Array(2 * ((this.length + 3) >>> 2))
      const larger = new Uint8Array(words.buffer)
      larger.set(this.bytes.subarray(0, at))
      this.words = words
      this.bytes = larger
    }
    this.bytes.set(more, at)
  }

  string(): string {
    const { words, length } = this
    const text = decodeText(words, 0, length)
    // Bytes that no text has come back as U+FFFD. They would be a key that was never marked.
    if (text.includes('\ufffd') && !this.#isOf(text)) throw badMessage('a string is not WTF-8')
    return text
  }

  #isOf(text: string): boolean {
    if (packText(text) !== this.length) return false
    for (let i = 0; i < this.length; i++) if (scratch.bytes[i] !== this.bytes[i]) return false
    return true
  }
}

function filterIn(from: Input): FilterBlocks {
  const blocksLog2 = from.byte()
  const first = from.varint()
  const blocks = from.varint()
  if (blocksLog2 > BLOCKS_LOG2_MAX || blocks === 0 || first + blocks > 2 ** blocksLog2)
    throw badMessage(`they have ${blocks} blocks of 2^${blocksLog2}, from ${first} on`)
  const bytes = from.bytes(blocks * BLOCK_WORDS * 4)
  const words = new Int32Array(blocks * BLOCK_WORDS)
  new Uint8Array(words.buffer).set(bytes)
  return { blocksLog2, from: first, words }
}
