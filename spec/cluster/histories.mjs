/**
 * Runs seeded histories of a cluster in this process, with the shipped sources as they are, or with
 * one of them patched:
 *
 *   node spec/cluster/histories.mjs FROM TO            runs the seeds FROM to TO - 1
 *   node spec/cluster/histories.mjs mutants [NAME]     seeded faults: each must be found
 *
 * It writes one JSON object a line.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { mutants } from './mutants.mjs'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const RANDOM = /lib\/random-words\.ts$/
/** A mutant that so many histories do not find survives. */
const SEEDS_MAX = Number(process.env.SEEDS ?? 20_000)

/** Bundles the histories with the sources, of which one may be patched, and imports that. */
async function load(patch) {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyring-histories-'))
  const outfile = join(folder, 'histories.mjs')
  const patches = {
    name: 'patches',
    setup({ onLoad }) {
      // Seeds of hash tables: the histories have to be the same each time.
      onLoad({ filter: RANDOM }, () => ({
        contents: 'export const randomWords = (count: number) => new Uint32Array(count).fill(7)',
        loader: 'ts',
      }))
      if (patch === undefined) return
      const filter = new RegExp(`lib/cluster/${patch.file.replace('.', '\\.')}$`)
      onLoad({ filter }, ({ path }) => {
        const text = readFileSync(path, 'utf8')
        if (text.split(patch.from).length !== 2)
          throw new Error(`mutant "${patch.name}": its text is not once in ${patch.file}`)
        return { contents: text.replace(patch.from, () => patch.to), loader: 'ts' }
      })
    },
  }
  try {
    await build({
      absWorkingDir: ROOT,
      entryPoints: ['spec/support/cluster-histories.ts'],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'error',
      plugins: [patches],
    })
    return await import(pathToFileURL(outfile).href)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function runAll(from, to) {
  const { runHistory } = await load()
  const sums = {}
  const failures = []
  for (let seed = from; seed < to && failures.length < 5; seed++) {
    const { failure, faults, acts, ...counts } = runHistory(seed)
    if (failure !== undefined) failures.push(`seed ${seed}: ${failure}`)
    for (const [name, count] of Object.entries({ ...faults, ...acts, ...counts }))
      sums[name] = (sums[name] ?? 0) + count
  }
  console.log(JSON.stringify({ failures, sums }))
}

async function tryMutants(wanted) {
  for (const mutant of mutants.filter(({ name }) => name.includes(wanted))) {
    const { runHistory } = await load(mutant)
    let seed = mutant.at ?? 1
    let failure
    for (const end = seed + SEEDS_MAX; seed < end && failure === undefined; seed++)
      failure = runHistory(seed).failure
    const found = failure === undefined ? undefined : { seed: seed - 1, failure }
    console.log(JSON.stringify({ name: mutant.name, found }))
  }
}

const [first, second = ''] = process.argv.slice(2)
if (first === 'mutants') await tryMutants(second)
else await runAll(Number(first), Number(second))
