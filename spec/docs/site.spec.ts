import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** The site is not at the root of its server, as on GitHub Pages. */
const served = mkdtempSync(join(tmpdir(), 'dirtyring-site-'))
const out = join(served, 'a-path')
let output = ''

beforeAll(() => {
  const { NODE_OPTIONS: _, ...env } = process.env
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(root, 'site/build.mjs'), '--out', out],
    { cwd: root, env, encoding: 'utf8', timeout: 170_000 },
  )
  output = stdout + stderr
  if (status !== 0) throw new Error(output)
}, 180_000)

afterAll(() => rmSync(served, { recursive: true, force: true }))

const read = (name: string) => readFileSync(join(out, name), 'utf8')
const files = () =>
  readdirSync(out, { recursive: true, encoding: 'utf8' }).map((name) => name.replaceAll(sep, '/'))
const pages = () => files().filter((name) => name.endsWith('.html'))

/** Why the site cannot be looked at here, or '' if it can. */
function whyNotSeen(): string {
  if (!existsSync(join(root, 'examples/browser'))) return 'there is no browser example'
  const { href } = new URL('../support/browser.mjs', import.meta.url)
  const script = `import { missing } from '${href}'; process.stdout.write(missing('chromium') ?? '')`
  const { NODE_OPTIONS: _, ...env } = process.env
  const args = ['--input-type=module', '--eval', script]
  return spawnSync(process.execPath, args, { env, encoding: 'utf8' }).stdout
}
const reason = whyNotSeen()

/** What a page links to and loads, external addresses left out. */
function linksOf(html: string): string[] {
  return [...html.matchAll(/\s(?:href|src|data-then)="([^"]*)"/g)]
    .map(([, link]) => link.replaceAll('&amp;', '&'))
    .filter((link) => !/^(https:|data:)/.test(link))
}

function anchorsOf(html: string): Set<string> {
  return new Set([...html.matchAll(/\s(?:id|name)="([^"]*)"/g)].map(([, anchor]) => anchor))
}

/** Links of a page that lead nowhere in the site, or that would leave the folder it is in. */
function brokenLinks(page: string, html: string): string[] {
  return linksOf(html).filter((link) => {
    const [path, anchor] = link.split('#').map(decodeURIComponent)
    const target = path === '' ? join(out, page) : join(out, dirname(page), path)
    const isOutside = relative(out, target).startsWith('..') || path.startsWith('/')
    if (isOutside || !existsSync(target) || !statSync(target).isFile()) return true
    if (anchor === undefined || anchor === '') return false
    const text = path === '' ? html : readFileSync(target, 'utf8')
    return target.endsWith('.html') && !anchorsOf(text).has(anchor)
  })
}

describe('the site', () => {
  it('is built without a warning: everything exported is documented, every path is right', () => {
    expect(output).not.toMatch(/warning|error/)
  })

  it('has a page for every guide, and every class', () => {
    const guides = readdirSync(join(root, 'docs')).filter(
      (name) => name.endsWith('.md') && !/^README|\.api\.md$/.test(name),
    )
    const titles = guides.map(
      (name) => /^title: (.*)$/m.exec(readFileSync(join(root, 'docs', name), 'utf8'))![1],
    )
    const missing = titles.filter(
      (title) => !existsSync(join(out, `documents/${title.replaceAll(' ', '_')}.html`)),
    )

    expect(titles.length).toBeGreaterThan(12)
    expect(missing).toEqual([])
    expect(pages()).toEqual(
      expect.arrayContaining(['index.html', 'classes/BatchRing.html', 'functions/openWriter.html']),
    )
  })

  it('has no link that leads nowhere, and none that a path before it would break', () => {
    const broken = pages().flatMap((page) =>
      brokenLinks(page, read(page)).map((link) => `${page}: ${link}`),
    )

    expect(pages().length).toBeGreaterThan(50)
    expect(broken).toEqual([])
  })

  it.each([
    ['a file that is not there', '<a href="none.html">'],
    ['a folder', '<a href="documents">'],
    ['an anchor that is not there', '<a href="index.html#none">'],
    ['an anchor of the page itself', '<a href="#none">'],
    ['a path from the root', '<a href="/index.html">'],
    ['a file outside the site', '<img src="../x.svg">'],
    ['a scheme that was left', '<a href="site:index.html">'],
  ])('would be found to link to %s', (_, html) => {
    expect(brokenLinks('index.html', html)).toHaveLength(1)
  })

  it('draws every recorded run of the perf suite that has plots', () => {
    const results = join(root, 'perf/results')
    const runs = readdirSync(results).filter(
      (name) =>
        name.endsWith('.json') &&
        'questions' in JSON.parse(readFileSync(join(results, name), 'utf8')),
    )
    const figures = read('documents/Figures.html')

    expect(runs.length).toBeGreaterThan(0)
    for (const name of runs) {
      const page = `figures/${name.replace('.json', '.html')}`
      expect(figures).toContain(`"../${page}"`)
      expect(read(page)).toContain('<table>')
    }
  })

  it('holds pictures beside its pages, and no sources', () => {
    expect(
      files().filter((name) => name.startsWith('media/') && !/\.(svg|png|webp)$/.test(name)),
    ).toEqual([])
  })

  it('shows the recorded demo from a run in which all agreed', () => {
    const demo = readFileSync(join(root, 'docs/pictures/demo.svg'), 'utf8')

    expect(read('documents/The_demo.html')).toContain('media/demo.svg')
    expect(demo).toMatch(/verdict\s+all agree/)
  })

  const itIsSeen = reason === '' ? it : it.skip
  itIsSeen(
    `gives the live page its memory without headers, after a hard reload too, and fits a phone and a desk, in Chromium${reason === '' ? '' : ` (not run: ${reason})`}`,
    async () => {
      const shown = ['index.html', 'documents/Tuning.html', 'documents/Live.html']
      const seen = pages().filter((name) => shown.includes(name) || name.startsWith('figures/'))
      const { live, reloaded, wide, problems } = await runProgram('site-pages', {
        folder: served,
        path: '/a-path/',
        pages: [...seen, 'live/index.html'],
      })

      expect(seen.length).toBeGreaterThan(3)
      expect(live).toEqual({ isolated: true, complains: false })
      expect(reloaded).toEqual(live)
      expect(wide).toEqual([])
      expect(problems).toEqual([])
    },
    120_000,
  )
})
