import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect as connectTcp, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Whether a program of this name can be started. */
export function isInstalled(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
}

/** A port of the loopback interface that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/**
 * A server program of its own, with a data folder of its own, on a free port of the loopback
 * interface. It can be killed and started again with the same folder, or with an older copy of it.
 */
export class Server {
  readonly port: number
  readonly #program: string
  readonly #argsOf: (port: number, folder: string) => string[]
  readonly #scratch = mkdtempSync(join(tmpdir(), 'dirtyring-server-'))
  #child: ChildProcess | undefined

  private constructor(
    program: string,
    port: number,
    argsOf: (port: number, folder: string) => string[],
  ) {
    this.#program = program
    this.port = port
    this.#argsOf = argsOf
  }

  static async start(
    program: string,
    argsOf: (port: number, folder: string) => string[],
  ): Promise<Server> {
    const server = new Server(program, await freePort(), argsOf)
    await server.start()
    return server
  }

  get folder(): string {
    return join(this.#scratch, 'data')
  }

  async start(): Promise<void> {
    mkdirSync(this.folder, { recursive: true })
    const child = spawn(this.#program, this.#argsOf(this.port, this.folder), {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child = child
    let said = ''
    child.stderr
      .setEncoding('utf8')
      .on('data', (text: string) => (said = (said + text).slice(-4000)))
    const ended = new Promise<never>((_, reject) => {
      child.once('error', reject)
      child.once('exit', (code, signal) =>
        reject(new Error(`${this.#program} ended with ${signal ?? String(code)}: ${said}`)),
      )
    })
    ended.catch(() => undefined)
    await Promise.race([ended, answers(this.port)])
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exit = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await exit
  }

  /** Stops it for a while, without closing its connections. */
  freeze(): void {
    this.#child?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#child?.kill('SIGCONT')
  }

  /** Copies the data folder away, as it is now. */
  keep(): void {
    rmSync(join(this.#scratch, 'kept'), { recursive: true, force: true })
    cpSync(this.folder, join(this.#scratch, 'kept'), { recursive: true })
  }

  /** Puts the copy in the place of the data folder; while the server does not run. */
  restore(): void {
    rmSync(this.folder, { recursive: true, force: true })
    cpSync(join(this.#scratch, 'kept'), this.folder, { recursive: true })
  }

  /** Ends it, and deletes its data. */
  async end(): Promise<void> {
    await this.kill()
    rmSync(this.#scratch, { recursive: true, force: true })
  }
}

/** Resolves when something listens. */
async function answers(port: number): Promise<void> {
  for (;;) {
    const isOpen = await new Promise((resolve) => {
      const socket = connectTcp(port, '127.0.0.1')
      socket.once('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.once('error', () => resolve(false))
    })
    if (isOpen) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
