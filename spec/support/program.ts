import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Runs spec/threads/programs/NAME.mjs against the built package, in a process of its own. Resolves
 * with the verdict that it printed last.
 */
export function runProgram(
  name: string,
  args: object = {},
  { timeoutMs = 60_000 }: { timeoutMs?: number } = {},
): Promise<any> {
  const script = fileURLToPath(new URL(`../threads/programs/${name}.mjs`, import.meta.url))
  const { NODE_OPTIONS: _, ...env } = process.env
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, JSON.stringify(args)], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))

    const fail = (what: string) =>
      reject(new Error(`program ${name}: ${what}\n--- stdout\n${stdout}\n--- stderr\n${stderr}`))
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      fail(`no end after ${timeoutMs} ms`)
    }, timeoutMs)
    child.on('error', (error) => {
      clearTimeout(timer)
      fail(error.message)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (code !== 0) {
        fail(`ended with ${signal ?? `exit status ${code}`}`)
        return
      }
      try {
        resolve(JSON.parse(stdout.trimEnd().split('\n').at(-1)!))
      } catch {
        fail('its last line is not a JSON verdict')
      }
    })
  })
}
