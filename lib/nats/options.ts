import { checkBag, checkBoolean, checkWhole } from '../check.js'
import { invalidArg, isRevoked, outOfRange } from '../errors.js'
import type { NatsClient } from './client.js'

/** Options of {@link natsSink} and {@link natsSource}. */
export interface NatsOptions {
  /** The name of the stream: at most 255 characters, without blanks, dots, `*`, `>` and slashes. */
  readonly stream: string
  /**
   * What the subjects of the messages begin with: `<subject>.<node>.<instance>`. Requests for cuts
   * go to `<subject>.cut`, which is not in the stream. Default 'dirty'.
   */
  readonly subject?: string | undefined
  /**
   * Makes the stream if it does not exist. It has the subjects `<subject>.*.*`, is in files, has
   * one copy, and keeps messages for a day. For another configuration, make it yourself. Default
   * false.
   */
  readonly create?: boolean | undefined
  /** How long a call waits for the server's answer, in ms, 100 to 600,000. Default 5,000. */
  readonly timeoutMs?: number | undefined
  /**
   * What the subjects of JetStream's API begin with. For a domain named `hub` it is `$JS.hub.API`.
   * Default '$JS.API'.
   */
  readonly apiPrefix?: string | undefined
}

export type CheckedOptions = {
  readonly [K in keyof NatsOptions]-?: Exclude<NatsOptions[K], undefined>
}

/** Checks the arguments of an adapter. */
export function checkNatsOptions(client: NatsClient, options: NatsOptions): CheckedOptions {
  const known = ['stream', 'subject', 'create', 'timeoutMs', 'apiPrefix']
  const methods = ['publish', 'request', 'requestMany', 'subscribe', 'flush', 'isClosed'] as const
  if (typeof client !== 'object' || client === null || isRevoked(client))
    throw invalidArg('nats', 'a connection of a NATS client', client, ADVICE)
  for (const method of methods) {
    const found: unknown = (client as unknown as Record<string, unknown>)[method]
    if (typeof found !== 'function') throw invalidArg(`nats.${method}`, 'a function', found, ADVICE)
  }
  checkBag('options', options, known)
  const { stream, subject = 'dirty', create = false, timeoutMs = 5_000 } = options
  const { apiPrefix = '$JS.API' } = options
  if (typeof stream !== 'string') throw invalidArg('options.stream', 'a string', stream)
  if (!/^[^\s.*>/\\]{1,255}$/.test(stream))
    throw outOfRange('options.stream', 'a name that JetStream allows for a stream', stream)
  return {
    stream,
    subject: checkSubject('options.subject', subject),
    create: checkBoolean('options.create', create),
    timeoutMs: checkWhole('options.timeoutMs', timeoutMs, 100, 600_000),
    apiPrefix: checkSubject('options.apiPrefix', apiPrefix),
  }
}

const ADVICE = 'Pass what connect() of @nats-io/transport-node resolves with.'

function checkSubject(name: string, subject: unknown): string {
  if (typeof subject !== 'string') throw invalidArg(name, 'a string', subject)
  if (!/^[^\s.*>]+(\.[^\s.*>]+)*$/.test(subject))
    throw outOfRange(name, 'a subject without blanks, `*` and `>`', subject)
  return subject
}
