/**
 * The command line's options: of the demo its own, and every option of a tracker under its own
 * name.
 */
import { parseArgs } from 'node:util'
import type { DemoSettings } from '../demo/demo.js'
import { resolveOptions, type TrackerOptions } from '../index.js'

/** Somebody typed something else than what there is. One line. */
export class UsageError extends Error {}

interface Option {
  readonly name: string
  readonly value: string
  readonly byDefault: string
  readonly about: string
  /** Of the demo's own options: a number, `min` to `max`. */
  readonly min?: number
  readonly max?: number
  readonly isWhole?: boolean
}

const BYTES_MAX = 2 ** 30
/**
 * One writer more for the bulk load, one for the main thread, and one that is terminated while its
 * place is taken.
 */
const WRITERS_BESIDE = 3

const demoOptions: readonly Option[] = [
  {
    name: 'seconds',
    value: 'n',
    byDefault: '30',
    min: 0,
    max: 86_400,
    about: 'how long, at least: every accident has its epoch',
  },
  {
    name: 'writers',
    value: 'n',
    byDefault: '4',
    min: 1,
    max: 256,
    isWhole: true,
    about: 'worker threads that write and mark',
  },
  {
    name: 'rows',
    value: 'n',
    byDefault: '200000',
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
    about: 'skew of the Zipf distribution; 0: all rows alike',
  },
  {
    name: 'seed',
    value: 'n',
    byDefault: '1',
    min: 0,
    max: 2 ** 31 - 1,
    isWhole: true,
    about: 'of the random rows',
  },
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
]

/** None may be missing: the compiler sees to it. Each has its own checks, in resolveOptions(). */
const trackerOptions: Readonly<Record<keyof TrackerOptions, Omit<Option, 'name'>>> = {
  batchSize: {
    value: 'keys',
    byDefault: '64',
    about: 'keys that a writer stages before it publishes',
  },
  capacity: { value: 'batches', byDefault: '1024', about: 'of the ring' },
  laneCapacity: {
    value: 'keys',
    byDefault: '16384',
    about: 'staged and in flight, of each writer',
  },
  maxWriters: {
    value: 'n',
    byDefault: `32, or writers + ${WRITERS_BESIDE}`,
    about: 'writers open at once',
  },
  epochSlots: { value: 'n', byDefault: '4', about: 'epochs that exist at once' },
  maxKeysPerEpoch: {
    value: 'keys',
    byDefault: '95 % of rows',
    about: 'distinct keys that an epoch holds exactly',
  },
  flushIntervalMs: {
    value: 'ms',
    byDefault: '10',
    about: 'a staged key is published after this; 0: never',
  },
  onFull: {
    value: 'wait|reject',
    byDefault: 'wait',
    about: 'what a mark does when its lane is full',
  },
  maxWaitMs: { value: 'ms', byDefault: '30000', about: 'how long it waits' },
  kernel: { value: 'auto|wasm|js', byDefault: 'auto', about: 'what keeps the sets' },
  aggregator: {
    value: 'worker|inline',
    byDefault: 'worker',
    about: 'who runs the aggregator; inline: the main thread',
  },
}

const flagOf = (option: string): string =>
  option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

export function demoOptionsHelp(): string {
  const line = ({ name, value, byDefault, about }: Option): string =>
    `  ${`--${name} <${value}>`.padEnd(30)}${about} (${byDefault})`
  const tracker = Object.entries(trackerOptions).map(([name, option]) =>
    line({ name: flagOf(name), ...option }),
  )
  return `Options (defaults in brackets):
${demoOptions.map(line).join('\n')}
  ${'--plain'.padEnd(30)}one line an epoch, also on a terminal

Options of the tracker:
${tracker.join('\n')}`
}

export type Values = Readonly<Record<string, string | boolean | undefined>>

/**
 * `--seconds -1` is a value that is checked like any other: parseArgs() would ask what is meant.
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
    [...demoOptions.map(({ name }) => name), ...Object.keys(trackerOptions).map(flagOf)],
    ['plain'],
  )
}

export function parseDoctor(args: readonly string[]): Values {
  return parse(args, [], ['json'])
}

/** What is no number stays text: whoever checks it can say what it was. */
function numberOrText(text: string): number | string {
  return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text)
}

export function readSettings(values: Values): DemoSettings {
  const own = (name: string): number => {
    const {
      byDefault,
      min = 0,
      max = Infinity,
      isWhole = false,
    } = demoOptions.find((option) => option.name === name)!
    const text = (values[name] as string | undefined) ?? byDefault
    const value = numberOrText(text)
    if (
      typeof value === 'number' &&
      value >= min &&
      value <= max &&
      (!isWhole || Number.isInteger(value))
    )
      return value
    throw new UsageError(
      `"--${name}" expected a ${isWhole ? 'whole number' : 'number'}, ${min} to ${max}, got ${JSON.stringify(text)}`,
    )
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
  if (rowBytes % 4 !== 0)
    throw new UsageError(`"--row-bytes" expected a multiple of 4, got ${rowBytes}`)
  if (rows * rowBytes > BYTES_MAX)
    throw new UsageError(
      `"--rows" times "--row-bytes" expected at most ${BYTES_MAX}, got ${rows * rowBytes}`,
    )
  return { ...settings, tracker: readTrackerOptions(values, writers, rows) }
}

function readTrackerOptions(values: Values, writers: number, rows: number): TrackerOptions {
  const writersMin = writers + WRITERS_BESIDE
  const options: Record<string, unknown> = {
    maxWriters: Math.max(32, writersMin),
    maxKeysPerEpoch: Math.ceil(rows * 0.95),
  }
  for (const name of Object.keys(trackerOptions)) {
    const text = values[flagOf(name)]
    if (typeof text === 'string') options[name] = numberOrText(text)
  }
  const { aggregator } = options
  if (aggregator !== undefined && aggregator !== 'worker' && aggregator !== 'inline') {
    throw new UsageError(
      `"--aggregator" expected 'worker' or 'inline', got ${JSON.stringify(values.aggregator)}`,
    )
  }
  try {
    const { maxWriters } = resolveOptions(options)
    if (maxWriters >= writersMin) return options
  } catch (error) {
    throw new UsageError(
      (error as Error).message.replace(
        /"options\.(\w+)"/,
        (_, name: string) => `"--${flagOf(name)}"`,
      ),
    )
  }
  throw new UsageError(
    `"--max-writers" expected at least ${writersMin} for ${writers} writers, got ${String(options.maxWriters)}`,
  )
}
