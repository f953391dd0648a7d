import { createHash } from 'node:crypto'
import { KIND, sealEnvelope } from '../../lib/cluster/envelope.js'
import type { LogMessage } from '../../lib/cluster/log.js'

/** The instance of a publisher of that name. */
export function instanceOf(name: string): string {
  return createHash('sha256').update(name).digest('hex').slice(0, 32)
}

/** What a publisher of that name puts into a log. */
export function message(
  name: string,
  n: number,
  body = new Uint8Array(8),
  kind: number = KIND.EPOCH,
): LogMessage {
  const about = { node: name, instance: instanceOf(name), n }
  const bytes = sealEnvelope({ ...about, kind, format: 1, flags: 1, atMs: 5, body })
  return { ...about, bytes }
}

/** The last message of a publisher. */
export function closeOf(name: string, n: number): LogMessage {
  return message(name, n, new Uint8Array(0), KIND.CLOSE)
}
