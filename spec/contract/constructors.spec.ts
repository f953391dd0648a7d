import { describe, expect, it } from '@jest/globals'
import * as library from '../../lib/index.js'
import { expectError, INVALID_ARG } from '../support/bad-input.js'
import { openInline, thrown } from '../support/in-process.js'

describe('C11: a constructor that TypeScript calls private, called from JavaScript', () => {
  const classes = [
    { name: 'DirtyTracker', advice: 'Call await DirtyTracker.create(options).' },
    { name: 'Writer', advice: 'Call openWriter(handle) or tracker.openWriter().' },
    { name: 'SealedEpoch', advice: 'Call tracker.advanceEpoch() or tracker.consume().' },
    { name: 'Consumer', advice: 'Call tracker.consumer(name).' },
    { name: 'BatchRing', advice: 'Call BatchRing.create() or BatchRing.attach(handle).' },
    { name: 'BatchProducer', advice: 'Call ring.openProducer().' },
    {
      name: 'KeyDictionary',
      advice: 'Call KeyDictionary.create() or KeyDictionary.attach(handle).',
    },
  ]
  const constructible = ['DirtyRingError', 'FingerprintSet', 'TxnBuffer']

  it.each(classes)('new $name() is refused, and the error says what to call', (each) => {
    const { name, advice } = each
    const Class = (library as any)[name]
    for (const args of [[], [undefined], [{}], [Symbol('dirtyring')], [{ id: 0 }, {}]]) {
      const error = thrown(() => new Class(...args))
      expectError(error, INVALID_ARG)
      expect(error.message).toBe(`new ${name}() is not for callers. ${advice}`)
    }
  })

  it.each(classes)('a subclass of $name cannot be constructed either', ({ name, advice }) => {
    const Class = class extends (library as any)[name] {}
    expectError(
      thrown(() => new Class()),
      INVALID_ARG,
      `new ${name}()`,
      advice,
    )
  })

  it('a Writer that is made by the constructor of another one is refused', async () => {
    const writer = (await openInline()).openWriter()
    const Class = writer.constructor as any
    expectError(
      thrown(() => new Class(writer)),
      INVALID_ARG,
      'new Writer()',
    )
  })

  it('every class of the package is either refused here, or made by `new`', () => {
    const all = Object.entries(library)
      .filter(([, value]) => /^class\b/.test(String(value)))
      .map(([name]) => name)
    expect(all.sort()).toEqual([...classes.map(({ name }) => name), ...constructible].sort())
  })
})
