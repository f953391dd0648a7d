import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const guides = readdirSync(join(root, 'docs')).filter(
  (name) => name.endsWith('.md') && !name.endsWith('.api.md'),
)
const documents = [
  'README.md',
  'CONTRIBUTING.md',
  'examples/README.md',
  'spec/check/README.md',
  ...guides.map((name) => `docs/${name}`),
]

/** A heading's anchor, as GitHub makes it. */
const anchorsOf = (text: string) =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

/** Links of a document that lead nowhere. */
function brokenLinks(document: string, text: string): string[] {
  const links = [...text.replace(/^```[^]*?^```$/gm, '').matchAll(/\]\(([^)\s]+)\)/g)].map(
    ([, link]) => link,
  )
  return links.filter((link) => {
    if (/^https?:/.test(link)) return false
    const [path, anchor] = link.split('#')
    const target = path === '' ? document : join(dirname(document), path)
    if (!existsSync(join(root, target))) return true
    return (
      anchor !== undefined && !anchorsOf(target === document ? text : read(target)).includes(anchor)
    )
  })
}

/** With the lines of each list item joined. */
const unwrapped = (text: string) => text.replace(/\n {2,}/g, ' ')

/** Specs that a document names, and that are not there. */
function missingSpecs(text: string): string[] {
  const named = [...unwrapped(text).matchAll(/^- \[(spec\/[\w/.-]+)\]\(.*\): "(.*)"$/gm)].map(
    ([, path, title]) => ({ path, title }),
  )
  return named
    .filter(({ path, title }) => {
      const quoted = title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
      return (
        !existsSync(join(root, path)) || !new RegExp(`\\(\\s*(['"\`])${quoted}\\1`).test(read(path))
      )
    })
    .map(({ path, title }) => `${path}: ${title}`)
}

describe('doc comments', () => {
  const sources = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts'),
  )
  const text = sources.map((name) => read(`lib/${name}`)).join('\n')
  const exported = [...read('lib/index.ts').matchAll(/^export \{([^}]*)\}/gm)].flatMap(
    ([, names]) => names.split(',').map((name) => name.trim()),
  )
  const values = exported.filter((name) => name !== '' && !name.startsWith('type '))

  it.each(values)('of %s has an example', (name) => {
    const comment = String.raw`/\*\*((?:(?!\*/)[^])*)\*/\nexport (?:async )?(?:class|function) ${name}\b`

    expect(new RegExp(comment).exec(text)?.[1]).toContain('@example')
  })
})

describe('links', () => {
  it.each(documents)('of %s lead somewhere', (document) => {
    expect(brokenLinks(document, read(document))).toEqual([])
  })

  it('that lead nowhere are found', () => {
    const text =
      '# A title\n[a](#a-title) [b](#another) [c](docs/none.md) [d](docs/README.md) [e](docs/README.md#none) [f](https://example.com)'

    expect(brokenLinks('README.md', text)).toEqual([
      '#another',
      'docs/none.md',
      'docs/README.md#none',
    ])
  })
})

describe('guides', () => {
  it('are all in the index, and open with what the reader gets', () => {
    const index = read('docs/README.md')

    for (const guide of guides.filter((name) => name !== 'README.md')) {
      expect(index).toContain(`](${guide})`)
      expect(read(`docs/${guide}`)).toMatch(
        /^---\ntitle: .*\ngroup: (Begin|Use|Understand)\n---\n\n# .*\n\nYou get /,
      )
    }
  })
})

describe('the protocol', () => {
  const faults = readdirSync(join(root, 'spec/check/mutants'))
    .map((name) => read(`spec/check/mutants/${name}`))
    .flatMap((text) => [...text.matchAll(/^ {4}name:\s+(['"])(.*)\1,$/gm)])
    .map(([, , name]) => name)
  const named = [...unwrapped(read('docs/protocol.md')).matchAll(/without it: `(.*?)`/g)].map(
    ([, name]) => name,
  )

  it('names each fault of the checker once, under the rule that it takes out', () => {
    expect(faults.length).toBeGreaterThan(90)
    expect(named.toSorted()).toEqual(faults.toSorted())
  })
})

describe('promises', () => {
  it('are C1 to C17, each with specs that are there', () => {
    const [, ...promises] = read('docs/promises.md').split(/^## (?=C\d)/m)

    expect(promises.map((text) => /^C\d+/.exec(text)![0])).toEqual(
      Array.from({ length: 17 }, (_, i) => `C${i + 1}`),
    )
    for (const promise of promises) expect(unwrapped(promise)).toMatch(/^- \[spec\/.*\): ".*"$/m)
    expect(missingSpecs(read('docs/promises.md'))).toEqual([])
  })

  it('with a spec that is not there are found', () => {
    const text = ['docs.spec.ts', 'none.spec.ts']
      .map((name) => `- [spec/docs/${name}](../spec/docs/${name}): "are all in the index"`)
      .join('\n')

    expect(missingSpecs(text)).toEqual([
      'spec/docs/docs.spec.ts: are all in the index',
      'spec/docs/none.spec.ts: are all in the index',
    ])
  })
})
