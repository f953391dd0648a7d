/**
 * Builds the documentation site: the reference and the guides by TypeDoc, the measured figures, the
 * recorded demo, and the browser example, live. `npm run site` writes it to site/public/;
 * `node site/build.mjs --out FOLDER` writes it elsewhere. All links are relative, so that the site
 * works below any path.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { Application, Converter, JSX, ReflectionKind, TSConfigReader, TypeDocReader } from 'typedoc'
import { page } from '../perf/harness/page.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const { values } = parseArgs({
  options: { out: { type: 'string', default: join(root, 'site/public') } },
})
const { out } = values
const { repository } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const source = `${/^git\+(.*)\.git$/.exec(repository.url)[1]}/blob/main/`

/** A link with this scheme leads to a file of the site, named from the site's root. */
const SITE = 'site:'
/** The guides stand open in the navigation, until the reader closes them. */
const OPEN_GUIDES = `try { for (const name of ['See', 'Begin', 'Use', 'Understand']) localStorage['tsd-accordion-' + name] ??= 'true' } catch {}`
/** Where a page has the list of the runs of the perf suite. */
const RUNS = '<!-- runs -->'
/** What stays in media/. Other files that guides link to are read in the repository. */
const PICTURE = /\.(svg|png|webp)$/

const example = join(root, 'examples/browser/build.js')
const hasExample = existsSync(example)
const examples = join(root, 'examples/README.md')
/** Runs of the perf suite that have a page. */
const runs = readdirSync(join(root, 'perf/results'))
  .filter((name) => name.endsWith('.json'))
  .map((name) => ({
    name: basename(name, '.json'),
    results: JSON.parse(readFileSync(join(root, 'perf/results', name), 'utf8')),
  }))
  .filter(({ results }) => results.questions !== undefined)

rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
await buildReference()
buildFigures()
if (hasExample) await buildLive()
for (const name of htmlFiles()) resolveSiteLinks(name)

/** The reference, the guides of typedoc.json, and the pages that only the site has. */
async function buildReference() {
  const { projectDocuments, groupOrder } = JSON.parse(
    readFileSync(join(root, 'typedoc.json'), 'utf8'),
  )
  const own = ['demo', 'figures', ...(hasExample ? ['live'] : [])]
  const pages = [
    ...own.map((name) => join(root, `site/pages/${name}.md`)),
    ...(existsSync(examples) ? [examples] : []),
  ]
  const app = await Application.bootstrapWithPlugins(
    {
      options: join(root, 'typedoc.json'),
      out,
      projectDocuments: [...pages, ...projectDocuments, ...unlistedGuides(projectDocuments)],
      groupOrder: ['See', ...groupOrder],
      navigationLinks: {
        Figures: `${SITE}documents/Figures.html`,
        Demo: `${SITE}documents/The_demo.html`,
        ...(hasExample ? { Live: `${SITE}live/index.html` } : {}),
        GitHub: source.replace('/blob/main/', ''),
      },
      favicon: join(root, 'site/icon.svg'),
      hideGenerator: true,
    },
    [new TypeDocReader(), new TSConfigReader()],
  )
  app.renderer.hooks.on('head.end', () =>
    JSX.createElement('script', null, JSX.createElement(JSX.Raw, { html: OPEN_GUIDES })),
  )
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, document) => {
    if (!document.name.endsWith('README')) return
    document.name = 'Examples'
    document.frontmatter.group = 'See'
  })
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    rewriteLinks(project.readme, project)
    // The page has the project's name above it already.
    project.readme[0].text = project.readme[0].text.replace(/^# .*\n/, '')
    for (const document of project.getReflectionsByKind(ReflectionKind.Document))
      rewriteLinks(document.content, project)
  })
  const project = await app.convert()
  if (project === undefined) throw new Error('TypeDoc failed')
  app.validate(project)
  await app.generateOutputs(project)
  if (app.logger.hasErrors() || app.logger.hasWarnings())
    throw new Error('TypeDoc has warned: see above')
  const media = join(out, 'media')
  for (const name of readdirSync(media)) if (!PICTURE.test(name)) rmSync(join(media, name))
}

/** Guides that typedoc.json does not put in an order: they come last. */
function unlistedGuides(listed) {
  return readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md') && !/^README|\.api\.md$/.test(name))
    .map((name) => `docs/${name}`)
    .filter((path) => !listed.includes(path))
}

/** A link to a file that is no guide: to its page of the site, or to the repository. */
function rewriteLinks(parts, project) {
  for (const part of parts) {
    if (part.kind === 'text') part.text = part.text.replace(RUNS, listOfRuns)
    if (part.kind !== 'relative-link' || part.target === undefined) continue
    if (typeof project.files.resolve(part.target, project) !== 'string') continue
    const path = relative(root, project.files.resolvePath(part.target)).replaceAll('\\', '/')
    if (PICTURE.test(path)) continue
    const anchor = part.targetAnchor === undefined ? '' : `#${part.targetAnchor}`
    part.kind = 'text'
    part.text = (siteFileOf(path) ?? `${source}${path}`) + anchor
  }
}

function siteFileOf(path) {
  if (path === 'docs/README.md') return `${SITE}index.html`
  const figures = /^perf\/results\/(.*\.html)$/.exec(path)
  return figures === null ? undefined : `${SITE}figures/${figures[1]}`
}

/** The list of runs, in the page that names them. */
function listOfRuns() {
  return runs
    .map(({ name, results: { machine, command } }) => {
      const { cpu, cores, node, date } = machine
      return `- [\`${command}\`](${SITE}figures/${name}.html): ${cpu}, ${cores} cores, Node ${node}, ${date}`
    })
    .join('\n')
}

/** Every recorded run, drawn anew. */
function buildFigures() {
  mkdirSync(join(out, 'figures'))
  for (const { name, results } of runs) {
    const way = `<p class="how"><a href="${SITE}index.html">dirtyring</a> › <a href="${SITE}documents/Figures.html">Figures</a></p>`
    writeFileSync(
      join(out, 'figures', `${name}.html`),
      page(results)
        .replace('<h1>', `${way}<h1>`)
        .replace('<title>', `<link rel="icon" href="${SITE}assets/favicon.svg"><title>`),
    )
  }
}

/** examples/browser, with a service worker in the place of the two headers. */
async function buildLive() {
  const { buildPage } = await import(pathToFileURL(example).href)
  const files = await buildPage()
  mkdirSync(join(out, 'live'))
  for (const [name, contents] of Object.entries(files))
    writeFileSync(join(out, 'live', name), contents)
  cpSync(join(root, 'site/isolate.js'), join(out, 'live/isolate.js'))
  const index = join(out, 'live/index.html')
  const html = readFileSync(index, 'utf8')
  const withWorker = html
    .replace('<script type="module" src=', '<script src="isolate.js" data-then=')
    .replace('<h1>', `<p><a href="${SITE}documents/Live.html">dirtyring</a></p>\n    <h1>`)
  if (!withWorker.includes('data-then="page.js"')) throw new Error('the page has no module')
  writeFileSync(index, withWorker)
}

function htmlFiles() {
  return readdirSync(out, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.html'),
  )
}

function resolveSiteLinks(name) {
  const up = relative(dirname(join(out, name)), out).replaceAll('\\', '/')
  const file = join(out, name)
  const html = readFileSync(file, 'utf8')
  const resolved = html.replaceAll(`"${SITE}`, up === '' ? '"' : `"${up}/`)
  if (resolved !== html) writeFileSync(file, resolved)
}
