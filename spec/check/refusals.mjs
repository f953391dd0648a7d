/**
 * Pieces of source that cannot be instrumented, each with what has to be said about it. Line 1 of
 * `source` is line 3 of the file.
 */
export const refusals = [
  {
    why: 'a getter',
    source: `export const o = { w: null as unknown as SharedWords, get x(): number { return this.w[0] } }`,
    says: 'getter',
  },
  {
    why: 'a closure',
    source: `export function f(w: SharedWords): number[] {\n  return [1].map(() => w[0])\n}`,
    line: 4,
    says: 'closure',
  },
  {
    why: 'a nested function',
    source: `export function f(w: SharedWords): number {\n  function g(): number {\n    return w[0]\n  }\n  return g()\n}`,
    line: 5,
    says: 'nested function',
  },
  {
    why: 'a method',
    source: `export class C {\n  f(w: SharedWords): number {\n    return Atomics.load(w, 0)\n  }\n}`,
    line: 5,
    says: 'method',
  },
  {
    why: 'no function at all',
    source: `declare const w: SharedWords\nexport const x = w[0]`,
    line: 4,
    says: 'in no function',
  },
  {
    why: 'an async function',
    source: `export async function f(w: SharedWords): Promise<number> {\n  return w[0]\n}`,
    line: 4,
    says: 'async',
  },
  {
    why: "a parameter's default",
    source: `export function f(w: SharedWords, x = w[0]): number {\n  return x\n}`,
    line: 3,
    says: 'default',
  },
  {
    why: 'an iterator',
    source: `export function f(w: SharedWords): void {\n  for (const x of w) void x\n}`,
    line: 4,
    says: 'iterator',
  },
  {
    why: 'a spread',
    source: `export function f(w: SharedWords): number[] {\n  return [...w]\n}`,
    line: 4,
    says: 'iterator',
  },
  {
    why: 'a pattern',
    source: `export function f(w: SharedWords): number {\n  const [x] = w\n  return x\n}`,
    line: 4,
    says: 'type is lost',
  },
  {
    why: 'an element as the target of a pattern',
    source: `export function f(w: SharedWords): void {\n  ;[w[0]] = [1]\n}`,
    line: 4,
    says: 'target of a pattern',
  },
  {
    why: 'an array method',
    source: `export function f(w: SharedWords): void {\n  w.fill(0)\n}`,
    line: 4,
    says: 'a method or property',
    count: 2,
  },
  {
    why: 'another view',
    source: `export function f(w: SharedWords): Uint8Array {\n  return new Uint8Array(w.buffer)\n}`,
    line: 4,
    says: 'a method or property',
  },
  {
    why: 'unknown code',
    source: `export function f(w: SharedWords): string {\n  return String(w)\n}`,
    line: 4,
    says: 'unknown code',
    count: 2,
  },
  {
    why: 'something that has the words, handed to unknown code',
    source: `export function f(m: Memory): string {\n  return JSON.stringify(m)\n}`,
    line: 4,
    says: 'unknown code',
  },
  {
    why: 'a variable that loses the type',
    source: `export function f(w: SharedWords): number {\n  const plain: Int32Array = w\n  return plain[0]\n}`,
    line: 4,
    says: 'type is lost',
  },
  {
    why: 'a cast that loses the type',
    source: `export function f(w: SharedWords): number {\n  return (w as Int32Array)[0]\n}`,
    line: 4,
    says: 'type is lost',
  },
  {
    why: 'a parameter that loses the type',
    source: `function g(w: Int32Array): number {\n  return w[0]\n}\nexport function f(w: SharedWords): number {\n  return g(w)\n}`,
    line: 7,
    says: 'loses their type',
  },
  {
    why: '++',
    source: `export function f(w: SharedWords): void {\n  w[0]++\n}`,
    line: 4,
    says: '++',
  },
  {
    why: 'a compound assignment with a side effect in its index',
    source: `export function f(w: SharedWords, i: number): void {\n  w[i++] += 1\n}`,
    line: 4,
    says: 'not simple',
  },
  {
    why: 'a do loop',
    source: `export function f(w: SharedWords): void {\n  do {\n    w[0] = 1\n  } while (w[1] === 0)\n}`,
    line: 4,
    says: 'a do loop',
  },
  {
    why: 'Atomics as a value',
    source: `export const load = Atomics.load`,
    line: 3,
    says: 'Atomics as a value',
  },
  {
    why: 'Atomics that is not modelled',
    source: `export function f(w: SharedWords): boolean {\n  return Atomics.waitAsync(w, 0, 0).async\n}`,
    line: 4,
    says: 'not modelled',
  },
  {
    why: 'Atomics on something else',
    source: `export function f(w: Int32Array): number {\n  return Atomics.load(w, 0)\n}`,
    line: 4,
    says: 'something else than shared words',
  },
  {
    why: 'a function that reaches shared memory as a value',
    source: `function g(w: SharedWords): number {\n  return w[0]\n}\nexport const table = { g: g }`,
    line: 6,
    says: 'used as a value',
  },
  {
    why: 'a call that reaches shared memory, in a closure',
    source: `function g(w: SharedWords): number {\n  return w[0]\n}\nexport function f(w: SharedWords): number[] {\n  return [1].map(() => g(w))\n}`,
    line: 7,
    says: 'a call that reaches shared memory in a closure',
  },
]
