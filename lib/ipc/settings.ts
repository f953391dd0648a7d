import { checkBag } from '../check.js'
import { DirtyRingError, invalidArg, outOfRange } from '../errors.js'

/** The longest message that a hub takes, in bytes. */
export const MESSAGE_BYTES_MAX = 4 * 2 ** 20
/** What one read of a child is answered with, in bytes, about. */
export const READ_BYTES_CHILD = 2 ** 20
/** What one read in the hub's own process is answered with, in bytes, about. */
export const READ_BYTES = 4 * 2 ** 20
/** After this time without an answer a call rejects. */
export const ANSWER_MS = 5000

const HUB_NAME = 'dirty'

/** Checks the option `hub` or `name`, and returns the hub's name. */
export function hubName(name: string, value: unknown): string {
  if (value === undefined) return HUB_NAME
  if (typeof value !== 'string') throw invalidArg(name, 'a string', value)
  if (value.length < 1 || value.length > 64) throw outOfRange(name, '1 to 64 characters', value)
  return value
}

/** Checks the options of a sink or a source, and returns the hub's name. */
export function hubOf(options: unknown): string {
  return hubName('options.hub', checkBag('options', options, ['hub']).hub)
}

export function away(message: string): DirtyRingError {
  return new DirtyRingError('ERR_DIRTYRING_AWAY', message)
}

/** An error for what was closed: a hub, a sink or a source. */
export function closed(what: string): DirtyRingError {
  return new DirtyRingError('ERR_DIRTYRING_CLOSED', `the ${what} is closed`)
}

export function tooLarge(bytes: number): DirtyRingError {
  return new DirtyRingError(
    'ERR_DIRTYRING_TOO_LARGE',
    `a message of ${bytes} bytes is longer than the ${MESSAGE_BYTES_MAX} bytes that a hub takes`,
  )
}
