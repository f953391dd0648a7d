#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { resolveOptions, type TrackerOptions } from '../index.js'
import { runDemo, type DemoSettings } from './demo.js'

interface DemoOption {
  readonly name: string
  readonly value: string
  readonly byDefault: string
  readonly about: string
  /** The tracker's option that it sets; it has its own checks. */
  readonly tracker?: keyof TrackerOptions
  /** Of the demo's own options: a number, `min` to `max`. */
  readonly min?: number
  readonly max?: number
  readonly isWhole?: boolean
}

const BYTES_MAX = 2 ** 30

const options: readonly DemoOption[] = [
  { name: 'seconds', value: 'n', byDefault: '10', min: 0, max: 86_400, about: 'how long, at least: every accident has its epoch' },
  { name: 'writers', value: 'n', byDefault: '4', min: 1, max: 256, isWhole: true, about: 'worker threads that write and mark' },
  { name: 'rows', value: 'n', byDefault: '200000', min: 1, max: 2 ** 26, isWhole: true, about: 'rows of the store' },
  { name: 'row-bytes', value: 'n', byDefault: '64', min: 4, max: 65_536, isWhole: true, about: 'size of a row, a multiple of 4' },
  { name: 'epoch-ms', value: 'ms', byDefault: '250', min: 1, max: 3_600_000, isWhole: true, about: 'time between two checkpoints' },
  { name: 'theta', value: 'x', byDefault: '0.99', min: 0, max: 0.9999, about: 'skew of the Zipf distribution; 0: all rows alike' },
  { name: 'seed', value: 'n', byDefault: '1', min: 0, max: 2 ** 31 - 1, isWhole: true, about: 'of the random rows' },
  {
    name: 'rate',
    value: 'n',
    byDefault: '250000',
    min: 0,
    max: 1e9,
    about: 'marks a second, of each writer; 0: as fast as the proof keeps up',
  },
  {
    name: 'forget-rows',
    value: 'n',
    byDefault: '0',
    min: 0,
    max: 2 ** 26,
    isWhole: true,
    about: 'rows left out of the copy: see the proof fail',
  },
  { name: 'batch-size', value: 'keys', byDefault: '64', tracker: 'batchSize', about: 'keys that a writer stages before it publishes' },
  { name: 'capacity', value: 'batches', byDefault: '1024', tracker: 'capacity', about: 'of the ring' },
  { name: 'lane-capacity', value: 'keys', byDefault: '16384', tracker: 'laneCapacity', about: 'staged and in flight, of each writer' },
  {
    name: 'max-keys',
    value: 'keys',
    byDefault: '95 % of rows',
    tracker: 'maxKeysPerEpoch',
    about: 'distinct keys that an epoch holds exactly',
  },
  { name: 'epoch-slots', value: 'n', byDefault: '4', tracker: 'epochSlots', about: 'epochs that exist at once' },
  {
    name: 'flush-interval',
    value: 'ms',
    byDefault: '10',
    tracker: 'flushIntervalMs',
    about: 'a staged key is published after this; 0: never',
  },
  { name: 'on-full', value: 'wait|reject', byDefault: 'wait', tracker: 'onFull', about: 'what a mark does when its lane is full' },
]

class UsageError extends Error {}

function help(): string {
  const lines = options.map(({ name, value, byDefault, about }) => `  ${`--${name} <${value}>`.padEnd(26)}${about} (${byDefault})`)
  return `dirtyring: which keys changed since last time

Usage: dirtyring demo [options]

  Worker threads write a shared table and mark every row they write. The main thread keeps a copy up to date by copying, at every
  checkpoint, the rows that changed. A writer and the aggregator are terminated on the way, a checkpoint fails, an epoch overflows.
  Exit code 0 only if the copy is the table, byte for byte, and no mark was lost and none invented.

Options (defaults in brackets):
${lines.join('\n')}

  ${'-h, --help'.padEnd(26)}this text
  ${'-v, --version'.padEnd(26)}the version
`
}

function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  return version
}

interface Arguments {
  readonly values: Readonly<Record<string, string | boolean | undefined>>
  readonly positionals: readonly string[]
}

function readArguments(args: string[]): Arguments {
  const flags = { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean', short: 'v' } } as const
  const named = Object.fromEntries(options.map(({ name }) => [name, { type: 'string' } as const]))
  try {
    return parseArgs({ args, options: { ...named, ...flags }, allowPositionals: true })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

/** What is no number stays text: whoever checks it can say what it was. */
function numberOrText(text: string): number | string {
  return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text)
}

function readSettings(values: Arguments['values']): DemoSettings {
  const own = (name: string): number => {
    const { byDefault, min = 0, max = Infinity, isWhole = false } = options.find((option) => option.name === name)!
    const text = (values[name] as string | undefined) ?? byDefault
    const value = numberOrText(text)
    if (typeof value === 'number' && value >= min && value <= max && (!isWhole || Number.isInteger(value))) return value
    throw new UsageError(`"--${name}" expected a ${isWhole ? 'whole number' : 'number'}, ${min} to ${max}, got ${JSON.stringify(text)}`)
  }
  const settings = {
    seconds: own('seconds'),
    writers: own('writers'),
    rows: own('rows'),
    rowBytes: own('row-bytes'),
    epochMs: own('epoch-ms'),
    theta: own('theta'),
    seed: own('seed'),
    rate: own('rate'),
    forgetRows: own('forget-rows'),
  }
  const { writers, rows, rowBytes } = settings
  if (rowBytes % 4 !== 0) throw new UsageError(`"--row-bytes" expected a multiple of 4, got ${rowBytes}`)
  if (rows * rowBytes > BYTES_MAX)
    throw new UsageError(`"--rows" times "--row-bytes" expected at most ${BYTES_MAX}, got ${rows * rowBytes}`)

  // One more for the bulk load, one for the main thread, and one for the writer that is terminated while its place is taken.
  const tracker: Record<string, unknown> = { maxWriters: Math.max(32, writers + 3), maxKeysPerEpoch: Math.ceil(rows * 0.95) }
  for (const { name, tracker: option } of options) {
    const text = values[name]
    if (option === undefined || typeof text !== 'string') continue
    tracker[option] = option === 'onFull' ? text : numberOrText(text)
  }
  try {
    resolveOptions(tracker)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
  return { ...settings, tracker }
}

async function demo(settings: DemoSettings): Promise<number> {
  const interrupted = new AbortController()
  process.once('SIGINT', () => interrupted.abort()) // once: a second Ctrl-C ends the process at once
  const output = {
    line: (text: string) => void process.stdout.write(`${text}\n`),
    colours: process.stdout.isTTY && (process.env.NO_COLOR ?? '') === '',
  }
  return (await runDemo(settings, output, interrupted.signal)) ? 0 : 1
}

async function main(args: string[]): Promise<number> {
  const { values, positionals } = readArguments(args)
  if (values.help === true) process.stdout.write(help())
  else if (values.version === true) process.stdout.write(`${version()}\n`)
  else if (positionals.length === 0) throw new UsageError('no command')
  else if (positionals.length > 1 || positionals[0] !== 'demo')
    throw new UsageError(`unknown command "${positionals.join(' ')}": there is "demo"`)
  else return demo(readSettings(values))
  return 0
}

// Whoever read the output has closed it (`| head`): nobody is left to be told anything.
process.stdout.on('error', () => process.exit(1))

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (error instanceof UsageError) process.stderr.write(`dirtyring: ${error.message}\nTry: dirtyring --help\n`)
  else process.stderr.write(`dirtyring: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
