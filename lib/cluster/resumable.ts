import { Buffer } from 'node:buffer'
import { crc32 } from '../crc32.js'
import type { Clock } from '../epochs/clock.js'
import { DirtyRingError } from '../errors.js'
import { isInstance, isLabel } from './envelope.js'
import type { Resumable } from './publication.js'

/** What publisher.save() keeps: where the publisher stood, and where its consumer stood. */
export interface SavedPublisher {
  /** Undefined: the publisher was closed, and its last message is in the log. */
  readonly at: Resumable | undefined
  readonly clock: Clock | undefined
}

/** `DRPS`, the version, then the CRC-32 of what follows: JSON in UTF-8. */
const SAVED_MAGIC = 'DRPS'
const VERSION = 1
const SAVED_HEAD = 9

export function encodeSavedPublisher({ at, clock }: SavedPublisher): Uint8Array {
  const flight = at?.flight === undefined ? undefined : Buffer.from(at.flight).toString('base64')
  const json = Buffer.from(JSON.stringify({ at: at && { ...at, flight }, clock }))
  const bytes = new Uint8Array(SAVED_HEAD + json.length)
  for (let i = 0; i < 4; i++) bytes[i] = SAVED_MAGIC.charCodeAt(i)
  bytes[4] = VERSION
  new DataView(bytes.buffer).setUint32(5, crc32(json), true)
  bytes.set(json, SAVED_HEAD)
  return bytes
}

/** @throws ERR_DIRTYRING_BAD_STATE */
export function decodeSavedPublisher(bytes: Uint8Array): SavedPublisher {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const isOne =
    bytes.length > SAVED_HEAD && String.fromCharCode(...bytes.subarray(0, 4)) === SAVED_MAGIC
  if (!isOne) throw badState('are not what publisher.save() returned')
  if (bytes[4] !== VERSION)
    throw badState(`have format ${bytes[4]}, which this version does not read`)
  const json = bytes.subarray(SAVED_HEAD)
  if (view.getUint32(5, true) !== crc32(json)) throw badState('are damaged')
  const { at, clock } = JSON.parse(Buffer.from(json).toString()) as {
    at?: Omit<Resumable, 'flight'> & { flight?: string }
    clock?: Clock
  }
  if (at === undefined) return { at: undefined, clock }
  if (!isLabel(at.node) || !isInstance(at.instance) || !Number.isSafeInteger(at.n))
    throw badState('are damaged')
  const flight =
    at.flight === undefined ? undefined : new Uint8Array(Buffer.from(at.flight, 'base64'))
  return { at: { ...at, flight, namespaces: at.namespaces }, clock }
}

function badState(what: string): DirtyRingError {
  return new DirtyRingError(
    'ERR_DIRTYRING_BAD_STATE',
    `options.resume: the bytes ${what}. Without this option the publisher is a new instance, and ` +
      'readers take all keys of the old one for dirty',
  )
}
