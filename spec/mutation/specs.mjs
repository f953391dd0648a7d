import { readdirSync } from 'node:fs'

/** These look at files, start workers of the built package, or need a global of their own. */
const NOT_THESE = ['contract/contract', 'contract/fake-timers', 'unit/layers']

/** The spec files that run lib/ in this process. */
export const SPECS = ['contract', 'faults', 'unit'].flatMap((folder) =>
  readdirSync(new URL(`../${folder}`, import.meta.url))
    .filter((name) => name.endsWith('.spec.ts'))
    .map((name) => `${folder}/${name.slice(0, -'.spec.ts'.length)}`)
    .filter((name) => !NOT_THESE.includes(name))
    .map((name) => `spec/${name}.spec.ts`),
)
