import { Buffer } from 'node:buffer'

/**
 * Bytes on a channel: themselves where it carries typed arrays (`serialization: 'advanced'`), else
 * base64. JSON would write each byte as a property.
 */
export type Packed = Uint8Array | string

export function pack(bytes: Uint8Array, carriesBytes: boolean): Packed {
  if (carriesBytes) return bytes
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

/** A copy of the bytes that came; undefined for anything else. */
export function unpack(packed: unknown): Uint8Array | undefined {
  // What came is a view of a larger buffer, with all else that came with it.
  if (typeof packed === 'string') return Uint8Array.from(Buffer.from(packed, 'base64'))
  return isBytes(packed) ? Uint8Array.from(packed) : undefined
}

export function isBytes(value: unknown): value is Uint8Array {
  return ArrayBuffer.isView(value) && 'BYTES_PER_ELEMENT' in value && value.BYTES_PER_ELEMENT === 1
}
