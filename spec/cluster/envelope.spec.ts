import { describe, expect, it } from '@jest/globals'
import { ByteReader, ByteWriter } from '../../lib/cluster/bytes.js'
import { CLOCK_MAX, clockBytes, clockText, readClock } from '../../lib/cluster/clock.js'
import {
  declarationFlags,
  declarationsOf,
  type Envelope,
  KIND,
  openEnvelope,
  sealEnvelope,
} from '../../lib/cluster/envelope.js'
import { Ledger } from '../../lib/cluster/ledger.js'
import { crc32 } from '../../lib/crc32.js'
import { range, thrown } from '../support/in-process.js'

const INSTANCE = '0123456789abcdef0f1e2d3c4b5a6978'
const MOST = Number.MAX_SAFE_INTEGER

/** With another checksum at the end. */
function repaired(bytes: Uint8Array): Uint8Array {
  const end = bytes.length - 4
  new DataView(bytes.buffer).setUint32(end, crc32(bytes.subarray(0, end)), true)
  return bytes
}

describe('an envelope', () => {
  const envelope = {
    kind: KIND.EPOCH,
    format: 1,
    flags: 7,
    node: 'web-1',
    instance: INSTANCE,
    n: 5 * 2 ** 32 + 6,
    atMs: 1.5,
    body: Uint8Array.of(8, 9),
  }
  const sealed = (more: Partial<Envelope> = {}): Uint8Array =>
    sealEnvelope({ ...envelope, ...more })
  /** Sealed with bytes that are changed, and a checksum that is right. */
  const changed = (change: (bytes: DataView) => void): Uint8Array => {
    const bytes = sealed()
    change(new DataView(bytes.buffer))
    return repaired(bytes)
  }

  it('has the same bytes in each version, because readers of any version open it', () => {
    const bytes = Buffer.from(sealed())

    expect(bytes.toString('hex', 0, 51)).toBe(
      [
        ...['44524331', '02', '01', '07', '05', INSTANCE, '0600000005000000', '000000000000f83f'],
        ...['02000000', Buffer.from('web-1').toString('hex'), '0809'],
      ].join(''),
    )
    expect(bytes.readUInt32LE(51)).toBe(crc32(bytes.subarray(0, 51)))
  })

  it.each<Partial<Envelope>>([
    {},
    { n: 0, atMs: 0, body: new Uint8Array(0) },
    { n: MOST, atMs: 1.7e12, node: 'n'.repeat(64) },
    { n: 2 ** 32 - 1, node: '_' },
    { n: 2 ** 32, instance: 'f'.repeat(32) },
  ])('is opened as it was sealed: %j', (more) => {
    const bytes = sealed(more)
    const crc = new DataView(bytes.buffer).getUint32(bytes.length - 4, true)

    expect(openEnvelope(bytes)).toEqual({ ...envelope, ...more, crc })
    expect(openEnvelope(Uint8Array.of(1, ...bytes, 2).subarray(1, -1))).toEqual(openEnvelope(bytes))
  })

  it('is not opened if it is cut off, goes on, or is changed', () => {
    const bytes = sealed()
    const others = [
      ...range(0, bytes.length).map((length) => bytes.slice(0, length)),
      ...range(5, bytes.length - 5).map((length) => repaired(bytes.slice(0, length))),
      Uint8Array.of(...bytes, 0),
      ...range(0, bytes.length).map((at) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte))),
    ]
    expect(others.map((each) => openEnvelope(each)).filter(Boolean)).toEqual([])
  })

  it.each<[what: string, bytes: Uint8Array]>([
    ['it begins otherwise', changed((bytes) => bytes.setUint8(3, 0x32))],
    ['it has no label', sealed({ node: '' })],
    ['its label has another form', sealed({ node: 'a b' })],
    ['its number is 2^53', sealed({ n: 2 ** 53 })],
    ['its time is no number', sealed({ atMs: NaN })],
    ['its time is infinite', sealed({ atMs: -Infinity })],
    ['its body is shorter', changed((bytes) => bytes.setUint32(40, 1, true))],
    ['its body is longer', changed((bytes) => bytes.setUint32(40, 3, true))],
    ['its label is longer', changed((bytes) => bytes.setUint8(7, 64))],
  ])('is not opened if %s, though its checksum is right', (_, bytes) => {
    expect(openEnvelope(bytes)).toBe(undefined)
  })

  it('counts the declarations of its instance up to 62, beside its other flags', () => {
    expect([0, 1, 62, 63, 64, 1000].map((n) => declarationsOf(1 | declarationFlags(n)))).toEqual([
      ...[0, 1, 62],
      ...[undefined, undefined, undefined],
    ])
    expect(declarationsOf(declarationFlags(62) & ~2)).toBe(undefined)
    expect(declarationFlags(1000)).toBeLessThan(256)
  })
})

describe('a writer of bytes', () => {
  const WHOLE = [0, 127, 128, 129, 255, 16_383, 16_384, 2 ** 32 - 1, 2 ** 32 + 1, MOST]

  function written(write: (to: ByteWriter) => void): Uint8Array {
    const to = new ByteWriter()
    write(to)
    return to.bytes
  }

  it('writes what a later version reads', () => {
    const bytes = written((to) => {
      to.byte(7)
      to.varint(300)
      to.word(0x01020304)
      to.float(1.5)
      to.text('aé')
      to.instance(INSTANCE)
      for (const list of [undefined, [], [5, 128]]) to.list(list)
    })
    expect(Buffer.from(bytes).toString('hex')).toBe(
      `07ac0204030201000000000000f83f0261e901${INSTANCE}000103058001`,
    )
  })

  it('writes what a reader reads, however long it is', () => {
    const text = '\ud800\uffff é'.repeat(100)
    const from = new ByteReader(
      written((to) => {
        for (const value of WHOLE) to.varint(value)
        to.text(text)
        for (const value of [-1.5, 2 ** 60, Infinity]) to.float(value)
        for (let i = 0; i < 300; i++) to.word(2 ** 32 - 1 - i)
        to.instance(INSTANCE)
        to.list(WHOLE)
        to.byte(255)
      }),
    )

    expect(WHOLE.map(() => from.varint())).toEqual(WHOLE)
    expect(from.text()).toBe(text)
    expect([from.float(), from.float(), from.float()]).toEqual([-1.5, 2 ** 60, Infinity])
    expect(range(0, 300).map(() => from.word())).toEqual(range(0, 300).map((i) => 2 ** 32 - 1 - i))
    expect([from.instance(), from.list(), from.isAtEnd]).toEqual([INSTANCE, WHOLE, false])
    expect([from.byte(), from.isAtEnd]).toEqual([255, true])
    expect(thrown(() => from.byte())).toBeInstanceOf(RangeError)
  })

  it('has no number beyond 2^53 - 1, and a reader takes none', () => {
    const beyond = Uint8Array.of(...Array<number>(7).fill(0x80), 0x10)
    expect(thrown(() => new ByteReader(beyond).varint()).message).toBe('a number beyond 2^53 - 1')
    const endless = new Uint8Array(1000).fill(0xff)
    expect(thrown(() => new ByteReader(endless).varint()).message).toBe('a number beyond 2^53 - 1')
  })
})

describe('the text of a clock', () => {
  const options = { goneMs: 1000, jitterMs: () => 0 }
  const opened = (index: number, kind: number, n: number): Envelope => ({
    kind,
    format: 1,
    flags: 1,
    node: `a-node-with-a-long-name-${index}`,
    instance: index.toString(16).padStart(32, '0'),
    n,
    atMs: 1000,
    body: new Uint8Array(0),
    crc: 1,
  })
  /** A ledger of one instance that lives, and of so many that are closed. */
  const ledgerOf = (closed: number): Ledger => {
    const ledger = new Ledger(options)
    ledger.enter('log')
    for (const i of range(0, closed + 1)) {
      ledger.begin()
      ledger.receive(opened(i, KIND.OPEN, 0), 0)
      if (i > 0) ledger.receive(opened(i, KIND.CLOSE, 1), 0)
    }
    ledger.end('here')
    return ledger
  }
  const lengthOf = (ledger: Ledger): number => clockText(clockBytes(ledger)).length
  const troubleOf = (clock: string): unknown => {
    const read = readClock(clock, options)
    return 'trouble' in read ? read.trouble : undefined
  }
  const clock = clockText(clockBytes(ledgerOf(2)))
  const bytes = Buffer.from(clock.slice(3), 'base64url')

  it('is read as it was written', () => {
    const read = readClock(clock, options)
    const ledger = 'ledger' in read ? read.ledger : undefined

    expect(ledger?.log).toBe('log')
    expect(ledger?.position).toBe('here')
    expect(ledger?.living().map(({ node }) => node)).toEqual(['a-node-with-a-long-name-0'])
    expect(clockText(clockBytes(ledger!))).toBe(clock)
    expect(clockText(Uint8Array.of(0xfb, 0xff, 0xfe, 0xfb))).toBe('c1.-__--w')
  })

  it('names the instances that are closed unless it would be too long by them', () => {
    const each = (lengthOf(ledgerOf(3)) - lengthOf(ledgerOf(0))) / 3

    expect(each).toBeGreaterThan(50)
    expect(lengthOf(ledgerOf(300))).toBeGreaterThan(300 * 50)
    // The rest of the log's place differs by a byte or two.
    expect(Math.abs(lengthOf(ledgerOf(1000)) - lengthOf(ledgerOf(0)))).toBeLessThan(8)
  })

  it.each<[what: string, clock: string, trouble: string]>([
    ['has another beginning', `c2.${clock.slice(3)}`, "it is not a cluster's clock"],
    ['has other characters', `${clock.slice(0, -1)}=`, "it is not a cluster's clock"],
    ['is as long as a clock can be', 'x'.repeat(CLOCK_MAX), "it is not a cluster's clock"],
    [
      'is longer',
      'x'.repeat(CLOCK_MAX + 1),
      'it has 65537 characters, and a clock has 65536 at most',
    ],
    ['has no bytes', 'c1.', 'it is damaged'],
    ['has three bytes', 'c1.AAAA', 'it is damaged'],
    ['has a checksum of nothing', 'c1.AAAAAA', 'it is damaged'],
    [
      'has bytes behind',
      clockText(repaired(Uint8Array.of(...bytes.subarray(0, -4), 7, 0, 0, 0, 0))),
      'it is damaged',
    ],
    [
      'stands for too many instances',
      clockText(undefined),
      'there were more instances than a clock of 64 KiB can name',
    ],
  ])('is refused if it %s', (_, text, trouble) => {
    expect(troubleOf(text)).toBe(trouble)
  })

  it('is refused if a byte of it is another, though it could be read', () => {
    expect(troubleOf(clockText(bytes))).toBe(undefined)
    const troubles = [...bytes.keys()].map((at) =>
      troubleOf(clockText(bytes.map((byte, i) => (i === at ? byte ^ 2 : byte)))),
    )
    expect(troubles).toEqual(troubles.map(() => 'it is damaged'))
  })
})
