/**
 * The command line's options: the demo's own, and every option of a tracker. The tracker's follow
 * from its table of options.
 */
import { pid } from 'node:process'
import { parseArgs } from 'node:util'
import type { DemoSettings } from '../demo/demo.js'
import type { ProcessesSettings } from '../demo/processes/demo.js'
import type { EngineSettings } from '../demo/processes/engine.js'
import { resolveOptions, type TrackerOptions } from '../index.js'
import { type OptionRow, OPTIONS } from '../memory/settings.js'

/** A command line that cannot be run as it is. The message is one line. */
export class UsageError extends Error {}

interface Option {
  readonly name: string
  readonly value: string
  readonly byDefault: string
  readonly about: string
}

/** One of the demo's own: a number from `min` to `max`. */
interface DemoOption extends Option {
  /** With `--processes`, if it differs. */
  readonly byDefaultOfProcesses?: string
  readonly min: number
  readonly max: number
  readonly isWhole?: boolean
}

const BYTES_MAX = 2 ** 30
/** With `--nats`, unless `--processes` says otherwise. */
const PROCESSES_OF_NATS = 3
/**
 * One writer more for the bulk load, one for the main thread, and one that is terminated while its
 * place is taken.
 */
const WRITERS_BESIDE = 3

const demoOptions: readonly DemoOption[] = [
  {
    name: 'processes',
    value: 'n',
    byDefault: '0',
    min: 0,
    max: 64,
    isWhole: true,
    about: 'processes with writers in each; 0: all writers are in one',
  },
  {
    name: 'seconds',
    value: 'n',
    byDefault: '30',
    min: 0,
    max: 86_400,
    about: 'the least time that it runs; it ends after the last accident',
  },
  {
    name: 'writers',
    value: 'n',
    byDefault: '4',
    byDefaultOfProcesses: '2',
    min: 1,
    max: 256,
    isWhole: true,
    about: 'worker threads that write and mark',
  },
  {
    name: 'rows',
    value: 'n',
    byDefault: '200000',
    byDefaultOfProcesses: '50000',
    min: 1,
    max: 2 ** 26,
    isWhole: true,
    about: 'rows of the store',
  },
  {
    name: 'row-bytes',
    value: 'n',
    byDefault: '64',
    min: 4,
    max: 65_536,
    isWhole: true,
    about: 'size of a row, a multiple of 4',
  },
  {
    name: 'epoch-ms',
    value: 'ms',
    byDefault: '250',
    min: 1,
    max: 3_600_000,
    isWhole: true,
    about: 'time between two checkpoints',
  },
  {
    name: 'theta',
    value: 'x',
    byDefault: '0.99',
    min: 0,
    max: 0.9999,
    about: 'skew of the Zipf distribution; 0: all rows are alike',
  },
  {
    name: 'seed',
    value: 'n',
    byDefault: '1',
    min: 0,
    max: 2 ** 31 - 1,
    isWhole: true,
    about: 'seed of the random rows',
  },
  {
    name: 'rate',
    value: 'n',
    byDefault: '250000',
    byDefaultOfProcesses: '5000',
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
    about: 'rows that the copy leaves out, to see the proof fail',
  },
]

/** Of a tracker's options: what each is for, in one line, and the unit of a number. */
const help: Readonly<Record<keyof typeof OPTIONS, Pick<Option, 'about'> & Partial<Option>>> = {
  capacity: { value: 'batches', about: 'slots of the ring' },
  maxWriters: { about: 'writers open at once' },
  laneCapacity: { value: 'keys', about: 'staged and in flight, of each writer' },
  batchSize: { value: 'keys', about: 'keys that a writer stages before it publishes' },
  laneTextBytes: { value: 'bytes', about: 'text staged and in flight, of each writer' },
  epochSlots: { about: 'epochs that exist at once' },
  maxConsumers: { about: 'named consumers open at once; 0: the tracker is the one' },
  maxKeysPerEpoch: { value: 'keys', about: 'distinct keys that an epoch holds exactly' },
  maxStringsPerEpoch: {
    value: 'keys',
    about: 'distinct text keys that an epoch holds exactly; 0: text by its fingerprint',
  },
  maxStringBytesPerEpoch: { value: 'bytes', about: 'bytes of those text keys' },
  keys: { about: 'the kind of keys; another kind is refused' },
  flushIntervalMs: { value: 'ms', about: 'a staged key is published after this; 0: never' },
  onFull: { about: 'what a mark does when its lane is full' },
  maxWaitMs: { value: 'ms', about: 'how long a mark waits for room' },
  kernel: { about: 'what keeps the sets' },
  aggregator: { about: 'the thread that runs the aggregator; inline: the main thread' },
}

/** Where the demo differs from a tracker's own defaults, or takes less. */
const demosOwn: { readonly [name in keyof TrackerOptions]?: Partial<Option> } = {
  maxWriters: { byDefault: `${OPTIONS.maxWriters.byDefault}, or writers + ${WRITERS_BESIDE}` },
  maxKeysPerEpoch: { byDefault: '95 % of rows' },
  aggregator: { value: 'worker|inline' },
  keys: { value: 'any|number' },
}

function trackerOption(name: keyof typeof OPTIONS): Option {
  const row: OptionRow = OPTIONS[name]
  return {
    name: flagOf(name),
    ...('choices' in row
      ? { value: row.choices.join('|'), byDefault: row.choices[0] }
      : { value: 'n', byDefault: String(row.byDefault) }),
    ...help[name],
    ...demosOwn[name],
  }
}

/** `maxWriters` is `--max-writers`. */
function flagOf(option: string): string {
  return option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

const trackerOptions = (Object.keys(OPTIONS) as (keyof typeof OPTIONS)[]).map(trackerOption)

export function demoOptionsHelp(): string {
  const flag = ({ name, value }: Option): string => `--${name} <${value}>`
  const width = 2 + Math.max(...[...demoOptions, ...trackerOptions].map((o) => flag(o).length))
  const defaultOf = ({ byDefault, byDefaultOfProcesses: other }: Option & Partial<DemoOption>) =>
    other === undefined ? byDefault : `${byDefault}; ${other} with --processes`
  const line = (option: Option): string =>
    `  ${flag(option).padEnd(width)}${option.about} (${defaultOf(option)})`
  return `Options (defaults in brackets):
${demoOptions.map(line).join('\n')}
  ${'--nats <url>'.padEnd(width)}processes talk over this NATS server; without it over IPC
  ${'--plain'.padEnd(width)}one line an epoch, also on a terminal

Options of the tracker:
${trackerOptions.map(line).join('\n')}`
}

export type Values = Readonly<Record<string, string | boolean | undefined>>

/**
 * Turns `--seconds -1` into `--seconds=-1`, so that its value is checked like any other. Without
 * that, parseArgs() refuses it as ambiguous.
 */
function joinNegative(arg: string, at: number, args: readonly string[]): string[] {
  const isNegative = (each: string | undefined): boolean =>
    each !== undefined && /^-[\d.]/.test(each)
  if (isNegative(arg) && at > 0 && args[at - 1].startsWith('--')) return []
  return [arg.startsWith('--') && isNegative(args[at + 1]) ? `${arg}=${args[at + 1]}` : arg]
}

/** @param named options with a value @param flags options without */
function parse(
  args: readonly string[],
  named: readonly string[],
  flags: readonly string[],
): Values {
  const string = { type: 'string' } as const
  const boolean = { type: 'boolean' } as const
  const options: Record<string, typeof string | typeof boolean> = {}
  for (const name of named) options[name] = string
  for (const name of flags) options[name] = boolean
  try {
    const { values, positionals } = parseArgs({
      args: args.flatMap(joinNegative),
      options: { ...options, help: { ...boolean, short: 'h' } },
      allowPositionals: true,
    })
    if (positionals.length > 0) throw new UsageError(`unexpected argument "${positionals[0]}"`)
    return values
  } catch (error) {
    if (error instanceof UsageError) throw error
    // Node goes on to explain how such an argument could be escaped.
    const [what] = (error as Error).message.split(/\. |\.?\n|\.$/)
    throw new UsageError(`${what[0].toLowerCase()}${what.slice(1)}`)
  }
}

export function parseDemo(args: readonly string[]): Values {
  return parse(
    args,
    [...[...demoOptions, ...trackerOptions].map(({ name }) => name), 'nats'],
    ['plain'],
  )
}

export function parseDoctor(args: readonly string[]): Values {
  return parse(args, [], ['json'])
}

/** Text that is no number stays text, so that the error of the check can show it. */
function numberOrText(text: string): number | string {
  return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text)
}

/** The settings of the demo in one process; with `--processes`, those of the other one. */
export function readSettings(values: Values): DemoSettings | ProcessesSettings {
  let processes = 0
  const own = (name: string): number => {
    const { byDefault, byDefaultOfProcesses, min, max, isWhole } = demoOptions.find(
      (option) => option.name === name,
    )!
    const usual = processes > 0 ? (byDefaultOfProcesses ?? byDefault) : byDefault
    const text = (values[name] as string | undefined) ?? usual
    const value = numberOrText(text)
    const isIn = typeof value === 'number' && value >= min && value <= max
    if (isIn && (isWhole !== true || Number.isInteger(value))) return value
    const kind = isWhole === true ? 'a whole number' : 'a number'
    throw mustBe(`"--${name}"`, `${kind} from ${min} to ${max}`, text)
  }
  processes = own('processes')
  const { nats } = values
  if (typeof nats === 'string') {
    if (!/^((nats|tls):\/\/)?[^\s/]+$/.test(nats))
      throw mustBe('"--nats"', 'the address of a server, as nats://127.0.0.1:4222', nats)
    if (processes === 0) processes = PROCESSES_OF_NATS
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
  if (rowBytes % 4 !== 0) throw mustBe('"--row-bytes"', 'a multiple of 4', rowBytes)
  const size = rows * rowBytes
  if (size > BYTES_MAX) throw mustBe('"--rows" times "--row-bytes"', `at most ${BYTES_MAX}`, size)
  const all = { ...settings, tracker: readTrackerOptions(values, writers, rows) }
  if (processes === 0) return all
  const engine: EngineSettings =
    typeof nats === 'string'
      ? { kind: 'nats', servers: nats, stream: `dirtyring-demo-${pid}` }
      : { kind: 'ipc' }
  return { ...all, processes, engine }
}

function readTrackerOptions(values: Values, writers: number, rows: number): TrackerOptions {
  const writersMin = writers + WRITERS_BESIDE
  const options: Record<string, unknown> = {
    maxWriters: Math.max(32, writersMin),
    maxKeysPerEpoch: Math.ceil(rows * 0.95),
  }
  for (const name of Object.keys(OPTIONS)) {
    const text = values[flagOf(name)]
    if (typeof text === 'string') options[name] = numberOrText(text)
  }
  const { aggregator, keys } = options
  if (keys !== undefined && keys !== 'any' && keys !== 'number')
    throw mustBe('"--keys"', `'any' or 'number'`, values.keys)
  if (aggregator !== undefined && aggregator !== 'worker' && aggregator !== 'inline')
    throw mustBe('"--aggregator"', `'worker' or 'inline'`, values.aggregator)
  const { maxWriters } = resolved(options)
  if (maxWriters >= writersMin) return options
  throw mustBe('"--max-writers"', `at least ${writersMin} for ${writers} writers`, maxWriters)
}

/** Refuses what resolveOptions() refuses, under the name that the option has here. */
function resolved(options: TrackerOptions): ReturnType<typeof resolveOptions> {
  try {
    return resolveOptions(options)
  } catch (error) {
    const { message } = error as Error
    throw new UsageError(
      message.replace(/"options\.(\w+)"/, (_, name: string) => `"--${flagOf(name)}"`),
    )
  }
}

function mustBe(name: string, expected: string, got: unknown): UsageError {
  return new UsageError(`${name} must be ${expected}, got ${JSON.stringify(got)}`)
}
