/** The web cache, as the spec asks for it. */
import { args, verdict } from '../programs/support.mjs'
import { runWebCache } from './web-cache-server.mjs'

const { latencies, ...found } = await runWebCache(args)
verdict({ ...found, told: latencies.count })
