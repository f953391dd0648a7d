import { crc32 } from '../crc32.js'
import { ByteReader, ByteWriter } from './bytes.js'
import { Ledger, type LedgerOptions } from './ledger.js'

/** Characters of a clock at most. */
export const CLOCK_MAX = 65_536

const PREFIX = 'c1.'
/** The clock of a reader that knows of too many instances to write them down. */
const TOO_LARGE = 'c1.large'
const BASE64_URL = /^[A-Za-z0-9_-]*$/
/** Three bytes are four characters. */
const BYTES_MAX = Math.floor(((CLOCK_MAX - PREFIX.length) * 3) / 4) - 4

/**
 * Where a reader stands, and what it knows of instances, as bytes; undefined: they are too many.
 */
export function clockBytes(ledger: Ledger): Uint8Array | undefined {
  for (const isShort of [false, true]) {
    const to = new ByteWriter()
    ledger.write(to, isShort)
    if (to.bytes.length > BYTES_MAX) continue
    to.word(crc32(to.bytes))
    return to.bytes
  }
  return undefined
}

/** The clock that a caller stores. */
export function clockText(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return TOO_LARGE
  let binary = ''
  for (const byte of bytes) binary += String.fromCharCode(byte)
  const base64 = btoa(binary)
  return PREFIX + base64.replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
}

/** What a clock says, or why it can't be used. */
export function readClock(
  clock: string,
  options: LedgerOptions,
): { readonly ledger: Ledger } | { readonly trouble: string } {
  if (clock.length > CLOCK_MAX)
    return { trouble: `it has ${clock.length} characters, and a clock has ${CLOCK_MAX} at most` }
  if (clock === TOO_LARGE)
    return { trouble: 'there were more instances than a clock of 64 KiB can name' }
  const text = clock.slice(PREFIX.length)
  if (!clock.startsWith(PREFIX) || !BASE64_URL.test(text)) return { trouble: OTHER }
  try {
    const binary = atob(text.replace(/-/g, '+').replace(/_/g, '/'))
    const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0))
    const end = bytes.length - 4
    const crc = new ByteReader(bytes.subarray(end)).word()
    if (end < 0 || crc !== crc32(bytes.subarray(0, end))) return { trouble: DAMAGED }
    const from = new ByteReader(bytes.subarray(0, end))
    const ledger = Ledger.read(from, options)
    return from.isAtEnd ? { ledger } : { trouble: DAMAGED }
  } catch {
    return { trouble: DAMAGED }
  }
}

const OTHER = "it is not a cluster's clock"
const DAMAGED = 'it is damaged'
