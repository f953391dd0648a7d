/** The first wait, in ms. */
export const BACKOFF_MS_MIN = 10
const BACKOFF_MS_MAX = 1000

/**
 * How long to wait, in ms, before something is tried again that has failed so often in a row (1 or
 * more): 10 ms, which double to 1 s.
 */
export function backoffMs(failures: number): number {
  return Math.min(BACKOFF_MS_MIN * 2 ** (failures - 1), BACKOFF_MS_MAX)
}
