import { runInNewContext } from 'node:vm'
import { describe, expect, it, jest } from '@jest/globals'
import { checkFunction } from '../../lib/check.js'
import { describe as inWords, messageOf } from '../../lib/errors.js'
import { DirtyRingError, isDirtyRingError, TxnBuffer } from '../../lib/index.js'
import { expectError, INVALID_ARG } from '../support/bad-input.js'
import { thrown } from '../support/in-process.js'

const code = 'ERR_DIRTYRING_CLOSED'

const fail = (): never => {
  throw new Error('of the getter')
}

function revoked(target: object): unknown {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

describe('isDirtyRingError()', () => {
  it.each<[what: string, error: unknown]>([
    ['a DirtyRingError', new DirtyRingError(code, 'closed')],
    ['a TypeError of the library', thrown(() => new TxnBuffer('x' as never))],
    ['a RangeError of the library', thrown(() => new TxnBuffer().mark(-1))],
    [
      'an error of a subclass, as another copy of the library has',
      Object.assign(new (class DirtyRingError extends Error {})('closed'), { code }),
    ],
    [
      'an error of another realm',
      Object.assign(runInNewContext(`new TypeError('closed')`) as object, { code }),
    ],
  ])('takes %s', (_, error) => {
    expect(isDirtyRingError(error)).toBe(true)
  })

  it.each<[what: string, value: unknown]>([
    ['an object that gives itself the tag', { [Symbol.toStringTag]: 'Error', code }],
    [
      'an object that inherits the tag',
      Object.assign(Object.create({ [Symbol.toStringTag]: 'Error' }) as object, { code }),
    ],
    ['an object that has an error as its prototype', Object.create(new DirtyRingError(code, 'x'))],
    ['an object with a code', { code, message: 'closed', name: 'DirtyRingError' }],
    ['an error without a code', new Error('x')],
    ['an error with a code of Node', Object.assign(new Error('x'), { code: 'ENOENT' })],
    ['an error with a number as its code', Object.assign(new Error('x'), { code: 5 })],
    [
      'an error whose code is no text, and has its methods',
      Object.assign(new Error('x'), { code: { startsWith: () => true } }),
    ],
    ['a Proxy that was revoked', revoked(new DirtyRingError(code, 'x'))],
    ['an error whose code throws', Object.defineProperty(new Error('x'), 'code', { get: fail })],
    ['the code by itself', code],
    ['null', null],
    ['undefined', undefined],
  ])('does not take %s', (_, value) => {
    expect(isDirtyRingError(value)).toBe(false)
  })
})

describe('checkFunction()', () => {
  it.each([() => undefined, class extends Error {}, new Proxy(() => undefined, {})])(
    'takes %p',
    (value) => {
      expect(() => checkFunction('use', value)).not.toThrow()
    },
  )

  it('refuses a Proxy of a function that was revoked, before it is called', () => {
    const error = thrown(() =>
      checkFunction(
        'use',
        revoked(() => undefined),
      ),
    )
    expectError(error, INVALID_ARG, '"use" must be a function, got')
  })
})

describe('an error about damaged memory', () => {
  it('says what it found', async () => {
    jest.resetModules()
    const errors = await import('../../lib/errors.js')
    const found = [
      errors.corruptTail(9, 3),
      errors.corruptLane(7, 5),
      errors.corruptSlot(2, 'has 9 keys'),
      errors.corruptTexts(4),
    ].map(({ code, message }) => [code, message])
    expect(found).toEqual(
      [
        "the ring's tail is 9, and the aggregator is at 3: no producer leaves it there",
        'a lane with keys up to 5 was read up to 7, by what its header says, which no part of the ' +
          'library writes there',
        'epoch slot 2 has 9 keys, which no part of the library writes there',
        'the texts in lane 4 do not follow each other as a writer stores them, which other code ' +
          'has done. Close the writer and open another one',
      ].map((message) => ['ERR_DIRTYRING_CORRUPT', message]),
    )
  })
})

describe('an error names what it got', () => {
  it.each<[value: unknown, words: string]>([
    ['x'.repeat(40), `"${'x'.repeat(40)}"`],
    ['x'.repeat(41), `"${'x'.repeat(40)}…"`],
    [() => undefined, 'function (anonymous)'],
    [fail, 'function fail'],
    [Object.create(null), 'an object'],
    [{ constructor: { name: '' } }, 'an object'],
    [Object.defineProperty({}, 'constructor', { get: fail }), 'an object'],
    [{ constructor: Object.defineProperty({}, 'name', { get: fail }) }, 'an object'],
    [new Map(), 'an instance of Map'],
    [7n, '7n'],
    [Symbol('mine'), 'Symbol(mine)'],
    [Symbol('x'.repeat(60)), `Symbol(${'x'.repeat(33)}…`],
  ])('%p', (value, words) => {
    expect(inWords(value)).toBe(words)
  })
})

describe('messageOf()', () => {
  it.each<[what: string, thrown: unknown, words: string]>([
    ['an error', new Error('mine'), 'mine'],
    [
      'an error of another realm',
      runInNewContext("new TypeError('of another realm')"),
      'of another realm',
    ],
    ['a text', 'mine', 'mine'],
    ['null', null, 'null'],
    ['undefined', undefined, 'undefined'],
    ['an object without a message', { toString: () => 'mine' }, 'mine'],
    ['an object whose message is no text', { message: 7 }, '7'],
    ['an object without toString()', Object.create(null), 'an unreadable error'],
    [
      'a getter that throws',
      Object.defineProperty({}, 'message', { get: fail }),
      'an unreadable error',
    ],
    ['a revoked Proxy', revoked({}), 'an unreadable error'],
  ])('has the words of %s', (_, thrown, words) => {
    expect(messageOf(thrown)).toBe(words)
  })
})
