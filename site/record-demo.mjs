/**
 * Records `npm run demo` on a terminal as one animated picture, docs/pictures/demo.svg: a run of
 * the demo, one frame a second, and the proof that it prints at its end. Needs the built package,
 * and the `script` command of util-linux, which gives the demo its terminal.
 *
 *   node site/record-demo.mjs
 */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const COLUMNS = 92
const ROWS = 30
const ARGUMENTS = '--seconds 20'
/** A frame a second; the last one stays for so long. */
const LAST_S = 12
const CHARACTER = 7.8
const LINE = 17
const MARGIN = 12

const ESC = String.fromCharCode(27)
/** Each repaint stands between the two marks of a synchronized update. */
const REPAINT = new RegExp(`${ESC}\\[\\?2026h${ESC}\\[H([^]*?)${ESC}\\[\\?2026l`)
const MODE = new RegExp(`${ESC}\\[\\?\\d+[hl]`, 'g')
const STYLED = new RegExp(`${ESC}\\[([\\d;]*[A-Za-z])([^${ESC}]*)`, 'g')

const screens = await record()
const frames = screens.filter(
  ({ at }, i) => screens[i + 1] === undefined || second(screens[i + 1].at) !== second(at),
)
writeFileSync(`${root}docs/pictures/demo.svg`, pictureOf(frames.map(({ lines }) => lines)))

function second(ms) {
  return Math.floor(ms / 1000)
}

/** What stood on the terminal, and when: [{ at, lines }]. A line is a list of { text, style }. */
function record() {
  const demo = `stty cols ${COLUMNS} rows ${ROWS}; exec node dist/cli/cli.js demo ${ARGUMENTS}`
  const child = spawn('script', ['-qefc', demo, '/dev/null'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const shots = []
  let text = ''
  const began = performance.now()
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    text += chunk
    for (let frame; (frame = REPAINT.exec(text)) !== null;) {
      shots.push({ at: performance.now() - began, lines: linesOf(frame[1]) })
      text = text.slice(frame.index + frame[0].length)
    }
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      if (code !== 0) return reject(new Error(`the demo ended with ${code}`))
      const proof = linesOf(text.slice(text.lastIndexOf(`${ESC}[?1049l`)))
      resolve([...shots, { at: Infinity, lines: proof.slice(-ROWS) }])
    })
  })
}

/** Escapes that the demo uses: colors, dim, and erasing to the end of a line or of the screen. */
function linesOf(text) {
  let style = ''
  return text
    .replace(MODE, '')
    .split(/\r*\n/)
    .flatMap((line) => {
      const spans = []
      for (const [, codes, shown] of `${ESC}[K${line}`.matchAll(STYLED)) {
        style =
          { '2m': 'dim', '31m': 'red', '32m': 'green', '33m': 'yellow', '22m': '', '39m': '' }[
            codes
          ] ?? style
        if (shown !== '') spans.push({ text: shown, style })
      }
      return wrapped(spans)
    })
    .map((spans) => spans.filter(({ text }) => text !== ''))
}

/** A line in lines of the terminal's width. */
function wrapped(spans) {
  const lines = [[]]
  let room = COLUMNS
  for (const { text, style } of spans) {
    for (let rest = text; rest !== '';) {
      if (room === 0) {
        lines.push([])
        room = COLUMNS
      }
      lines.at(-1).push({ text: rest.slice(0, room), style })
      const taken = Math.min(room, rest.length)
      rest = rest.slice(taken)
      room -= taken
    }
  }
  return lines
}

/** All frames side by side; the picture moves from one to the next. Equal lines stand once. */
function pictureOf(frames) {
  const width = Math.ceil(COLUMNS * CHARACTER) + 2 * MARGIN
  const rows = Math.max(...frames.map((lines) => lines.length))
  const height = rows * LINE + 2 * MARGIN
  const known = new Map()
  const strip = frames.map((lines, i) => {
    const uses = lines.flatMap((spans, row) => {
      if (spans.every(({ text }) => text.trim() === '')) return []
      const content = spans.map(spanOf).join('')
      if (!known.has(content)) known.set(content, `l${known.size}`)
      return [`<use href="#${known.get(content)}" y="${row * LINE}"/>`]
    })
    return `<svg x="${i * width}">${uses.join('')}</svg>`
  })
  const seconds = frames.length - 1 + LAST_S
  const steps = frames.map(
    (_, i) => `${((100 * i) / seconds).toFixed(2)}%{transform:translateX(-${i * width}px)}`,
  )
  const last = `translateX(-${(frames.length - 1) * width}px)`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13" role="img" aria-label="A recording of the demo">
<style>text{fill:#d1d5db;white-space:pre}.dim{fill:#8b949e}.red{fill:#ff7b72}.green{fill:#7ee787}.yellow{fill:#f2cc60}
#strip{animation:play ${seconds}s steps(1,end) infinite}@keyframes play{${steps.join('')}}
@media (prefers-reduced-motion:reduce){#strip{animation:none;transform:${last}}}</style>
<defs>${[...known].map(([content, id]) => `<text id="${id}" x="${MARGIN}" y="${MARGIN + LINE - 5}">${content}</text>`).join('\n')}</defs>
<rect width="${width}" height="${height}" rx="8" fill="#161b22"/>
<g id="strip">${strip.join('\n')}</g>
</svg>
`
}

function spanOf({ text, style }) {
  const escaped = text.replace(/&/g, '&amp;').replace(/</g, '&lt;')
  return style === '' ? escaped : `<tspan class="${style}">${escaped}</tspan>`
}
