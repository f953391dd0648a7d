import { runInNewContext } from 'node:vm'

/**
 * What getters, traps and methods of the odd values throw: the caller's own error, which comes out
 * as it is.
 */
export class OwnError extends Error {}

/**
 * Values that lie about themselves, or whose memory is gone: no valid key and no valid list,
 * whatever their class.
 */
const untrue = new WeakSet<object>()

export const isTrue = (value: unknown): boolean =>
  !((typeof value === 'object' && value !== null) || typeof value === 'function') ||
  !untrue.has(value)

/** A name, and what makes such a value: a fresh one for each call. */
export type Odd = readonly [name: string, make: () => unknown]

const fail = (): never => {
  throw new OwnError('of the odd value')
}

function lying<T extends object>(value: T): T {
  untrue.add(value)
  return value
}

function lost(make: (buffer: ArrayBuffer) => ArrayBufferView): unknown {
  const buffer = new ArrayBuffer(16)
  const view = make(buffer)
  structuredClone(buffer, { transfer: [buffer] })
  return lying(view)
}

function shrunk(make: (buffer: ArrayBuffer) => ArrayBufferView): unknown {
  const buffer = new ArrayBuffer(16, { maxByteLength: 16 })
  const view = make(buffer)
  buffer.resize(4)
  return lying(view)
}

const withLength = (length: unknown): unknown =>
  lying(
    new Proxy([1, 2], {
      get: (keys, name) => (name === 'length' ? length : Reflect.get(keys, name)),
    }),
  )

const withSize = (size: unknown, values: () => unknown): unknown =>
  lying({ [Symbol.toStringTag]: 'Set', size, values })

function revoked(target: object): unknown {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return lying(proxy)
}

const foreign = (code: string): Odd => [
  `of another realm: ${code}`,
  () => runInNewContext(`(${code})`),
]

export const oddValues: readonly Odd[] = [
  ...[
    undefined,
    null,
    true,
    false,
    NaN,
    -1,
    -0,
    0.5,
    1.5,
    2 ** 32,
    2 ** 53,
    -(2 ** 53),
    Infinity,
    -Infinity,
  ].map((value): Odd => [Object.is(value, -0) ? '-0' : String(value), () => value]),
  ...['', 'x', '2', 'wait', '__proto__', '\ud800'].map((value): Odd => [
    JSON.stringify(value),
    () => value,
  ]),
  ...[-1n, 0n, 2n ** 64n, 2n ** 64n - 1n].map((value): Odd => [`${value}n`, () => value]),
  ['a symbol', () => Symbol('x')],
  ['Symbol.iterator', () => Symbol.iterator],
  ['[]', () => []],
  ['[1, 2]', () => [1, 2]],
  ['[[1]]', () => [[1]]],
  ['[undefined]', () => [undefined]],
  ['[Symbol()]', () => [Symbol('x')]],
  ['a sparse array', () => new Array(3)],
  ['an array of the greatest length', () => new Array(2 ** 32 - 1)],
  [
    'an array with a getter that throws',
    () => lying(Object.defineProperty([1, 2], 1, { get: fail })),
  ],
  ['an array with an own iterator', () => Object.assign([1, 2], { [Symbol.iterator]: fail })],
  ['a function', () => () => 'x'],
  ['an async function', () => async () => 'x'],
  ['a generator function', () => function* () {}],
  ['a function that throws', () => fail],
  ['a class', () => class A extends Object {}],
  [
    'a function whose name is a symbol',
    () => Object.defineProperty(() => 'x', 'name', { value: Symbol('x') }),
  ],
  ['a Proxy of a function', () => new Proxy(() => 'x', {})],
  ['a function from a revoked Proxy', () => revoked(() => 'x')],
  ['{}', () => ({})],
  ['Object.create(null)', () => Object.create(null)],
  ['an unknown option', () => ({ colour: 'red' })],
  [
    'an object with a constructor that throws',
    () => Object.defineProperty({}, 'constructor', { get: fail }),
  ],
  [
    'an object whose conversions throw',
    () => ({ toString: fail, valueOf: fail, [Symbol.toPrimitive]: fail }),
  ],
  ['an object that converts to 2', () => ({ valueOf: () => 2, toString: () => '2' })],
  ['an object whose then throws', () => Object.defineProperty({}, 'then', { get: fail })],
  [
    'a Proxy that throws at all',
    () =>
      lying(
        new Proxy(
          {},
          {
            get: fail,
            has: fail,
            ownKeys: fail,
            getPrototypeOf: fail,
            getOwnPropertyDescriptor: fail,
          },
        ),
      ),
  ],
  ['a revoked Proxy', () => revoked({})],
  ['a revoked Proxy of an array', () => revoked([])],
  ['a Proxy of an array', () => new Proxy([1, 2], {})],
  ['{ length: 1, 0: 1 }', () => ({ length: 1, 0: 1 })],
  ['a Date', () => new Date(0)],
  ['a RegExp', () => /x/],
  ['an Error', () => new Error('x')],
  ['a Map', () => new Map([[1, 2]])],
  ['a WeakSet', () => new WeakSet()],
  ['a Set of keys', () => new Set([1, 'x'])],
  ['a Set of others', () => new Set([{}])],
  ['a Proxy of a Set', () => lying(new Proxy(new Set([1]), {}))],
  ['a String object', () => new String('x')],
  ['a Number object', () => new Number(1)],
  ['a promise', () => Promise.resolve(1)],
  ['an iterator', () => [1][Symbol.iterator]()],
  ['an AbortController', () => new AbortController()],
  ['an AbortSignal', () => new AbortController().signal],
  ['an AbortSignal that has aborted', () => AbortSignal.abort(new OwnError('aborted'))],
  ['a Proxy of an AbortSignal', () => new Proxy(new AbortController().signal, {})],
  ['a signal that is none', () => ({ aborted: false })],
  [
    'a signal that aborts at once',
    () => ({
      aborted: false,
      reason: new OwnError('aborted'),
      addEventListener: (_: string, abort: () => void) => abort(),
      removeEventListener: fail,
    }),
  ],
  [
    'a signal whose methods throw',
    () => ({ aborted: false, addEventListener: fail, removeEventListener: fail }),
  ],
  [
    'a signal that cannot be left',
    () => ({ aborted: false, addEventListener: () => undefined, removeEventListener: fail }),
  ],
  ...['ArrayBuffer', 'SharedArrayBuffer'].map((name): Odd => [
    name,
    () => new (globalThis as any)[name](16),
  ]),
  ['a DataView', () => new DataView(new ArrayBuffer(8))],
  ...[
    Uint8Array,
    Int8Array,
    Uint8ClampedArray,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
  ].flatMap((View): Odd[] => [
    [`an empty ${View.name}`, () => new View(0)],
    [`a ${View.name}`, () => new View(2)],
    [`a detached ${View.name}`, () => lost((buffer) => new View(buffer))],
    [`a ${View.name} out of bounds`, () => shrunk((buffer) => new View(buffer, 8, 1))],
    [
      `a ${View.name} in shared memory`,
      () => new (View as typeof Uint8Array)(new SharedArrayBuffer(16)),
    ],
  ]),
  ['a Uint32Array of odd length', () => new Uint32Array(3)],
  ['a Uint32Array longer than a lane', () => new Uint32Array(5000)],
  [
    'a Uint32Array that says another length',
    () => Object.defineProperty(Uint32Array.of(1, 2), 'length', { value: 99 }),
  ],
  [
    'a BigUint64Array that says it is another',
    () => Object.defineProperty(BigUint64Array.of(1n), Symbol.toStringTag, { value: 'Uint8Array' }),
  ],
  ['a Buffer', () => Buffer.from('x')],
  ...['2', NaN, 1.5, 100, -1, 2 ** 32, 2n, undefined].map((length): Odd => [
    `an array of length ${JSON.stringify(String(length))}`,
    () => withLength(length),
  ]),
  ...['2', NaN, 1.5, 100, -1, 0].map((size): Odd => [
    `a set of size ${JSON.stringify(size)}`,
    () => withSize(size, () => [1, 2].values()),
  ]),
  ['a set that never ends', () => withSize(2, () => ({ next: () => ({ done: false, value: 1 }) }))],
  ['a set whose iterator throws', () => withSize(2, () => ({ next: fail }))],
  ['a set without an iterator', () => withSize(2, () => undefined)],
  ...[
    '[1, 2]',
    'new Set([1])',
    '({})',
    'Uint8Array.of(1, 2)',
    'Uint32Array.of(1, 2)',
    'BigUint64Array.of(1n)',
    '() => 1',
    'new Error("x")',
  ].map(foreign),
  ['a handle without memory', () => ({ dirtyring: 2, dirtyringDictionary: 1, buffer: {} })],
  [
    'a handle of odd versions',
    () => ({
      dirtyring: Object.create(null),
      dirtyringDictionary: Symbol('x'),
      buffer: new SharedArrayBuffer(8),
    }),
  ],
  [
    'a handle whose getters throw',
    () =>
      Object.defineProperties(
        {},
        {
          dirtyring: { get: fail, enumerable: true },
          dirtyringDictionary: { get: fail, enumerable: true },
        },
      ),
  ],
]
