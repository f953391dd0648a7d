/**
 * Four tables of 256 words, one after the other, so that four bytes take four loads that do not
 * wait for each other: 3 times as fast as one byte after another (Node 20). Made at the first use,
 * because a page that loads this may never need it.
 */
let tables: Int32Array | undefined

function makeTables(): Int32Array {
  const made = new Int32Array(1024)
  for (let i = 0; i < 256; i++) {
    let word = i
    for (let bit = 0; bit < 8; bit++) word = word & 1 ? (word >>> 1) ^ 0xedb88320 : word >>> 1
    made[i] = word
  }
  for (let i = 256; i < 1024; i++) made[i] = (made[i - 256] >>> 8) ^ made[made[i - 256] & 255]
  return made
}

/** The checksum of bytes as in zlib, 0 to 2^32 - 1. */
export function crc32(bytes: Uint8Array): number {
  const table = (tables ??= makeTables())
  const { length } = bytes
  const whole = length & ~3
  let word = -1
  let i = 0
  for (; i < whole; i += 4) {
    word ^= bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24)
    word =
      table[768 + (word & 255)] ^
      table[512 + ((word >>> 8) & 255)] ^
      table[256 + ((word >>> 16) & 255)] ^
      table[word >>> 24]
  }
  for (; i < length; i++) word = (word >>> 8) ^ table[(word ^ bytes[i]) & 255]
  return ~word >>> 0
}
