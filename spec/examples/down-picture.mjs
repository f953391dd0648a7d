/**
 * Draws docs/pictures/consumer-down.svg, as a part of `npm run pictures`: how precise a consumer's
 * backlog is, and what memory it takes, while the consumer is down and keys are marked. All points
 * are of one real run, on Linux.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { DirtyTracker } from '../../dist/index.js'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')

const ROOM = 2 ** 15
const FROM = 10_000
const TO = 10_000_000
const POINTS_A_DECADE = 12
/** Keys that the other consumer, which is not down, takes at once. */
const CUT = 20_000
/** Keys that are never marked: has() is asked for each of them. */
const ASKED = 50_000
const NEVER = 2 ** 31
const MIB = 2 ** 20

const samples = await run()
const sets = setSizes(samples.map(({ keys }) => keys))
const path = fileURLToPath(new URL('../../docs/pictures/consumer-down.svg', import.meta.url))
writeFileSync(path, pictureOf(samples, sets))
for (const [i, sample] of samples.entries())
  console.log(JSON.stringify({ ...sample, setMiB: Number(sets[i].toFixed(1)) }))
console.log('docs/pictures/consumer-down.svg')

async function run() {
  const options = { maxConsumers: 2, maxKeysPerEpoch: ROOM, maxStringsPerEpoch: 0 }
  const tracker = await DirtyTracker.create(options)
  const alive = tracker.consumer('alive', { from: 'now' })
  const down = tracker.consumer('down', { from: 'now' })
  const writer = tracker.openWriter()
  const found = []
  let marked = 0
  for (let power = 0; FROM * 10 ** (power / POINTS_A_DECADE) <= TO * 1.001; power++) {
    const keys = Math.round(FROM * 10 ** (power / POINTS_A_DECADE))
    while (marked < keys) {
      const ids = Uint32Array.from({ length: Math.min(CUT, keys - marked) }, (_, i) => marked + i)
      writer.markMany(ids, { atomic: false })
      marked += ids.length
      await alive.consume(checkAlive)
    }
    // A look at what waits for it: what is given back waits on.
    const epoch = await down.advanceEpoch()
    const { precision, falsePositives } = epoch
    for (let id = 0; id < marked; id += 1 + Math.floor(marked / 1000))
      if (!epoch.has(id)) throw new Error(`key ${id} of ${marked} is missing`)
    let wrong = 0
    for (let id = NEVER; id < NEVER + ASKED; id++) if (epoch.has(id)) wrong++
    await epoch.restore()
    const mib = residentBytes(tracker.stats().bytes.total) / MIB
    found.push({ keys, precision, falsePositives, wrong: wrong / ASKED, mib })
  }
  await tracker.stop()
  return found
}

function checkAlive({ precision }) {
  if (precision !== 'exact') throw new Error(`the other consumer's epoch is ${precision}`)
}

/** Of the memory of so many bytes that is reserved: Linux tells it by mapping. */
function residentBytes(reserved) {
  const mappings = readFileSync('/proc/self/smaps', 'utf8').split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)
  const size = new RegExp(`^Size: +${reserved / 1024} kB$`, 'm')
  const own = mappings.filter((mapping) => size.test(mapping))
  if (own.length !== 1) throw new Error(`${own.length} mappings have ${reserved} bytes`)
  return Number(/^Rss: +(\d+) kB$/m.exec(own[0])[1]) * 1024
}

/** What a Set with the same ids takes of the heap, in MiB. */
function setSizes(counts) {
  gc()
  const before = process.memoryUsage().heapUsed
  const set = new Set()
  return counts.map((count) => {
    for (let id = set.size; id < count; id++) set.add(id)
    gc()
    return (process.memoryUsage().heapUsed - before) / MIB
  })
}

function pictureOf(points, setMib) {
  const [left, right] = [62, 464]
  const upper = { top: 106, bottom: 266 }
  const lower = { top: 336, bottom: 496 }
  const decades = Math.log10(TO / FROM)
  const x = (keys) => left + ((right - left) * Math.log10(keys / FROM)) / decades
  const percentY = (part) => upper.bottom - (upper.bottom - upper.top) * part
  const mibY = (mib) => lower.bottom - ((lower.bottom - lower.top) * (Math.log10(mib) + 1)) / 4
  const line = (list, y, name) =>
    `<polyline class="${name}" points="${list.map((value, i) => `${x(points[i].keys).toFixed(1)},${y(value).toFixed(1)}`).join(' ')}"/>`
  const text = (at, y, anchor, what, name = 'note') =>
    `<text x="${at.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" class="${name}">${what}</text>`
  const grid = (y) => `<path class="grid" d="M${left} ${y.toFixed(1)}H${right}"/>`

  /** Where a precision begins: in the middle of the two points around. */
  const begins = (precision) => {
    const at = points.findIndex((point) => point.precision === precision)
    if (at < 1) throw new Error(`no point is the first that is ${precision}`)
    return Math.sqrt(points[at - 1].keys * points[at].keys)
  }
  const edges = [FROM, begins('superset'), begins('everything'), TO].map(x)
  const bands = ['exact', 'superset', 'everything'].flatMap((name, i) => [
    ...[upper, lower].map(
      ({ top, bottom }) =>
        `<rect x="${edges[i].toFixed(1)}" y="${top}" width="${(edges[i + 1] - edges[i]).toFixed(1)}" height="${bottom - top}" class="${name}"/>`,
    ),
    text((edges[i] + edges[i + 1]) / 2, upper.top - 10, 'middle', name, 'band'),
  ])
  const ticks = ['10,000', '100,000', '1 million', '10 million'].flatMap((name, i) => {
    const anchor = i === 0 ? 'start' : i === 3 ? 'end' : 'middle'
    const at = left + ((right - left) * i) / decades
    return [
      text(at, lower.bottom + 20, anchor, name),
      text(at, lower.bottom + 62, anchor, ['1 s', '10 s', '100 s', '17 min'][i]),
    ]
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 576" width="480" height="576" font-family="system-ui, sans-serif" font-size="15" role="img" aria-labelledby="what">
<title id="what">While a consumer is down and keys are marked, its backlog is exact, then a superset, then everything. The memory of the tracker soon grows no more; that of a Set does.</title>
<style>
text { fill: #1f2328 } .title { font-weight: 600; font-size: 16px } .note { fill: #59636e; font-size: 14px } .band { font-weight: 600 }
.card { fill: #fff; stroke: #d1d9e0 } .grid { stroke: #afb8c1; stroke-width: .5 } polyline { fill: none; stroke-width: 2.5; stroke-linejoin: round }
.exact { fill: #dff3ea } .superset { fill: #fbf0dd } .everything { fill: #fbe3dd }
.ours { stroke: #0b6e4f } .set { stroke: #3d5a80; stroke-dasharray: 6 4 } text.ours, text.set { stroke: none; font-weight: 600 } text.ours { fill: #0b6e4f } text.set { fill: #3d5a80 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .note { fill: #9198a1 } .card { fill: #0d1117; stroke: #3d444d } .grid { stroke: #6e7681 }
.exact { fill: #10281f } .superset { fill: #33270f } .everything { fill: #3a1a14 }
.ours { stroke: #3fbf92 } .set { stroke: #7fa8d9 } text.ours { fill: #3fbf92 } text.set { fill: #7fa8d9 }
}
</style>
<rect x="0.5" y="0.5" width="479" height="575" rx="10" class="card"/>
${text(16, 30, 'start', 'One consumer is down, and keys are marked', 'title')}
${text(16, 56, 'start', `Room for ${ROOM.toLocaleString('en')} keys; has() is wrong about keys not marked:`)}
${bands.join('\n')}
${[0, 0.5, 1].map((part) => grid(percentY(part)) + text(left - 8, percentY(part) + 5, 'end', `${part * 100} %`)).join('\n')}
${line(
  points.map(({ wrong }) => wrong),
  percentY,
  'ours',
)}
${text(16, lower.top - 18, 'start', 'Memory, MiB')}
${[0.1, 1, 10, 100, 1000].map((mib) => grid(mibY(mib)) + text(left - 8, mibY(mib) + 5, 'end', mib.toLocaleString('en'))).join('\n')}
${line(
  points.map(({ mib }) => mib),
  mibY,
  'ours',
)}
${line(
  setMib.map((mib) => Math.max(mib, 0.1)),
  mibY,
  'set',
)}
${text(right - 8, mibY(points.at(-1).mib) + 22, 'end', 'the tracker', 'ours')}
${text(right - 8, lower.top + 18, 'end', 'a Set of the keys', 'set')}
${ticks.join('\n')}
${text(left, lower.bottom + 40, 'start', 'keys marked; at 10,000 a second that takes:')}
</svg>
`
}
