import { afterEach } from '@jest/globals'
import {
  BODY_FORMAT,
  encodeBeatBody,
  encodeEpochBody,
  encodeNamespacesBody,
} from '../../lib/cluster/body.js'
import {
  declarationFlags,
  type Envelope,
  ENVELOPE_LAST_PART,
  KIND,
  sealEnvelope,
} from '../../lib/cluster/envelope.js'
import { type ClusterOptions, type ClusterReader, openCluster } from '../../lib/cluster/index.js'
import type { DirtyTracker, Key, KeyOf, TrackerOptions } from '../../lib/index.js'
import type { KeyKind } from '../../lib/memory/settings.js'
import type { FaultLog } from './fault-log.js'
import { openInline } from './in-process.js'

/** Encodes keys as an epoch's message. With `all`, as the message of markEverything(). */
export async function encodeKeysOf(
  keys: readonly Key[],
  options: TrackerOptions = {},
  change: (tracker: DirtyTracker) => void = () => undefined,
): Promise<Uint8Array> {
  const tracker = await openInline(options)
  tracker.openWriter().markMany(keys)
  change(tracker)
  const [message] = await tracker.consume((epoch) => epoch.encode())
  await tracker.stop()
  return message
}

let drawn = 0

/** A publisher that does what a spec tells it, and nothing by itself but answer to cuts. */
export class ScriptedNode {
  readonly instance = (++drawn).toString(16).padStart(32, '0')
  /** It answers requests for a cut, with these keys. */
  answers = true
  pending: Key[] = []
  tag = new Uint8Array(0)
  readonly requests: string[] = []
  n = 0
  declarations = 0
  readonly node: string
  readonly #log: FaultLog
  readonly #forget: () => void
  readonly #answered = new Set<string>()

  constructor(log: FaultLog, node: string) {
    this.node = node
    this.#log = log
    this.#forget = log.onCut((request) => {
      this.requests.push(request)
      if (!this.answers || this.#answered.has(request)) return
      this.#answered.add(request)
      void this.epoch(this.pending.splice(0), { requests: [request] })
    })
  }

  /** Seals a message without appending it. */
  seal(kind: number, body: Uint8Array, more: Partial<Envelope> = {}): Uint8Array {
    const { node, instance, n, declarations } = this
    const flags = declarationFlags(declarations) | (more.flags ?? 0)
    const format = BODY_FORMAT
    return sealEnvelope({ kind, format, node, instance, n, atMs: 1000 + n, body, ...more, flags })
  }

  append(bytes: Uint8Array, n = this.n): void {
    this.#log.inject({ node: this.node, instance: this.instance, n, bytes })
  }

  /** The next message. */
  send(kind: number, body: Uint8Array, more: Partial<Envelope> = {}): Uint8Array {
    const bytes = this.seal(kind, body, more)
    this.append(bytes)
    this.n++
    return bytes
  }

  open(namespaces?: readonly number[]): this {
    this.send(KIND.OPEN, encodeNamespacesBody(namespaces))
    return this
  }

  declare(namespaces: readonly number[]): void {
    this.send(KIND.NAMESPACES, encodeNamespacesBody(namespaces))
    this.declarations++
  }

  async epoch(
    keys: readonly Key[],
    more: { requests?: readonly string[]; isLast?: boolean; options?: TrackerOptions } = {},
  ): Promise<Uint8Array> {
    const { requests = [], isLast = true, options } = more
    const body = encodeEpochBody({
      requests,
      tag: this.tag,
      keys: await encodeKeysOf(keys, options),
    })
    return this.send(KIND.EPOCH, body, { flags: isLast ? ENVELOPE_LAST_PART : 0 })
  }

  beat(requests: readonly string[] = []): void {
    this.send(KIND.BEAT, encodeBeatBody(requests))
  }

  /** The next message is lost on its way. */
  skip(): void {
    this.n++
  }

  close(): void {
    this.send(KIND.CLOSE, new Uint8Array(0))
    this.die()
  }

  /** Says no more. */
  die(): void {
    this.#forget()
  }
}

const readers = new Set<ClusterReader<any>>()

afterEach(async () => {
  for (const reader of readers) await reader.close().catch(() => undefined)
  readers.clear()
})

/** Opens a reader of a log, closed after the spec. */
export function openReader<Kind extends KeyKind = 'any'>(
  log: FaultLog,
  options: Partial<ClusterOptions<Kind>> = {},
): ClusterReader<KeyOf<Kind>> {
  const reader = openCluster<Kind>({ source: log.source(), timeoutMs: 20_000, ...options })
  readers.add(reader)
  reader.on('warning', () => undefined)
  return reader
}

/** Until something is so. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 1))
}

/** The epoch's reason for one node. */
export function reasonOf(epoch: {
  nodes: ReadonlyMap<string, { reason: unknown }>
}): (node: string) => unknown {
  return (node) => epoch.nodes.get(node)?.reason
}
