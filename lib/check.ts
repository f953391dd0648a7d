import { invalidArg } from './errors.js'

/**
 * Checks an option bag: a plain object (or one of a class of the caller's own) that has no other names than `known`. An unknown name is a TypeError that suggests
 * the nearest known one, because an option that is silently ignored is a bug that nobody finds.
 */
export function checkBag(name: string, options: unknown, known: readonly string[]): Readonly<Record<string, unknown>> {
  const isBag = typeof options === 'object' && options !== null && !Array.isArray(options) && !ArrayBuffer.isView(options)
  if (!isBag) throw invalidArg(name, 'a plain object', options)
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue
    const near = nearest(key, known)
    const advice = near === undefined ? `known are ${known.join(', ')}` : `did you mean "${near}"?`
    throw invalidArg(`${name}.${key}`, `no such option: ${advice}`, (options as Record<string, unknown>)[key])
  }
  return options as Record<string, unknown>
}

/** The known name that differs least, if it differs by a third of its letters at most. */
function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let least = Infinity
  for (const each of known) {
    const edits = distance(name.toLowerCase(), each.toLowerCase())
    if (edits < least && edits <= Math.max(2, each.length / 3)) {
      best = each
      least = edits
    }
  }
  return best
}

/** Letters to insert, delete or replace (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]
}
