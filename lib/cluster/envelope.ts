import { crc32 } from '../crc32.js'

/**
 * What stands around each message, whatever is in it. It never changes: a reader of any version
 * reads who sent a message, and its number, even if it can't read what is inside.
 *
 * | at | bytes | |
 * |---|---|---|
 * | 0 | 4 | `DRC1` |
 * | 4 | 1 | the kind of message |
 * | 5 | 1 | the format of the body |
 * | 6 | 1 | flags |
 * | 7 | 1 | how many bytes the node's label has |
 * | 8 | 16 | the instance |
 * | 24 | 8 | n: its low word, then its high word |
 * | 32 | 8 | when it was made, by the node's clock: ms since 1970, as a float |
 * | 40 | 4 | how many bytes the body has |
 * | 44 | | the label in ASCII, then the body |
 * | | 4 | CRC-32 of all before |
 */
export interface Envelope {
  readonly kind: MessageKind
  /** The version of the body's encoding. */
  readonly format: number
  readonly flags: number
  readonly node: string
  readonly instance: string
  readonly n: number
  readonly atMs: number
  readonly body: Uint8Array
  /** The checksum: two messages with one number and two checksums are not the same. */
  readonly crc: number
}

/** Kinds of messages. */
export const KIND = {
  /** The first one of an instance. */
  OPEN: 1,
  /** Keys: an epoch or a part of one. */
  EPOCH: 2,
  /** Nothing new. */
  BEAT: 3,
  /** The last one, after a clean stop. */
  CLOSE: 4,
  /** Namespaces that are added to those declared by OPEN. */
  NAMESPACES: 5,
} as const

export type MessageKind = number

/** Flag of EPOCH: no further part of this epoch follows. */
export const ENVELOPE_LAST_PART = 1

const ENVELOPE_MAGIC = 0x31435244 // 'DRC1'
const ENVELOPE_HEAD = 44
const ENVELOPE_CRC = 4
/** What an envelope adds to a body at most. */
export const ENVELOPE_MAX = ENVELOPE_HEAD + 64 + ENVELOPE_CRC
const LABEL = /^[A-Za-z0-9_-]{1,64}$/
const INSTANCE = /^[0-9a-f]{32}$/

/** Whether a text can be the label of a node. */
export function isLabel(text: string): boolean {
  return LABEL.test(text)
}

/** Whether a text can be an instance. */
export function isInstance(text: string): boolean {
  return INSTANCE.test(text)
}

/** Puts a message together. */
export function sealEnvelope(envelope: Omit<Envelope, 'crc'>): Uint8Array {
  const { node, instance, body } = envelope
  const bytes = new Uint8Array(ENVELOPE_HEAD + node.length + body.length + ENVELOPE_CRC)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, ENVELOPE_MAGIC, true)
  bytes[4] = envelope.kind
  bytes[5] = envelope.format
  bytes[6] = envelope.flags
  bytes[7] = node.length
  for (let i = 0; i < 16; i++) bytes[8 + i] = parseInt(instance.slice(2 * i, 2 * i + 2), 16)
  view.setUint32(24, envelope.n % 2 ** 32, true)
  view.setUint32(28, Math.floor(envelope.n / 2 ** 32), true)
  view.setFloat64(32, envelope.atMs, true)
  view.setUint32(40, body.length, true)
  for (let i = 0; i < node.length; i++) bytes[ENVELOPE_HEAD + i] = node.charCodeAt(i)
  bytes.set(body, ENVELOPE_HEAD + node.length)
  const end = bytes.length - ENVELOPE_CRC
  view.setUint32(end, crc32(bytes.subarray(0, end)), true)
  return bytes
}

/** Reads what sealEnvelope() made; undefined if it is damaged or something else. */
export function openEnvelope(bytes: Uint8Array): Envelope | undefined {
  if (bytes.length < ENVELOPE_HEAD + 1 + ENVELOPE_CRC) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== ENVELOPE_MAGIC) return undefined
  const labelEnd = ENVELOPE_HEAD + bytes[7]
  const end = labelEnd + view.getUint32(40, true)
  if (end + ENVELOPE_CRC !== bytes.length) return undefined
  const crc = view.getUint32(end, true)
  if (crc !== crc32(bytes.subarray(0, end))) return undefined
  const node = String.fromCharCode(...bytes.subarray(ENVELOPE_HEAD, labelEnd))
  const n = view.getUint32(24, true) + view.getUint32(28, true) * 2 ** 32
  const atMs = view.getFloat64(32, true)
  if (!isLabel(node) || !Number.isSafeInteger(n) || !Number.isFinite(atMs)) return undefined
  return {
    kind: bytes[4],
    format: bytes[5],
    flags: bytes[6],
    node,
    instance: Array.from(bytes.subarray(8, 24), (byte) => byte.toString(16).padStart(2, '0')).join(
      '',
    ),
    n,
    atMs,
    body: bytes.subarray(labelEnd, end),
    crc,
  }
}

/** Flag: the flags hold how many NAMESPACES this instance has sent before this message. */
export const ENVELOPE_COUNTED = 2
const COUNT_SHIFT = 2
/** That many or more: the count says nothing any more. */
const COUNT_MANY = 63

/**
 * The flags that say how many NAMESPACES an instance has sent before a message. By them a reader
 * that has missed messages knows whether it has missed a declaration.
 */
export function declarationFlags(count: number): number {
  return ENVELOPE_COUNTED | (Math.min(count, COUNT_MANY) << COUNT_SHIFT)
}

/** How many NAMESPACES the instance has sent before; undefined if the message does not say so. */
export function declarationsOf(flags: number): number | undefined {
  const count = (flags & 0xff) >>> COUNT_SHIFT
  return (flags & ENVELOPE_COUNTED) !== 0 && count < COUNT_MANY ? count : undefined
}
