/**
 * Takes the examples out of documents (fenced blocks of js and ts, in Markdown and in doc
 * comments), compiles them against the built declarations, runs them against the built package, and
 * compares what they print with the comments behind `console.log()`. CONTRIBUTING.md says what a
 * block may be.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { args, verdict } from './support.mjs'

const PROGRAM_MS_MAX = 30_000
const root = fileURLToPath(new URL('../../..', import.meta.url))
const print = fileURLToPath(new URL('./print.mjs', import.meta.url))

/**
 * A folder in here: so that `import 'dirtyring'` is the package that was built, and the pools of
 * the examples are those of this project.
 */
mkdirSync(join(root, '.cache'), { recursive: true })
const scratch = mkdtempSync(join(root, '.cache/examples-'))

/** Blocks in documents: `line` is that of the fence. */
function blocksIn(document) {
  const isSource = document.endsWith('.ts')
  const text = args.texts?.[document] ?? readFileSync(join(root, document), 'utf8')
  const blocks = []
  let block
  for (const [i, raw] of text.split('\n').entries()) {
    const line = isSource ? /^\s*\* ?(.*)$/.exec(raw)?.[1] : raw
    const fence = line === undefined ? undefined : /^\s*```(.*)$/.exec(line)?.[1].trim()
    if (fence === undefined) {
      if (block !== undefined) block.code.push(line ?? '')
    } else if (block === undefined) {
      block = { document, line: i + 1, info: fence, code: [] }
    } else {
      blocks.push(block)
      block = undefined
    }
  }
  return blocks.filter(({ info }) => /^(js|ts|javascript|typescript)\b/.test(info))
}

/** What runs together: one snippet, or main.js and the files that follow it. */
function programsIn(document) {
  const programs = []
  for (const block of blocksIn(document)) {
    const [language, how] = block.info.split(/\s+/)
    if (block.info !== language && how !== 'no-run')
      throw new Error(`${document}:${block.line}: \`${block.info}\` is none of js, ts, with no-run`)
    const name = /^\/\/ ([\w-]+\.m?[jt]s)\b/.exec(block.code[0])?.[1]
    const kind = name === undefined ? 'snippet' : 'files'
    if (name === undefined || /^main\./.test(name))
      programs.push({ kind, document, line: block.line, runs: how !== 'no-run', files: [] })
    const program = programs.at(-1)
    if (program?.kind !== kind)
      throw new Error(`${document}:${block.line}: ${name} has no main.js before it`)
    const file = name ?? `snippet.${language.startsWith('t') ? 'ts' : 'js'}`
    if (program.files.some((each) => each.name === file))
      throw new Error(`${document}:${block.line}: ${file} is there twice`)
    program.files.push({ name: file, ...block })
  }
  return programs
}

/** On the lines that it has in its document; what it prints says where it was printed. */
function sourceOf({ document, line, code }) {
  const named = code.map((text, i) =>
    text.replaceAll('console.log(', `at('${document}:${line + 1 + i}')(`),
  )
  return `import { at } from '${print}'${'\n'.repeat(line)}${named.join('\n')}\nexport {}\n`
}

/** What each line is to print: the comment behind its console.log(). */
function expectedOf({ document, line, code }) {
  return code.flatMap((text, i) => {
    const comment = /console\.log\(.*\)[\s})]*\/\/ (.*)$/.exec(text)?.[1]
    return comment === undefined ? [] : [{ place: `${document}:${line + 1 + i}`, comment }]
  })
}

/** `…` in a comment stands for anything, several prints of one line are told apart by ` | `. */
function agrees(comment, printed) {
  const pattern = comment
    .trim()
    .split('…')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('.*')
  return new RegExp(`^${pattern.replace(/\s+/g, ' ')}$`).test(
    printed.join(' | ').replace(/\s+/g, ' ').trim(),
  )
}

function run(script, argument) {
  const { NODE_OPTIONS: _, ...env } = process.env
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script, argument], {
      env,
      cwd: dirname(script),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text))
    const timer = setTimeout(() => child.kill('SIGKILL'), PROGRAM_MS_MAX)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const said = stdout
        .split('\n')
        .flatMap((line) => (line.startsWith('{"place"') ? [JSON.parse(line)] : []))
      resolve({
        said,
        stderr: stderr.trim(),
        ended: code === 0 ? undefined : `ended with ${signal ?? `exit status ${code}`}`,
      })
    })
  })
}

const problems = []
const printed = new Map()
function take({ said }) {
  for (const { place, text, problem } of said) {
    if (problem !== undefined) problems.push(`${place}: ${problem}`)
    else printed.set(place, [...(printed.get(place) ?? []), text])
  }
}

// ---- Take them out

/**
 * The names that a snippet may use without saying where they come from are declared in one block of
 * CONTRIBUTING.md.
 */
const freeNames = blocksIn('CONTRIBUTING.md').find(({ code }) => code.includes('declare global {'))
const programs = []
for (const document of args.documents) {
  try {
    programs.push(
      ...programsIn(document).filter(
        ({ files }) => files[0].line !== freeNames.line || document !== 'CONTRIBUTING.md',
      ),
    )
  } catch ({ message }) {
    problems.push(message)
  }
}
const placeOf = new Map()
const paths = programs.flatMap((program, i) =>
  program.files.map((file) => {
    const path = join(scratch, String(i), file.name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, sourceOf(file))
    placeOf.set(path, file.document)
    return path
  }),
)
const declarations = join(scratch, 'free-names.d.ts')
writeFileSync(
  declarations,
  `import type { DirtyTracker, Writer } from 'dirtyring'\n${freeNames.code.join('\n')}\n`,
)

// ---- Compile them

const options = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  lib: ['lib.es2024.d.ts', 'lib.esnext.disposable.d.ts'],
  types: ['node'],
  allowJs: true,
  checkJs: true,
  strict: true,
  // What people write in JavaScript: parameters without types, `error.code` in a catch, parentPort
  // in a worker.
  noImplicitAny: false,
  strictNullChecks: false,
  useUnknownInCatchVariables: false,
  skipLibCheck: true,
  noEmit: true,
}
for (const { file, start, messageText } of ts.getPreEmitDiagnostics(
  ts.createProgram([declarations, ...paths], options),
)) {
  const path = file && join(file.fileName)
  const line = file && ts.getLineAndCharacterOfPosition(file, start).line + 1
  problems.push(
    `${placeOf.get(path) ?? (path && relative(root, path))}:${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
  )
}
for (const path of paths.filter((each) => each.endsWith('.ts'))) {
  const { outputText } = ts.transpileModule(readFileSync(path, 'utf8'), {
    compilerOptions: { target: options.target, module: ts.ModuleKind.ESNext },
  })
  writeFileSync(path.replace(/\.ts$/, '.js'), outputText)
}

// ---- Run them: snippets one after another in one process, files each in one of their own, two at
// a time

const scriptOf = (program) =>
  join(scratch, String(programs.indexOf(program)), program.files[0].name.replace(/\.ts$/, '.js'))
const running = programs.filter(({ runs }) => runs)
const snippets = running
  .filter(({ kind }) => kind === 'snippet')
  .map((program) => ({ place: `${program.document}:${program.line}`, script: scriptOf(program) }))
const names = [...freeNames.code.join('\n').matchAll(/^ {2}(?:const|function) (\w+)/gm)].map(
  ([, name]) => name,
)
const list = join(scratch, 'snippets.json')
writeFileSync(list, JSON.stringify({ names, snippets }))

const jobs = [
  async () => {
    const result = await run(fileURLToPath(new URL('./snippets.mjs', import.meta.url)), list)
    take(result)
    if (result.ended !== undefined) problems.push(`snippets: ${result.ended} ${result.stderr}`)
  },
  ...running
    .filter(({ kind }) => kind === 'files')
    .map((program) => async () => {
      const result = await run(scriptOf(program))
      take(result)
      for (const problem of [result.ended, result.stderr])
        if (problem) problems.push(`${program.document}:${program.line}: ${problem}`)
    }),
]
const next = jobs.values()
await Promise.all(
  [1, 2].map(async () => {
    for (const job of next) await job()
  }),
)

let comments = 0
for (const { place, comment } of running.flatMap(({ files }) => files.flatMap(expectedOf))) {
  comments++
  const lines = printed.get(place) ?? []
  if (!agrees(comment, lines))
    problems.push(`${place}: says // ${comment} and prints ${lines.join(' | ')}`)
}

rmSync(scratch, { recursive: true })
verdict({
  programs: programs.length,
  ran: running.length,
  notRun: programs.length - running.length,
  comments,
  problems: problems.toSorted(),
})
