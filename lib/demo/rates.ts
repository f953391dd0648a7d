/** The time over which a rate is measured: longer than a redraw, so that bars don't tremble. */
const WINDOW_MS = 1000

interface Sample {
  readonly at: number
  readonly marked: number
  readonly waits: number
}

/** Computes how fast each thread marks, from samples of its counts. */
export class Rates {
  readonly #samples = new Map<number, Sample[]>()

  /**
   * Returns the marks per second within the last second, and whether a mark has slept for room
   * since the previous call.
   */
  look(threadId: number, now: Sample): { perSecond: number; waited: boolean } {
    let samples = this.#samples.get(threadId)
    if (samples === undefined) this.#samples.set(threadId, (samples = []))
    const before = samples.at(-1)
    samples.push(now)
    while (samples.length > 2 && now.at - samples[0].at > WINDOW_MS) samples.shift()
    const [first] = samples
    const ms = now.at - first.at
    return {
      perSecond: ms === 0 ? 0 : ((now.marked - first.marked) / ms) * 1000,
      waited: before !== undefined && now.waits > before.waits,
    }
  }
}
