/**
 * The messages of a channel between two processes, on either side of it. The application's own
 * messages go over the same channel, and each side leaves them alone.
 */

// As wide as an EventEmitter's: it takes listeners of all events.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Listener = (...args: any[]) => void

/** A process's end of a channel: `process` in a child, a ChildProcess in its parent. */
export interface Channel {
  readonly connected?: boolean | undefined
  send(message: unknown, callback: (error: Error | null) => void): unknown
  on(event: string, listener: Listener): unknown
  off(event: string, listener: Listener): unknown
  listeners(event: string): readonly unknown[]
  emit(event: string, ...args: unknown[]): unknown
}

/** The property that each message of the library has; its value is the protocol's version. */
export const TAG = 'dirtyring/ipc'
const VERSION = 1

/** A message of the library, as it comes: only the tag and the hub's name are checked. */
export type Tagged = Readonly<Record<string, unknown>>

/** Marks the listeners of every copy of the library. */
const OURS = Symbol.for('dirtyring/ipc')

/**
 * Calls `onMessage` for each message of the library that is for the hub of this name, and
 * `onDisconnect` once when the channel is closed. Returns a function that ends both.
 *
 * Node keeps messages until a channel has its first listener for them. This listener is none for
 * the application's messages, so they are kept here until the application adds its own: by the first
 * of several taps.
 */
export function tap(
  channel: Channel,
  hub: string,
  onMessage: (message: Tagged) => void,
  onDisconnect: () => void,
): () => void {
  const held: unknown[][] = []
  let isOver = false
  const hasOthers = (): boolean =>
    channel.listeners('message').some((each) => !(OURS in (each as object)))
  const message = (...args: unknown[]): void => {
    const [value] = args
    if (isTagged(value)) {
      if (value.hub === hub) onMessage(value)
    } else if (channel.listeners('message')[0] === message && !hasOthers()) held.push(args)
  }
  const added = (event: unknown): void => {
    if (event === 'message') process.nextTick(handOver)
  }
  const handOver = (): void => {
    if (!hasOthers()) return
    for (const args of held.splice(0)) channel.emit('message', ...args)
    if (isOver) channel.off('newListener', added)
  }
  Object.assign(message, { [OURS]: true })
  channel.on('newListener', added)
  channel.on('message', message)
  channel.on('disconnect', onDisconnect)
  return () => {
    isOver = true
    channel.off('message', message)
    channel.off('disconnect', onDisconnect)
    if (held.length === 0) channel.off('newListener', added)
  }
}

function isTagged(value: unknown): value is Tagged {
  return typeof value === 'object' && value !== null && (value as Tagged)[TAG] === VERSION
}

/**
 * Sends a message of the library. Never throws: `onError` is called if the channel is closed, or
 * closes before the message is written.
 */
export function sendTo(
  channel: Channel,
  message: Tagged,
  onError: () => void = () => undefined,
): void {
  try {
    channel.send({ [TAG]: VERSION, ...message }, (error) => {
      if (error !== null && error !== undefined) onError()
    })
  } catch {
    process.nextTick(onError)
  }
}
