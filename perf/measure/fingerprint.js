/** What fingerprint() costs, by kind and length of the key. ns a call; see bench.js. */
import { fingerprint } from '../../dist/index.js'
import { bench, each } from '../harness/bench.js'

const KEYS = 1024
const LENGTHS = [8, 16, 32, 128]
const texts = (length) =>
  Array.from({ length: KEYS }, (_, i) => `${i * 7919}:`.padEnd(length, 'x').slice(0, length))

const runs = { 'empty loop': each(KEYS, (i) => i) }
for (const length of LENGTHS) {
  const strings = texts(length)
  const bytes = strings.map((text) => Uint8Array.from(Buffer.from(text)))
  runs[`string, ${length} bytes`] = each(KEYS, (i) => fingerprint(strings[i]))
  runs[`bytes, ${length} bytes`] = each(KEYS, (i) => fingerprint(bytes[i]))
}
const wide = texts(16).map((text) => text.replaceAll('x', 'é'))
runs['string, 16 characters, not all ASCII'] = each(KEYS, (i) => fingerprint(wide[i]))
bench(runs, KEYS)
