/**
 * One report for people and machines: what this runtime can do, what the default options cost, and
 * whether a tracker works here.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import os from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { bytes, counted, milliseconds } from '../demo/text.js'
import {
  DirtyTracker,
  type MemoryFootprint,
  memoryFootprint,
  resolveOptions,
  type RuntimeSupport,
  runtimeSupport,
} from '../index.js'
import { VERSION_VALUE } from '../memory/map.js'
import type { ProbeData } from './probe.js'

export interface Step {
  readonly name: string
  /** Undefined if the step was not tried, because a step before it failed. */
  readonly ok: boolean | undefined
  readonly detail: string
}

export interface Diagnosis {
  readonly usable: boolean
  readonly dirtyring: { readonly version: string; readonly layout: number }
  readonly runtime: {
    readonly node: string
    readonly v8: string
    readonly platform: string
    readonly arch: string
    readonly endianness: string
    readonly processors: number
    readonly processor: string
    readonly memory: number
    readonly memoryFree: number
    /** The bytes that a container allows; null if it sets no limit. */
    readonly memoryAllowed: number | null
    readonly execArgv: readonly string[]
  }
  readonly support: RuntimeSupport
  readonly defaults: {
    readonly footprint: MemoryFootprint
    readonly maxWriters: number
    readonly epochSlots: number
    readonly maxKeysPerEpoch: number
    readonly laneTextBytes: number
    readonly maxStringsPerEpoch: number
    readonly maxStringBytesPerEpoch: number
    /** How many of the reserved bytes `maxStringsPerEpoch: 0` does without. */
    readonly text: number
    /** 'wasm' or 'js'; null if no tracker could be created. */
    readonly kernel: string | null
    /**
     * By how many bytes the process grew: first with the memory alone, then with the aggregator's
     * worker too.
     */
    readonly resident: number | null
    readonly residentWithWorker: number | null
  }
  readonly selfTest: readonly Step[]
}

/** A step that takes longer has failed. */
const STEP_MS_MAX = 10_000
const LOOK_MS = 2
const PUBLISHED = 10_000
const STAGED = 37

export function version(): string {
  const { version } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as { version: string }
  return version
}

export async function diagnose(): Promise<Diagnosis> {
  const selfTest = new SelfTest()
  const { kernel, resident } = await measureMemory()
  await selfTest.run()
  const { steps, residentWithWorker } = selfTest
  const { maxWriters, epochSlots, maxKeysPerEpoch, ...options } = resolveOptions()
  const { laneTextBytes, maxStringsPerEpoch, maxStringBytesPerEpoch } = options
  const footprint = memoryFootprint()
  const allowed = process.constrainedMemory() as number | undefined
  const processors = os.cpus()
  return {
    usable: steps.every(({ ok }) => ok === true),
    dirtyring: { version: version(), layout: VERSION_VALUE },
    runtime: {
      node: process.versions.node,
      v8: process.versions.v8,
      platform: `${process.platform} ${os.release()}`,
      arch: process.arch,
      endianness: os.endianness(),
      processors: os.availableParallelism(),
      processor: processors[0]?.model.trim() ?? 'unknown',
      memory: os.totalmem(),
      memoryFree: os.freemem(),
      // No limit is reported as 0, or as 2^64 - 1 or a little less.
      memoryAllowed:
        allowed === undefined || allowed === 0 || allowed > os.totalmem() ? null : allowed,
      execArgv: process.execArgv,
    },
    support: runtimeSupport(),
    defaults: {
      footprint,
      maxWriters,
      epochSlots,
      maxKeysPerEpoch,
      laneTextBytes,
      maxStringsPerEpoch,
      maxStringBytesPerEpoch,
      text: footprint.total - memoryFootprint({ maxStringsPerEpoch: 0 }).total,
      kernel,
      resident,
      residentWithWorker,
    },
    selfTest: steps,
  }
}

/**
 * Measures by how many bytes the process grows with a tracker's memory alone. Returns nulls if no
 * tracker can be created: the self-test then says why.
 */
async function measureMemory(): Promise<{ kernel: string | null; resident: number | null }> {
  const before = process.memoryUsage.rss()
  try {
    const tracker = await DirtyTracker.create({ aggregator: 'none' })
    const resident = Math.max(0, process.memoryUsage.rss() - before)
    const last = await tracker.stop()
    last.commit()
    return { kernel: tracker.kernel, resident }
  } catch {
    return { kernel: null, resident: null }
  }
}

/**
 * Tests a tracker with the default options. A step that fails ends the test. In every case no
 * worker is left running.
 */
class SelfTest {
  readonly steps: Step[] = []
  residentWithWorker: number | null = null
  readonly #workers: Worker[] = []
  #tracker!: DirtyTracker

  async run(): Promise<void> {
    const steps: [name: string, step: () => Promise<string>][] = [
      ['create a tracker', () => this.#create()],
      ['two workers mark', () => this.#mark()],
      ['an epoch', () => this.#takeEpoch()],
      ['a string and bytes', () => this.#takeText()],
      ['a terminated worker', () => this.#killWorker()],
      ['a failed checkpoint', () => this.#failCheckpoint()],
      ['stop', () => this.#stop()],
    ]
    let isWell = true
    for (const [name, step] of steps) {
      if (!isWell) {
        this.steps.push({ name, ok: undefined, detail: 'not tried' })
        continue
      }
      try {
        this.steps.push({ name, ok: true, detail: await within(STEP_MS_MAX, step()) })
      } catch (error) {
        this.steps.push({ name, ok: false, detail: reasonOf(error) })
        isWell = false
      }
    }
    if (isWell) return
    await Promise.allSettled(this.#workers.map((worker) => worker.terminate()))
    await within(STEP_MS_MAX, this.#tracker?.stop()).catch(() => undefined)
  }

  async #create(): Promise<string> {
    const before = process.memoryUsage.rss()
    const startedAt = performance.now()
    this.#tracker = await DirtyTracker.create()
    this.residentWithWorker = Math.max(0, process.memoryUsage.rss() - before)
    return `in ${milliseconds(performance.now() - startedAt)}`
  }

  async #mark(): Promise<string> {
    const startedAt = performance.now()
    const staged = await Promise.all([
      this.#startWorker({ firstId: 0, staged: 0 }),
      this.#startWorker({ firstId: PUBLISHED, staged: STAGED }),
    ])
    expectSame('keys staged', staged, [0, STAGED])
    return `${counted(2 * PUBLISHED, 'key')} after ${milliseconds(performance.now() - startedAt)}`
  }

  /** Resolves with the number of keys that the worker says it has staged. */
  async #startWorker(what: Omit<ProbeData, 'handle' | 'published'>): Promise<number> {
    const workerData: ProbeData = { handle: this.#tracker.handle, published: PUBLISHED, ...what }
    const worker = new Worker(new URL('./probe.js', import.meta.url), { workerData })
    this.#workers.push(worker)
    const [staged] = (await once(worker, 'message')) as [number] // rejects when the worker throws
    return staged
  }

  async #takeEpoch(): Promise<string> {
    const epoch = await this.#tracker.advanceEpoch()
    expectSame('exact', epoch.exact, true)
    expectSame(
      'keys',
      [...epoch.ids()].sort((a, b) => a - b),
      range(0, 2 * PUBLISHED),
    )
    epoch.commit()
    return (
      `${counted(2 * PUBLISHED, 'key')}, ` +
      `sealed in ${milliseconds(this.#tracker.stats().sealMs.max)}`
    )
  }

  async #takeText(): Promise<string> {
    const marked = ['/användare/7', Uint8Array.of(0, 255)]
    const writer = this.#tracker.openWriter()
    writer.markMany([...marked, ...marked])
    const epoch = await this.#tracker.advanceEpoch()
    expectSame('text', [...epoch].map(String), marked.map(String))
    epoch.commit()
    writer.close()
    return 'come back as they were marked'
  }

  async #killWorker(): Promise<string> {
    let harvested: number | undefined
    const { threadId } = this.#workers[1]
    this.#tracker.on('harvest', (event) => {
      if (event.threadId === threadId) harvested = event.keys
    })
    await this.#workers[1].terminate()
    while (harvested === undefined) await sleep(LOOK_MS)
    expectSame('keys harvested', harvested, STAGED)
    return `${counted(harvested, 'key')} it had staged: harvested`
  }

  async #failCheckpoint(): Promise<string> {
    const accident = new Error('on purpose')
    const outcome = await this.#tracker
      .consume(() => {
        throw accident
      })
      .catch((error: unknown) => error)
    if (outcome !== accident) throw outcome
    const { restored } = this.#tracker.stats()
    expectSame('epochs restored', restored, 1)
    return `restored into epoch ${this.#tracker.epoch}`
  }

  async #stop(): Promise<string> {
    const last = await this.#tracker.stop()
    expectSame(
      'keys of the last epoch',
      [...last.ids()].sort((a, b) => a - b),
      range(2 * PUBLISHED, 2 * PUBLISHED + STAGED),
    )
    last.commit()
    const { restarts, panics } = this.#tracker.health()
    expectSame('panics and restarts', [panics, restarts], [0, 0])
    return `its last epoch has the ${counted(STAGED, 'key')}`
  }
}

/** The diagnosis as aligned lines of text. */
export function diagnosisLines({
  usable,
  dirtyring,
  runtime,
  support,
  defaults,
  selfTest,
}: Diagnosis): string[] {
  const { footprint, kernel, resident, residentWithWorker } = defaults
  const yes = (is: boolean): string => (is ? 'yes' : 'NO')
  const grown = (count: number | null): string => (count === null ? 'unknown' : bytes(count))
  return [
    `dirtyring ${dirtyring.version}, memory layout ${dirtyring.layout}`,
    '',
    'runtime',
    line(
      'node',
      `${runtime.node}, V8 ${runtime.v8}` +
        (runtime.execArgv.length === 0 ? '' : `, run with ${runtime.execArgv.join(' ')}`),
    ),
    line(
      'platform',
      `${runtime.platform}, ${runtime.arch}, ` +
        (runtime.endianness === 'LE' ? 'little-endian' : 'big-endian'),
    ),
    line('processors', `${runtime.processors} (${runtime.processor})`),
    line(
      'memory',
      `${bytes(runtime.memory)}, ${bytes(runtime.memoryFree)} free` +
        (runtime.memoryAllowed === null ? '' : `, ${bytes(runtime.memoryAllowed)} allowed`),
    ),
    line('shared memory', yes(support.sharedMemory)),
    line('may block', yes(support.canBlock)),
    line('waitAsync', yes(support.waitAsync)),
    line('WebAssembly', yes(support.wasm)),
    '',
    'memory with the default options',
    line('reserved', bytes(footprint.total)),
    line('  ring', bytes(footprint.ring)),
    line(
      '  lanes',
      `${bytes(footprint.lanes)}: ${defaults.maxWriters} writers, ` +
        `${bytes(footprint.perWriter)} each`,
    ),
    line(
      '  epochs',
      `${bytes(footprint.epochs)}: ${defaults.epochSlots} slots, ${bytes(footprint.perEpoch)} each`,
    ),
    line(
      '  for text',
      `${bytes(defaults.text)} of it: ${bytes(defaults.laneTextBytes)} a writer, ` +
        `${counted(defaults.maxStringsPerEpoch, 'text')} of ` +
        `${bytes(defaults.maxStringBytesPerEpoch)} an epoch; ` +
        `none with maxStringsPerEpoch: 0, or keys: 'number' or 'bigint'`,
    ),
    line(
      'resident',
      `${grown(resident)} when created; ` +
        `${grown(residentWithWorker)} with its aggregator's worker; grows with what is touched`,
    ),
    line('kernel', kernel ?? 'unknown'),
    '',
    'self-test',
    ...selfTest.map(({ name, ok, detail }) =>
      line(name, ok === undefined ? detail : `${ok ? 'ok' : 'FAILED'}  ${detail}`),
    ),
    '',
    usable ? 'dirtyring is usable here' : 'dirtyring is NOT usable here',
  ]
}

function line(name: string, text: string): string {
  return `  ${name.padEnd(20)} ${text}`
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}

function expectSame(what: string, got: unknown, expected: unknown): void {
  const [text, expectedText] = [JSON.stringify(got), JSON.stringify(expected)]
  if (text !== expectedText)
    throw new Error(`${what}: expected ${brief(expectedText)}, got ${brief(text)}`)
}

function brief(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}... (${text.length} characters)` : text
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code } = error as { code?: unknown }
  return `${error.message.split('\n')[0]}${typeof code === 'string' ? ` (${code})` : ''}`
}

/** Settles as `what` does, or rejects after `ms` milliseconds. */
async function within<T>(ms: number, what: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer for ${ms / 1000} s`)), ms)
  })
  return Promise.race([what, late]).finally(() => clearTimeout(timer))
}
