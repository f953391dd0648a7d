import { spawn, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const cli = fileURLToPath(new URL('../../dist/cli/cli.js', import.meta.url))
const LIMIT_MS = 30_000

export interface Result {
  code: number | null
  stdout: string
  stderr: string
}

export interface Running {
  kill(signal: NodeJS.Signals): void
  /** Write to its input: on a terminal, press keys. */
  press(keys: string): void
}

interface Settings {
  /** Options of Node's own. */
  node?: string[]
  /** Sees all of the output so far whenever more has come. */
  onText?: (text: string, running: Running) => void
}

/** Runs the built `dirtyring`. */
export function dirtyring(args: string[], { node = [], onText }: Settings = {}): Promise<Result> {
  return run(process.execPath, [...node, cli, ...args], onText)
}

/**
 * The same on a terminal of that size. `input: 'none'`: the output is a terminal, the input is not.
 */
export function dirtyringOnTerminal(
  args: string[],
  {
    columns,
    rows,
    input = 'terminal',
    onText,
  }: Settings & { columns: number; rows: number; input?: 'terminal' | 'none' },
): Promise<Result> {
  const quoted = [process.execPath, cli, ...args].map((word) => `'${word}'`).join(' ')
  const command = `stty rows ${rows} columns ${columns} && exec ${quoted}${input === 'none' ? ' < /dev/null' : ''}`
  const { error, stdout } = spawnSync('script', ['--version'], { encoding: 'utf8' })
  if (error === undefined && stdout.includes('util-linux')) {
    return run('script', ['-qefc', command, '/dev/null'], onText)
  }
  const pty =
    'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(["sh", "-c", sys.argv[1]])))'
  return run('python3', ['-c', pty, command], onText)
}

function run(program: string, args: string[], onText: Settings['onText']): Promise<Result> {
  const { NODE_OPTIONS: _, ...env } = process.env
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...env, TERM: 'xterm-256color' },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const running = {
      kill: (signal: NodeJS.Signals) => void child.kill(signal),
      press: (keys: string) => void child.stdin.write(keys),
    }
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      onText?.(stdout, running)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.stdin.on('error', () => {}) // it has ended
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stdout, stderr })
    })
  })
}
