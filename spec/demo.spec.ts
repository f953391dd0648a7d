import { describe, expect, it } from '@jest/globals'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const cli = fileURLToPath(new URL('../dist/demo/cli.js', import.meta.url))

/** Short, and with work enough that every accident strikes somebody. */
const short = '--seconds 0.5 --epoch-ms 50 --writers 2 --rows 20000 --rate 50000'.split(' ')

interface Result {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs the built command; `onLine` sees the output as it comes. */
function dirtyring(args: string[], onText: (text: string, kill: (signal: NodeJS.Signals) => void) => void = () => {}): Promise<Result> {
  const { NODE_OPTIONS: _, ...env } = process.env
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      onText(stdout, (signal) => child.kill(signal))
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const timer = setTimeout(() => child.kill('SIGKILL'), 40_000)
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stdout, stderr })
    })
  })
}

const verdictOf = (stdout: string) => stdout.trimEnd().split('\n').at(-1)!.replace(/\s+/g, ' ')

describe('the demo', () => {
  it('survives every accident of its script, and proves it', async () => {
    const { code, stdout, stderr } = await dirtyring(['demo', ...short])
    expect(stderr).toBe('')
    expect(stdout).toMatch(/writer 0 terminated: \d+ keys? it had staged, harvested/)
    expect(stdout).toMatch(/the checkpoint of epoch \d+ is going to fail/)
    expect(stdout).toMatch(/aggregator terminated: restarted after .*, 0 lost/)
    expect(stdout).toMatch(/bulk load of all 20,000 rows: an epoch holds 19,000, so it says exact: false/)
    expect(stdout).toMatch(/ committed, all rows /)
    expect(stdout).toMatch(/^epochs .* 1 restored/m)
    expect(stdout).toMatch(/^aggregator +restarts 1, panics 0$/m)
    expect(stdout).toMatch(/^lost +0 rows/m)
    expect(stdout).toMatch(/^invented +0 rows/m)
    expect(stdout).toMatch(/^copy +equals the store, byte for byte \(1,280,000 bytes\)$/m)
    expect(verdictOf(stdout)).toBe('verdict all agree')
    expect(code).toBe(0)
  })

  it('survives them with the smallest ring and lanes, refused marks and single-key batches', async () => {
    const tight =
      '--rows 2000 --rate 5000 --batch-size 1 --capacity 2 --lane-capacity 4 --epoch-slots 2 --flush-interval 0 --on-full reject'.split(' ')
    const { code, stdout } = await dirtyring(['demo', ...short, ...tight])
    expect(verdictOf(stdout)).toBe('verdict all agree')
    expect(code).toBe(0)
  })

  it('sees rows that the copy lacks', async () => {
    const { code, stdout } = await dirtyring(['demo', ...short, '--forget-rows', '3'])
    expect(stdout).toMatch(/^copy +3 rows differ from the store$/m)
    expect(verdictOf(stdout)).toBe('verdict WRONG: copy')
    expect(code).toBe(1)
  })

  it('ends early at Ctrl-C, with its proof', async () => {
    let interrupted = false
    const { code, stdout } = await dirtyring(['demo', ...short, '--seconds', '60'], (text, kill) => {
      if (interrupted || !text.includes('committed')) return
      interrupted = true
      kill('SIGINT')
    })
    expect(stdout).toMatch(/interrupted/)
    expect(verdictOf(stdout)).toBe('verdict all agree')
    expect(code).toBe(0)
  })

  it('writes no colours where the output is no terminal', async () => {
    const { stdout } = await dirtyring(['demo', ...short, '--seconds', '0'])
    // eslint-disable-next-line no-control-regex
    expect(stdout).not.toMatch(/\x1b/)
  })
})

describe('the command line', () => {
  it('lists every option, with its default', async () => {
    const { code, stdout } = await dirtyring(['--help'])
    const own = ['seconds', 'writers', 'rows', 'row-bytes', 'epoch-ms', 'theta', 'seed', 'rate', 'forget-rows']
    const tracker = ['batch-size', 'capacity', 'lane-capacity', 'max-keys', 'epoch-slots', 'flush-interval', 'on-full']
    for (const name of [...own, ...tracker]) expect(stdout).toMatch(new RegExp(`--${name} <.+> .*\\(.+\\)$`, 'm'))
    expect(code).toBe(0)
  })

  it('knows its version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
    expect(await dirtyring(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  it.each([
    [[], 'no command'],
    [['serve'], 'unknown command "serve"'],
    [['demo', 'twice'], 'unknown command "demo twice"'],
    [['demo', '--nope'], "Unknown option '--nope'"],
    [['demo', '--rows', 'many'], '"--rows" expected a whole number, 1 to 67108864, got "many"'],
    [['demo', '--row-bytes', '6'], '"--row-bytes" expected a multiple of 4, got 6'],
    [['demo', '--capacity', '3'], '"options.capacity" expected a power of two, 2 to 1048576, got 3'],
    [['demo', '--batch-size', 'abc'], '"options.batchSize" expected a number, got "abc"'],
    [['demo', '--on-full', 'drop'], `"options.onFull" expected 'wait' or 'reject', got "drop"`],
  ])('refuses %j', async (args, message) => {
    const { code, stdout, stderr } = await dirtyring(args)
    expect(stderr).toContain(`dirtyring: ${message}`)
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })
})
