import { checkBag, checkChoice, checkFunction, checkWhole } from '../check.js'
import type { Clock } from '../epochs/clock.js'
import { invalidArg, isRevoked, outOfRange } from '../errors.js'
import { type KeyKind, TIMER_MS_MAX } from '../memory/settings.js'
import { type AbortSignalLike, signalOf } from '../signal.js'
import { checkEpochs, type EpochsOptions } from '../tracker/call-options.js'
import { checkPosition } from '../tracker/consumers.js'
import { isInstance } from './envelope.js'
import type { EpochSource } from './log.js'
import { checkLimits, type EpochLimits, LIMITS } from './union.js'

/** Options of {@link openCluster}. */
export interface ClusterOptions<Kind extends KeyKind = 'any'> extends EpochLimits {
  /**
   * Where the messages come from: what `natsSource()`, `redisSource()`, `ipcSource()` or `ipcHub()`
   * returned. It serves one reader, which closes it.
   */
  readonly source: EpochSource
  /**
   * The {@link ClusterEpoch.clock} that was stored with the data. If it is undefined or cannot be
   * served, the reader is fresh: its first epoch says that all keys are dirty.
   */
  readonly since?: Clock | undefined
  /**
   * 'now': the reader begins at the end of the log, and is not fresh. For a cache that is empty.
   * Put nothing into it before {@link ClusterReader.ready} has resolved.
   */
  readonly from?: 'now' | undefined
  /**
   * The publishers whose messages are left out: a publisher, its `instance`, or a list of them.
   * Pass that of this process if its caches know of its own changes. A node's label is refused,
   * because two processes may have the same.
   */
  readonly except?: Excepted | readonly Excepted[] | undefined
  /**
   * What a cut does if a node does not answer. 'everything': the epoch names the node as 'missing',
   * and is not exact. 'wait': the call rejects with `ERR_DIRTYRING_AWAY`, and nothing is consumed.
   * Default 'everything'.
   */
  readonly onMissing?: 'everything' | 'wait' | undefined
  /** How long a cut waits for the nodes, in ms, 0 to 2^31 - 1. Default 5,000. */
  readonly timeoutMs?: number | undefined
  /**
   * After so much silence of a node, a cut does not wait for it, in ms, 1 to 2^31 - 1. Choose it
   * longer than `beatMs`, and than the longest pause of a healthy node. Default 30,000.
   */
  readonly silentMs?: number | undefined
  /**
   * After so much silence, in ms, a node that has not stopped cleanly is gone. From `silentMs` to
   * 2^31 - 1. Time counts only while the reader is connected and has read all. Default 300,000, or
   * `silentMs` if that is longer.
   */
  readonly goneMs?: number | undefined
  /**
   * Each reader draws how long it keeps a loss back, up to so many ms, 0 to 2^31 - 1. Otherwise one
   * death would make all readers drop their caches in the same instant. A cut has the loss at once.
   * Default 0.
   */
  readonly spreadMs?: number | undefined
  /**
   * The kind of keys, as for {@link DirtyTracker.create}. A message with keys of another kind
   * counts as one that cannot be read. Default 'any'.
   */
  readonly keys?: Kind | undefined
  /**
   * If it aborts, the reader closes. Pending calls, and later ones, reject with `signal.reason`.
   */
  readonly signal?: AbortSignalLike | undefined
}

/** Identifies a publisher: the publisher itself, or its `instance`. */
export type Excepted = string | { readonly instance: string }

/** Options of {@link ClusterReader.epochs}. */
export interface ClusterEpochsOptions extends EpochsOptions {
  /**
   * Asks all nodes for a cut each time, as advanceEpoch() does. By default the loop hands out what
   * has arrived, so that many readers do not cause many cuts. Default false.
   */
  cut?: boolean | undefined
}

/** The options of a reader, checked. */
export interface ResolvedClusterOptions {
  readonly source: EpochSource
  readonly since: Clock | undefined
  readonly isFromNow: boolean
  readonly except: readonly Excepted[]
  readonly onMissing: 'everything' | 'wait'
  readonly timeoutMs: number
  readonly silentMs: number
  readonly goneMs: number
  readonly spreadMs: number
  readonly limits: EpochLimits
  readonly keys: KeyKind
  readonly signal: AbortSignalLike | undefined
}

const NAMES = [
  'source',
  'since',
  'from',
  'except',
  'onMissing',
  'timeoutMs',
  'silentMs',
  'goneMs',
  'spreadMs',
  'keys',
  ...LIMITS,
] as const

export function checkClusterOptions(options: ClusterOptions<KeyKind>): ResolvedClusterOptions {
  const signal = signalOf(options, ...NAMES)
  const {
    source,
    since,
    from,
    except,
    onMissing = 'everything',
    timeoutMs = 5000,
    silentMs = 30_000,
    goneMs = Math.max(300_000, silentMs),
    spreadMs = 0,
    keys = 'any',
  } = options
  checkSource(source)
  checkPosition(since, from)
  checkWhole('options.timeoutMs', timeoutMs, 0, TIMER_MS_MAX)
  checkWhole('options.silentMs', silentMs, 1, TIMER_MS_MAX)
  checkWhole('options.goneMs', goneMs, silentMs, TIMER_MS_MAX)
  checkWhole('options.spreadMs', spreadMs, 0, TIMER_MS_MAX)
  return {
    source,
    since,
    isFromNow: from !== undefined,
    except: checkExcept(except),
    onMissing: checkChoice('options.onMissing', onMissing, ['everything', 'wait']),
    timeoutMs,
    silentMs,
    goneMs,
    spreadMs,
    limits: checkLimits('options', { ...options }),
    keys: checkChoice('options.keys', keys, ['any', 'string', 'number', 'bigint', 'bytes']),
    signal,
  }
}

export function checkClusterEpochs(
  options: ClusterEpochsOptions,
): ReturnType<typeof checkEpochs> & { readonly isCut: boolean } {
  checkBag('options', options, ['everyMs', 'signal', 'skipEmpty', 'whenDirty', 'cut'])
  const { cut = false, ...others } = options
  if (typeof cut !== 'boolean') throw invalidArg('options.cut', 'a boolean', cut)
  return { ...checkEpochs(others), isCut: cut }
}

const SOURCES = 'Pass what natsSource(), redisSource(), ipcSource() or ipcHub() returned.'

function checkSource(source: unknown): void {
  if (typeof source !== 'object' || source === null || isRevoked(source))
    throw invalidArg('options.source', 'an EpochSource', source, SOURCES)
  for (const member of ['read', 'nodes', 'requestCut', 'close'] as const)
    checkFunction(`options.source.${member}`, (source as Partial<EpochSource>)[member])
}

function checkExcept(except: unknown): readonly Excepted[] {
  if (except === undefined) return []
  const list: readonly unknown[] = isList(except) ? except : [except]
  list.forEach((each, i) => {
    const name = isList(except) ? `options.except[${i}]` : 'options.except'
    const instance = isObject(each) ? (each as { instance?: unknown }).instance : each
    if (typeof instance === 'string' && isInstance(instance)) return
    const expected = 'a publisher, or its instance of 32 hexadecimal digits'
    const advice = "A node's label will not do, because two processes may have the same."
    if (typeof each === 'string') throw outOfRange(name, expected, each, advice)
    throw invalidArg(name, expected, each, advice)
  })
  return list as readonly Excepted[]
}

function isList(value: unknown): value is readonly unknown[] {
  return !isRevoked(value) && Array.isArray(value)
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !isRevoked(value)
}
