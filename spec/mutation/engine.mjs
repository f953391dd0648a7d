/**
 * Runs the specs' tests in this process, one by one, again and again: a spec file is loaded once,
 * when the first of its tests is asked for. runner.mjs starts this program and tells it what to run.
 */
import { inspect } from 'node:util'
import { ModernFakeTimers } from '@jest/fake-timers'
import { expect } from 'expect'
import fc from 'fast-check'
import { ModuleMocker } from 'jest-mock'
import { Modules, root } from './modules.mjs'
import { keyOf } from './verdicts.mjs'

// That a property fails is enough: the smallest example of a mutant is of no use.
fc.configureGlobal({ endOnFailure: true })

const { setTimeout, clearTimeout, setImmediate } = globalThis
const send = process.send.bind(process)
// No spec shall find the channel to runner.mjs.
process.send = undefined
/** Copies of the library on a thread share their listeners: here, those of one spec file do. */
const SHARED = Symbol.for('dirtyring.listeners')
/** By number, how often each mutant would have run. */
const counts = new Uint32Array(2 ** 16)
const stryker = (globalThis.__stryker__ = { counts })
const fakeTimers = new ModernFakeTimers({ global: globalThis, config: { fakeTimers: {} } })
const mocker = new ModuleMocker(globalThis)
const countsCoverage = process.argv[2] === 'coverage'

/** By id: `spec/unit/x.spec.ts › block › title`. */
const tests = new Map()
const loaded = new Set()
let fileNow
const listeners = new Map()
let entered = new Set()
/** What went wrong outside of a test's promise. */
let stray = []
for (const event of ['uncaughtException', 'unhandledRejection'])
  process.on(event, (error) => void stray.push(error))

async function enter(file) {
  if (file === fileNow) return
  const left = process
    .eventNames()
    .flatMap((event) => process.listeners(event).map((listener) => [event, listener]))
    .filter(([, listener]) => listener[SHARED] !== undefined)
  for (const each of left) process.off(...each)
  listeners.set(fileNow, left)
  for (const each of listeners.get(file) ?? []) process.on(...each)
  fileNow = file
  if (loaded.has(file)) return
  loaded.add(file)
  const newBlock = (parent, name) => ({
    parent,
    name,
    beforeAll: [],
    afterAll: [],
    beforeEach: [],
    afterEach: [],
  })
  let block = newBlock(undefined, file)
  const url = new URL(file, root).href
  const describe = (name, fill) => {
    block = newBlock(block, `${block.name} › ${name}`)
    fill()
    block = block.parent
  }
  const it = (title, act, limitMs) => {
    let id = `${block.name} › ${title}`
    for (let n = 2; tests.has(id); n++) id = `${block.name} › ${title} (${n})`
    tests.set(id, { id, file, block, act, limitMs, hash: keyOf(id + textOf(act)) })
  }
  const each =
    (declare) =>
    (table) =>
    (title, act, ...more) =>
      table.forEach((row, i) => {
        const values = Array.isArray(row) ? row : [row]
        const text = [act, ...values].map(textOf).join('\n')
        declare(
          `${title} #${i + 1}`,
          Object.assign(() => act(...values), { text }),
          ...more,
        )
      })
  describe.each = each(describe)
  it.each = each(it)
  const hooks = Object.fromEntries(
    ['beforeAll', 'afterAll', 'beforeEach', 'afterEach'].map((name) => [
      name,
      (hook) => void block[name].push(hook),
    ]),
  )
  const jest = {
    fn: mocker.fn.bind(mocker),
    spyOn: mocker.spyOn.bind(mocker),
    mocked: mocker.mocked.bind(mocker),
    restoreAllMocks: () => mocker.restoreAllMocks(),
    resetModules: () => modules.reset(),
    unstable_mockModule: (name, make) => modules.mock(name, url, make),
    useFakeTimers: (options) => fakeTimers.useFakeTimers(options),
    useRealTimers: () => fakeTimers.useRealTimers(),
    advanceTimersByTime: (ms) => fakeTimers.advanceTimersByTime(ms),
    getTimerCount: () => fakeTimers.getTimerCount(),
  }
  const modules = new Modules(
    { '@jest/globals': { describe, it, test: it, expect, jest, ...hooks } },
    countsCoverage,
  )
  await modules.import(url)
}

/** Runs one test; `failure` says with what it fails. */
async function run(test, limitMs) {
  const path = []
  for (let block = test.block; block !== undefined; block = block.parent) path.unshift(block)
  const errors = []
  stray = errors
  expect.setState({
    assertionCalls: 0,
    expectedAssertionsNumber: null,
    isExpectingAssertions: false,
  })
  const attempt = async (act) => {
    try {
      await act()
    } catch (error) {
      errors.push(error)
    }
  }
  const all = async () => {
    for (const block of path)
      if (!entered.has(block)) {
        entered.add(block)
        for (const hook of block.beforeAll) await attempt(hook)
      }
    for (const block of path) for (const hook of block.beforeEach) await attempt(hook)
    if (errors.length === 0) await attempt(test.act)
    for (const block of path.toReversed())
      for (const hook of block.afterEach.toReversed()) await attempt(hook)
    for (const { error } of expect.extractExpectedAssertionsErrors()) errors.push(error)
    // An unhandled rejection is reported after the microtasks.
    await new Promise((resolve) => setImmediate(resolve))
  }
  let timer
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, limitMs, true)
  })
  const isLate = await Promise.race([all(), late])
  clearTimeout(timer)
  if (errors.length > 0) {
    mocker.restoreAllMocks()
    fakeTimers.useRealTimers()
  }
  return { isLate: isLate === true, failure: errors.length > 0 ? messageOf(errors[0]) : undefined }
}

async function leave() {
  for (const block of entered)
    for (const hook of block.afterAll)
      try {
        await hook()
      } catch {
        // The tests have decided.
      }
  entered = new Set()
}

async function dryRun(files) {
  const results = []
  const coverage = { static: {}, perTest: {} }
  for (const file of files) {
    await enter(file)
    takeCounts().forEach(([mutant, count]) => {
      coverage.static[mutant] = count + (coverage.static[mutant] ?? 0)
    })
    for (const test of [...tests.values()].filter((each) => each.file === file)) {
      send({ at: test.id, limitMs: 60_000 })
      const start = performance.now()
      const { isLate, failure } = await run(test, 60_000)
      const ms = performance.now() - start
      // Numbers in a row: all tests together have ten million of these pairs.
      coverage.perTest[test.id] = Uint32Array.from(takeCounts().flat())
      const { id, hash } = test
      results.push({ id, file, hash, ms, failure: isLate ? 'too late' : failure })
    }
    await leave()
  }
  return { results, coverage }
}

/** Which mutants would have run since the last call, each with how often. */
function takeCounts() {
  const taken = [...counts.entries()].filter(([, count]) => count > 0)
  counts.fill(0)
  return taken
}

/** Stops at the first test that fails. */
async function mutantRun({ mutant, hitLimit, plan }) {
  stryker.hitCount = hitLimit === undefined ? undefined : 0
  stryker.hitLimit = hitLimit
  let answer = {}
  for (const { id, file, limitMs } of plan) {
    stryker.activeMutant = undefined
    send({ at: id, limitMs: loaded.has(file) ? limitMs : 30_000 })
    await enter(file)
    stryker.activeMutant = mutant
    const { isLate, failure } = await run(tests.get(id), limitMs)
    if (isLate) answer = { late: id }
    else if (failure !== undefined) answer = { killer: id }
    if (stryker.hitCount > stryker.hitLimit) answer = { late: id, hits: true }
    if (answer.late !== undefined || answer.killer !== undefined) break
  }
  stryker.activeMutant = undefined
  if (answer.late === undefined || answer.hits) await leave()
  return answer
}

/** What a test does, or a row of a table that it is for: only for comparing. */
function textOf(value) {
  return typeof value === 'function' ? (value.text ?? String(value)) : inspect(value)
}

function messageOf(error) {
  return String(error?.stack ?? error?.message ?? error).slice(0, 400)
}

process.on('message', async (order) => {
  try {
    send({ done: order.files ? await dryRun(order.files) : await mutantRun(order) })
  } catch (error) {
    send({ broken: messageOf(error) })
  }
})
process.on('disconnect', () => process.exit())
