import { type AbortSignalLike, until } from '../../signal.js'
import { publishOwn } from '../../writer/lanes.js'
import { forWriters, type PendingCall } from '../long-waits.js'
import { askToPublish, isPublished, type StagedMark, stagedMarks } from '../outbox.js'
import type { Context, PendingKind } from './kind.js'

const LOOK_MS = 10

/**
 * Calls of flushed(). They wait for writers, not for the aggregator. Each call looks by a timer of
 * its own, so the tracker's poll has nothing to collect.
 */
export class Flushes implements PendingKind {
  readonly isPending = false
  readonly isAwaited = false
  readonly #context: Context
  /** For each call, the staged marks that it waits for. */
  readonly #calls = new Set<readonly StagedMark[]>()

  constructor(context: Context) {
    this.#context = context
  }

  /** Resolves when everything that open writers have staged now is published. */
  async request(signal: AbortSignalLike | undefined): Promise<void> {
    const { memory, outbox, lifecycle } = this.#context
    const marks = stagedMarks(outbox)
    this.#calls.add(marks)
    const ended = until(
      () => {
        this.#context.poke() // notices that the aggregator has failed
        lifecycle.checkRunning()
        publishOwn(memory)
        if (marks.every((mark) => isPublished(outbox, mark))) return true
        askToPublish(outbox)
        this.#context.lookForLongWaits()
        return false
      },
      LOOK_MS,
      signal,
    )
    await ended.finally(() => this.#calls.delete(marks))
  }

  collect(): void {
    // Each call looks by itself.
  }

  fail(): void {
    // Each call rejects at its next look.
  }

  waits(): PendingCall[] {
    const pending: PendingCall[] = []
    for (const marks of this.#calls) {
      const late = marks.filter((mark) => !isPublished(this.#context.outbox, mark))
      const writers = late.map(({ writer }) => writer)
      const forWhat = (): string => forWriters(writers)
      if (writers.length > 0) pending.push({ call: 'flushed()', wait: marks, forWhat })
    }
    return pending
  }
}
