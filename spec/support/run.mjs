import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const RUN_MS_MAX = 600_000

/**
 * Runs spec/threads/programs/NAME.mjs in a process of its own. Resolves with its verdict, or with
 * errors in place of one.
 */
export function run(program, args) {
  const script = fileURLToPath(new URL(`../threads/programs/${program}.mjs`, import.meta.url))
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script, JSON.stringify(args)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let out = ''
    child.stdout.setEncoding('utf8').on('data', (text) => (out += text))
    const limit = setTimeout(() => child.kill('SIGKILL'), RUN_MS_MAX)
    child.on('close', (code, signal) => {
      clearTimeout(limit)
      const ended =
        signal === 'SIGKILL' ? `no end after ${RUN_MS_MAX} ms` : `exit status ${code ?? signal}`
      try {
        resolve(code === 0 ? JSON.parse(out.trimEnd().split('\n').at(-1)) : { errors: [ended] })
      } catch {
        resolve({ errors: ['no verdict'] })
      }
    })
  })
}
