#!/usr/bin/env node
import { LiveScreen } from '../demo/live.js'
import { PlainLines, type Show } from '../demo/show.js'
import { runDemo, type DemoSettings } from '../demo/demo.js'
import { diagnose, diagnosisLines, version } from './doctor.js'
import { demoOptionsHelp, parseDemo, parseDoctor, readSettings, UsageError } from './options.js'

const help = `dirtyring: which keys changed since last time

Usage: dirtyring <command> [options]

  doctor                 what this runtime can do, and a self-test: for bug reports
  demo                   half a minute of incremental checkpoints under kills, with a proof
  <command> --help       its options

  -h, --help             this text
  -v, --version          the version
`

const demoHelp = `Usage: dirtyring demo [options]

  Worker threads write a shared table and mark every row that they write. The main thread keeps a
  copy up to date: at every checkpoint it copies the rows that changed. On the way a writer and
  the aggregator are terminated, a checkpoint fails, and an epoch overflows. The exit code is 0 only
  if the copy equals the table, byte for byte, and no mark was lost and none invented.

  On a terminal: k kills a writer, f makes the next checkpoint fail, q ends it early, with its proof.

${demoOptionsHelp()}
`

const doctorHelp = `Usage: dirtyring doctor [--json]

  Prints what this runtime can do and how much memory a tracker takes by default, and runs a
  self-test with two worker threads, of which one is terminated. The exit code is 0 if dirtyring is
  usable here. Paste the output into bug reports.

  --json                 the same for machines
`

const TERMINATED_BY_SIGINT = 130

async function demo(settings: DemoSettings, isPlain: boolean): Promise<number> {
  const { stdin, stdout } = process
  const interrupted = new AbortController()
  const interrupt = (why: string): void => {
    if (interrupted.signal.aborted) {
      show.close() // the second time: at once
      process.exit(TERMINATED_BY_SIGINT)
    }
    interrupted.abort(why)
  }
  const colours = stdout.isTTY && (process.env.NO_COLOR ?? '') === ''
  const isLive = stdout.isTTY && process.env.TERM !== 'dumb' && !isPlain
  const show: Show = isLive
    ? new LiveScreen(stdout, colours, stdin.isTTY ? { input: stdin, onEnd: interrupt } : undefined)
    : new PlainLines((text) => void stdout.write(text), colours)
  process.on('SIGINT', () => interrupt('Ctrl-C'))
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      show.close()
      process.kill(process.pid, signal) // has no listener any more: the default action follows
    })
  }
  const isProven = await runDemo(settings, show, interrupted.signal)
  return isProven ? 0 : 1
}

async function doctor(isJson: boolean): Promise<number> {
  const diagnosis = await diagnose()
  process.stdout.write(
    isJson
      ? `${JSON.stringify(diagnosis, undefined, 2)}\n`
      : `${diagnosisLines(diagnosis).join('\n')}\n`,
  )
  return diagnosis.usable ? 0 : 1
}

async function main([command, ...args]: string[]): Promise<number> {
  const say = (text: string): number => {
    process.stdout.write(text)
    return 0
  }
  switch (command) {
    case 'demo': {
      const values = parseDemo(args)
      return values.help === true
        ? say(demoHelp)
        : demo(readSettings(values), values.plain === true)
    }
    case 'doctor': {
      const values = parseDoctor(args)
      return values.help === true ? say(doctorHelp) : doctor(values.json === true)
    }
    case undefined:
    case 'help':
    case '-h':
    case '--help':
      return say(help)
    case '-v':
    case '--version':
      return say(`${version()}\n`)
    default:
      throw new UsageError(
        `unknown ${command.startsWith('-') ? 'option' : 'command'} "${command}": ` +
          'there are "doctor" and "demo"',
      )
  }
}

// The reader of the output has closed it (`| head`): there is nothing left to tell.
process.stdout.on('error', () => process.exit(1))

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (error instanceof UsageError)
    process.stderr.write(`dirtyring: ${error.message} (try "dirtyring --help")\n`)
  else
    process.stderr.write(
      `dirtyring: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    )
  process.exitCode = error instanceof UsageError ? 2 : 1
}
