/** What a bundler makes of the package that is installed in `dir`. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { build } from 'esbuild'
import { DirtyTracker } from '../../../dist/index.js'
import { args, verdict } from './support.mjs'

async function bundle(contents, platform, file) {
  const { outputFiles, warnings } = await build({
    stdin: { contents, resolveDir: args.dir },
    bundle: true,
    write: false,
    format: 'esm',
    platform,
    target: 'es2022',
    logLevel: 'silent',
  })
  const { text } = outputFiles[0]
  if (file !== undefined) writeFileSync(file, text)
  return {
    bytes: text.length,
    hasAggregator:
      /function runAggregator\(/.test(text) && text.includes('ERR_DIRTYRING_AGGREGATOR_TAKEN'),
    warnings: warnings.map(({ text: warning }) => warning),
  }
}

const file = join(args.dir, 'aggregator.bundle.mjs')
const aggregator = await bundle(`import 'dirtyring/aggregator'`, 'node', file)
const tracker = await DirtyTracker.create({ aggregator: () => new Worker(file) })
tracker.openWriter().mark(42)
const epoch = await tracker.advanceEpoch()
const harvested = [...epoch.ids()]
epoch.commit()
await tracker.stop()

verdict({
  aggregator: { ...aggregator, harvested },
  aggregatorInBrowser: await bundle(`import 'dirtyring/aggregator'`, 'browser'),
  unused: await bundle(
    `import { DirtyTracker, openWriter } from 'dirtyring'; console.log(1)`,
    'node',
  ),
  bare: await bundle(`import 'dirtyring'; console.log(1)`, 'node'),
})
