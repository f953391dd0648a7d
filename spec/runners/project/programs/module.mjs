import { DirtyTracker } from 'dirtyring'

const tracker = await DirtyTracker.create()
tracker.openWriter().mark(7)
await tracker.consume((epoch) => console.log(...epoch.ids()))
await tracker.stop()
