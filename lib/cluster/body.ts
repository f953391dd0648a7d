/**
 * What is in the envelope of each kind of message.
 *
 * | kind | body |
 * |---|---|
 * | OPEN, NAMESPACES | 0: none are declared; 1: how many namespaces, and their differences |
 * | EPOCH | the requests that are answered; the tag; the keys, as epoch.encode() writes them |
 * | BEAT | the requests that are answered |
 * | CLOSE | nothing |
 *
 * Requests are a number, then each one's length in a byte, and its ASCII. A tag is its length in a
 * byte, then its bytes. Other numbers are varints, as in epochs/encode.ts.
 */
import { NAMESPACE_MAX } from '../memory/slot.js'
import { badMessage, Input } from './decode.js'

/** The format that this version writes, and the only one that it reads. */
export const BODY_FORMAT = 1

/** Namespaces that one message declares at most. */
export const DECLARED_MAX = 4096
/** Requests that one message answers at most. */
export const REQUESTS_MAX = 64
/** Bytes of a tag at most. */
export const TAG_MAX = 64
const REQUEST = /^[A-Za-z0-9_-]{1,64}$/
/** What a body of EPOCH has beside its keys, at most. */
export const EPOCH_BODY_MAX = 1 + REQUESTS_MAX * 65 + 1 + TAG_MAX

/** Whether a text can name a request for a cut. */
export function isRequest(text: string): boolean {
  return REQUEST.test(text)
}

/** What a message of the kind EPOCH has. */
export interface EpochBody {
  /** The requests for a cut that this epoch answers: on the last part only. */
  readonly requests: readonly string[]
  /** At most 64 bytes; empty if there is none. */
  readonly tag: Uint8Array
  /** For decodeKeys(). */
  readonly keys: Uint8Array
}

export function encodeEpochBody({ requests, tag, keys }: EpochBody): Uint8Array {
  const head = headOf(requests)
  const body = new Uint8Array(head.length + 1 + tag.length + keys.length)
  body.set(head)
  body[head.length] = tag.length
  body.set(tag, head.length + 1)
  body.set(keys, head.length + 1 + tag.length)
  return body
}

/** Throws ERR_DIRTYRING_BAD_MESSAGE, as all here that decode. */
export function decodeEpochBody(bytes: Uint8Array): EpochBody {
  const from = new Input(bytes, 0, bytes.length)
  const requests = requestsIn(from)
  const tagLength = from.byte()
  if (tagLength > TAG_MAX) throw badMessage(`they have a tag of ${tagLength} bytes`)
  return { requests, tag: from.bytes(tagLength), keys: from.rest() }
}

export function encodeBeatBody(requests: readonly string[]): Uint8Array {
  return headOf(requests)
}

export function decodeBeatBody(bytes: Uint8Array): readonly string[] {
  const from = new Input(bytes, 0, bytes.length)
  const requests = requestsIn(from)
  from.checkEnd()
  return requests
}

/** For OPEN and NAMESPACES. Undefined: none are declared, so a key may have any. */
export function encodeNamespacesBody(namespaces: readonly number[] | undefined): Uint8Array {
  if (namespaces === undefined) return Uint8Array.of(0)
  const bytes = [1]
  const put = (value: number): void => {
    for (; value > 0x7f; value >>>= 7) bytes.push((value & 0x7f) | 0x80)
    bytes.push(value)
  }
  const sorted = [...new Set(namespaces)].sort((a, b) => a - b)
  put(sorted.length)
  sorted.forEach((namespace, i) => put(namespace - (i === 0 ? 0 : sorted[i - 1])))
  return Uint8Array.from(bytes)
}

export function decodeNamespacesBody(bytes: Uint8Array): readonly number[] | undefined {
  const from = new Input(bytes, 0, bytes.length)
  const isDeclared = from.byte()
  if (isDeclared > 1) throw badMessage(`they declare namespaces as ${isDeclared}`)
  const namespaces = isDeclared === 1 ? from.differences(DECLARED_MAX, NAMESPACE_MAX) : undefined
  from.checkEnd()
  return namespaces
}

function headOf(requests: readonly string[]): Uint8Array {
  const bytes = [requests.length]
  for (const request of requests) {
    bytes.push(request.length)
    for (let i = 0; i < request.length; i++) bytes.push(request.charCodeAt(i))
  }
  return Uint8Array.from(bytes)
}

function requestsIn(from: Input): string[] {
  const count = from.byte()
  if (count > REQUESTS_MAX) throw badMessage(`they answer ${count} requests`)
  return Array.from({ length: count }, () => {
    const request = String.fromCharCode(...from.bytes(from.byte()))
    if (!isRequest(request)) throw badMessage('a request in them has another form')
    return request
  })
}
