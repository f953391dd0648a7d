/** CRC-32 as in zlib, without a table of its own in each message: one of 256 words, made once. */
const table = new Int32Array(256)
for (let i = 0; i < 256; i++) {
  let word = i
  for (let bit = 0; bit < 8; bit++) word = word & 1 ? (word >>> 1) ^ 0xedb88320 : word >>> 1
  table[i] = word
}

/** The checksum of bytes, 0 to 2^32 - 1. */
export function crc32(bytes: Uint8Array): number {
  let word = -1
  for (let i = 0; i < bytes.length; i++) word = (word >>> 8) ^ table[(word ^ bytes[i]) & 255]
  return ~word >>> 0
}
