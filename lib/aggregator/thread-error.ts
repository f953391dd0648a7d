import { setTimeout } from '../timers.js'

/** No caller awaits the aggregator. Its error ends the thread, which the tracker's thread sees. */
export function endWith(error: unknown): void {
  setTimeout(() => {
    throw error
  })
}
