/** Trackers that live at once, each with a thread: the kernel of each, or what create() says. */
import { DirtyTracker } from '../../../dist/index.js'
import { args, verdict } from './support.mjs'

const { count, kernel } = args
const trackers = []
const kernels = []
let message
for (let i = 0; i < count; i++) {
  try {
    const tracker = await DirtyTracker.create({ kernel, maxKeysPerEpoch: 1000, maxWriters: 8 })
    tracker.openWriter().mark(i)
    trackers.push(tracker)
    kernels.push(tracker.kernel)
  } catch (error) {
    kernels.push(error.code)
    message = error.message
  }
}
const last = await Promise.all(trackers.map((tracker) => tracker.stop()))
verdict({ kernels, keys: last.map((epoch) => [...epoch.ids()]), message })
