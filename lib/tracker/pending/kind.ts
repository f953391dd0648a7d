import type { Memory } from '../../memory/memory.js'
import type { Listeners } from '../events.js'
import type { Lifecycle } from '../lifecycle.js'
import type { PendingCall } from '../long-waits.js'
import type { Outbox } from '../outbox.js'

/**
 * One kind of thing that the tracker's thread waits for: seals, restores, reaps. `Control` has one
 * object of each kind in a list, and asks all of them. A new kind is a class that implements this,
 * and an entry in that list.
 */
export interface PendingKind {
  /** Settles the promises that the aggregator has answered. Throws if the memory is corrupt. */
  collect(): void
  /** Something of this kind is not settled yet. Meanwhile the tracker looks again and again. */
  readonly isPending: boolean
  /** A caller waits for a promise of this kind. Meanwhile the process stays alive. */
  readonly isAwaited: boolean
  /** Rejects every promise, because the aggregator cannot continue. */
  fail(reason: unknown): void
  /** The calls that are pending, for the warning about long waits. */
  waits(): PendingCall[]
}

/** What the kinds work with. `Control` implements it. */
export interface Context {
  readonly memory: Memory
  readonly outbox: Outbox
  readonly lifecycle: Lifecycle
  readonly listeners: Listeners
  /** Sends what can be sent, and settles what the aggregator has answered. */
  poke(): void
  /** Rejects all that is pending, because the aggregator cannot continue. */
  fail(reason: unknown): void
  /** Warns of calls that have waited for very long. */
  lookForLongWaits(): void
}
