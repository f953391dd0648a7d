import { randomWords } from '../random-words.js'

/** A new name for a stream: 16 hexadecimal digits. */
export function newIdentity(): string {
  return Array.from(randomWords(2), (word) => word.toString(16).padStart(8, '0')).join('')
}
