import { DirtyRingError, outOfRange } from '../errors.js'
import {
  isJetStreamError,
  isNamed,
  type JetStream,
  JETSTREAM_ERROR,
  JetStreamError,
  type StreamInfo,
} from './jetstream.js'
import type { CheckedOptions } from './options.js'

/** The longest message has at least so many bytes. */
export const MIN_MESSAGE_BYTES = 65_536
/** What the headers of a message take at most. */
export const HEADERS_MAX = 512
/** So the server has to take that. */
const MIN_BYTES = MIN_MESSAGE_BYTES + HEADERS_MAX
const DAY_NS = 86_400e9
const TWO_MINUTES_NS = 120e9

/**
 * Looks at the stream before anything is published or read, makes it if it may, and refuses one
 * that would lose messages of one node because of another.
 */
export async function setUp(stream: JetStream, options: CheckedOptions): Promise<StreamInfo> {
  const info = await infoOf(stream, options)
  const faults = faultsOf(info, options, stream.client.info?.max_payload)
  if (faults.length > 0)
    throw outOfRange(
      'options.stream',
      'a stream that keeps every message until it is too old, or the stream too large',
      options.stream,
      `Its ${faults.join('; its ')}`,
    )
  return info
}

async function infoOf(stream: JetStream, options: CheckedOptions): Promise<StreamInfo> {
  try {
    return await stream.info()
  } catch (error) {
    if (isDisabled(error, stream)) throw withoutJetStream(error)
    if (!isMissing(error)) throw error
    if (!options.create) throw Object.assign(missing(options), { cause: (error as Error).cause })
  }
  try {
    await stream.create({
      name: options.stream,
      subjects: [`${options.subject}.*.*`],
      storage: 'file',
      retention: 'limits',
      discard: 'old',
      max_age: DAY_NS,
      duplicate_window: TWO_MINUTES_NS,
      max_consumers: -1,
      max_msgs: -1,
      max_bytes: -1,
      max_msg_size: -1,
      max_msgs_per_subject: -1,
      num_replicas: 1,
    })
  } catch (error) {
    // Another process was first, and its owner may have chosen otherwise.
    if (!(error instanceof JetStreamError && error.errorCode === JETSTREAM_ERROR.NAME_IN_USE))
      throw error
  }
  return stream.info()
}

/** Whether the stream does not exist. */
export function isMissing(error: unknown): boolean {
  return isJetStreamError((error as Error).cause, JETSTREAM_ERROR.STREAM_NOT_FOUND)
}

/**
 * Whether no answer comes because there is no JetStream; while a server starts, it says the same.
 */
function isDisabled(error: unknown, { client }: JetStream): boolean {
  const cause = (error as { cause?: unknown }).cause
  const isUnheard = isNamed(cause, 'NoResponders')
  if (isUnheard) return client.info !== undefined && client.info.jetstream !== true
  return (
    cause instanceof JetStreamError &&
    (cause.errorCode === JETSTREAM_ERROR.NOT_ENABLED ||
      cause.errorCode === JETSTREAM_ERROR.NOT_ENABLED_FOR_ACCOUNT)
  )
}

function withoutJetStream(cause: unknown): DirtyRingError {
  return new DirtyRingError(
    'ERR_DIRTYRING_UNSUPPORTED',
    'this NATS server, or this account of it, has no JetStream, which keeps the messages. ' +
      'Start it with: nats-server -js -sd <folder>',
    { cause },
  )
}

function missing({ stream, subject }: CheckedOptions): RangeError {
  return outOfRange(
    'options.stream',
    'the name of a stream',
    stream,
    `The server has none of this name. Pass { create: true }, or make it: nats stream add ` +
      `${stream} --subjects '${subject}.*.*' --storage file --retention limits --discard old ` +
      `--max-age 24h --defaults`,
  )
}

/** What is wrong with a stream, each with what it must be. */
function faultsOf(
  { config }: StreamInfo,
  { stream, subject }: CheckedOptions,
  maxPayload: number | undefined,
): string[] {
  const faults: string[] = []
  const { retention, discard, max_msgs_per_subject = -1, max_msg_size = -1 } = config
  const edit = `nats stream edit ${stream}`
  if (retention !== 'limits')
    faults.push(`retention is "${retention}", it must be "limits": make another stream`)
  if (discard !== 'old')
    faults.push(`discard is "${discard}", it must be "old": ${edit} --discard old`)
  if (max_msgs_per_subject > 0)
    faults.push(
      `max_msgs_per_subject is ${max_msgs_per_subject}, it must be -1: ` +
        `${edit} --max-msgs-per-subject=-1`,
    )
  if (max_msg_size >= 0 && max_msg_size < MIN_BYTES)
    faults.push(
      `max_msg_size is ${max_msg_size}, it must be -1 or at least ${MIN_BYTES}: ` +
        `${edit} --max-msg-size=-1`,
    )
  if (maxPayload !== undefined && maxPayload < MIN_BYTES)
    faults.push(
      `server's max_payload is ${maxPayload}, it must be at least ${MIN_BYTES}: ` +
        `change it in the server's configuration`,
    )
  if (config.sealed === true) faults.push('messages are sealed: make another stream')
  if (config.mirror !== undefined && config.mirror !== null)
    faults.push('messages come from another stream, which it mirrors: name that one')
  const subjects = config.subjects ?? []
  if (!subjects.some((each) => covers(each, `${subject}.*.*`)))
    faults.push(
      `subjects are ${JSON.stringify(subjects)}, "${subject}.*.*" must be among them: ` +
        `${edit} --subjects '${subject}.*.*'`,
    )
  if (subjects.some((each) => covers(each, `${subject}.cut`)))
    faults.push(
      `subjects are ${JSON.stringify(subjects)}, and they take in "${subject}.cut", which only ` +
        `carries requests: ${edit} --subjects '${subject}.*.*'`,
    )
  return faults
}

/** Whether a pattern with `*` and `>` takes in all that another one takes in. */
export function covers(pattern: string, other: string): boolean {
  const [ours, theirs] = [pattern.split('.'), other.split('.')]
  for (const [i, part] of ours.entries()) {
    if (part === '>') return theirs.length > i
    if (theirs[i] === undefined || theirs[i] === '>') return false
    if (part !== '*' && part !== theirs[i]) return false
  }
  return ours.length === theirs.length
}
