import { randomBytes } from 'node:crypto'
import { checkBag, checkChoice, checkFunction, checkWhole } from '../check.js'
import { isInstance, isLabel, KIND } from '../cluster/envelope.js'
import type { EpochSink, EpochSource, LogMessage, LogRead } from '../cluster/log.js'
import { invalidArg, isDirtyRingError, isRevoked, outOfRange } from '../errors.js'
import { abortable, type AbortSignalLike, throwIfAborted } from '../signal.js'
import { clearTimeout, setTimeout, unref } from '../timers.js'
import { Child } from './child.js'
import { type Entry, MessageLog } from './message-log.js'
import { away, closed, hubName, MESSAGE_BYTES_MAX, READ_BYTES, tooLarge } from './settings.js'
import type { Channel } from './tap.js'

// As wide as an EventEmitter's: it takes listeners of all events.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Listener = (...args: any[]) => void

/**
 * Stands for a process that this one has started: the ChildProcess of `child_process.fork()`, or a
 * Worker of node:cluster.
 */
export interface IpcChild {
  /** Sends a message to the process. */
  send(message: never, callback?: (error: Error | null) => void): unknown
  /** Adds a listener: for 'message', say. */
  on(event: string, listener: Listener): unknown
}

/** Stands for `node:cluster` in the primary process. */
export interface IpcCluster {
  /** Starts a worker. The hub does not call it. */
  fork(env?: unknown): unknown
  /** Those that live. */
  readonly workers?: Readonly<Record<string, IpcChild | undefined>> | undefined
  /** Adds a listener; the hub listens to 'fork'. */
  on(event: string, listener: Listener): unknown
  /** Removes it again. */
  off(event: string, listener: Listener): unknown
}

/** Options of {@link ipcHub}. */
export interface IpcHubOptions {
  /** The name of the hub, for a process with several hubs; 1 to 64 characters. Default 'dirty'. */
  readonly name?: string | undefined
  /**
   * The most memory that the log takes, in bytes, 2^20 to 2^32. The hub drops the oldest messages
   * first. A reader that has not read them gets everything once. Default 2^26.
   */
  readonly maxBytes?: number | undefined
}

/**
 * Holds the log of a cluster whose nodes are this process and those that it has started. It is the
 * {@link EpochSource} of a reader in this process.
 */
export interface IpcHub extends EpochSource {
  /**
   * Lets a process publish and read: a ChildProcess, or a Worker of node:cluster. A second call for
   * the same process does nothing. The hub forgets the process when its channel is closed.
   *
   * @throws TypeError for anything else, and for a process without a channel. Start it with
   * `fork()`, or with `stdio: [0, 1, 2, 'ipc']`
   * @throws RangeError if another hub of the same name has the process
   */
  add(child: IpcChild): void
  /** Makes a sink for a publisher in this very process. */
  sink(): EpochSink
  /** Makes one more source, for another reader in this process; closing it leaves the hub open. */
  source(): EpochSource
  /**
   * Calls `listener` when a process sends what no sink and no source sends. The message is dropped.
   *
   * @returns a function that removes the listener
   */
  on(event: 'warning', listener: (event: IpcWarning) => void): () => void
  /**
   * Ends the log. Sinks and sources of children reject with `ERR_DIRTYRING_AWAY` until the parent
   * has another hub.
   */
  close(): Promise<void>
}

/** What {@link IpcHub.on} tells. */
export interface IpcWarning {
  /** What was wrong, in a sentence. */
  readonly message: string
  /** The operating system's number of the process that sent it. */
  readonly pid: number | undefined
}

/**
 * Makes the hub of a cluster on one machine, without any server. The hub has a log in the memory of
 * this process. The processes that this one starts append to it, and read from it, over Node's
 * channels. It works with both kinds of `serialization`; 'advanced' is faster for large epochs.
 *
 * - `ipcHub(cluster)`: the workers of node:cluster, those that are forked later too
 * - `ipcHub(child)` or `ipcHub([child, other])`: what `child_process.fork()` has started
 * - `ipcHub()`: none yet; see {@link IpcHub.add}
 *
 * Make the hub before the children start, or right after that: until it is there, their publishers
 * wait. The log is memory: when this process ends, the log does.
 *
 * If a child's channel closes before its publishers do, their instances are 'gone' at once, and
 * readers take everything once. A child that lives on without its channel cannot publish any more.
 *
 * A reader that closes also closes its source. Give it `hub.source()` to keep the hub open.
 *
 * @param from - whose messages to take
 * @param options - see {@link IpcHubOptions}
 * @returns the hub, which is the source of a reader in this process
 * @throws TypeError or RangeError if an argument is not allowed
 *
 * @example
 * ```js
 * // main.js
 * import { fork } from 'node:child_process'
 * import { once } from 'node:events'
 * import { openCluster } from 'dirtyring/cluster'
 * import { ipcHub } from 'dirtyring/ipc'
 *
 * const child = fork(new URL('child.js', import.meta.url), { serialization: 'advanced' })
 * const reader = openCluster({ source: ipcHub(child), from: 'now' })
 * await reader.ready()
 * await once(child, 'exit')
 * await reader.consume((epoch) => console.log(epoch.exact, ...epoch)) // true user:7
 * await reader.close()
 * ```
 * ```js
 * // child.js
 * import { DirtyTracker } from 'dirtyring'
 * import { publishEpochs } from 'dirtyring/cluster'
 * import { ipcSink } from 'dirtyring/ipc'
 *
 * const tracker = await DirtyTracker.create({ maxConsumers: 1 })
 * const to = { sink: ipcSink(), everyMs: 50 }
 * const publisher = await publishEpochs(tracker.consumer('cluster'), to)
 * tracker.openWriter().mark('user:7')
 * await tracker.stop()
 * await publisher.close()
 * ```
 */
export function ipcHub(
  from?: IpcCluster | IpcChild | Iterable<IpcChild>,
  options: IpcHubOptions = {},
): IpcHub {
  const { name, maxBytes = 2 ** 26 } = checkBag('options', options, ['name', 'maxBytes'])
  return new Hub(
    from,
    hubName('options.name', name),
    checkWhole('options.maxBytes', maxBytes, 2 ** 20, 2 ** 32),
  )
}

/** The owner of an instance, which may append under it: a sink, and the others of its process. */
export interface Owner {
  /** Whether its sink is open, and the channel too. */
  readonly isThere: boolean
  /** The identity of the process that has the sink; undefined: this process. */
  readonly of: symbol | undefined
}

interface Instance {
  owner: Owner
  /** 'closed': its last message is CLOSE. 'left': its sink was closed, and it has no CLOSE. */
  state: 'live' | 'gone' | 'closed' | 'left'
  /** When the state changed last, in the hub's changes. */
  changed: number
  last: LogMessage
  /** What the log has of `last`. */
  entry: Entry
}

/** Which hubs a channel or a cluster has, by name. */
const taken = new WeakMap<object, Set<string>>()

class Hub implements IpcHub {
  readonly name: string
  readonly #log: MessageLog
  readonly #instances = new Map<string, Instance>()
  readonly #children = new Map<Channel, Child>()
  readonly #cluster: IpcCluster | undefined
  /** Reads that wait for a message. */
  readonly #waiting = new Set<() => void>()
  readonly #cuts = new Set<(request: string) => void>()
  readonly #warned = new Set<(event: IpcWarning) => void>()
  /** Counts the changes of `#instances`. */
  #changes = 0
  /** The change that removed an instance last. */
  #removed = 0
  #isClosed = false

  constructor(from: unknown, name: string, maxBytes: number) {
    this.name = name
    this.#log = new MessageLog(`ipc-${randomBytes(12).toString('hex')}`, maxBytes, (entry) =>
      this.#trimmed(entry),
    )
    if (from === undefined) return
    const cluster = clusterOf(from)
    try {
      if (cluster === undefined) {
        this.#addAll(from)
        return
      }
      claim(cluster, name, 'from')
      this.#cluster = cluster
      cluster.on('fork', this.#forked)
      for (const worker of Object.values(cluster.workers ?? {})) this.#forked(worker)
    } catch (error) {
      void this.close() // at once: the caller has no hub to close
      throw error
    }
  }

  get identity(): string {
    return this.#log.identity
  }

  readonly #forked = (worker: IpcChild | undefined): void => {
    // A worker can end before this event.
    const channel = channelOf(worker)
    if (channel?.connected === true) this.#open(channel)
  }

  #addAll(from: unknown): void {
    try {
      for (const child of childrenOf(from)) this.add(child)
    } catch (error) {
      // A detached array, say, throws when it is walked.
      if (isTypeError(error) && !isDirtyRingError(error)) throw notChildren(from)
      throw error
    }
  }

  add(child: IpcChild): void {
    this.#check()
    const channel = channelOf(child)
    if (channel === undefined)
      throw invalidArg(
        'child',
        'a ChildProcess or a Worker of node:cluster',
        child,
        'A Worker of node:worker_threads is a part of this process: give it the tracker’s handle.',
      )
    if (channel.connected !== true)
      throw invalidArg(
        'child',
        'a process with an open channel',
        child,
        'Start it with fork(), and add it right after that.',
      )
    this.#open(channel)
  }

  #open(channel: Channel): void {
    if (this.#children.has(channel)) return
    claim(channel, this.name, 'child')
    const child = new Child(channel, this, () => {
      this.#children.delete(channel)
      release(channel, this.name)
      this.#gone(child)
    })
    this.#children.set(channel, child)
  }

  // ------------------------------------------------------------------------------------ appending
  /** Appends for a sink, whose owner may do that. */
  append(owner: Owner, message: LogMessage, after: number): 'appended' | 'refused' {
    this.#check()
    const { node, instance, n, bytes } = message
    if (bytes.length > MESSAGE_BYTES_MAX) throw tooLarge(bytes.length)
    const known = this.#instances.get(instance)
    if (known !== undefined && known.owner.of !== owner.of && known.owner.isThere)
      throw away(`another process publishes as ${instance}, and its sink is open`)
    const state = bytes[KIND_AT] === KIND.CLOSE ? 'closed' : 'live'
    if (known?.last.n === n && isEqual(known.last.bytes, bytes)) {
      // Its answer was late or lost. Or the publisher goes on with it from another sink.
      if (known.state !== state) known.changed = ++this.#changes
      Object.assign(known, { owner, state })
    } else {
      if ((known?.last.n ?? -1) !== after) return 'refused'
      const changed = known?.state === state ? known.changed : ++this.#changes
      const entry = { node, instance, bytes }
      this.#instances.set(instance, { owner, state, changed, last: message, entry })
      this.#log.append(entry)
    }
    this.#wake()
    return 'appended'
  }

  last(instance: string): LogMessage | undefined {
    this.#check()
    return this.#instances.get(instance)?.last
  }

  /** The channel of a process is closed: those of its publishers that have not closed are gone. */
  #gone(child: Child): void {
    let isNews = false
    for (const each of this.#instances.values()) {
      if (each.owner.of !== child.identity || each.state !== 'live') continue
      each.state = 'gone'
      each.changed = ++this.#changes
      isNews = true
    }
    if (isNews) this.#wake()
  }

  /**
   * A sink is closed. Its instances without a CLOSE may go on over another sink, so the hub has no
   * opinion of them: readers wait for `goneMs`.
   */
  left(owner: Owner): void {
    for (const each of this.#instances.values()) {
      if (each.owner !== owner || each.state !== 'live') continue
      each.state = 'left'
      each.changed = ++this.#changes
    }
  }

  /** Forgets an instance that has ended, once the log has nothing of it. */
  #trimmed(entry: Entry): void {
    const { instance } = entry
    const known = this.#instances.get(instance!)! // it has this message at least
    if (known.entry !== entry || known.state === 'live') return
    this.#instances.delete(instance!)
    this.#removed = ++this.#changes
  }

  sink(): EpochSink {
    this.#check()
    const owner = { isThere: true, of: undefined }
    let known: { readonly instance: string; readonly n: number } | undefined
    const cuts = new Set<(request: string) => void>()
    const check = (): void => {
      if (!owner.isThere) throw closed('sink')
    }
    return {
      maxMessageBytes: MESSAGE_BYTES_MAX,
      append: async (message) => {
        check()
        const { instance, n } = message
        checkMessage(message)
        const after = known?.instance === instance ? known.n : n - 1
        // The caller may use its bytes again.
        const bytes = Uint8Array.from(message.bytes)
        const result = this.append(owner, { ...message, bytes }, after)
        if (result === 'appended') known = undefined
        return result
      },
      last: async (instance) => {
        check()
        const last = this.last(instance)
        known = { instance, n: last?.n ?? -1 }
        return last
      },
      onCut: (cut) => {
        const each = (request: string): void => cut(request)
        cuts.add(each)
        this.#cuts.add(each)
        return () => {
          cuts.delete(each)
          this.#cuts.delete(each)
        }
      },
      close: async () => {
        owner.isThere = false
        this.left(owner)
        for (const cut of cuts) this.#cuts.delete(cut)
        cuts.clear()
      },
    }
  }

  // -------------------------------------------------------------------------------------- reading
  read(
    after: string | undefined,
    { waitMs, signal }: { readonly waitMs: number; readonly signal?: AbortSignalLike | undefined },
  ): Promise<LogRead> {
    return this.readSome(after, waitMs, signal, READ_BYTES)
  }

  async readSome(
    after: string | undefined,
    waitMs: number,
    signal: AbortSignalLike | undefined,
    maxBytes: number,
  ): Promise<LogRead> {
    this.#check()
    throwIfAborted(signal)
    const found = this.#log.read(after, maxBytes)
    if (found.messages.length > 0 || found.lost || waitMs <= 0) return found
    await abortable<undefined>(signal, ({ resolve }) => {
      const end = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(end)
        resolve(undefined)
      }
      const timer = setTimeout(end, waitMs)
      unref(timer)
      this.#waiting.add(end)
      return () => {
        clearTimeout(timer)
        this.#waiting.delete(end)
        return true
      }
    })
    this.#check()
    return this.#log.read(found.position, maxBytes)
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }

  nodes(): ReadonlyMap<string, 'live' | 'gone'> {
    const nodes = new Map<string, 'live' | 'gone'>()
    for (const [instance, { state }] of this.#instances)
      if (state === 'live' || state === 'gone') nodes.set(instance, state)
    return nodes
  }

  /** What has changed since a change; all instances, if some are forgotten since then. */
  nodesSince(change: number): {
    readonly change: number
    readonly all: boolean
    readonly live: readonly string[]
    readonly gone: readonly string[]
    readonly left: readonly string[]
  } {
    const all = this.#removed > change
    const live: string[] = []
    const gone: string[] = []
    const left: string[] = []
    if (all || change < this.#changes)
      for (const [instance, { state, changed }] of this.#instances) {
        if (!all && changed <= change) continue
        if (state === 'gone') gone.push(instance)
        // A closed one does not need an opinion; one that was 'live' may stay so.
        else if (state === 'live') live.push(instance)
        else if (state === 'left') left.push(instance)
      }
    return { change: this.#changes, all, live, gone, left }
  }

  source(): EpochSource {
    this.#check()
    const over = new AbortController()
    const check = (): void => {
      if (over.signal.aborted) throw closed('source')
    }
    return {
      read: async (after, options) => {
        check()
        return this.read(after, options)
      },
      nodes: () => this.nodes(),
      requestCut: async (request) => {
        check()
        return this.requestCut(request)
      },
      close: async () => over.abort(),
    }
  }

  async requestCut(request: string): Promise<void> {
    this.#check()
    for (const child of this.#children.values()) child.cut(request)
    for (const cut of [...this.#cuts]) cut(request)
  }

  // -------------------------------------------------------------------------------------- ending
  on(event: 'warning', listener: (event: IpcWarning) => void): () => void {
    checkChoice('event', event, ['warning'])
    checkFunction('listener', listener)
    const each = (warning: IpcWarning): void => listener(warning)
    this.#warned.add(each)
    return () => void this.#warned.delete(each)
  }

  warn(message: string, pid: number | undefined): void {
    for (const warned of [...this.#warned]) warned({ message, pid })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    if (this.#cluster !== undefined) {
      this.#cluster.off('fork', this.#forked)
      release(this.#cluster, this.name)
    }
    for (const [channel, child] of this.#children) {
      child.close()
      release(channel, this.name)
    }
    this.#children.clear()
    this.#cuts.clear()
    this.#wake()
  }

  #check(): void {
    if (this.#isClosed) throw closed('hub')
  }
}

export type { Hub }

const KIND_AT = 4

/** Checks a message that a publisher of this process appends. */
function checkMessage({ node, instance, n, bytes }: LogMessage): void {
  if (!isLabel(node)) throw outOfRange('message.node', 'the label of a node', node)
  if (!isInstance(instance)) throw outOfRange('message.instance', '32 hexadecimal digits', instance)
  checkWhole('message.n', n, 0, Number.MAX_SAFE_INTEGER)
  if (!(bytes instanceof Uint8Array)) throw invalidArg('message.bytes', 'a Uint8Array', bytes)
}

/** Marks a channel or a cluster as served by the hub of this name. */
function claim(target: object, name: string, argument: string): void {
  const names = taken.get(target) ?? new Set()
  if (names.has(name))
    throw outOfRange(
      argument,
      `without a hub of the name '${name}'`,
      target,
      'Close that hub, or pass another { name }.',
    )
  taken.set(target, names.add(name))
}

function release(target: object, name: string): void {
  taken.get(target)!.delete(name)
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  const isOne = (typeof value === 'object' || typeof value === 'function') && value !== null
  return isOne && !isRevoked(value)
}

/** `node:cluster`, also as `import * as cluster` gives it. */
function clusterOf(from: unknown): IpcCluster | undefined {
  const target = isObject(from) && isObject(from.default) ? from.default : from
  if (!isObject(target) || typeof target.fork !== 'function' || typeof target.on !== 'function')
    return undefined
  if (target.isPrimary === false)
    throw invalidArg(
      'from',
      'node:cluster in its primary',
      from,
      'This process is one of its workers: it has ipcSink() and ipcSource().',
    )
  return target as unknown as IpcCluster
}

function childrenOf(from: unknown): Iterable<IpcChild> {
  if (isObject(from) && Symbol.iterator in from) return from as unknown as Iterable<IpcChild>
  if (channelOf(from) !== undefined) return [from as IpcChild]
  throw notChildren(from)
}

/** Of any realm. */
function isTypeError(error: unknown): boolean {
  return isObject(error) && error.name === 'TypeError'
}

function notChildren(from: unknown): TypeError {
  return invalidArg('from', 'node:cluster, a ChildProcess or a list of those', from)
}

/** The channel of a ChildProcess or of a Worker of node:cluster. */
function channelOf(child: unknown): Channel | undefined {
  const target = isObject(child) && isObject(child.process) ? child.process : child
  const isChannel =
    isObject(target) &&
    ['send', 'on', 'off', 'emit', 'listeners'].every((name) => typeof target[name] === 'function')
  return isChannel ? (target as unknown as Channel) : undefined
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
