import { describe, expect, it } from '@jest/globals'
import { FORM_EXACT, FORM_FILTER } from '../../lib/memory/map.js'
import { BLOCK_WORDS } from '../../lib/set/filter.js'
import { digest, hashWords } from '../../lib/text/murmur.js'
import { decodeState, encodeState, type SavedState } from '../../lib/tracker/saved.js'

const words = (...numbers: number[]): Int32Array => Int32Array.from(numbers)

const exact = {
  flags: 3,
  namespaces: [4],
  form: FORM_EXACT,
  pairs: words(1, 2, 3, 4),
  records: words(0, 1 << 1, 97),
  filter: words(),
}
const filter = { ...exact, form: FORM_FILTER, filter: new Int32Array(2 * BLOCK_WORDS).fill(9) }
const state: SavedState = {
  lineage: [{ instance: 'new', upTo: 7 }],
  consumers: [
    { name: 'a', since: 'clock', namespaces: [4, 5], contents: [exact, filter] },
    { name: 'bcd', since: undefined, namespaces: undefined, contents: [] },
  ],
}
const LIST =
  '{"lineage":[{"instance":"new","upTo":7}],"consumers":[' +
  '{"name":"a","since":"clock","namespaces":[4,5],"contents":[' +
  `{"flags":3,"namespaces":[4],"form":${FORM_EXACT},"words":[4,3,0]},` +
  `{"flags":3,"namespaces":[4],"form":${FORM_FILTER},"words":[4,3,${2 * BLOCK_WORDS}]}]},` +
  '{"name":"bcd","contents":[]}]}'

/** The bytes of words, with the hash that they should have. */
function hashed(state: Int32Array): Uint8Array {
  const rest = state.slice(4)
  hashWords(rest, rest.length * 4, 1)
  state.set(digest.subarray(0, 2), 2)
  return new Uint8Array(state.buffer)
}

/** The saved bytes, changed, and with the right hash. */
function changed(change: (words: Int32Array) => Int32Array | undefined): Uint8Array {
  const all = new Int32Array(encodeState(state).slice().buffer)
  return hashed(change(all) ?? all)
}

/** The bytes of any list, with so many words behind it. */
function listed(list: string, more = 0): Uint8Array {
  const length = Math.ceil(list.length / 4)
  const all = new Int32Array(5 + length + more)
  all.set([0x54535244, 1, 0, 0, length])
  new Uint8Array(all.buffer, 20, length * 4).fill(32).set(new TextEncoder().encode(list))
  return hashed(all)
}

/** Two words behind a list that ends there, counted from the end of all. */
function fromBehind(): Uint8Array {
  const content = `{"flags":0,"namespaces":[],"form":${FORM_EXACT},"words":[100,0,0]}`
  const consumer = `{"name":"a","since":"x","contents":[${content}]}`
  // The words of the content, from there on: all of them, and these two once more.
  const list = `{"lineage":[],"consumers":[${consumer}]}`.padEnd((100 - 2 - 2 - 5) * 4)
  const all = new Int32Array(listed(list, 2).buffer)
  all[4] = -2 - 5
  return hashed(all)
}

describe('the bytes of a saved state', () => {
  it('are these', () => {
    const bytes = encodeState(state)
    expect(LIST.length % 4).toBeGreaterThan(0)
    const padded = LIST.padEnd(Math.ceil(LIST.length / 4) * 4)
    expect(new TextDecoder().decode(bytes.subarray(0, 4))).toBe('DRST')
    expect(new TextDecoder().decode(bytes.subarray(20, 20 + padded.length))).toBe(padded)
    const all = new Int32Array(bytes.slice().buffer)
    expect([all[1], all[4]]).toEqual([1, padded.length / 4])
    const contents = [exact, filter].flatMap((each) => [
      ...each.pairs,
      ...each.records,
      ...each.filter,
    ])
    expect([...all.subarray(5 + padded.length / 4)]).toEqual(contents)
    expect(changed(() => undefined)).toEqual(bytes)
    expect(decodeState(bytes)).toEqual(state)
  })

  it('are read wherever they lie in their buffer', () => {
    const bytes = encodeState(state)
    const shifted = new Uint8Array(bytes.length + 3)
    shifted.set(bytes, 3)
    expect(decodeState(shifted.subarray(3))).toEqual(state)
  })

  it('may have an empty list, and nothing behind it', () => {
    expect(decodeState(listed('{"lineage":[],"consumers":[]}'))).toEqual({
      lineage: [],
      consumers: [],
    })
  })

  it.each([
    ['too short', new Uint8Array(16), 'have a length of 16'],
    ['an odd length', new Uint8Array(23), 'have a length of 23'],
    ['others', new Uint8Array(20), 'were not made by tracker.save()'],
    [
      'another version',
      changed((all) => void (all[1] = 2)),
      'are of version 2, and this is version 1',
    ],
    ['a wrong hash, first word', encodeState(state).map((byte, i) => byte ^ +(i === 8)), 0],
    ['a wrong hash, second word', encodeState(state).map((byte, i) => byte ^ +(i === 12)), 0],
    ['a list that ends behind them', changed((all) => void (all[4] = all.length - 4)), 0],
    ['a list of a negative length', changed((all) => void (all[4] = -1)), 0],
    ['a list of a length that leads to its end from behind', fromBehind(), 0],
    ['a list that is no JSON', listed('{"lineage":[],"consumers":[]'), 0],
    ['a word too many', listed('{"lineage":[],"consumers":[]}', 1), 0],
    ['a word too few', changed((all) => all.slice(0, -1)), 0],
  ] as const)('are refused: %s', (_, bytes, says) => {
    expect(decodeState(bytes)).toBe(says === 0 ? 'are damaged' : says)
  })

  it.each([1, 2, 4, 12, 24])(
    'are refused with a filter that has a part of a block: %d words',
    (size) => {
      const contents = [{ ...filter, filter: new Int32Array(size) }]
      const consumers = [{ name: 'a', since: undefined, namespaces: undefined, contents }]
      expect(decodeState(encodeState({ lineage: [], consumers }))).toBe('are damaged')
    },
  )

  it('have texts of any bytes, the empty one too', () => {
    const records = words(0, 0, 0, 4 << 1, -1, 0, (1 << 1) | 1, 97, 0, 0)
    const consumers = [
      { name: 'a', since: undefined, namespaces: undefined, contents: [{ ...exact, records }] },
    ]
    expect(decodeState(encodeState({ lineage: [], consumers }))).toEqual({ lineage: [], consumers })
  })

  it('may end with their list', () => {
    const whole = listed('{"lineage":[{"instance":"x","upTo":0}],"consumers":[]}')
    expect(decodeState(whole)).toEqual({ lineage: [{ instance: 'x', upTo: 0 }], consumers: [] })
  })
})
