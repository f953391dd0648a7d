/**
 * npm run check:runners: installs the packed package in a project, and runs the project's cases in
 * each test runner: Jest with modules, with CommonJS and with jsdom, Vitest in its four pools,
 * node:test. Loads the package by `import` and by `require` on each version of Node, too.
 *
 * `npm run check:runners -- Jest` runs the scenarios whose name contains "Jest". With
 * '{"isShort":true}' it runs only what needs no other package than those of the repository, and
 * prints one JSON verdict.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  installNested,
  installTarball,
  npm,
  pack,
  projectWith,
  root,
  run,
} from '../support/packed.mjs'
import shared from './project/shared/cases.cjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const nodes = join(here, 'nodes')

/** The binary of a version of Node, where there is one for this system. */
function nodeOf(version) {
  const path = join(nodes, `node_modules/node-${version}/bin/node`)
  return existsSync(path) ? path : undefined
}

/** What a runner said: the titles of what passed, and all of the output if something failed. */
function outcome({ status, stdout, stderr }, passed) {
  return { passed, ...(status === 0 ? {} : { failed: `${stdout}\n${stderr}` }) }
}

function jest(project, packages, testMatch, { node = process.execPath, flags, args = [] } = {}) {
  const result = run(
    node,
    [
      ...(flags ?? ['--experimental-vm-modules']),
      join(packages, 'node_modules/jest/bin/jest.js'),
      ...['--rootDir', project, '--testMatch', `**/${testMatch}`, '--ci', '--verbose', ...args],
      ...['--cacheDirectory', join(project, '.cache/jest')],
    ],
    { cwd: project },
  )
  return outcome(result, [...result.stderr.matchAll(/✓ (.+?)(?: \(\d+ ms\))?$/gm)].map(second))
}

function nodeTest(project, file, node = process.execPath) {
  const result = run(node, ['--test', '--test-reporter', 'tap', `node-test/${file}`], {
    cwd: project,
  })
  return outcome(result, [...result.stdout.matchAll(/^ *ok \d+ - (.+)$/gm)].map(second))
}

function vitest(project, pool) {
  const result = run(
    process.execPath,
    [
      join(project, 'node_modules/vitest/vitest.mjs'),
      ...['run', '--dir', 'vitest', '--pool', pool, '--reporter', 'tap-flat'],
    ],
    { cwd: project },
  )
  const titles = [...result.stdout.matchAll(/^ok \d+ - (?:.+ > )?(.+?)(?: # time=.*)?$/gm)]
  return outcome(result, titles.map(second))
}

function program(project, name, node) {
  const result = run(node, [`programs/${name}`], { cwd: project })
  return outcome(result, result.stdout === '7\n' ? ['prints 7'] : [])
}

/** `dirtyring --version` on a Node that is too old. */
function tooOld(project, node) {
  const cli = join(project, 'node_modules/dirtyring/dist/cli/cli.js')
  const { status, stdout, stderr } = run(node, [cli, '--version'], { cwd: project })
  const isAsWanted = status === 1 && stdout === '' && /^dirtyring: needs Node .+\n$/.test(stderr)
  return isAsWanted ? { passed: ['refuses'] } : { passed: [], failed: stdout + stderr }
}

const second = ([, title]) => title
const titles = Object.keys(shared.cases)

/** Name and function of each scenario; undefined where its Node is not there. */
function scenarios(project, packages, isShort) {
  const short = {
    'Jest, modules': () => jest(project, packages, 'jest-esm/*.test.mjs'),
    'node:test, import': () => nodeTest(project, 'dirtyring.test.mjs'),
    'node:test, require': () => nodeTest(project, 'dirtyring.test.cjs'),
  }
  if (isShort) return short
  const withNode = (version, use) => {
    const node = nodeOf(version)
    return node === undefined ? undefined : () => use(node)
  }
  const all = {
    ...short,
    'Jest, modules, jsdom': () =>
      jest(project, packages, 'jest-esm/*.test.mjs', { args: ['--env', 'jsdom'] }),
    'Jest, CommonJS, import()': () => jest(project, packages, 'jest-commonjs/dynamic.test.cjs'),
    'Jest, CommonJS, require, transformed': () =>
      jest(project, packages, 'jest-commonjs/require.test.cjs', {
        flags: [],
        args: ['--config', join(project, 'jest.transform.json')],
      }),
  }
  for (const version of ['24', '26'])
    all[`Jest, CommonJS, require, Node ${version}`] = withNode(version, (node) =>
      jest(project, packages, 'jest-commonjs/require.test.cjs', { node }),
    )
  for (const pool of ['forks', 'threads', 'vmForks', 'vmThreads'])
    all[`Vitest, ${pool}`] = () => vitest(project, pool)
  for (const version of ['20.19', '22.12', '22', '24', '26']) {
    for (const [how, file] of [
      ['import', 'module.mjs'],
      ['require', 'commonjs.cjs'],
    ])
      all[`Node ${version}, ${how}`] = withNode(version, (node) => program(project, file, node))
    all[`Node ${version}, node:test`] = withNode(version, (node) =>
      nodeTest(project, 'dirtyring.test.mjs', node),
    )
  }
  all['Node 20.11, the command'] = withNode('20.11', (node) => tooOld(project, node))
  return all
}

function check({ isShort, isWanted, report }) {
  const scratch = mkdtempSync(join(tmpdir(), 'dirtyring-runners-'))
  try {
    const tarball = pack(scratch)
    const project = join(scratch, 'project')
    if (isShort) {
      projectWith(project, tarball)
    } else {
      installNested(nodes)
      mkdirSync(project)
      for (const name of ['package.json', 'package-lock.json'])
        cpSync(join(here, name), join(project, name))
      npm(['ci', '--ignore-scripts'], project)
      installTarball(project, tarball)
    }
    cpSync(join(here, 'project'), project, { recursive: true })
    const verdict = {}
    for (const [name, use] of Object.entries(
      scenarios(project, isShort ? root : project, isShort),
    )) {
      if (!isWanted(name)) continue
      verdict[name] = use === undefined ? 'not run' : use()
      report(name, verdict[name])
    }
    return verdict
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

const [, , argument] = process.argv
if (argument?.startsWith('{')) {
  const { isShort } = JSON.parse(argument)
  console.log(JSON.stringify(check({ isShort, isWanted: () => true, report: () => undefined })))
} else {
  const isWanted = (name) => name.includes(argument ?? '')
  check({ isShort: false, isWanted, report })
}

function report(name, result) {
  if (result === 'not run') {
    console.log(`${name.padEnd(40)}not run`)
    return
  }
  const { passed, failed } = result
  const isWhole = /^(Jest|Vitest|.*node:test)/.test(name)
    ? titles.every((title) => passed.includes(title))
    : passed.length === 1
  const isPassed = failed === undefined && isWhole
  console.log(`${name.padEnd(40)}${isPassed ? `${passed.length} passed` : 'FAILED'}`)
  if (isPassed) return
  process.exitCode = 1
  console.log(failed ?? `passed: ${passed.join(', ')}`)
}
