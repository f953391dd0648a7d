import {
  closeSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { ipcHub, ipcSink, ipcSource } from '../../../dist/ipc/index.js'

/** What carries the messages, in the process that starts the others. */
export async function engineOfParent(name, cluster) {
  if (name !== 'ipc') return (await import('./cluster-chaos-servers.mjs')).serverOfParent(name)
  const hub = ipcHub(cluster)
  return {
    /** Goes to the children. */
    settings: { name },
    source: () => hub.source(),
    add: (child) => hub.add(child),
    close: () => hub.close(),
  }
}

/** The same in a child. */
export async function engineOfChild(settings) {
  if (settings.name !== 'ipc')
    return (await import('./cluster-chaos-servers.mjs')).serverOfChild(settings)
  return { sink: () => ipcSink(), source: () => ipcSource(), close: async () => undefined }
}

/** Consumes, and again while the engine is away; until `isOver()`. */
export async function consumeLater(reader, use, isOver = () => false) {
  for (;;) {
    try {
      return await reader.consume(use)
    } catch (error) {
      if (error.code !== 'ERR_DIRTYRING_AWAY') throw error
      if (isOver()) return undefined
    }
  }
}

export const storePath = (folder, node) => join(folder, `${node}.store`)

/** A store: 8 bytes a row, in a file. What is written stays when its writer is killed. */
export class RowStore {
  #file
  #row = Buffer.alloc(8)

  constructor(path) {
    closeSync(openSync(path, 'a'))
    this.#file = openSync(path, 'r+')
  }

  write(row, value) {
    this.#row.writeDoubleLE(value)
    writeSync(this.#file, this.#row, 0, 8, row * 8)
  }

  read(row) {
    this.#row.fill(0)
    readSync(this.#file, this.#row, 0, 8, row * 8)
    return this.#row.readDoubleLE()
  }
}

/** Copies of all stores, brought up to date with epochs. */
export class Copies {
  #stores
  #copies
  counts = { epochs: 0, exact: 0, keys: 0, taken: 0, reasons: {} }

  constructor(folder, nodes, rows) {
    const all = Array.from({ length: nodes }, (_, node) => node)
    this.#stores = all.map((node) => new RowStore(storePath(folder, node)))
    this.#copies = all.map(() => new Float64Array(rows))
  }

  /** @param ignores - wrong: take an epoch that is not exact for what it lists */
  take(epoch, ignores = false) {
    const { counts } = this
    counts.epochs++
    for (const { reason } of epoch.nodes.values())
      if (reason !== undefined) counts.reasons[reason] = (counts.reasons[reason] ?? 0) + 1
    if (epoch.exact || ignores) {
      if (epoch.exact) counts.exact++
      for (const key of epoch.listed()) {
        counts.keys++
        const [node, row] = [Math.floor(Number(key) / 2 ** 32), Number(key) % 2 ** 32]
        this.#copies[node][row] = this.#stores[node].read(row)
      }
      return
    }
    for (const [node, copy] of this.#copies.entries())
      for (let row = 0; row < copy.length; row++)
        if (epoch.hasPair(row, node)) {
          counts.taken++
          copy[row] = this.#stores[node].read(row)
        }
  }

  /** How many rows differ from their stores. */
  differing() {
    let differing = 0
    for (const [node, copy] of this.#copies.entries())
      for (let row = 0; row < copy.length; row++)
        if (copy[row] !== this.#stores[node].read(row)) differing++
    return differing
  }

  /** Brings the copies and a clock into one file, which either is whole or is the one before. */
  save(path, clock) {
    const rows = this.#copies.map((copy) => Buffer.from(copy.buffer).toString('base64'))
    writeFileSync(`${path}.new`, JSON.stringify({ clock, rows, counts: this.counts }))
    renameSync(`${path}.new`, path)
  }

  /** Returns the clock, or undefined if there is no file. */
  load(path) {
    let text
    try {
      text = readFileSync(path, 'utf8')
    } catch {
      return undefined
    }
    const { clock, rows, counts } = JSON.parse(text)
    this.counts = counts
    for (const [node, copy] of this.#copies.entries())
      Buffer.from(copy.buffer).set(Buffer.from(rows[node], 'base64'))
    return clock
  }
}
