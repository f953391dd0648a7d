/**
 * Processes with workers write files of rows. This process has a copy of each file. At every
 * checkpoint it cuts an epoch over all processes and copies the rows that changed. Meanwhile it kills
 * processes. At the end each copy must equal its file, byte for byte.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type ClusterEpoch, type ClusterReader, openCluster } from '../../cluster/index.js' // you write: from 'dirtyring/cluster'
import type { DemoSettings } from '../demo.js'
import { type Fact, isRight } from '../show.js'
import { counted, milliseconds, whole } from '../text.js'
import { zetaOf } from '../workload.js'
import { type CheckpointerEngine, engineOfCheckpointer, type EngineSettings } from './engine.js'
import type { Look, NodeLines, NodeLook } from './lines.js'
import type { NodeData, NodeReport } from './node.js'
import { RowFile } from './row-file.js'

export interface ProcessesSettings extends DemoSettings {
  readonly processes: number
  readonly engine: EngineSettings
}

/** Of a node's place: a killed process is followed by another one on the same file. */
interface Node {
  readonly place: number
  readonly name: string
  readonly path: string
  readonly store: RowFile
  readonly copy: Uint8Array
  child: ChildProcess
  ended: Promise<unknown>
  state: NodeLook['state']
  /** What processes before this one have written, and this one. */
  writtenBefore: number
  written: number
  keys: number
  copied: number
  kills: number
  /** How often an epoch named it, for a process that was killed. */
  named: number
  samples: { readonly at: number; readonly written: number }[]
}

/** Epochs for which the place of a killed process stays empty. */
const EPOCHS_VACANT = 3
const RATE_WINDOW_MS = 1000
const END_MS_MAX = 10_000

/** Runs the demo. Resolves with true if each copy equals its file, and each loss was named. */
export async function runProcessesDemo(
  settings: ProcessesSettings,
  lines: NodeLines,
  signal: AbortSignal,
): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyring-demo-'))
  const demo = new ProcessesDemo(settings, lines, folder)
  try {
    await demo.start()
    await demo.run(signal)
    return await demo.end()
  } finally {
    lines.close()
    await demo.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

class ProcessesDemo {
  readonly #settings: ProcessesSettings
  readonly #lines: NodeLines
  readonly #folder: string
  readonly #zeta: number
  readonly #nodes: Node[] = []
  readonly #forgotten = new Set<string>()
  readonly #cutsMs: number[] = []
  #engine!: CheckpointerEngine
  #reader!: ClusterReader
  #started = 0
  #epochs = 0
  #exact = 0
  #failure: Error | undefined
  #isEnding = false

  constructor(settings: ProcessesSettings, lines: NodeLines, folder: string) {
    this.#settings = settings
    this.#lines = lines
    this.#folder = folder
    this.#zeta = zetaOf(settings.rows, settings.theta)
  }

  async start(): Promise<void> {
    const { processes, rows, rowBytes, writers, rate, epochMs, engine } = this.#settings
    this.#engine = await engineOfCheckpointer(engine)
    this.#reader = openCluster({ source: this.#engine.source, ...this.#engine.reading })
    for (let place = 0; place < processes; place++) {
      const path = join(this.#folder, `${place}.rows`)
      const node = {
        place,
        name: `node-${place}`,
        path,
        store: new RowFile(path, rows, rowBytes),
        copy: new Uint8Array(rows * rowBytes),
        state: 'starts' as const,
        writtenBefore: 0,
        written: 0,
        keys: 0,
        copied: 0,
        kills: 0,
        named: 0,
        samples: [],
      }
      this.#nodes.push(Object.assign(node, this.#fork(node)))
    }
    const pace = rate === 0 ? 'as fast as they can' : `${whole(rate)} rows/s each`
    this.#lines.begin(
      `${processes} processes ${this.#engine.name}, ${writers} writers in each, ${pace}, on ` +
        `${whole(rows)} rows of ${rowBytes} bytes; a cut over all every ${epochMs} ms`,
      () => this.#look(),
    )
  }

  /** Makes a checkpoint every `epochMs`, for `seconds`, and until each accident has happened. */
  async run(signal: AbortSignal): Promise<void> {
    const { seconds, epochMs } = this.#settings
    const script = [() => this.#kill(0), () => this.#restart(1), () => this.#kill(2)]
    const startedAt = performance.now()
    let accidents = 0
    const elapsedS = (): number => (performance.now() - startedAt) / 1000
    const goesOn = (): boolean =>
      accidents < script.length ||
      elapsedS() < seconds ||
      this.#nodes.some(({ state }) => state !== 'lives')
    while (!signal.aborted && goesOn()) {
      await sleep(epochMs, undefined, { signal }).catch(() => undefined)
      if (this.#failure !== undefined) throw this.#failure
      const isDue = elapsedS() >= ((accidents + 1) * seconds) / (script.length + 1)
      if (isDue && accidents < script.length && this.#nodes.every(({ state }) => state === 'lives'))
        await script[accidents++]()
      await this.#checkpoint()
    }
    if (signal.aborted) this.#lines.note(`interrupted by ${String(signal.reason)}`)
  }

  /** Ends the processes, takes what they published last, and makes the proof. */
  async end(): Promise<boolean> {
    this.#isEnding = true
    for (const node of this.#nodes) {
      if (node.state === 'lives') node.state = 'ends'
      tell(node.child, 'end')
    }
    await within(Promise.all(this.#nodes.map(({ ended }) => ended)), 'the end of the processes')
    await this.#checkpoint()
    const facts = this.#facts()
    this.#lines.end(facts)
    return isRight(facts)
  }

  async close(): Promise<void> {
    this.#isEnding = true
    for (const { child, store } of this.#nodes) {
      child.kill('SIGKILL')
      store.close()
    }
    await this.#reader?.close()
    await this.#engine?.close()
  }

  #fork(node: Pick<Node, 'place' | 'name' | 'path'>): Pick<Node, 'child' | 'ended'> {
    const { rows, rowBytes, theta, rate, writers, epochMs, engine, tracker } = this.#settings
    const data: NodeData = {
      ...{ rows, rowBytes, theta, rate, writers, engine, tracker },
      ...{ place: node.place, name: node.name, path: node.path },
      zeta: this.#zeta,
      seed: this.#settings.seed * 1000 + this.#started++,
      everyMs: epochMs,
    }
    const child = fork(
      fileURLToPath(new URL('./node.js', import.meta.url)),
      [JSON.stringify(data)],
      { serialization: 'advanced' },
    )
    this.#engine.add(child)
    child.on('message', (message: Partial<NodeReport>) => this.#reported(child, message))
    child.once('exit', (code, by) => {
      const { state } = this.#nodes.find((each) => each.child === child) ?? {}
      if (code !== 0 && state !== 'killed' && !this.#isEnding)
        this.#failure ??= new Error(`a process has ended: ${by ?? `exit status ${code}`}`)
    })
    return { child, ended: once(child, 'exit') }
  }

  /** A process tells how much it has written. Messages of the library come the same way. */
  #reported(child: ChildProcess, { written }: Partial<NodeReport>): void {
    const node = this.#nodes.find((each) => each.child === child)
    if (written === undefined || node === undefined) return
    node.written = written
    if (written > 0 && node.state === 'starts') node.state = 'lives'
    node.samples.push({ at: performance.now(), written })
    while (node.samples.length > 2 && performance.now() - node.samples[0].at > RATE_WINDOW_MS)
      node.samples.shift()
  }

  /** Kills the process at a place, at whatever it does. A new one follows after a few epochs. */
  async #kill(place: number): Promise<void> {
    const node = this.#nodes[place % this.#nodes.length]
    const { pid } = node.child
    const { named } = node
    node.state = 'killed'
    node.kills++
    node.child.kill('SIGKILL')
    await node.ended
    const { copied } = node
    const startedAt = performance.now()
    for (let i = 0; i < EPOCHS_VACANT || node.named === named; i++) {
      if (performance.now() - startedAt > END_MS_MAX)
        throw new Error(`${node.name} was killed, and no epoch says so`)
      await this.#checkpoint()
    }
    this.#lines.note(
      `${node.name}, pid ${pid}, killed: the epoch says so, and ` +
        `${counted(node.copied - copied, 'row')} were copied that it may have written`,
    )
    this.#follow(node)
  }

  /** Lets the process at a place end cleanly, and starts another one: no row is copied for that. */
  async #restart(place: number): Promise<void> {
    const node = this.#nodes[place % this.#nodes.length]
    const { pid } = node.child
    const { copied } = node
    node.state = 'ends'
    tell(node.child, 'end')
    await within(node.ended, 'the end of a process')
    await this.#checkpoint()
    this.#lines.note(
      `${node.name}, pid ${pid}, ended and was followed by another process: ` +
        `${counted(node.copied - copied, 'row')} copied for that`,
    )
    this.#follow(node)
  }

  #follow(node: Node): void {
    node.writtenBefore += node.written
    node.written = 0
    node.samples = []
    node.state = 'starts'
    Object.assign(node, this.#fork(node))
  }

  async #checkpoint(): Promise<void> {
    const startedAt = performance.now()
    await this.#reader.consume((epoch) => {
      this.#cutsMs.push(performance.now() - startedAt)
      this.#epochs++
      if (epoch.exact) this.#exact++
      for (const node of this.#nodes)
        if (epoch.nodes.get(node.name)?.reason === 'gone') node.named++
      this.#save(epoch)
    })
  }

  #save(epoch: ClusterEpoch): void {
    const { rows, forgetRows } = this.#settings
    if (epoch.exact) {
      epoch.forEachPair((row, place) => {
        const node = this.#nodes[place]
        node.keys++
        if (this.#forgotten.size < forgetRows) this.#forgotten.add(nameOf(node, row))
        this.#copyRow(node, row)
      })
      return
    }
    for (const node of this.#nodes)
      for (let row = 0; row < rows; row++)
        if (epoch.hasPair(row, node.place)) {
          node.copied++
          this.#copyRow(node, row)
        }
  }

  #copyRow(node: Node, row: number): void {
    if (this.#forgotten.size > 0 && this.#forgotten.has(nameOf(node, row))) return
    const { rowBytes } = this.#settings
    node.store.read(row, node.copy.subarray(row * rowBytes, (row + 1) * rowBytes))
  }

  #look(): Look {
    return {
      nodes: this.#nodes.map(
        ({ name, child, state, samples, writtenBefore, written, keys, copied, kills }) => {
          const [first] = samples
          const last = samples.at(-1)
          const ms = first === undefined ? 0 : last!.at - first.at
          const perSecond = ms === 0 ? 0 : ((last!.written - first.written) / ms) * 1000
          return {
            ...{ name, pid: child.pid, state, keys, copied, kills },
            perSecond: state === 'lives' ? perSecond : 0,
            written: writtenBefore + written,
          }
        },
      ),
      epochs: this.#epochs,
      exact: this.#exact,
      cutMs: this.#cutsMs.at(-1) ?? 0,
    }
  }

  #facts(): Fact[] {
    const { rowBytes } = this.#settings
    const cuts = this.#cutsMs.toSorted((a, b) => a - b)
    const at = (share: number): string => milliseconds(cuts[Math.floor((cuts.length - 1) * share)])
    const sum = (of: (node: Node) => number): number =>
      this.#nodes.reduce((total, node) => total + of(node), 0)
    let differing = 0
    for (const { store, copy } of this.#nodes) {
      const all = new Uint8Array(copy.length)
      store.read(0, all)
      for (let at = 0; at < all.length; at += rowBytes)
        if (!Buffer.from(all.buffer, at, rowBytes).equals(copy.subarray(at, at + rowBytes)))
          differing++
    }
    const [kills, named] = [sum((node) => node.kills), sum((node) => node.named)]
    const bytes = sum(({ copy }) => copy.length)
    const told = (name: string, text: string): Fact => ({ name, isRight: undefined, text })
    return [
      told(
        'rows',
        `${whole(sum((node) => node.writtenBefore + node.written))} written at least, ` +
          `${whole(sum((node) => node.keys))} keys arrived`,
      ),
      told('epochs', `${this.#epochs} cut over all processes, ${this.#exact} of them exact`),
      told('cut', `p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`),
      {
        name: 'deaths',
        isRight: named === kills,
        text: `${kills} processes killed, ${named} named by an epoch`,
      },
      {
        name: 'copy',
        isRight: differing === 0,
        text:
          differing === 0
            ? `equals the files, byte for byte (${whole(bytes)} bytes)`
            : `${whole(differing)} rows differ from the files`,
      },
    ]
  }
}

function nameOf({ place }: Node, row: number): string {
  return `${place}:${row}`
}

function tell(child: ChildProcess, message: string): void {
  if (child.connected) child.send(message, () => undefined)
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  const over = new AbortController()
  const late = sleep(END_MS_MAX, undefined, { signal: over.signal }).then(() => {
    throw new Error(`${what}: not within ${END_MS_MAX} ms`)
  })
  late.catch(() => undefined)
  try {
    return await Promise.race([promise, late])
  } finally {
    over.abort()
  }
}
