/**
 * Processes write rows of a store each, and publish the keys over an engine. They are killed at
 * random moments and at chosen places, or end cleanly, and others follow them. Two readers keep
 * copies of all stores: one in this process, and one in a child that is killed as well and goes on
 * from the clock that it stored. In the end each copy has to equal each store.
 */
import { fork } from 'node:child_process'
import cluster from 'node:cluster'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openCluster } from '../../../dist/cluster/index.js'
import { consumeLater, Copies, engineOfParent } from './cluster-chaos-parts.mjs'
import { args, verdict } from './support.mjs'
import { pick, randomFrom, within } from './threads.mjs'

const {
  seed = 1,
  /** How long processes are killed, in ms. */
  ms = 3000,
  engine: engineName = 'ipc',
  isCluster = false,
  serialization = 'json',
  nodes = 3,
  rows = 3000,
  /** How long a process lives at most before it is killed, in ms. */
  lifeMs = 500,
  /** How long an engine that is a server runs well at most, in ms; 0: for ever. */
  wellMs = 0,
  /** So many things go wrong with it at least. */
  faultsMin = 0,
  /** Options of the readers. */
  reading: options = {},
  /** Wrong: inexact epochs are taken for what they list. The copies then lack rows. */
  ignores = false,
  everyMs = ignores ? 1000 : 20,
} = args
/** Where a process kills itself; 'any': this one kills it; 'ends': it ends cleanly. */
const DEATHS = ignores
  ? ['any']
  : [
      ...['any', 'any', 'any', 'ends', 'written', 'marked', 'appending', 'appended', 'opening'],
      ...['closing'],
    ]

/** A process can't begin or end while its engine is away. */
const patienceMs = wellMs > 0 ? 60_000 : 20_000
const random = randomFrom(seed)
const folder = mkdtempSync(join(tmpdir(), 'dirtyring-chaos-'))
const script = fileURLToPath(new URL('cluster-chaos-child.mjs', import.meta.url))
const stdio = ['ignore', 'inherit', 'inherit', 'ipc']
const errors = []
const blame = (what) => errors.length < 20 && errors.push(what)
const found = { lives: 0, deaths: {}, readerDeaths: 0, written: 0 }

const engine = await engineOfParent(engineName, isCluster ? cluster : undefined)
const copies = new Copies(folder, nodes, rows)
const reader = openCluster({ source: engine.source(), ...options })
const warnings = {}
reader.on('warning', ({ message }) => {
  if (wellMs === 0) blame(`a warning: ${message}`)
  else warnings[message] = (warnings[message] ?? 0) + 1
})

function start(more) {
  const argv = [JSON.stringify({ folder, nodes, rows, everyMs, engine: engine.settings, ...more })]
  if (!isCluster) {
    const child = fork(script, argv, { stdio, serialization })
    engine.add(child)
    return child
  }
  cluster.setupPrimary({ exec: script, args: argv, serialization, stdio })
  return cluster.fork().process
}

/** Resolves with the line that a process says, or with undefined at its end. */
async function said(child, what) {
  const over = new AbortController()
  const { signal } = over
  const listening = (async () => {
    for (;;) {
      const [message] = await once(child, 'message', { signal })
      if (message?.said === what) return message
    }
  })()
  const ended = once(child, 'exit', { signal }).then(() => undefined)
  try {
    return await Promise.race([listening, ended])
  } finally {
    listening.catch(() => undefined)
    ended.catch(() => undefined)
    over.abort()
  }
}

const tell = (child, message) => child.connected && child.send(message, () => undefined)
/** 'kills': processes are killed. 'ends': each one is followed by a last one, which ends cleanly. */
let phase = 'kills'

/** Processes that have begun and do not write yet; and what keeps others from beginning. */
const beginning = { count: 0, held: undefined }

/** Resolves when no process is about to begin. Others begin when the result is called. */
async function hold() {
  let go
  beginning.held = new Promise((resolve) => (go = resolve))
  for (let looks = 1; beginning.count > 0; looks++) {
    await sleep(5)
    if (looks % 100 === 0) await engine.heal()
  }
  return () => {
    beginning.held = undefined
    go()
  }
}

function faultsOf({ faults }) {
  return Object.values(faults).reduce((sum, count) => sum + count, 0)
}

/** What goes wrong with the engine, one thing after another. */
async function trouble() {
  while (wellMs > 0 && phase === 'kills') {
    await sleep(random() * wellMs)
    await engine.trouble(random, hold)
    await engine.heal()
  }
}

/** After the last trouble, until all processes of the places have ended. */
async function watch() {
  while (wellMs > 0 && phase !== 'read') {
    await engine.heal()
    await sleep(500)
  }
}

/** Processes of one place, one after another, until it is over; the last one ends cleanly. */
async function place(node) {
  for (let life = 0; ; life++) {
    const isLast = phase !== 'kills'
    while (beginning.held !== undefined) await beginning.held
    beginning.count++
    const death = isLast ? 'ends' : DEATHS[pick(random, DEATHS.length)]
    const child = start({
      role: 'node',
      node,
      life,
      death,
      after: pick(random, 12),
      seed: pick(random, 2 ** 31),
      declares: random() < 0.7,
    })
    const exited = once(child, 'exit')
    found.lives++
    const isReady = await within(said(child, 'writes'), `life ${life} of node ${node}`, patienceMs)
    beginning.count--
    if (isReady !== undefined) {
      const lifeEnds = AbortSignal.timeout(Math.ceil(1 + random() * lifeMs))
      await Promise.race([exited, sleep(60_000, undefined, { signal: lifeEnds })]).catch(() => {})
      if (death === 'any' || death === 'written') child.kill('SIGKILL')
      else tell(child, 'end')
    }
    const [code, signal] = await within(
      exited,
      `the end of life ${life} of node ${node}`,
      patienceMs,
    )
    const how = signal === 'SIGKILL' ? death : 'ends'
    found.deaths[how] = (found.deaths[how] ?? 0) + 1
    if (signal !== 'SIGKILL' && code !== 0) blame(`life ${life} of node ${node}: status ${code}`)
    if (isLast) return
  }
}

/** The reader in a child, killed and started again; the last one is asked for its verdict. */
async function cache() {
  for (;;) {
    const isLast = phase !== 'kills'
    const child = start({ role: 'reader', ignores, reading: options })
    const exited = once(child, 'exit')
    await within(said(child, 'reads'), 'a reader', patienceMs)
    if (isLast) return child
    await sleep(1 + random() * lifeMs * 4)
    child.kill('SIGKILL')
    await exited
    found.readerDeaths++
  }
}

/** The reader here. */
async function read() {
  while (phase !== 'read') {
    await consumeLater(
      reader,
      (epoch) => copies.take(epoch, ignores),
      () => phase === 'read',
    )
    await sleep(5)
  }
}

const troubled = trouble()
const reading = read()
const caching = cache()
const places = Array.from({ length: nodes }, (_, node) => place(node))
await sleep(ms)
while (wellMs > 0 && faultsOf(engine) < faultsMin) await sleep(20)
phase = 'ends'
await troubled
const watching = watch()
await Promise.all(places)
phase = 'read'
await watching
await reading
const last = await caching

await consumeLater(reader, (epoch) => copies.take(epoch, ignores))
const differing = copies.differing()
const answer = said(last, 'verdict')
tell(last, 'verdict')
const theirs = await within(answer, 'the verdict of a reader')
tell(last, 'end')
await within(once(last, 'exit'), 'the end of a reader')
await reader.close()
await engine.close()
for (let node = 0; node < nodes; node++)
  found.written += readFileSync(join(folder, `${node}.count`)).length
rmSync(folder, { recursive: true, force: true })
verdict({
  seed,
  errors,
  differing,
  differingThere: theirs.differing,
  ...found,
  here: copies.counts,
  there: theirs.counts,
  ...(wellMs > 0
    ? {
        faults: engine.faults,
        serverDeaths: engine.deaths,
        answersLost: engine.answersLost,
        warnings,
      }
    : {}),
  listeners: cluster.listenerCount('fork'),
})
