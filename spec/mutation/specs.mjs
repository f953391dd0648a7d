import { readdirSync } from 'node:fs'

/**
 * These look at files, start processes or workers of the built package, or need a global of their own.
 */
const NOT_THESE = [
  'cluster/encoder',
  'cluster/fuzz',
  'cluster/histories',
  'contract/contract',
  'contract/fake-timers',
  'contract/odd-values-cluster',
  'unit/layers',
]

/** The spec files that run lib/ in this process. */
export const SPECS = ['cluster', 'contract', 'faults', 'unit'].flatMap((folder) =>
  readdirSync(new URL(`../${folder}`, import.meta.url))
    .filter((name) => name.endsWith('.spec.ts'))
    .map((name) => `${folder}/${name.slice(0, -'.spec.ts'.length)}`)
    .filter((name) => !NOT_THESE.includes(name))
    .map((name) => `spec/${name}.spec.ts`),
)
