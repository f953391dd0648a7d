/**
 * Random words from the platform's crypto. Where the host has none (an AudioWorklet, some test
 * environments), they come from Math.random().
 */
export function randomWords(count: number): Uint32Array {
  const words = new Uint32Array(count)
  if (typeof crypto === 'object') return crypto.getRandomValues(words)
  return words.map(() => Math.random() * 2 ** 32)
}
