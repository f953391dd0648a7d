/** A page that the user leaves, and to which Back returns. */
import { DirtyTracker } from 'dirtyring'

const tracker = await DirtyTracker.create({ maxKeysPerEpoch: 1000, flushIntervalMs: 0 })
const writer = tracker.openWriter()

globalThis.persisted = new Promise((resolve) =>
  addEventListener('pageshow', ({ persisted }) => resolve(persisted)),
)

/** Marks, cuts, and returns the epoch's keys. */
globalThis.round = async (id) => {
  writer.mark(id)
  const epoch = await tracker.advanceEpoch()
  const ids = [...epoch.ids()]
  epoch.commit()
  return ids
}

/** Marks a key that is staged when the page is left. */
globalThis.stage = (id) => writer.mark(id)
globalThis.ready = true
