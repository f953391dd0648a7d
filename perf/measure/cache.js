/**
 * One fresh process, one web cache: see spec/threads/apps/web-cache-server.mjs, and its `kind`,
 * `rate` and `killEveryMs`.
 *
 *   node perf/measure/cache.js '{"kind":"dirtyring","rate":40000}'
 *
 * Prints one JSON line. `writesPerSecond` counts until each client has been told of the last write.
 * As fast as the workers go (rate 0) there is no time to warm up: what is left over from it would
 * count as well.
 */
import { runWebCache } from '../../spec/threads/apps/web-cache-server.mjs'
import { args, report, unlessQuick } from '../harness/args.js'

const { rate } = args
const warmSeconds = rate === 0 ? 0 : unlessQuick(1, 0.1)
const found = await runWebCache({ seconds: unlessQuick(3, 0.3), warmSeconds, ...args })
report({ ...args, ...found, writesPerSecond: (found.writes / found.ms) * 1000 })
