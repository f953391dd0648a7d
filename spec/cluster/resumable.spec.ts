import { describe, expect, it } from '@jest/globals'
import { decodeSavedPublisher, encodeSavedPublisher } from '../../lib/cluster/resumable.js'
import { crc32 } from '../../lib/crc32.js'

const AT = {
  node: 'web',
  instance: '0f'.repeat(16),
  n: 7,
  flight: undefined,
  isClosing: false,
  namespaces: undefined,
  declarations: 0,
}

/** The bytes around any JSON. */
function saved(json: string): Uint8Array {
  const body = Buffer.from(json)
  const head = Buffer.from('DRPS\x01....')
  head.writeUInt32LE(crc32(body), 5)
  return new Uint8Array(Buffer.concat([head, body]))
}

describe('what publisher.save() keeps', () => {
  it.each([
    { at: AT, clock: '0123456789abcdef.5' },
    { at: { ...AT, flight: Uint8Array.of(0, 255, 7), namespaces: [1, 2] }, clock: undefined },
    { at: undefined, clock: '0123456789abcdef.5' },
  ])('is read as it was written: %j', (state) => {
    expect(decodeSavedPublisher(encodeSavedPublisher(state))).toEqual(state)
  })

  const good = encodeSavedPublisher({ at: AT, clock: undefined })
  const change = (at: number, to: number): Uint8Array => {
    const bytes = good.slice()
    bytes[at] = to
    return bytes
  }
  const from = (more: object): Uint8Array => saved(JSON.stringify({ at: { ...AT, ...more } }))
  it.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(0), 'are not what publisher.save() returned'],
    ['a head alone', saved(''), 'are not what publisher.save() returned'],
    ['other bytes', change(0, 7), 'are not what publisher.save() returned'],
    ['another version', change(4, 9), 'have format 9, which this version does not read'],
    ['a changed byte', change(good.length - 1, 7), 'are damaged'],
    ['a node without a label', from({ node: '' }), 'are damaged'],
    ['an instance that is none', from({ instance: 'x' }), 'are damaged'],
    ['no number', from({ n: '7' }), 'are damaged'],
  ])('is refused if it is %s', (_, bytes, what) => {
    const error = expect.objectContaining({
      code: 'ERR_DIRTYRING_BAD_STATE',
      message:
        `options.resume: the bytes ${what}. Without this option the publisher is a new ` +
        'instance, and readers take all keys of the old one for dirty',
    })
    expect(() => decodeSavedPublisher(bytes)).toThrow(error)
  })
})
