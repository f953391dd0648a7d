import { nodeWatching } from './node.js'
import type { Watching } from './platform.js'
import { threadsOfNode } from './threads.js'
import { webWatching } from './web.js'

/** Chosen as current.ts chooses the platform. */
export const watching: Watching =
  threadsOfNode === undefined ? webWatching() : nodeWatching(threadsOfNode)
