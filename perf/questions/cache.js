/** What does a server gain that tells its clients what has changed? Questions to cache.js. */
import { readFileSync } from 'node:fs'
import { median, percent, show } from '../harness/tables.js'

const SERVERS = [
  ['dirtyring', 'dirtyring'],
  ['set', 'a Set<string> of 20 ms a worker, posted; dropped on arrival'],
  ['arrays', 'arrays of 64 strings, posted; a Set<string>, dropped every 20 ms'],
]

/** Which way from the workers to the server's thread, all else being the same? */
export function cache({ repeat, few, slow }) {
  const loads = few([
    { rate: 4000 },
    { rate: 40_000 },
    // Short, because it can take many times as long until all that is posted meanwhile is dropped.
    { rate: 0, seconds: 1.5 },
    { rate: 40_000, killEveryMs: 300 },
  ])
  const servers = few(SERVERS)
  // All servers of one load alternate.
  const rows = loads.flatMap((load) => {
    const runs = repeat(
      'measure/cache.js',
      servers.map(([kind]) => ({ kind, ...load })),
      load.killEveryMs === undefined ? undefined : slow,
    )
    return servers.map(([kind, name], i) => ({
      'the changed keys': name,
      writes: nameOf(load),
      'K writes/s': show(runs[i], ({ writesPerSecond }) => writesPerSecond / 1000),
      'to a client: p50, ms': show(runs[i], ({ latencies }) => latencies.p50 / 1000),
      'p95, ms': show(runs[i], ({ latencies }) => latencies.p95 / 1000),
      'main thread, %': percent(median(runs[i], ({ mainShare }) => mainShare)),
      'CPU µs a write': show(runs[i], ({ cpuSeconds, writes }) => (cpuSeconds * 1e6) / writes, 2),
      'changes missed': runs[i].reduce((sum, { missed }) => sum + missed, 0),
      inexact: runs[i].reduce((sum, { everything }) => sum + everything, 0),
      'lines of glue': linesOfCode(kind),
    }))
  })
  return {
    title:
      'A web cache: two workers write rows, the main thread drops the changed pages and tells two clients',
    rows,
    notes: [
      'K writes/s: until each client has been told of the last one; to a client: from the write of a new row; main thread: what its event loop was busy; CPU: of the whole process, the clients included',
      'changes missed: rows whose last change a client was not told, all clients and runs together; inexact: how often a client was told that all may have changed',
      'lines of glue: of spec/threads/apps/web-cache-KIND.mjs, without comments and blank lines',
    ],
  }
}

function nameOf({ rate, killEveryMs }) {
  const pace = rate === 0 ? 'as fast as they go' : `${rate} a second`
  return killEveryMs === undefined ? pace : `${pace}, a worker terminated every ${killEveryMs} ms`
}

/** The files are formatted alike, and no line has code and a comment. */
function linesOfCode(kind) {
  const file = new URL(`../../spec/threads/apps/web-cache-${kind}.mjs`, import.meta.url)
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => !/^\s*($|\/\/|\/?\*)/.test(line)).length
}
