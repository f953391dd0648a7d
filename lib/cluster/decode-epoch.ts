import { checkBag, typedArrayName, viewLength } from '../check.js'
import type { EpochKeys } from '../epochs/epoch.js'
import { invalidArg } from '../errors.js'
import { decodeKeys } from './decode.js'
import { checkLimits, type EpochLimits, KeyUnion, LIMITS } from './union.js'

/** What the messages have is the limit. */
const NO_LIMITS: EpochLimits = {
  maxKeysPerEpoch: 2 ** 28,
  maxStringsPerEpoch: 2 ** 24,
  maxStringBytesPerEpoch: 0x7fffffff,
}

/**
 * Reads and unites what {@link SealedEpoch.encode} wrote, in one process or in several. The order
 * of the messages does not matter, and a message may come twice. **The caller must pass all
 * messages of an epoch.** Each one has a part of the keys, and does not tell how many others there
 * are.
 *
 * The bytes are not trusted. Before decodeEpoch() takes memory, it compares each count and length
 * with the bytes that are there. A message takes at most 30 times its length, and 40 MiB. A
 * checksum finds accidental damage. It does not prove the sender.
 *
 * @param messages - one message, or several, of one epoch or more
 * @param limits - how many keys to hold exactly; beyond them the result is a superset. Default: all
 * @returns the keys, with the members of an epoch, in memory of their own. They come numbers first,
 * sorted within a message. `precision` is the worst of the messages'
 * @throws TypeError `ERR_DIRTYRING_INVALID_ARG`, RangeError `ERR_DIRTYRING_OUT_OF_RANGE`
 * @throws DirtyRingError `ERR_DIRTYRING_BAD_MESSAGE` if the bytes are damaged, are something else,
 * or are of a later format
 *
 * @example
 * ```js
 * import { decodeEpoch } from 'dirtyring/cluster'
 *
 * writer.markMany([7, 8, '/users/7'])
 * const messages = await tracker.consume((epoch) => epoch.encode())
 * const keys = decodeEpoch(messages)
 * console.log(...keys.numbers(), ...keys.texts()) // 7 8 /users/7
 * ```
 */
export function decodeEpoch(
  messages: Uint8Array | readonly Uint8Array[],
  limits: EpochLimits = {},
): EpochKeys {
  checkBag('limits', limits, LIMITS)
  const union = new KeyUnion({ ...NO_LIMITS, ...checkLimits('limits', { ...limits }) })
  if (typedArrayName(messages) === 'Uint8Array') {
    union.add(decodeKeys(readable(messages, 'messages')))
    return union
  }
  if (!isArray(messages)) throw invalidArg('messages', 'a Uint8Array or an array of them', messages)
  const { length } = messages
  for (let i = 0; i < length; i++) union.add(decodeKeys(readable(messages[i], `messages[${i}]`)))
  return union
}

function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value)
  } catch {
    return false // a revoked Proxy
  }
}

/** A message that this thread can read. */
function readable(value: unknown, name: string): Uint8Array {
  if (typedArrayName(value) !== 'Uint8Array') throw invalidArg(name, 'a Uint8Array', value)
  viewLength(value, name)
  const bytes = value as Uint8Array
  // In shared memory another thread could change a length that was checked.
  return bytes.buffer instanceof ArrayBuffer ? bytes : new Uint8Array(bytes)
}
