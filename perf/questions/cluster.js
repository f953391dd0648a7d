/** What does it cost to tell other processes? Questions to encode.js. */
import { grouped, median, show } from '../harness/tables.js'

const KINDS = [
  'fingerprints',
  'row ids',
  'pages in runs',
  'texts that begin alike',
  'texts, random letters',
]

/** How many bytes does a key take on its way to another process, and how long? */
export function encoding({ repeat, few, slow }) {
  const sizes = few([1000, 100_000], -1)
  const variants = few(KINDS, -1).flatMap((kind) => sizes.map((keys) => ({ kind, keys })))
  const runs = repeat('measure/encode.js', variants, slow)
  return {
    title: 'epoch.encode() and decodeEpoch(), on one thread each',
    rows: variants.map(({ kind, keys }, i) => ({
      kind,
      keys: grouped(keys),
      'bytes a key': show(runs[i], ({ bytesPerKey }) => bytesPerKey, 2),
      messages: median(runs[i], ({ messages }) => messages),
      'encode, M keys/s': show(runs[i], ({ encode }) => encode, 2),
      'decode, M keys/s': show(runs[i], ({ decode }) => decode, 2),
    })),
    notes: [
      'row ids: one of 40 of a table; pages in runs: 1 to 64 pages, and 50,000 between two runs; texts: 20 to 25 bytes',
      'Best of 15 passes in a process, because the first is mostly compilation. decode: until all keys are in a set that can be asked',
    ],
  }
}
