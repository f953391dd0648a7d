import { nodePlatform } from './node.js'
import type { Platform } from './platform.js'
import { threadsOfNode } from './threads.js'
import { webPlatform } from './web.js'

/**
 * Chosen when the library is loaded, by what the host has: a bundler that is told nothing, or is
 * told of another host than the one that runs its output, chooses nothing.
 */
export const platform: Platform =
  threadsOfNode === undefined ? webPlatform() : nodePlatform(threadsOfNode)
