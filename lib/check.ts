import { invalidArg, isRevoked, notConstructible, outOfRange, unknownOption } from './errors.js'

/**
 * The first argument of each constructor that callers may not use. Plain JavaScript can call a
 * constructor that TypeScript calls private, but it cannot pass this.
 */
export const BY_LIBRARY = Symbol('dirtyring')

/**
 * Refuses a caller of a constructor that only the library uses.
 *
 * @param pass - the constructor's first argument: BY_LIBRARY if the library calls it
 * @param advice - one sentence that says what to call instead
 */
export function checkByLibrary(pass: unknown, className: string, advice: string): void {
  if (pass !== BY_LIBRARY) throw notConstructible(className, advice)
}

/**
 * Checks an option bag: a plain object (or one of a class of the caller's own) that has no other
 * names than `known`. An unknown name is a TypeError that suggests the nearest known one, because
 * the caller would never notice an option that is silently ignored.
 */
export function checkBag(
  name: string,
  options: unknown,
  known: readonly string[],
): Readonly<Record<string, unknown>> {
  if (!isBag(options)) {
    const advice =
      known.includes('signal') && isSignal(options) ? 'Pass the signal as { signal }.' : ''
    throw invalidArg(name, 'a plain object', options, advice)
  }
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue
    const near = nearest(key, known)
    const advice =
      near === undefined ? `Known options: ${known.join(', ')}.` : `Did you mean "${near}"?`
    throw unknownOption(`${name}.${key.slice(0, 40)}`, advice)
  }
  return options as Record<string, unknown>
}

/**
 * Refuses an array, a Map, an AbortSignal …, because those hold no options: what the caller asked
 * for would be ignored.
 */
function isBag(value: unknown): value is object {
  if (typeof value !== 'object' || isRevoked(value) || Array.isArray(value)) return false
  const tag = Object.prototype.toString.call(value)
  return tag === '[object Object]' || tag === '[object Module]'
}

function isSignal(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    !isRevoked(value) &&
    Object.prototype.toString.call(value) === '[object AbortSignal]'
  )
}

/** Checks an argument or option that must be a function. */
export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function' || isRevoked(value)) throw invalidArg(name, 'a function', value)
}

/** Checks an option that must be a boolean, and returns it. */
export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalidArg(name, 'a boolean', value)
  return value
}

/**
 * Checks a whole number from `min` to `max`, and returns it.
 *
 * @param note - what `max` is, for the error: 'laneCapacity'
 */
export function checkWhole(
  name: string,
  value: unknown,
  min: number,
  max: number,
  note = '',
): number {
  const isIn = isNumberIn(name, value, min, max)
  if (!isIn) throw outOfRange(name, `a whole number ${rangeOf(min, max, note)}`, value)
  return value as number
}

/** Checks a power of two from `min` to `max`, and returns it. */
export function checkPowerOfTwo(name: string, value: unknown, min: number, max: number): number {
  const isIn = isNumberIn(name, value, min, max) && isPowerOfTwo(value as number)
  if (!isIn) throw outOfRange(name, `a power of two ${rangeOf(min, max)}`, value)
  return value as number
}

export function isPowerOfTwo(value: number): boolean {
  return value >= 1 && (value & (value - 1)) === 0
}

function isNumberIn(name: string, value: unknown, min: number, max: number): boolean {
  if (typeof value !== 'number') throw invalidArg(name, 'a number', value)
  return Number.isInteger(value) && value >= min && value <= max
}

function rangeOf(min: number, max: number, note = ''): string {
  return `from ${min} to ${max}${note === '' ? '' : ` (${note})`}`
}

/**
 * Checks one of a few words, and returns it.
 *
 * @param more - what it may be instead, for the error: 'a function'
 */
export function checkChoice<T extends string>(
  name: string,
  value: unknown,
  choices: readonly T[],
  more?: string,
): T {
  const all = [...choices.map((each) => `'${each}'`), ...(more === undefined ? [] : [more])]
  const expected = all.join(', ').replace(/, (?=[^,]+$)/, ' or ')
  if (typeof value !== 'string') throw invalidArg(name, expected, value)
  const found = choices.find((each) => each === value)
  if (found === undefined) throw outOfRange(name, expected, value)
  return found
}

/**
 * Whether the engine itself threw this, as it does for a method that is called on a Proxy. Errors
 * of this library have a code of their own.
 */
export function isEngineError(error: unknown): boolean {
  const { name, code } = Object(error) as { name?: unknown; code?: unknown }
  return name === 'TypeError' && !(typeof code === 'string' && code.startsWith('ERR_DIRTYRING_'))
}

// The getters of the engine: a property of the same name on the view itself, or in a subclass, must
// not count. They read views of another realm too.
const viewPrototype = Object.getPrototypeOf(Int8Array.prototype) as object
const nameGetter = getterOf(Symbol.toStringTag) as (this: unknown) => string | undefined
const lengthGetter = getterOf('length') as (this: unknown) => number
const bufferGetter = getterOf('buffer') as (this: unknown) => ArrayBufferLike
const offsetGetter = getterOf('byteOffset') as (this: unknown) => number
// eslint-disable-next-line @typescript-eslint/unbound-method
const { indexOf } = viewPrototype as Uint8Array

function getterOf(name: string | symbol): unknown {
  const { get } = Object.getOwnPropertyDescriptor(viewPrototype, name) as { get: unknown }
  return get
}

/**
 * The name of the built-in typed array that `value` is ('Uint8Array' for a Buffer, also for one of
 * another realm), or undefined for anything else.
 */
export function typedArrayName(value: unknown): string | undefined {
  return nameGetter.call(value)
}

/**
 * The length of a typed array. Throws invalidArg for one that is detached or out of bounds, which
 * the engine takes for an empty one.
 *
 * @param name - what an error calls it; a number is its index in `keys`
 */
export function viewLength(view: unknown, name: string | number): number {
  const length = lengthGetter.call(view)
  if (length === 0) checkAttached(view, name)
  return length
}

function checkAttached(view: unknown, name: string | number): void {
  try {
    // Every method of a typed array checks the view first. (`ArrayBuffer.prototype.detached` is
    // missing in Node 20.)
    indexOf.call(view as Uint8Array, 0)
  } catch (cause) {
    const expected = `a view of memory that this thread has`
    const advice =
      'It is detached or out of bounds: it was transferred to another thread, or its buffer shrank.'
    throw Object.assign(invalidArg(argumentName(name), expected, view, advice), { cause })
  }
}

/** The first `length` 32-bit words of a typed array, where they lie. */
export function wordsOf(view: unknown, length: number): Int32Array {
  return new Int32Array(bufferGetter.call(view), offsetGetter.call(view), length)
}

/** Whether a typed array begins at a whole word of its memory. */
export function isAligned(view: unknown): boolean {
  return (offsetGetter.call(view) & 3) === 0
}

/** The first `length` bytes of a Uint8Array, where they lie. */
export function bytesOf(view: unknown, length: number): Uint8Array {
  return new Uint8Array(bufferGetter.call(view), offsetGetter.call(view), length)
}

/**
 * What an error calls an argument; a number is its index in `keys`, put into words only when an
 * error needs them.
 */
export function argumentName(name: string | number): string {
  return typeof name === 'number' ? `keys[${name}]` : name
}

/** The known name that differs least, if it differs by a third of its letters at most. */
function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let least = Infinity
  for (const each of known) {
    if (Math.abs(each.length - name.length) > each.length) continue
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
