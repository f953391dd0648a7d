import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL, URL } from 'node:url'
import { SourceTextModule, SyntheticModule } from 'node:vm'
import { transformSync } from 'esbuild'

/** Stryker's sandbox: a copy of the project with all mutants in it. */
export const root = pathToFileURL(`${process.cwd()}/`)

/**
 * The modules of one spec file: lib/ and spec/ are loaded for that file alone, as Jest does it, so
 * that it can load them anew (`reset`) or replace them (`mock`). Everything else comes from Node,
 * except what `given` has for a name.
 */
export class Modules {
  #loaded = new Map()
  #mocks = new Map()
  #given
  #countsCoverage
  #queue = Promise.resolve()

  constructor(given, countsCoverage) {
    this.#given = given
    this.#countsCoverage = countsCoverage
  }

  reset() {
    this.#loaded = new Map()
  }

  mock(specifier, from, make) {
    const id = resolve(specifier, from)
    this.#mocks.set(id, make)
    this.#loaded.delete(id)
  }

  /** One import after the other: two at a time would find each other's modules half linked. */
  import(specifier, from = root.href) {
    const result = this.#queue.then(async () => {
      const module = await this.#find(specifier, from)
      if (module.status === 'unlinked')
        await module.link((name, { identifier }) => this.#find(name, identifier))
      return module
    })
    this.#queue = result.catch(() => undefined)
    return result.then(async (module) => {
      await module.evaluate()
      return module
    })
  }

  async #find(specifier, from) {
    const id = resolve(specifier, from)
    const loaded = this.#loaded
    const known = loaded.get(id)
    if (known !== undefined) return known
    const made = this.#make(id)
    loaded.set(id, made)
    return made
  }

  async #make(id) {
    if (this.#given[id] !== undefined) return synthetic(id, this.#given[id])
    if (this.#mocks.has(id)) return synthetic(id, await this.#mocks.get(id)())
    if (!id.startsWith('file:')) return synthetic(id, await import(id))
    return new SourceTextModule(compile(id, this.#countsCoverage), {
      identifier: id,
      initializeImportMeta: (meta) => void (meta.url = id),
      importModuleDynamically: (name) => this.import(name, id),
    })
  }
}

function resolve(specifier, from) {
  if (!/^(\.|file:)/.test(specifier)) return specifier
  const url = new URL(specifier, from)
  // The build makes it, and lib/ has only its declaration.
  if (url.pathname.endsWith('/lib/aggregator/carried.js'))
    return new URL('dist/aggregator/carried.js', root).href
  const source = new URL(url.href.replace(/\.js$/, '.ts'))
  return existsSync(fileURLToPath(source)) ? source.href : url.href
}

/** Compiled once for all processes: the result lies beside the source, in the sandbox. */
function compile(id, countsCoverage) {
  const path = fileURLToPath(id)
  if (!path.endsWith('.ts')) return readFileSync(path, 'utf8')
  const ready = `${path}.${countsCoverage ? 'counting' : 'quick'}`
  if (!existsSync(ready)) {
    const { code } = transformSync(readFileSync(path, 'utf8'), {
      loader: 'ts',
      format: 'esm',
      target: `node${process.versions.node}`,
    })
    writeFileSync(`${ready}.${process.pid}`, quicken(code, countsCoverage))
    renameSync(`${ready}.${process.pid}`, ready)
  }
  return readFileSync(ready, 'utf8')
}

/**
 * Stryker asks with a call whether a mutant is active, and counts with another one that it would
 * have run. Here these are a comparison and an increment, which only the first run needs.
 */
function quicken(code, countsCoverage) {
  if (!code.includes('stryCov_')) return code
  const quick = code
    .replaceAll(/stryMutAct_9fa48\(("\d+")\)/g, '(STRYKER.activeMutant === $1 && $&)')
    .replaceAll(/stryCov_9fa48\(("[^)]*)\)/g, (_, ids) =>
      countsCoverage
        ? `(${ids.match(/\d+/g).map((mutant) => `STRYKER.counts[${mutant}]++`)})`
        : '0',
    )
  return `const STRYKER = globalThis.__stryker__\n${quick}`
}

function synthetic(id, exports) {
  const names = Object.keys(exports)
  return new SyntheticModule(
    names,
    function () {
      for (const name of names) this.setExport(name, exports[name])
    },
    { identifier: id },
  )
}
