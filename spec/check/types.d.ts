/**
 * What the checker's modules hand to each other. `npm run lint` checks them with
 * tsconfig.check.json: what the core's functions take and return is left open, their names are not.
 */
import type { World } from './model.mjs'

type NamesOf<Module> = Extract<keyof Module, string>

type CoreName =
  | NamesOf<typeof import('../../lib/errors.js')>
  | NamesOf<typeof import('../../lib/memory/map.js')>
  | NamesOf<typeof import('../../lib/memory/memory.js')>
  | NamesOf<typeof import('../../lib/memory/slot.js')>
  | NamesOf<typeof import('../../lib/memory/plan.js')>
  | NamesOf<typeof import('../../lib/memory/start.js')>
  | NamesOf<typeof import('../../lib/memory/total.js')>
  | NamesOf<typeof import('../../lib/ring/ancestors.js')>
  | NamesOf<typeof import('../../lib/ring/consume.js')>
  | NamesOf<typeof import('../../lib/ring/drain.js')>
  | NamesOf<typeof import('../../lib/ring/lane.js')>
  | NamesOf<typeof import('../../lib/ring/reap.js')>
  | NamesOf<typeof import('../../lib/ring/ring.js')>
  | NamesOf<typeof import('../../lib/ring/token.js')>
  | NamesOf<typeof import('../../lib/aggregator/effects.js')>
  | NamesOf<typeof import('../../lib/aggregator/park.js')>
  | NamesOf<typeof import('../../lib/aggregator/merges.js')>
  | NamesOf<typeof import('../../lib/aggregator/state.js')>
  | NamesOf<typeof import('../../lib/aggregator/step.js')>
  | NamesOf<typeof import('../../lib/aggregator/publish.js')>
  | NamesOf<typeof import('../../lib/aggregator/superset.js')>
  | NamesOf<typeof import('../../lib/aggregator/open-epoch.js')>
  | NamesOf<typeof import('../../lib/aggregator/table.js')>
  | NamesOf<typeof import('../../lib/aggregator/texts.js')>
  | NamesOf<typeof import('../../lib/aggregator/wake.js')>
  | NamesOf<typeof import('../../lib/set/kernel.js')>
  | NamesOf<typeof import('../../lib/set/mix.js')>
  | NamesOf<typeof import('../../lib/text/murmur.js')>
  | NamesOf<typeof import('../../lib/set/sip.js')>
  | NamesOf<typeof import('../../lib/set/text-set.js')>
  | NamesOf<typeof import('../../lib/set/filter.js')>
  | NamesOf<typeof import('../../lib/epochs/live.js')>
  | NamesOf<typeof import('../../lib/tracker/outbox.js')>
  | NamesOf<typeof import('../../lib/tracker/places.js')>
  | NamesOf<typeof import('../../lib/dictionary/core.js')>

/** The instrumented core: every export of its modules. */
export type Core = Record<CoreName, any> & { readonly sites: any[]; readonly folder: string }

/** How far a search goes. */
export interface Bounds {
  preemptions?: number
  deaths?: number
  throws?: number
  stales?: number
  /** Preemptions, deaths and exceptions of one execution, counted together. */
  together?: number
}

/** README.md shows how to write one. `W` is the world that its threads stand in. */
export interface Scenario<W = World> {
  name: string
  model?: object
  memory?: Record<string, number | string>
  start?: Record<string, number>
  setUp?: (before: any) => void
  atEnd?: (world: W) => void
  threads: Record<string, (world: W) => Generator<any>>
  quick?: Bounds
  aggregator?: boolean
  cold?: boolean
  exits?: boolean
  healing?: boolean
  killAggregator?: boolean
  killWriters?: boolean
  repeats?: boolean
  /** A thread reads epochs that may be settled meanwhile. */
  readers?: boolean
  /** Keys that are in the filter of the first epoch, and not in its log. */
  came?: string[]
  throws?: number
  /** Named consumers that are open when the threads begin, and whether they are fresh. */
  consumers?: number
  fresh?: boolean
  /** Of each, the namespaces that it wants. Undefined: all. */
  wanted?: (readonly number[] | undefined)[]
  /** Of a dictionary. */
  before?: string[]
  keys?: Record<string, object>
  /** Of a BatchRing. */
  kills?: boolean
  stayOpen?: boolean
  /** Why it is known to fail, if it is. */
  known?: string
}
