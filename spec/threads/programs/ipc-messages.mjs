import { sealEnvelope } from '../../../dist/cluster/envelope.js'

/** A message whose body follows from its number. */
export function messageOf(node, instance, n, size, kind) {
  const body = new Uint8Array(size)
  let state = n + 1
  for (let i = 0; i < size; i++) {
    state = Math.imul(state, 1664525) + 1013904223
    body[i] = state >>> 24
  }
  const bytes = sealEnvelope({ kind, format: 1, flags: 1, node, instance, n, atMs: n, body })
  return { node, instance, n, bytes }
}
