import { readdirSync } from 'node:fs'

/**
 * These look at files, start workers of the built package, need a global of their own, or talk to
 * the process that started this one.
 */
const NOT_THESE = [
  'contract/contract',
  'contract/fake-timers',
  'contract/odd-values-cluster',
  'unit/ipc',
  'unit/ipc-conformance',
  'unit/layers',
]

const OF_FOLDERS = ['contract', 'faults', 'unit'].flatMap((folder) =>
  readdirSync(new URL(`../${folder}`, import.meta.url))
    .filter((name) => name.endsWith('.spec.ts'))
    .map((name) => `${folder}/${name.slice(0, -'.spec.ts'.length)}`)
    .filter((name) => !NOT_THESE.includes(name))
    .map((name) => `spec/${name}.spec.ts`),
)

/** The spec files that run lib/ in this process. */
export const SPECS = [...OF_FOLDERS, 'spec/cluster/encode.spec.ts']
