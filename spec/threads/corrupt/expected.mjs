/** What was marked, and what an epoch must therefore hold. */
import { Wrong } from './outcomes.mjs'

/** A text key, of 1 to 40 characters. */
export function textKey(n) {
  return `${n}${'é'.repeat((n * 7) % 20)}`
}

/** All marks: one record for each. */
export class Marks {
  /** The number of the last mark. */
  seq = 0
  /** By key, the number of its first mark. */
  first = new Map()

  /** A mark was made. */
  add(key) {
    const mark = { key, seq: ++this.seq, published: false }
    if (!this.first.has(key)) this.first.set(key, mark.seq)
    return mark
  }
}

/** The half of a number that names its namespace. Texts are in namespace 0. */
function namespaceOf(key) {
  return typeof key === 'string' ? 0 : Math.floor(key / 2 ** 32)
}

/** What one reader must get. */
export class Expected {
  /** Epochs that were not exact. */
  inexact = 0
  /** An epoch that was not exact was restored: the next epoch is not exact either. */
  mustBeInexact = false
  /** Marks that no epoch has held yet: { key, seq, published }. */
  owed = []

  /** `wanted`: the namespaces that the reader wants; undefined: all. */
  constructor(marks, wanted, stopwatch, log) {
    this.marks = marks
    this.wanted = wanted
    this.stopwatch = stopwatch
    this.log = log
  }

  get seq() {
    return this.marks.seq
  }

  wants(namespace) {
    return this.wanted === undefined || this.wanted.includes(namespace)
  }

  add(mark) {
    if (this.wants(namespaceOf(mark.key))) this.owed.push(mark)
  }

  /** A key of an epoch that was given back: the next epoch has it. */
  giveBack(key) {
    this.owed.push({ key, seq: ++this.marks.seq, published: true })
  }

  /** The marks that the next cut must take. */
  published() {
    return new Set(this.owed.filter(({ published }) => published))
  }

  /**
   * Throws Wrong if an epoch cannot hold what it says. `strict` are the marks that it must have,
   * `cut` is the last mark before its cut, and `latest` the last mark that it may have.
   */
  check(epoch, { cut, strict, latest, mustBeInexact }) {
    this.log(`epoch ${epoch.id}: ${epoch.size} keys, ${epoch.exact ? 'exact' : epoch.reason}`)
    if (!epoch.exact) {
      this.inexact++
      for (const { key } of strict)
        if (!epoch.has(key)) throw new Wrong(`epoch ${epoch.id}: has(${key}) denies a key of it`)
      this.owed = this.owed.filter((mark) => !strict.has(mark) && mark.isHarvested !== true)
      return
    }
    if (mustBeInexact)
      throw new Wrong(`epoch ${epoch.id} is exact, and one that was not was restored into it`)
    const has = this.#checkKeys(epoch, latest)
    for (const mark of this.owed) {
      if (strict.has(mark) && !has.has(mark.key))
        throw new Wrong(`epoch ${epoch.id} lost key ${mark.key}`)
    }
    this.owed = this.owed.filter(({ key, seq }) => seq > cut || !has.has(key))
  }

  #checkKeys(epoch, latest) {
    const keys = this.stopwatch.time('the keys', () => [...epoch])
    const has = new Set(keys)
    if (has.size !== keys.length) throw new Wrong(`epoch ${epoch.id} has a key twice`)
    for (const key of keys) {
      if (!this.wants(namespaceOf(key)))
        throw new Wrong(`epoch ${epoch.id} has key ${key}, which its reader does not want`)
      if (!(this.marks.first.get(key) <= latest))
        throw new Wrong(`epoch ${epoch.id} has key ${key}, which was never marked`)
      if (!this.stopwatch.time('has', () => epoch.has(key)))
        throw new Wrong(`epoch ${epoch.id} lists key ${key}, and its has() denies it`)
    }
    for (let i = 0; i < 20; i++) {
      for (const key of [i, textKey(i)])
        if (epoch.has(key) !== has.has(key))
          throw new Wrong(`epoch ${epoch.id}: has(${key}) is not what its list says`)
    }
    return has
  }
}
