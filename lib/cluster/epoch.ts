import { BY_LIBRARY, checkByLibrary } from '../check.js'
import type { Clock } from '../epochs/clock.js'
import { settled } from '../epochs/common.js'
import type { Epoch, EpochKeys, InexactReason } from '../epochs/epoch.js'
import type { Key } from '../keys.js'
import { clockText } from './clock.js'
import { type News, type NodeReason, worse } from './ledger.js'
import { type KeyUnion, UnionKeys } from './union.js'

/**
 * What an epoch of a cluster says of one node.
 *
 * @example
 * ```js
 * function whoLostSomething(epoch) {
 *   return [...epoch.nodes].filter(([, { reason }]) => reason !== undefined).map(([node]) => node)
 * }
 * console.log(whoLostSomething({ nodes: new Map() }).length) // 0
 * ```
 */
export interface ClusterNode {
  /** Why the epoch is not exact for this node; undefined if it is. */
  readonly reason: NodeReason | undefined
  /** The newest tag of the node: see {@link PublishOptions.tag}. Undefined if there is none. */
  readonly tag: Uint8Array | undefined
  /** The publishers that have this label. One after the other, or several at once. */
  readonly instances: readonly ClusterInstance[]
}

/** What an epoch of a cluster says of one publisher. */
export interface ClusterInstance {
  /** See {@link Publisher.instance}. Empty if it is not known. */
  readonly instance: string
  /** Why the epoch is not exact for this instance; undefined if it is. */
  readonly reason: NodeReason | undefined
  /**
   * In ms since 1970, by the clock of the node: what the instance published before was in an
   * earlier epoch. If it is 0, nothing is known of the instance's past.
   *
   * A reader that has missed something can use it if each row has the time of its last change. It
   * reads the rows since the least `from` of all instances, less a margin. The margin covers the
   * longest transaction, the time to encode an epoch, and the difference of the clocks.
   */
  readonly from: number
  /**
   * This epoch goes up to here, by the clock of the node. If the instance is gone or missing: when
   * the reader said so, by the reader's clock.
   */
  readonly to: number
  /** The namespaces that it has declared; undefined: none, or they are not known. */
  readonly namespaces: readonly number[] | undefined
  /** Its newest tag. */
  readonly tag: Uint8Array | undefined
}

/** What an epoch asks of the reader that handed it out. */
export interface EpochKeeper {
  commit(epoch: ClusterEpoch): void
  restore(epoch: ClusterEpoch): void
}

/** What an epoch of a cluster is made of. */
export interface ClusterEpochParts {
  readonly keys: KeyUnion
  readonly id: number
  readonly news: readonly News[]
  /** The reader had no position, or lost it. */
  readonly isFresh: boolean
  readonly since: Clock | undefined
  /** See clockBytes(). */
  readonly clock: Uint8Array | undefined
  /** Messages with keys that are in it. */
  readonly epochs: number
  /** nowMs(): what was in the log before is in this epoch or an earlier one. */
  readonly asOfMs: number
  readonly keeper: EpochKeeper
}

/** The constructor, for the reader. */
export let makeClusterEpoch: (parts: ClusterEpochParts) => ClusterEpoch
/** What an epoch is made of, for the reader. */
export let partsOf: (epoch: ClusterEpoch) => ClusterEpochParts

/**
 * Holds the distinct keys that the nodes of a cluster have published, until the caller settles it.
 * The first `commit()` or `restore()` settles it; later calls of either do nothing.
 *
 * It has the members of a {@link SealedEpoch}, and says of each node whether it is exact. Its own
 * `precision` is the worst of the nodes': if one node has lost something, all keys may have
 * changed. If that node has declared its namespaces, only those are in `everythingIn`.
 *
 * The keys are in ordinary memory. `bigints` and `pairs` are views on it: do not use them after the
 * epoch is settled.
 *
 * @example
 * ```js
 * import { openCluster } from 'dirtyring/cluster'
 *
 * // Saves what any node has changed, and stores the position with the data.
 * async function checkpoint(source, db) {
 *   const cluster = openCluster({ source, since: db.get('clock') })
 *   await cluster.consume((epoch) => {
 *     if (epoch.exact) db.saveRows([...epoch.ids()])
 *     else db.saveAll() // epoch.nodes says which node has lost something
 *     db.set('clock', epoch.clock)
 *   })
 *   await cluster.close()
 * }
 * ```
 */
export class ClusterEpoch<K extends Key = Key> extends UnionKeys<K> implements Epoch<K> {
  /** The number of the epoch, from 0, in the life of its reader. */
  readonly id: number
  /**
   * What the epoch says of each node, by its label. It has the nodes that live, and those that were
   * heard or have lost something since the epoch before. A loss of an unknown node is under '?'.
   */
  readonly nodes: ReadonlyMap<string, ClusterNode>
  /** Always false, because close() of a reader hands out no last epoch. */
  readonly last = false
  /** Where the reader stood before; undefined: nowhere, so that the epoch is 'fresh'. */
  readonly since: Clock | undefined
  readonly #parts: ClusterEpochParts
  readonly #size: number
  readonly #exact: boolean
  readonly #reason: InexactReason | undefined
  readonly #precision: EpochKeys['precision']
  readonly #falsePositives: number
  readonly #everythingIn: readonly number[]
  #state: Epoch['state'] = 'sealed'
  #clock: Clock | undefined

  static {
    makeClusterEpoch = (parts) => new ClusterEpoch(BY_LIBRARY, parts)
    partsOf = (epoch) => epoch.#parts
  }

  private constructor(pass: typeof BY_LIBRARY, parts: ClusterEpochParts) {
    checkByLibrary(pass, 'ClusterEpoch', 'Call advanceEpoch() of a cluster.')
    super(parts.keys)
    this.#parts = parts
    this.id = parts.id
    this.since = parts.since
    this.nodes = nodesOf(parts)
    // After restore() the reader adds to these keys.
    const { size, exact, reason, precision, falsePositives, everythingIn } = parts.keys
    this.#size = size
    this.#exact = exact
    this.#reason = reason
    this.#precision = precision
    this.#falsePositives = falsePositives
    this.#everythingIn = everythingIn
  }

  /** Distinct keys listed: all of them if the epoch is exact, else a lower bound. */
  override get size(): number {
    return this.#size
  }

  /** Whether the list of keys is complete: of all nodes. */
  override get exact(): boolean {
    return this.#exact
  }

  /**
   * Why the epoch is not exact. 'fresh': the reader itself is fresh if `since` is undefined,
   * otherwise a node is. A node with a gap, and one that is gone or missing, counts as 'fault'.
   * `nodes` has the reason of each.
   */
  override get reason(): InexactReason | undefined {
    return this.#reason
  }

  /** What the keys are, compared with those that were marked: the worst of all nodes. */
  override get precision(): EpochKeys['precision'] {
    return this.#precision
  }

  /** The probability that `has()` is true for a key that was not marked, 0 to 1. */
  override get falsePositives(): number {
    return this.#falsePositives
  }

  /** The namespaces that changed as a whole. */
  override get everythingIn(): readonly number[] {
    return this.#everythingIn
  }

  /** 'sealed' until commit() or restore(); then 'committed' or 'restored', after the first call. */
  get state(): 'sealed' | 'committed' | 'restored' {
    return this.#state
  }

  /**
   * Where the reader stands once this epoch is dealt with. Store it with the data, and give it to
   * {@link openCluster} as `since`. At most 65,536 characters, about 100 for each live instance.
   */
  get clock(): Clock {
    this.#clock ??= clockText(this.#parts.clock)
    return this.#clock
  }

  /** Says that the keys were dealt with. Does nothing for a settled epoch. */
  commit(): void {
    if (this.#state !== 'sealed') return
    this.#state = 'committed'
    this.#parts.keeper.commit(this as ClusterEpoch)
  }

  /**
   * Gives the keys back, because they were not dealt with. The next epoch has them, and is inexact
   * if this one is. Does nothing after commit(), and after the reader's close().
   *
   * @returns a promise that resolves at once
   */
  restore(): Promise<void> {
    if (this.#state === 'sealed') {
      this.#state = 'restored'
      this.#parts.keeper.restore(this as ClusterEpoch)
    }
    return Promise.resolve()
  }

  /** Restores the epoch, unless it is settled. */
  [Symbol.dispose](): void {
    void this.restore()
  }

  /** Restores the epoch, unless it is settled. */
  async [Symbol.asyncDispose](): Promise<void> {
    return this.restore()
  }

  /** What console.log() prints: one line, and not the keys. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const { id, size, exact, state } = this
    return `ClusterEpoch { id: ${id}, size: ${size}, exact: ${exact}, state: '${state}' }`
  }

  /** @internal */
  protected override checkReadable(): void {
    if (this.#state !== 'sealed') throw settled(this.id, this.#state)
  }

  /** @internal */
  protected override get calledName(): string {
    return `epoch ${this.id}`
  }
}

/** The news of instances, by the label of their node. */
function nodesOf({ news, isFresh }: ClusterEpochParts): ReadonlyMap<string, ClusterNode> {
  const nodes = new Map<string, ClusterNode>()
  const tagged = new Map<string, number>()
  for (const { node, instance, from, to, namespaces, tag, tagIndex, ...each } of news) {
    const reason = isFresh ? 'fresh' : each.reason
    const of = { instance, reason, from, to, namespaces, tag }
    const before = nodes.get(node)
    const isNewer = tagIndex > (tagged.get(node) ?? -1)
    if (isNewer) tagged.set(node, tagIndex)
    nodes.set(node, {
      reason: worse(before?.reason, reason),
      tag: isNewer ? tag : before?.tag,
      instances: [...(before?.instances ?? []), of],
    })
  }
  return nodes
}
