/** What the cases compare and wait with: only the language and timers, which every host has. */

const CASE_MS_MAX = 30_000
const WAIT_MS_MAX = 15_000

/** A value as text: bigints, typed arrays and undefined included. */
export function show(value) {
  return JSON.stringify(value, (_key, part) => {
    if (typeof part === 'bigint') return `${part}n`
    if (part === undefined) return 'undefined'
    return ArrayBuffer.isView(part) ? [...part].map((each) => show(each)) : part
  })
}

/** Throws if the two values do not look the same. */
export function same(actual, expected, what) {
  if (show(actual) !== show(expected))
    throw new Error(`${what}: expected ${show(expected)}, got ${show(actual)}`)
}

export function truthy(value, what) {
  if (!value) throw new Error(`not so: ${what}`)
}

/** The code of the error that `use` throws or rejects with, or 'no error'. */
export async function codeOf(use) {
  try {
    await use()
  } catch (error) {
    return error?.code ?? String(error)
  }
  return 'no error'
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits until a condition holds, and looks every few ms. */
export async function until(condition, what) {
  const end = Date.now() + WAIT_MS_MAX
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited ${WAIT_MS_MAX} ms for ${what}`)
    await pause(5)
  }
}

export async function within(promise, what, ms = CASE_MS_MAX) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${ms} ms: ${what}`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

export const ascending = (ids) => [...ids].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
export const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i)
