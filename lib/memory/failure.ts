import { DirtyRingError } from '../errors.js'
import { ERROR_LENGTH, ERROR_TEXT, ERROR_TEXT_MAX, FAILED, type SharedWords } from './map.js'

/**
 * FAILED: the ring holds a word that the library never writes there. No later step can succeed
 * either.
 */
export const CORRUPT_RING = 1
/** FAILED: a SEAL or a STOP failed for good. They only store words, and are never skipped. */
export const CANNOT_SEAL = 2

/**
 * The message of the aggregator's last failure; '' when there was none. Any thread may call it. It
 * is for people to read: a newer message may be written meanwhile.
 */
export function readError(words: SharedWords): string {
  const length = Math.min(Math.max(words[ERROR_LENGTH], 0), ERROR_TEXT_MAX)
  let text = ''
  for (let i = 0; i < length; i++) text += String.fromCharCode(words[ERROR_TEXT + i])
  return text
}

/** The error of an aggregator that cannot continue: FAILED is set. */
export function cannotContinue(words: SharedWords): DirtyRingError {
  const isCorrupt = Atomics.load(words, FAILED) !== CANNOT_SEAL
  return new DirtyRingError(
    isCorrupt ? 'ERR_DIRTYRING_CORRUPT' : 'ERR_DIRTYRING_AGGREGATOR_FAILED',
    `the aggregator cannot continue: ${readError(words)}`,
  )
}
