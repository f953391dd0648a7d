import { type DemoSettings, runDemo } from '../demo/demo.js'
import { LiveScreen } from '../demo/live.js'
import { type ProcessesSettings, runProcessesDemo } from '../demo/processes/demo.js'
import { NodeLines } from '../demo/processes/lines.js'
import { PlainLines, type Show } from '../demo/show.js'
import { diagnose, diagnosisLines, version } from './doctor.js'
import { demoOptionsHelp, parseDemo, parseDoctor, readSettings, UsageError } from './options.js'

const help = `dirtyring: which keys changed since last time

Usage: dirtyring <command> [options]

  doctor                 show what this runtime can do and run a self-test, for bug reports
  demo                   copy a table for half a minute while threads are killed, then prove it
  <command> --help       show the options of a command

  -h, --help             show this text
  -v, --version          show the version
`

const demoHelp = `Usage: dirtyring demo [options]

  Worker threads write a shared table and mark every row that they write. At every checkpoint the
  main thread copies the rows that changed. Meanwhile the demo terminates a writer and the
  aggregator, lets a checkpoint fail, and lets an epoch overflow. The exit code is 0 only if the
  copy equals the table byte for byte, no mark is lost, and no mark is invented.

  With --processes the writers are in several processes. Each writes a file of rows, and the main
  process has a copy of each. At every checkpoint it cuts over all processes. Meanwhile the demo
  kills processes, and starts others. The exit code is 0 only if each copy equals its file byte for
  byte, and an epoch named each process that was killed. With --nats the processes talk over a
  NATS server with JetStream; the demo makes a stream of its own there, and deletes it.

  On a terminal: k kills a writer, f lets the next checkpoint fail, q ends the demo early and still
  proves the copy.

${demoOptionsHelp()}
`

const doctorHelp = `Usage: dirtyring doctor [--json]

  Shows what this runtime can do and the memory that a tracker takes by default. Then runs a
  self-test with two worker threads, and terminates one of them. The exit code is 0 if dirtyring is
  usable here. Paste the output into bug reports.

  --json                 print the same as JSON
`

const TERMINATED_BY_SIGINT = 130

async function demo(settings: DemoSettings | ProcessesSettings, isPlain: boolean): Promise<number> {
  const { stdin, stdout } = process
  const colors = stdout.isTTY && (process.env.NO_COLOR ?? '') === ''
  const isLive = stdout.isTTY && process.env.TERM !== 'dumb' && !isPlain
  const interrupted = new AbortController()
  const interrupt = (why: string): void => {
    if (interrupted.signal.aborted) {
      show.close() // a second Ctrl-C: end at once
      process.exit(TERMINATED_BY_SIGINT)
    }
    interrupted.abort(why)
  }
  if ('processes' in settings) {
    process.once('SIGINT', () => interrupted.abort('Ctrl-C')) // the second one ends at once
    const lines = new NodeLines(stdout, isLive, colors)
    return (await runProcessesDemo(settings, lines, interrupted.signal)) ? 0 : 1
  }
  const show: Show = isLive
    ? new LiveScreen(stdout, colors, stdin.isTTY ? { input: stdin, onEnd: interrupt } : undefined)
    : new PlainLines((text) => void stdout.write(text), colors)
  process.on('SIGINT', () => interrupt('Ctrl-C'))
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      show.close()
      process.kill(process.pid, signal) // no listener is left: the signal ends the process
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
          `the commands are "doctor" and "demo"`,
      )
  }
}

// The reader of the output has closed it (`| head`): nothing that is written now can arrive.
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
