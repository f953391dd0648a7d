/**
 * npm run check:types: packs the package and installs it in a project. Compiles that project under
 * each supported TypeScript, with the module settings that projects have, and runs what comes out.
 * Reads the tarball with publint and arethetypeswrong, too.
 *
 * With an argument it prints one JSON verdict: '{"versions":["5.4"],"settings":["nodenext"]}'.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { installNested, pack, projectWith, root, run } from '../support/packed.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const VERSIONS = ['5.4', '5.5', '5.6', '5.7', '5.8', '5.9', '6.0', '7']
/** Those that are installed without this package's devDependencies. */
const ENDS = ['5.4', '7']

/** Uses every kind of declaration. It compiles where `await` may stand at the top, or not. */
const USE = `
export async function use(tracker: DirtyTracker): Promise<void> {
  const options: TrackerOptions = { batchSize: 1, aggregator: 'inline' }
  const dictionary: KeyDictionary = KeyDictionary.create({ maxKeys: 4, maxBytes: 64 })
  const bytes: Uint8Array = dictionary.bytes(dictionary.id('a'))
  const set = new FingerprintSet({ expectedKeys: 4 })
  set.addMany([1, 2n, 'three', bytes, fingerprint('four')])
  const ring: BatchRing = BatchRing.create({ capacity: 2 })
  ring.openProducer().push(new BigUint64Array(1))
  const txn = new TxnBuffer(1n)
  const writer: Writer = openWriter(tracker.handle)
  txn.markMany(new Set([1]))
  txn.flushTo(writer)
  writer.batch(() => writer.markPair(7, 2))
  writer[Symbol.dispose]()
  tracker.on('harvest', ({ keys }) => void keys)
  for await (const epoch of tracker.epochs({ everyMs: 1 })) {
    const keys: (number | bigint)[] = [...epoch.numbers()]
    const all: Key[] = [...epoch]
    const [low]: Uint32Array | ReadonlyPairs = epoch.pairs
    const total: number = tracker.stats().bytes.total + keys.length + (low ?? 0)
    void [options, all, total, resolveOptions(options), runtimeSupport().wasm]
    epoch.commit()
    await epoch[Symbol.asyncDispose]()
  }
  await runAggregator(tracker.handle)
}
export async function useStrings(cache: Map<string, number>): Promise<void> {
  const tracker = await DirtyTracker.create({ keys: 'string' })
  await tracker.consume((epoch) => {
    for (const key of epoch) cache.delete(key)
  })
}
`
const NAMES =
  'BatchRing, DirtyTracker, FingerprintSet, KeyDictionary, TxnBuffer, fingerprint, openWriter, ' +
  'resolveOptions, runAggregator, runtimeSupport'
const TYPES = 'Key, ReadonlyPairs, TrackerOptions, Writer'
/** Prints "7". */
const RUN = `
export async function main(tracker: DirtyTracker): Promise<void> {
  tracker.openWriter().mark(7)
  await tracker.consume((epoch) => console.log(...epoch.ids()))
  await tracker.stop()
}
`

const PROGRAMS = {
  'module.mts': `
import 'dirtyring/aggregator'
import { ${NAMES}, type ${TYPES.replaceAll(', ', ', type ')} } from 'dirtyring'
${USE}${RUN}
await main(await DirtyTracker.create())
`,
  'import.ts': `
import { ${NAMES}, type ${TYPES.replaceAll(', ', ', type ')} } from 'dirtyring'
${USE}${RUN}
void DirtyTracker.create().then(main)
`,
  'aggregator.ts': `
import 'dirtyring/aggregator'
export {}
`,
  'require.cts': `
import dirtyring = require('dirtyring')
import { DirtyTracker } from 'dirtyring'
${RUN}
void dirtyring.DirtyTracker.create().then(main)
`,
  // For CommonJS where \`require\` of a module does not compile.
  'dynamic.cts': `
import type { DirtyTracker } from 'dirtyring' with { 'resolution-mode': 'import' }
${RUN}
void import('dirtyring').then(async (dirtyring) => main(await dirtyring.DirtyTracker.create()))
`,
}

/** The programs of each setting; `runs` is what the emitted program prints when it compiles. */
const SETTINGS = {
  nodenext: {
    options: { module: 'nodenext' },
    programs: ['module.mts', 'require.cts', 'dynamic.cts'],
  },
  node20: {
    since: 5.9,
    options: { module: 'node20' },
    programs: ['module.mts', 'require.cts', 'dynamic.cts'],
  },
  node18: {
    since: 5.8,
    options: { module: 'node18' },
    programs: ['module.mts', 'require.cts', 'dynamic.cts'],
  },
  node16: {
    options: { module: 'node16' },
    programs: ['module.mts', 'require.cts', 'dynamic.cts'],
  },
  bundler: {
    options: { module: 'esnext', moduleResolution: 'bundler' },
    programs: ['import.ts', 'aggregator.ts'],
    isOnlyCompiled: true,
  },
  'commonjs with bundler': {
    since: 6.0,
    options: { module: 'commonjs', moduleResolution: 'bundler' },
    programs: ['import.ts', 'aggregator.ts'],
  },
  'commonjs with node10': {
    until: 6.0,
    options: { module: 'commonjs', moduleResolution: 'node10' },
    programs: ['import.ts', 'aggregator.ts'],
  },
}

/** What does not compile, and is documented so. */
function refusal(version, setting, program) {
  const isRefused =
    setting === 'node16' ||
    setting === 'node18' ||
    (setting === 'nodenext' && Number(version) < 5.8)
  return isRefused && program === 'require.cts' ? 'TS1471 TS1479' : undefined
}

function compilerOf(version) {
  const folder =
    version === '6.0'
      ? join(root, 'node_modules/typescript')
      : join(here, `node_modules/typescript-${version}`)
  const { version: exact } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  if (!exact.startsWith(`${version}.`)) throw new Error(`TypeScript ${exact} is not ${version}`)
  return { tsc: join(folder, 'bin/tsc'), exact }
}

/** Compiles the programs of one setting, and runs those that compile. */
function compile(project, version, setting) {
  const { options, programs, isOnlyCompiled } = SETTINGS[setting]
  const folder = join(project, `${version}-${setting.replaceAll(' ', '-')}`)
  mkdirSync(folder)
  for (const program of programs) writeFileSync(join(folder, program), PROGRAMS[program])
  const compilerOptions = {
    target: 'es2022',
    lib: ['es2022'],
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    rootDir: '.',
    outDir: 'out',
    ...(version === '6.0' ? { ignoreDeprecations: '6.0' } : {}),
    ...options,
  }
  writeFileSync(
    join(folder, 'console.d.ts'),
    'declare const console: { log(...a: unknown[]): void }',
  )
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: [...programs, 'console.d.ts'] }),
  )
  const { tsc } = compilerOf(version)
  const { stdout, stderr } = run(process.execPath, [tsc, '-p', '.'], { cwd: folder })
  const said = stdout + stderr
  return programs.map((program) => {
    const lines = said.split('\n').filter((line) => line.startsWith(program))
    const codes = new Set(lines.map((line) => /TS\d+/.exec(line)?.[0]))
    // What no program of ours stands beside is a fault of the declarations or of the settings.
    const others = said.split('\n').filter((line) => /TS\d+/.test(line) && !isOfProgram(line))
    let outcome = [...codes, ...others].sort().join(' ')
    if (outcome === '') {
      const emitted = join('out', program.replace(/ts$/, 'js'))
      const prints = isOnlyCompiled || program === 'aggregator.ts' ? undefined : '7\n'
      if (prints !== undefined) {
        const ran = run(process.execPath, [emitted], { cwd: folder })
        if (ran.stdout !== prints) outcome = `prints ${ran.stdout}${ran.stderr}`
      }
      if (outcome === '') outcome = prints === undefined ? 'compiles' : 'compiles and runs'
    }
    return { version, setting, program, outcome }
  })
}

function isOfProgram(line) {
  return Object.keys(PROGRAMS).some((program) => line.startsWith(program))
}

async function publintMessages(tarball) {
  const { publint } = await import('publint')
  const { formatMessage } = await import('publint/utils')
  const { messages, pkg } = await publint({
    strict: true,
    pack: { tarball: new Uint8Array(readFileSync(tarball)).buffer },
  })
  return messages.map((message) => formatMessage(message, pkg, { color: false }))
}

/** Per entry and way of resolution: what arethetypeswrong finds. */
async function wrongTypes(tarball) {
  const { checkPackage, createPackageFromTarballData } = await import('@arethetypeswrong/core')
  const analysis = await checkPackage(
    createPackageFromTarballData(new Uint8Array(readFileSync(tarball))),
  )
  const resolved = Object.entries(analysis.entrypoints).flatMap(([entry, { resolutions }]) =>
    Object.entries(resolutions)
      .filter(([, { resolution }]) => resolution?.isTypeScript)
      .map(([kind]) => `${entry} ${kind}`),
  )
  const problems = analysis.problems.map(
    ({ kind, entrypoint, resolutionKind }) => `${kind}: ${entrypoint} ${resolutionKind}`,
  )
  return { resolved, problems }
}

async function check({ versions = VERSIONS, settings = Object.keys(SETTINGS) }) {
  installNested(here, { omit: versions.every((version) => ENDS.includes(version)) })
  const scratch = mkdtempSync(join(tmpdir(), 'dirtyring-types-'))
  try {
    const tarball = pack(scratch)
    const project = projectWith(join(scratch, 'project'), tarball)
    const rows = versions.flatMap((version) =>
      Object.entries(SETTINGS)
        .filter(([name]) => settings.includes(name))
        .filter(([, { since = 0, until = 9 }]) => since <= version && version <= until)
        .flatMap(([setting]) => compile(project, version, setting)),
    )
    const publint = await publintMessages(tarball)
    return { rows, publint, attw: await wrongTypes(tarball) }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

if (process.argv[2] !== undefined) {
  console.log(JSON.stringify(await check(JSON.parse(process.argv[2]))))
} else {
  const { rows, publint, attw } = await check({})
  let unexpected = publint.length
  for (const { version, setting, program, outcome } of rows) {
    const refused = refusal(version, setting, program)
    const isAsDocumented = refused === undefined ? /^compiles/.test(outcome) : outcome === refused
    if (!isAsDocumented) unexpected++
    const { exact } = compilerOf(version)
    const mark = isAsDocumented ? '   ' : ' ! '
    console.log(`${exact.padEnd(6)}${mark}${setting.padEnd(22)}${program.padEnd(14)}${outcome}`)
  }
  for (const message of publint) console.log(`publint: ${message}`)
  for (const problem of attw.problems) console.log(`arethetypeswrong: ${problem}`)
  unexpected += attw.problems.filter((problem) => !problem.startsWith('CJSResolvesToESM')).length
  console.log(unexpected === 0 ? 'all as documented' : `${unexpected} not as documented`)
  process.exitCode = unexpected === 0 ? 0 : 1
}
