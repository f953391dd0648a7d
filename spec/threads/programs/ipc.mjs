/** A hub and real processes: what reaches its log when children are killed at random moments. */
import { fork, spawn } from 'node:child_process'
import cluster from 'node:cluster'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { KIND, openEnvelope } from '../../../dist/cluster/envelope.js'
import { ipcHub } from '../../../dist/ipc/index.js'
import { messageOf } from './ipc-messages.mjs'
import { args, verdict } from './support.mjs'
import { pick, randomFrom, within } from './threads.mjs'

const script = fileURLToPath(new URL('ipc-child.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'dirtyring-ipc-'))
const stdio = ['ignore', 'inherit', 'inherit', 'ipc']
const start = (more, options = {}) =>
  fork(script, [JSON.stringify({ node: 'n', ...more })], { stdio, ...options })

const cases = {
  /** Children append; about half of them are killed, the others close. */
  async kills({ seed = 1, children = 12, isCluster = false, serialization = 'json' }) {
    const random = randomFrom(seed)
    const errors = []
    const hub = ipcHub(isCluster ? cluster : undefined)
    const counts = { kills: 0, closes: 0, messages: 0, beyond: 0, acknowledged: 0 }
    const ends = []
    for (let i = 0; i < children; i++) {
      const path = join(folder, `${i}`)
      const more = { case: 'append', path, node: `n${i}`, sizes: SIZES[pick(random, SIZES.length)] }
      let child
      if (isCluster) {
        const argv = [JSON.stringify(more)]
        cluster.setupPrimary({ exec: script, args: argv, serialization, stdio })
        child = cluster.fork().process
      } else {
        child = start(more, { serialization })
        hub.add(child)
      }
      const ended = once(child, 'disconnect')
      const exited = once(child, 'exit')
      const isKilled = random() < 0.5
      ends.push(
        (async () => {
          while (!existsSync(path)) await sleep(5)
          await sleep(random() * 150)
          if (isKilled) child.kill('SIGKILL')
          else child.send('end')
          await within(Promise.all([ended, exited]), `the end of child ${i}`)
          if (isKilled) counts.kills++
          else counts.closes++
          check(hub, path, isKilled, counts, (what) => errors.push(`child ${i}: ${what}`))
        })(),
      )
      if (i % 4 === 3) await Promise.all(ends)
    }
    await Promise.all(ends)

    // The whole log: each instance without holes, each message whole.
    const next = new Map()
    let after
    for (;;) {
      const read = await hub.read(after, { waitMs: 0 })
      for (const { node, instance, bytes } of read.messages) {
        counts.messages++
        const envelope = openEnvelope(bytes)
        if (envelope?.node !== node || envelope.instance !== instance)
          errors.push(`a message of ${node} is not what it says`)
        else if (envelope.n !== (next.get(instance) ?? 0))
          errors.push(`message ${envelope.n} of ${node} follows ${next.get(instance)}`)
        else {
          const { n, kind, body } = envelope
          const expected = messageOf(node, instance, n, body.length, kind).bytes
          if (!Buffer.from(expected).equals(bytes))
            errors.push(`message ${n} of ${node} is damaged`)
          next.set(instance, n + 1)
        }
      }
      after = read.position
      if (read.atEnd) break
    }
    for (let i = 0; i < children; i++)
      for (const { instance, n, result } of linesOf(join(folder, `${i}`))) {
        if (result !== 'appended') errors.push(`message ${n} of child ${i} was ${result}`)
        if (!(n < next.get(instance))) errors.push(`message ${n} of child ${i} was lost`)
      }
    await hub.close()
    return { errors, ...counts, listeners: cluster.listenerCount('fork') }
  },

  /** A child that only has a sink ends by itself. */
  async idle({ serialization = 'json' }) {
    const hub = ipcHub()
    const codes = []
    for (const isClosed of [false, true]) {
      const child = start({ case: 'idle', isClosed }, { serialization, stdio: [...SILENT] })
      hub.add(child)
      const [code] = await within(once(child, 'exit'), 'the end of an idle child')
      codes.push(code)
    }
    await hub.close()
    return { codes }
  },

  async listener() {
    const hub = ipcHub()
    const child = start({ case: 'listener' }, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    hub.add(child)
    child.send({ job: 1 })
    let said = ''
    child.stdout.on('data', (text) => (said += text))
    await until(() => said.includes('"job":1'))
    await sleep(300)
    const livesOn = child.exitCode === null
    child.send({ job: 2 })
    const [code] = await within(once(child, 'exit'), 'the end')
    await hub.close()
    return { said: said.trim().split('\n'), livesOn, code }
  },

  /** The parent of the orphan is a process of its own, which is killed. */
  async orphan() {
    const path = join(folder, 'codes')
    const parent = spawn(
      process.execPath,
      [process.argv[1], JSON.stringify({ case: 'parent', path })],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await within(once(parent.stdout, 'data'), 'a parent')
    parent.kill('SIGKILL')
    await until(() => existsSync(path) && readFileSync(path, 'utf8').endsWith('\n'))
    return { codes: linesOf(path)[0] }
  },
  async parent({ path }) {
    const child = start({ case: 'orphan', path })
    ipcHub(child)
    for (;;) {
      const [message] = await once(child, 'message')
      if (message === 'ready') break
    }
    console.log('ready')
    await once(child, 'exit')
  },

  async latency({ size = 130_000, count = 100 }) {
    const found = {}
    for (const serialization of ['json', 'advanced']) {
      const child = start({ case: 'latency', size, count }, { serialization })
      const hub = ipcHub(child)
      const times = await new Promise((resolve) => {
        child.on('message', (message) => message.times && resolve(message.times))
      })
      times.sort((a, b) => a - b)
      found[serialization] = {
        p50: times[count >> 1],
        p99: times[Math.floor(count * 0.99)],
      }
      await once(child, 'exit')
      await hub.close()
    }
    return found
  },
}

const SIZES = [[10], [100, 100_000], [1, 1000, 70_000, 900_000]]
const SILENT = ['ignore', 'ignore', 'inherit', 'ipc']

/** Right at the disconnect: what was acknowledged is in the log, and the state is known. */
function check(hub, path, isKilled, counts, blame) {
  const lines = linesOf(path)
  const last = lines.at(-1)
  counts.acknowledged += lines.length
  if (last === undefined) return
  const state = hub.nodes().get(last.instance)
  const isClosed = last.kind === KIND.CLOSE
  // A child that is killed between its close and the acknowledgement has closed all the same.
  if (isKilled && !isClosed && state === undefined) counts.beyond++
  else if (state !== (isClosed ? undefined : 'gone'))
    blame(`${isClosed ? 'has closed' : 'was killed'} and is ${state}`)
}

function linesOf(path) {
  return readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

async function until(isThere) {
  const look = async () => {
    while (!isThere()) await sleep(5)
  }
  await within(look(), 'what is waited for')
}

try {
  const result = await cases[args.case](args)
  if (result !== undefined) verdict(result)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
