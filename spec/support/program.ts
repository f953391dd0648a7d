import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Runs spec/threads/programs/NAME.mjs against the built package, in a process of its own. Resolves
 * with the verdict that it printed last. `addressSpaceGiB` limits the process's address space, on
 * systems that have `ulimit -v`.
 */
export function runProgram(
  name: string,
  args: object = {},
  {
    timeoutMs = 60_000,
    execArgv = [],
    addressSpaceGiB,
  }: { timeoutMs?: number; execArgv?: string[]; addressSpaceGiB?: number } = {},
): Promise<any> {
  const script = fileURLToPath(new URL(`../threads/programs/${name}.mjs`, import.meta.url))
  const { NODE_OPTIONS: _, ...env } = process.env
  const command = [process.execPath, ...execArgv, script, JSON.stringify(args)]
  if (addressSpaceGiB !== undefined)
    command.unshift('sh', '-c', `ulimit -v ${addressSpaceGiB * 2 ** 20} && exec "$@"`, 'sh')
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], command.slice(1), {
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
