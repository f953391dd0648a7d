/** An aggregator that runs on the calling thread. */
export interface Hosted {
  /** Handles up to `budget` tokens. */
  run(budget: number): unknown
}

/** Tokens that an aggregator handles between two looks at the clock. */
export const TOKENS_PER_RUN = 1024

/** The aggregators of this very thread. A thread that waits for one of them would never wake. */
export const hosted = new Set<Hosted>()

/** Whether waiting without pumping would be waiting for this thread itself. */
export function hostsAny(): boolean {
  return hosted.size > 0
}

/** Lets this thread's aggregators make the room that a writer of the thread waits for. */
export function pumpHosted(): void {
  for (const aggregator of hosted) {
    try {
      aggregator.run(TOKENS_PER_RUN)
    } catch {
      // The aggregator's own tracker learns that it cannot continue. The writer may be another
      // tracker's, which has nothing to do with it.
    }
  }
}
