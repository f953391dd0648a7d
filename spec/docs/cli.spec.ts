import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { memoryFootprint, resolveOptions } from '../../lib/index.js'
import { dirtyring } from '../support/command-line.js'

const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string }
const steps = [
  'create a tracker',
  'two workers mark',
  'an epoch',
  'a string and bytes',
  'a terminated worker',
  'a failed checkpoint',
  'stop',
]

describe('the doctor', () => {
  it('says what there is, and that it works', async () => {
    const { code, stdout, stderr } = await dirtyring(['doctor'])
    const textOf = (name: string) =>
      new RegExp(`^  ${name.padEnd(20)} (.*)$`, 'm').exec(stdout)?.[1]

    expect(stderr).toBe('')
    expect(stdout).toMatch(`dirtyring ${version}, memory layout 2\n`)
    expect(textOf('node')).toBe(`${process.versions.node}, V8 ${process.versions.v8}`)
    expect(textOf('platform')).toContain(process.arch)
    for (const name of ['shared memory', 'may block', 'waitAsync', 'WebAssembly'])
      expect(textOf(name)).toBe('yes')
    expect(textOf('reserved')).toBe(`${(memoryFootprint().total / 2 ** 20).toFixed(1)} MiB`)
    expect(textOf('  for text')).toBe(
      '252.0 MiB of it: 512 KiB a writer, 1,048,576 texts of 32.0 MiB an epoch; ' +
        `none with maxStringsPerEpoch: 0, or keys: 'number' or 'bigint'`,
    )
    expect(textOf('resident')).toMatch(
      /^[\d.]+ [KM]iB when created; [\d.]+ MiB with its aggregator's worker/,
    )
    expect(textOf('kernel')).toBe('wasm')
    for (const step of steps) expect(textOf(step)).toMatch(/^ok {2}/)
    expect(textOf('an epoch')).toMatch(/ 20,000 keys, sealed in /)
    expect(textOf('a terminated worker')).toMatch(/ 37 keys it had staged: harvested$/)
    expect(stdout).toMatch(/\ndirtyring is usable here\n$/)
    expect(code).toBe(0)
  })

  it('says the same to machines', async () => {
    const { code, stdout } = await dirtyring(['doctor', '--json'])
    const diagnosis = JSON.parse(stdout)

    expect(diagnosis).toMatchObject({
      usable: true,
      dirtyring: { version, layout: 2 },
      runtime: { node: process.versions.node, v8: process.versions.v8, arch: process.arch },
      support: { sharedMemory: true, canBlock: true, waitAsync: true, wasm: true },
      defaults: {
        footprint: memoryFootprint(),
        text: memoryFootprint().total - memoryFootprint({ maxStringsPerEpoch: 0 }).total,
        maxStringsPerEpoch: resolveOptions().maxStringsPerEpoch,
        kernel: 'wasm',
      },
    })
    expect(diagnosis.defaults.resident).toBeLessThan(memoryFootprint().total)
    expect(
      diagnosis.selfTest.map(({ name, ok }: { name: string; ok: boolean }) => [name, ok]),
    ).toEqual(steps.map((name) => [name, true]))
    expect(code).toBe(0)
  })

  it('says what went wrong where workers are forbidden', async () => {
    const permission = process.allowedNodeEnvironmentFlags.has('--permission')
      ? '--permission'
      : '--experimental-permission'
    const { code, stdout } = await dirtyring(['doctor'], {
      node: [permission, '--allow-fs-read=*'],
    })

    expect(stdout).toMatch(
      /^ {2}create a tracker {5}FAILED {2}the aggregator cannot be started: .* \(ERR_DIRTYRING_AGGREGATOR_FAILED\)$/m,
    )
    expect(stdout).toMatch(/^ {2}stop {17}not tried$/m)
    expect(stdout).toMatch(/\ndirtyring is NOT usable here\n$/)
    expect(code).toBe(1)
  })
})

describe('the command line', () => {
  it('lists its commands', async () => {
    const [bare, asked] = await Promise.all([dirtyring([]), dirtyring(['--help'])])
    expect(bare).toEqual(asked)
    expect(asked.stdout).toMatch(/^ {2}doctor .*\n {2}demo /m)
    expect(asked.code).toBe(0)
  })

  it("lists every option of the demo, every tracker's option among them, with its default", async () => {
    const { code, stdout } = await dirtyring(['demo', '--help'])
    const own = [
      'processes',
      'seconds',
      'writers',
      'rows',
      'row-bytes',
      'epoch-ms',
      'theta',
      'seed',
      'rate',
      'forget-rows',
    ]
    const tracker = Object.keys(resolveOptions()).map((name) =>
      name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    )
    for (const name of [...own, ...tracker])
      expect(stdout).toMatch(new RegExp(`^  --${name} <.+> .*\\(.+\\)$`, 'm'))
    expect(code).toBe(0)
  })

  it('knows its version', async () => {
    expect(await dirtyring(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  it.each([
    [['serve'], 'unknown command "serve": the commands are "doctor" and "demo"'],
    [['--nope'], 'unknown option "--nope": the commands are "doctor" and "demo"'],
    [['doctor', '--rows', '5'], "unknown option '--rows'"],
    [['demo', 'twice'], 'unexpected argument "twice"'],
    [['demo', '--nope'], "unknown option '--nope'"],
    [['demo', '--rows', 'many'], '"--rows" must be a whole number from 1 to 67108864, got "many"'],
    [['demo', '--processes', '65'], '"--processes" must be a whole number from 0 to 64, got "65"'],
    [['demo', '--seconds', '-1'], '"--seconds" must be a number from 0 to 86400, got "-1"'],
    [['demo', '--row-bytes', '6'], '"--row-bytes" must be a multiple of 4, got 6'],
    [['demo', '--capacity', '3'], '"--capacity" must be a power of two from 2 to 1048576, got 3'],
    [['demo', '--batch-size', 'abc'], '"--batch-size" must be a number, got "abc"'],
    [['demo', '--on-full', 'drop'], `"--on-full" must be 'wait' or 'reject', got "drop"`],
    [['demo', '--aggregator', 'none'], `"--aggregator" must be 'worker' or 'inline', got "none"`],
    [['demo', '--keys', 'string'], `"--keys" must be 'any' or 'number', got "string"`],
    [['demo', '--max-writers', '4'], '"--max-writers" must be at least 7 for 4 writers, got 4'],
  ])('refuses %j in one line', async (args, message) => {
    expect(await dirtyring(args)).toEqual({
      code: 2,
      stdout: '',
      stderr: `dirtyring: ${message} (try "dirtyring --help")\n`,
    })
  })
})

describe('a version of Node that the package does not support', () => {
  const { engines } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as { engines: { node: string } }
  /** Runs the command where Node says that it is another version. */
  const under = (version: string, args: string[]) => {
    const claim = `Object.defineProperty(process, 'versions', {
      value: { ...process.versions, node: '${version}' } })`
    const url = `data:text/javascript,${encodeURIComponent(claim)}`
    return dirtyring(args, { node: ['--import', url] })
  }

  it.each(['18.20.8', '20.11.1', '20.18.3', '21.7.3', '22.11.0'])(
    '%s: the command says so in one sentence, and ends with 1',
    async (version) => {
      expect(await under(version, ['--version'])).toEqual({
        code: 1,
        stdout: '',
        stderr: `dirtyring: needs Node 20.19, or 22.12 and later, but this is Node ${version}\n`,
      })
    },
  )

  it.each(['20.19.0', '22.12.0', '23.0.0', '24.0.0', '30.1.0'])('%s is supported', async (node) => {
    expect(await under(node, ['--version'])).toEqual({
      code: 0,
      stdout: `${version}\n`,
      stderr: '',
    })
  })

  it('is the same for npm', () => {
    expect(engines.node).toBe('^20.19.0 || >=22.12.0')
  })
})
