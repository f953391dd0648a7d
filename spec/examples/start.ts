import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Example {
  /** Resolves when it has ended. */
  readonly ended: Promise<{ code: number | null; stdout: string; stderr: string }>
  /** Resolves with the address that it prints when it listens. */
  readonly address: Promise<string>
  stop(): Promise<void>
}

/** Starts `node main.js` of an example, in `folder` or in examples/NAME. */
export function startExample(name: string, args: string[] = [], folder?: string): Example {
  const { NODE_OPTIONS: _, ...env } = process.env
  const script = join(folder ?? join(root, 'examples', name), 'main.js')
  const child = spawn(process.execPath, [script, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
  const address = new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      const [line] = /http:\S+(?=\n)/.exec(stdout) ?? []
      if (line !== undefined) resolve(line)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('close', () => reject(new Error(`${name} has ended\n${stdout}\n${stderr}`)))
  })
  address.catch(() => undefined)
  return {
    ended,
    address,
    async stop() {
      child.kill()
      await ended
    },
  }
}

/** Runs a copy of an example in which `text` of one of its files is replaced. */
export async function runChanged(
  name: string,
  { file, text, by, args }: { file: string; text: string; by: string; args: string[] },
) {
  // Inside the package, so that `import 'dirtyring'` finds the package itself.
  mkdirSync(join(root, '.cache'), { recursive: true })
  const folder = mkdtempSync(join(root, '.cache/example-'))
  try {
    cpSync(join(root, 'examples', name), folder, { recursive: true })
    const path = join(folder, file)
    const source = readFileSync(path, 'utf8')
    if (!source.includes(text)) throw new Error(`${file} has no ${text}`)
    writeFileSync(path, source.replace(text, by))
    return await startExample(name, args, folder).ended
  } finally {
    rmSync(folder, { recursive: true })
  }
}
