/** What changed, by way of this library. See web-cache-server.mjs for what each function does. */
import { DirtyTracker, openWriter } from 'dirtyring'

export const create = (options) => DirtyTracker.create({ keys: 'string', ...options })

export async function receive(tracker, everyMs, drop) {
  for await (const epoch of tracker.epochs({ everyMs })) {
    drop(epoch.exact ? epoch : undefined)
    epoch.commit()
  }
}

export const stop = (tracker) => tracker.stop()

export const open = ({ handle }) => openWriter(handle)
