/** Servers that specs start on the loopback interface, and a line to them that can be cut. */
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'

/** Whether a program of this name can be started. */
export function isInstalled(program) {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
}

/** A port of the loopback interface that is free now. */
export async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** How often a server is started on a port that another process has taken meanwhile. */
const TRIES = 50

/**
 * A server program with a data folder of its own, on a free port. It can be killed and started again
 * with the same folder, or with an older copy of it. One that ends by itself is started again, as a
 * service manager would do.
 */
export class Server {
  #program
  #argsOf
  #readyText
  #scratch = mkdtempSync(join(tmpdir(), 'dirtyring-server-'))
  #child
  /** What the program said before it ended by itself, each time. */
  deaths = []
  port

  static async start(program, readyText, argsOf) {
    const server = new Server()
    server.#program = program
    server.#readyText = readyText
    server.#argsOf = argsOf
    server.port = await freePort()
    await server.start()
    return server
  }

  /** NATS with JetStream. */
  static nats(more = []) {
    return Server.start('nats-server', 'Server is ready', (port, folder) => [
      ...['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', folder, ...more],
    ])
  }

  /** Redis that appends to its file. */
  static redis(more = []) {
    return Server.start('redis-server', 'Ready to accept connections', (port, folder) => [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''],
      ...['--appendonly', 'yes', ...more],
    ])
  }

  get folder() {
    return join(this.#scratch, 'data')
  }

  /** Resolves when it is ready. */
  async start() {
    for (let left = TRIES; ; left--) {
      try {
        return await this.#tryToStart()
      } catch (error) {
        if (left === 0 || !/address already in use/i.test(error.message)) throw error
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }

  #tryToStart() {
    mkdirSync(this.folder, { recursive: true })
    const child = spawn(this.#program, this.#argsOf(this.port, this.folder), {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    // Not if this process is killed itself.
    const end = () => child.kill('SIGKILL')
    process.once('exit', end)
    return new Promise((resolve, reject) => {
      let said = ''
      let isReady = false
      const hear = (text) => {
        said = (said + text).slice(-4000)
        if (isReady || !said.includes(this.#readyText)) return
        isReady = true
        resolve()
      }
      child.stdout.setEncoding('utf8').on('data', hear)
      child.stderr.setEncoding('utf8').on('data', hear)
      child.once('error', reject)
      child.once('close', (code, signal) => {
        process.off('exit', end)
        const how = `${this.#program} ended with ${signal ?? code}: ${said}`
        reject(new Error(how))
        if (!isReady || this.#child !== child) return
        this.deaths.push(how)
        this.start().catch((error) => this.deaths.push(error.message))
      })
    })
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill() {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exit = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await exit
  }

  /** Lets it stand still for a while; its connections stay open. */
  freeze() {
    this.#child?.kill('SIGSTOP')
  }

  thaw() {
    this.#child?.kill('SIGCONT')
  }

  /** Copies the data folder away, as it is now. */
  keep() {
    rmSync(join(this.#scratch, 'kept'), { recursive: true, force: true })
    cpSync(this.folder, join(this.#scratch, 'kept'), { recursive: true })
  }

  /** Puts the copy in the place of the data folder; while the server does not run. */
  restore() {
    rmSync(this.folder, { recursive: true, force: true })
    cpSync(join(this.#scratch, 'kept'), this.folder, { recursive: true })
  }

  /** Ends it, and deletes its data. */
  async end() {
    await this.kill()
    rmSync(this.#scratch, { recursive: true, force: true })
  }
}

/** A line to a server. What goes one way passes, and what comes back can be held or lost. */
export class Line {
  #to
  #server
  #pairs = new Set()
  #isMute = false
  /** How often the line was cut with an answer on it. */
  answersLost = 0
  port

  static async to(port) {
    const line = new Line()
    line.#to = port
    line.#server = createServer((client) => line.#join(client))
    await new Promise((resolve) => line.#server.listen(0, '127.0.0.1', resolve))
    line.port = line.#server.address().port
    return line
  }

  #join(client) {
    const server = connect(this.#to, '127.0.0.1')
    const pair = { client, server }
    this.#pairs.add(pair)
    const end = () => {
      client.destroy()
      server.destroy()
      this.#pairs.delete(pair)
    }
    for (const socket of [client, server]) socket.on('error', end).on('close', end)
    client.on('data', (bytes) => server.write(bytes))
    server.on('data', (bytes) => {
      if (!this.#isMute) {
        client.write(bytes)
        return
      }
      this.answersLost++
      end()
    })
  }

  /** From here on the next answer of each connection is lost, and the connection with it. */
  mute() {
    this.#isMute = true
  }

  unmute() {
    this.#isMute = false
  }

  /** Cuts all connections. */
  cut() {
    for (const { client, server } of this.#pairs) {
      client.destroy()
      server.destroy()
    }
  }

  async end() {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
