import { type SharedWords, TRACKER_ID, TRACKER_ID_2 } from './map.js'

/**
 * A text that names the tracker to which a memory belongs, for use as a key in a Map. It goes by
 * the tracker's identity, because a buffer that a thread receives twice is two objects.
 */
export function trackerKey(words: SharedWords): string {
  return `${words[TRACKER_ID]},${words[TRACKER_ID_2]}`
}
