import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Where the package is packed, and a project that has it as its only dependency. */
const scratch = mkdtempSync(join(tmpdir(), 'dirtyring-packaging-'))
const project = join(scratch, 'project')
let packed: string[] = []

/** A spec about file modes, which Windows does not have. */
const onPosix = process.platform === 'win32' ? it.skip : it

function run(command: string, args: string[], cwd: string) {
  const { NODE_OPTIONS: _, ...env } = process.env
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
    timeout: 60_000,
  })
  if (error) throw error
  return { status, stdout, stderr }
}

/** Runs npm's own script with Node where it is known: Windows starts no `npm` without a shell. */
function npm(args: string[], cwd: string): string {
  return process.env.npm_execpath?.endsWith('.js')
    ? mustRun(process.execPath, [process.env.npm_execpath, ...args], cwd)
    : mustRun('npm', args, cwd)
}

function mustRun(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr } = run(command, args, cwd)
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')}: exit status ${status}\n${stdout}\n${stderr}`)
  return stdout
}

function write(path: string, text: string): string {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  return path
}

beforeAll(() => {
  // Without scripts: the specs' setup has built it, and other specs are running it.
  const [{ filename, files }] = JSON.parse(
    npm(['pack', '--json', '--ignore-scripts', '--pack-destination', scratch], root),
  )
  packed = files.map(({ path }: { path: string }) => path)
  write(
    join(project, 'package.json'),
    JSON.stringify({ name: 'project', version: '1.0.0', private: true, type: 'module' }),
  )
  npm(
    [
      'install',
      '--no-audit',
      '--no-fund',
      '--offline',
      '--ignore-scripts',
      join(scratch, filename),
    ],
    project,
  )
})

afterAll(() => rmSync(scratch, { recursive: true, force: true }))

describe('the package', () => {
  it('holds what its users need, and nothing else', () => {
    const sources = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
      .filter((path) => /(?<!\.as)\.ts$/.test(path))
      .map((path) => path.replaceAll('\\', '/'))
    const built = sources.flatMap((path) =>
      path.endsWith('.d.ts')
        ? [`dist/${path.replace(/\.d\.ts$/, '.js')}`]
        : ['.js', '.d.ts'].map((end) => `dist/${path.replace(/\.ts$/, end)}`),
    )

    const guides = readdirSync(join(root, 'docs')).filter(
      (name) => name.endsWith('.md') && name !== 'dirtyring.api.md',
    )
    expect(packed.toSorted()).toEqual(
      [
        'CHANGELOG.md',
        'LICENSE',
        'README.md',
        'package.json',
        'perf/results/throughput.svg',
        ...guides.map((name) => `docs/${name}`),
        ...readdirSync(join(root, 'docs/pictures')).map((name) => `docs/pictures/${name}`),
        ...built,
      ].toSorted(),
    )
  })

  it('holds the guides and the pictures that its README shows', () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8')
    const linked = [...readme.matchAll(/(!?)\[[^\]]*\]\((?!\w+:|#)([^)#]+)/g)]
    const inHtml = [...readme.matchAll(/(?:src|srcset)="(?!\w+:)([^"]*)"/g)].map(([, path]) => path)
    const shown = linked
      .filter(([, isPicture, path]) => isPicture === '!' || path.startsWith('docs/'))
      .map(([, , path]) => path)

    expect(shown.length).toBeGreaterThan(2)
    expect(inHtml.length).toBeGreaterThan(0)
    expect([...shown, ...inHtml].filter((path) => !packed.includes(path))).toEqual([])
  })

  it('names its repository, where npm looks for what a link of the README leads to', () => {
    const { repository, homepage, bugs } = JSON.parse(
      readFileSync(join(root, 'package.json'), 'utf8'),
    )
    const address = /^git\+(https:.*)\.git$/.exec(repository.url)?.[1]

    expect([homepage, bugs]).toEqual([`${address}#readme`, `${address}/issues`])
  })

  onPosix('has a command that a clone can run', () => {
    expect(statSync(join(root, 'dist/cli/cli.js')).mode & 0o111).toBe(0o111)
  })

  it('comes alone', () => {
    expect(
      readdirSync(join(project, 'node_modules')).filter((name) => !name.startsWith('.')),
    ).toEqual(['dirtyring'])
    const manifest = JSON.parse(
      readFileSync(join(project, 'node_modules/dirtyring/package.json'), 'utf8'),
    )
    expect(Object.keys(manifest)).not.toContain('dependencies')
    // Clients of engines, for those who use them.
    for (const peer of Object.keys(manifest.peerDependencies))
      expect({ [peer]: manifest.peerDependenciesMeta[peer] }).toEqual({
        [peer]: { optional: true },
      })
    expect(Object.keys(manifest)).not.toContain('optionalDependencies')
  })

  it('has every file that its manifest names', () => {
    const installed = join(project, 'node_modules/dirtyring')
    const { exports, bin } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
    const named = JSON.stringify([exports, bin]).match(/\.\/[\w./-]+\.\w+/g)!

    expect(named.length).toBeGreaterThan(5)
    expect(named.filter((path) => !existsSync(join(installed, path)))).toEqual([])
    expect(readFileSync(join(installed, bin.dirtyring), 'utf8')).toMatch(
      /^#!\/usr\/bin\/env node\n/,
    )
  })
})

describe('its declarations', () => {
  const compile = (source: string) => {
    const file = write(join(project, 'src/consumer.ts'), source)
    const compilerOptions = {
      target: 'es2022',
      lib: ['es2022'],
      module: 'nodenext',
      types: [],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      noPropertyAccessFromIndexSignature: true,
      noEmit: true,
    }
    write(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }))
    return run(
      process.execPath,
      [join(root, 'node_modules/typescript/bin/tsc'), '-p', project],
      project,
    )
  }

  it('compile strictly without @types/node and without "dom", those of each entry point', () => {
    const { status, stdout } = compile(`
      import 'dirtyring/aggregator'
      import { openCluster, publishEpochs, type ClusterReader, type Publisher } from 'dirtyring/cluster'
      import { ipcHub, ipcSink, ipcSource, type IpcHub } from 'dirtyring/ipc'
      import { BatchRing, DirtyTracker, DirtyRingError, FingerprintSet, TxnBuffer, fingerprint, memoryFootprint, openWriter, resolveOptions } from 'dirtyring'
      import { clusterConformance, type EpochSink } from 'dirtyring/cluster/conformance'
      import { natsSink, natsSource, type NatsClient } from 'dirtyring/nats'
      import { redisSink, redisSource, type RedisClient } from 'dirtyring/redis'
      import { runAggregator, runtimeSupport, type AdvanceOptions, type ErrorCode, type Key, type SealedEpoch, type TrackerHandle, type Writer } from 'dirtyring'

      declare const signal: { aborted: boolean; addEventListener(type: 'abort', listener: () => void): void; removeEventListener(type: 'abort', listener: () => void): void }
      declare const maybe: number | undefined
      declare const nats: NatsClient
      declare const redis: RedisClient
      export const sinks: EpochSink[] = [natsSink(nats, { stream: 'dirty', timeoutMs: maybe }), redisSink(redis, { stream: 'dirty', maxLen: maybe })]
      export const cases = clusterConformance(() => ({ sink: () => sinks[0]!, source: () => natsSource(nats, { stream: 'dirty' }), end: async () => {} }))
      export const source = redisSource(redis, { stream: 'dirty' })

      export async function main(cache: Map<string, string>): Promise<Key[]> {
        const tracker: DirtyTracker = await DirtyTracker.create({ batchSize: maybe, aggregator: (handle: TrackerHandle) => handle })
        const writer: Writer = openWriter(tracker.handle)
        const keys: Key[] = [1, 2n, 'three', new Uint8Array(4)]
        const stored: boolean = writer.markPair(1, 2) && writer.markMany(keys) && writer.markMany(new BigUint64Array(1)) && writer.markMany(new Set(keys))
        const txn = new TxnBuffer(1n, 100)
        txn.mark('key')
        txn.flushTo(writer)
        const options: AdvanceOptions = { signal, onBusy: 'reject' }
        const epoch: SealedEpoch = await tracker.advanceEpoch(options)
        const size: number = await tracker.consume((sealed) => sealed.size)
        for await (const each of tracker.epochs({ everyMs: 10, signal })) each.commit()
        const reason: 'fresh' | 'overflow' | 'everything' | 'unpublished' | 'fault' | undefined = epoch.reason
        const code: ErrorCode = new DirtyRingError('ERR_DIRTYRING_STOPPED', 'x').code
        void [stored, size, reason, code, memoryFootprint({ capacity: 4 }).total, resolveOptions().batchSize, runtimeSupport().wasm, BatchRing, FingerprintSet]
        await runAggregator(tracker.handle)
        const typed: DirtyTracker<string> = await DirtyTracker.create({ keys: 'string' })
        await typed.consume((sealed) => { for (const key of sealed) cache.delete(key) })
        for await (const each of typed.epochs({ everyMs: 10 })) for (const key of each.listed()) cache.delete(key)
        const ids: number[] = [...(await (await DirtyTracker.create({ keys: 'number' })).advanceEpoch())]
        void ids
        const hub: IpcHub = ipcHub(undefined, { maxBytes: 2 ** 20 })
        const reader: ClusterReader = openCluster({ source: hub.source() })
        const publisher: Publisher = await publishEpochs(tracker.consumer('cluster'), { sink: hub.sink(), everyMs: 50, signal })
        await reader.consume((sealed) => { for (const key of sealed.listed()) void key })
        void [publisher.instance, ipcSink, ipcSource]
        return [...epoch, fingerprint('x')]
      }
    `)

    expect(stdout).toBe('')
    expect(status).toBe(0)
  })

  it.each([
    {
      name: 'an option of the wrong type',
      line: `void DirtyTracker.create({ capacity: 'large' })`,
    },
    { name: 'an option that there is not', line: `void DirtyTracker.create({ capcity: 4 })` },
    {
      name: 'an iterable for a list of keys',
      line: `openWriter({} as never).markMany(new Map().keys())`,
    },
    { name: 'a string for a list of keys', line: `openWriter({} as never).markMany('keys')` },
    { name: 'two numbers for one key', line: `openWriter({} as never).mark(1, 2)` },
    { name: 'an object for a handle', line: `openWriter({})` },
    {
      name: 'strings where an epoch may have all kinds of keys',
      line: `void DirtyTracker.create().then(async (all) => { const keys: string[] = [...(await all.advanceEpoch())]; void keys })`,
    },
  ])('refuse $name', ({ line }) => {
    const { status, stdout } = compile(
      `import { DirtyTracker, openWriter } from 'dirtyring'\n${line}\nexport { DirtyTracker, openWriter }`,
    )

    expect(status).not.toBe(0)
    expect(stdout).toMatch(/consumer\.ts\(2,/)
  })
})

describe('the code in the README', () => {
  /**
   * Blocks that import the package; those that name their file, one after another, are one program
   * that begins at main.js.
   */
  const programs: { at: string; files: Map<string, string> }[] = []
  let fresh = true
  for (const [, language, code] of readFileSync(join(root, 'README.md'), 'utf8').matchAll(
    /^```(\w*)\n([^]*?)^```$/gm,
  )) {
    const name = /^\/\/ ([\w-]+\.m?js)\b/.exec(code)?.[1]
    if (language !== 'js' || !/^import .* from 'dirtyring'$/m.test(code)) {
      fresh = true
      continue
    }
    if (name === undefined || fresh || name === 'main.js')
      programs.push({ at: String(programs.length), files: new Map() })
    programs.at(-1)!.files.set(name ?? 'main.js', code)
    fresh = name === undefined
  }

  it('is there', () => {
    expect(programs.length).toBeGreaterThan(0)
    expect(programs.every(({ files }) => files.has('main.js'))).toBe(true)
  })

  it.each(programs)('runs: program $at', ({ at, files }) => {
    const directory = join(project, 'readme', at)
    for (const [name, code] of files) write(join(directory, name), code)
    const { status, stderr } = run(process.execPath, ['main.js'], directory)

    expect(stderr).toBe('')
    expect(status).toBe(0)
  })
})

describe('a bundler', () => {
  let bundles: any
  beforeAll(async () => {
    bundles = await runProgram('bundle', { dir: project })
  })

  it('keeps the aggregator when nothing but its entry is imported', () => {
    expect(bundles.aggregator).toMatchObject({ hasAggregator: true, warnings: [], harvested: [42] })
    expect(bundles.aggregatorInBrowser).toMatchObject({ hasAggregator: true, warnings: [] })
  })

  it('drops what is not used', () => {
    expect(bundles.unused).toMatchObject({ hasAggregator: false })
    expect(bundles.unused.bytes).toBeLessThan(100)
    expect(bundles.bare.bytes).toBeLessThan(100)
  })
})

describe('where there is no shared memory', () => {
  it('importing it does no harm, and create() says what is missing', () => {
    const script = write(
      join(project, 'without.js'),
      `delete globalThis.SharedArrayBuffer
       const { DirtyTracker, resolveOptions, runtimeSupport } = await import('dirtyring')
       const code = await DirtyTracker.create().catch((error) => error.code)
       console.log(JSON.stringify([runtimeSupport().sharedMemory, resolveOptions().capacity, code]))`,
    )

    expect(JSON.parse(mustRun(process.execPath, [relative(project, script)], project))).toEqual([
      false,
      1024,
      'ERR_DIRTYRING_NO_SHARED_MEMORY',
    ])
  })
})
