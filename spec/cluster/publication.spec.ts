import { describe, expect, it } from '@jest/globals'
import { decodeBeatBody, decodeEpochBody, decodeNamespacesBody } from '../../lib/cluster/body.js'
import { declarationsOf, KIND, openEnvelope } from '../../lib/cluster/envelope.js'
import type { LogMessage } from '../../lib/cluster/log.js'
import {
  Publication,
  type PublicationOptions,
  type Resumable,
  type Step,
} from '../../lib/cluster/publication.js'
import { range } from '../support/in-process.js'

const INSTANCES = ['a', 'b', 'c'].map((digit) => digit.repeat(32))
const KEYS = Uint8Array.of(1, 2, 3)

/** A publication whose instances are a, b, c, and that cuts every second. */
class Scene {
  readonly publication: Publication
  readonly troubles: string[] = []
  #drawn = 0

  constructor({
    hears = true,
    ...options
  }: Partial<PublicationOptions> & { hears?: boolean } = {}) {
    const own = {
      node: 'node',
      everyMs: 1000,
      beatMs: 5000,
      draw: () => INSTANCES[this.#drawn++],
      wallMs: () => 7,
      ...(hears && { onTrouble: (trouble: string) => this.troubles.push(trouble) }),
    }
    this.publication = new Publication({ ...own, ...options }, 0)
  }

  /** The next step in words: of a message its instance, number, kind, and what is in it. */
  next(nowMs = 0): string {
    return wordsOf(this.publication.next(nowMs))
  }

  /** The message of the next step, which has to be one. */
  message(nowMs = 0): LogMessage {
    const step = this.publication.next(nowMs)
    if (step.do !== 'append') throw new Error(step.do)
    return step.message
  }

  /** The next step, which the log takes. */
  append(nowMs = 0): string {
    const words = this.next(nowMs)
    this.publication.appended(nowMs)
    return words
  }

  /** All steps that append, each of which the log takes, and the step behind them. */
  appendAll(nowMs = 0): string[] {
    const all: string[] = []
    for (;;) {
      all.push(this.next(nowMs))
      if (!all.at(-1)!.startsWith('append')) return all
      this.publication.appended(nowMs)
    }
  }

  open(): this {
    this.append()
    return this
  }
}

function wordsOf(step: Step): string {
  if (step.do === 'append') return `append ${inWords(step.message)}`
  return Object.values(step).join(' ')
}

function inWords({ instance, n, bytes }: LogMessage): string {
  const { kind, body } = openEnvelope(bytes)!
  const name = Object.keys(KIND)[kind - 1]
  const each = [instance[0], n, name]
  if (kind === KIND.OPEN || kind === KIND.NAMESPACES)
    each.push(...(decodeNamespacesBody(body) ?? ['any']))
  if (kind === KIND.BEAT) each.push(...decodeBeatBody(body))
  if (kind === KIND.EPOCH) each.push(...decodeEpochBody(body).requests)
  return each.join(' ')
}

const foreign = (message: LogMessage, n = message.n): LogMessage => ({
  ...message,
  n,
  bytes: Uint8Array.of(1, 2, 3),
})

const SAVED: Resumable = {
  node: 'node',
  instance: 'd'.repeat(32),
  n: 3,
  flight: undefined,
  isClosing: false,
  namespaces: undefined,
  declarations: 0,
}

describe('a publication', () => {
  it('opens, cuts every everyMs, and says every beatMs that it lives', () => {
    const scene = new Scene()
    expect([scene.append(2), scene.next(2)]).toEqual(['append a 0 OPEN any', 'wait 998'])
    expect([scene.next(999), scene.next(1000)]).toEqual(['wait 1', 'cut false'])
    scene.publication.sealed([])
    expect(scene.next(1400)).toBe('wait 600')
    for (const atMs of [2000, 3000, 4000, 5000]) {
      expect(scene.next(atMs)).toBe('cut false')
      scene.publication.sealed([])
    }
    expect([scene.next(5001), scene.append(5002)]).toEqual(['wait 1', 'append a 1 BEAT'])
    expect(scene.next(5002)).toBe('wait 998')
  })

  it('commits an epoch that the log has, and then ends with CLOSE', () => {
    const scene = new Scene().open()
    const cut = scene.publication.ask()
    expect(scene.next()).toBe('cut true')
    scene.publication.sealed([KEYS, KEYS])
    expect(scene.appendAll()).toEqual(['append a 1 EPOCH', 'append a 2 EPOCH', 'commit'])
    expect(scene.publication.isDone(cut)).toBe(true)
    scene.publication.close()
    expect(scene.next()).toBe('cut true')
    scene.publication.sealed([])
    expect(scene.appendAll()).toEqual(['append a 3 CLOSE', 'end'])
  })

  it('cuts at once for a caller, and 50 ms later for the next one', () => {
    const scene = new Scene().open()
    scene.publication.ask()
    expect(scene.next(100)).toBe('cut true')
    scene.publication.sealed([])
    scene.publication.request('r')
    expect([scene.next(100), scene.next(149), scene.next(150)]).toEqual([
      'wait 50',
      'wait 1',
      'cut true',
    ])
  })

  it('retries the same bytes after 10 ms, which double', () => {
    const scene = new Scene()
    const first = scene.message()
    for (const [atMs, ms] of [
      [100, 10],
      [110, 20],
      [130, 40],
    ]) {
      scene.publication.away(atMs)
      expect([scene.next(atMs), scene.next(atMs + ms - 1)]).toEqual([`wait ${ms}`, 'wait 1'])
      expect(scene.message(atMs + ms)).toBe(first)
    }
  })

  it('says in each message how many NAMESPACES came before', () => {
    const scene = new Scene({ namespaces: [1], beatMs: 1 })
    const counts: unknown[] = []
    const append = (nowMs: number): string => {
      counts.push(declarationsOf(openEnvelope(scene.message(nowMs).bytes)!.flags))
      return scene.append(nowMs)
    }
    expect(append(0)).toBe('append a 0 OPEN 1')
    const ticket = scene.publication.addNamespaces([3])
    expect(append(0)).toBe('append a 1 NAMESPACES 3')
    expect(scene.publication.isDeclared(ticket)).toBe(true)
    expect(append(1)).toBe('append a 2 BEAT')
    scene.publication.addNamespaces([2])
    append(1)
    expect(append(2)).toBe('append a 4 BEAT')
    expect(counts).toEqual([0, 0, 1, 1, 2])
    expect(scene.publication.resumable).toMatchObject({ namespaces: [1, 3, 2], declarations: 2 })
  })
})

describe('the requests that a publication answers', () => {
  /** Asks, cuts, and appends all. Returns the words of the messages. */
  function answer(scene: Scene, requests: readonly string[], keys: Uint8Array[] = []): string[] {
    for (const each of requests) scene.publication.request(each)
    expect(scene.next(1000)).toBe('cut true')
    scene.publication.sealed(keys)
    const words = scene.appendAll(1000).filter((each) => each.startsWith('append'))
    scene.publication.ask() // so that the next cut is due in 50 ms
    expect(scene.next(1050)).toBe('cut true')
    scene.publication.sealed([])
    return words
  }

  const ids = (from: number, count: number): string[] => range(from, count).map((i) => `r${i}`)
  const listed = (from: number, count: number): string => ids(from, count).join(' ')

  it('are ids of letters and digits, each once', () => {
    const scene = new Scene().open()
    expect(answer(scene, ['r1', 'r 2', '', 'r1', 'x'.repeat(65), 'r3'])).toEqual([
      'append a 1 BEAT r1 r3',
    ])
    for (const each of ['r1', 'r 2', 'r3']) scene.publication.request(each)
    expect(scene.next(1050)).toBe('wait 1000')
  })

  it('are done when the log has the answer', () => {
    const scene = new Scene().open()
    scene.publication.request('r1')
    const cut = scene.publication.ask()
    scene.next()
    scene.publication.sealed([])
    expect([scene.next(), scene.publication.isDone(cut)]).toEqual(['append a 1 BEAT r1', false])
    scene.publication.appended(0)
    expect(scene.publication.isDone(cut)).toBe(true)
  })

  it('stand 64 by 64 in the last message with keys, and in messages behind it', () => {
    expect(answer(new Scene().open(), ids(0, 3), [KEYS, KEYS])).toEqual([
      'append a 1 EPOCH',
      `append a 2 EPOCH ${listed(0, 3)}`,
    ])
    expect(answer(new Scene().open(), ids(0, 130), [KEYS])).toEqual([
      `append a 1 EPOCH ${listed(0, 64)}`,
      `append a 2 BEAT ${listed(64, 64)}`,
      `append a 3 BEAT ${listed(128, 2)}`,
    ])
    expect(answer(new Scene().open(), ids(0, 65))).toEqual([
      `append a 1 BEAT ${listed(0, 64)}`,
      'append a 2 BEAT r64',
    ])
  })

  it('are at most 1,024 for one cut', () => {
    const words = answer(new Scene().open(), ids(0, 1025))
    expect(words.length).toBe(16)
    expect(words.at(-1)).toBe(`append a 16 BEAT ${listed(960, 64)}`)
  })

  it('are remembered, the last 256 of them', () => {
    const scene = new Scene().open()
    const isAsked = (id: string): boolean => {
      scene.publication.request(id)
      return scene.next(1100) === 'cut true'
    }
    answer(scene, ids(0, 256))
    expect(['r0', 'r255'].map(isAsked)).toEqual([false, false])
    expect(isAsked('r256')).toBe(true)
    scene.publication.sealed([])
    expect(scene.append(1100)).toBe('append a 5 BEAT r256')
    scene.publication.request('r1')
    scene.publication.request('r0')
    expect(scene.next(1150)).toBe('cut true')
    scene.publication.sealed([])
    expect(scene.append(1150)).toBe('append a 6 BEAT r0')
  })

  it('wait for the next cut if a cut fails, in front of new ones', () => {
    const scene = new Scene().open()
    scene.publication.request('r1')
    expect(scene.next()).toBe('cut true')
    scene.publication.request('r2')
    scene.publication.cutFailed(0)
    scene.publication.request('r1')
    expect([scene.next(), scene.next(10)]).toEqual(['wait 10', 'cut true'])
    scene.publication.sealed([])
    expect(scene.append(10)).toBe('append a 1 BEAT r1 r2')
  })
})

describe('a cut that fails', () => {
  it('comes again after 10 ms, which double, although a caller waits', () => {
    const scene = new Scene().open()
    const cut = scene.publication.ask()
    let nowMs = 0
    for (const ms of [10, 20, 40, 80, 160]) {
      expect(scene.next(nowMs)).toBe('cut true')
      scene.publication.cutFailed(nowMs)
      expect(scene.next(nowMs)).toBe(`wait ${ms}`)
      nowMs += ms
    }
    expect(scene.next(nowMs)).toBe('cut true')
    scene.publication.sealed([])
    expect(scene.publication.isDone(cut)).toBe(true)
    expect(scene.next(nowMs)).toBe('wait 1000')
  })

  it('is asked for by no caller if it was not before', () => {
    const scene = new Scene().open()
    expect(scene.next(1000)).toBe('cut false')
    scene.publication.cutFailed(1000)
    expect(scene.next(1010)).toBe('cut false')
  })

  it('is made before CLOSE, if it is the last one', () => {
    const scene = new Scene().open()
    scene.publication.close()
    expect(scene.next()).toBe('cut true')
    scene.publication.cutFailed(0)
    expect([scene.next(), scene.next(10)]).toEqual(['wait 10', 'cut true'])
    scene.publication.sealed([])
    expect(scene.appendAll(10)).toEqual(['append a 1 CLOSE', 'end'])
  })

  it('has one cut behind it, if close() is called before it fails', () => {
    const scene = new Scene().open()
    scene.publication.ask()
    scene.next()
    scene.publication.close()
    scene.publication.cutFailed(0)
    expect(scene.next(10)).toBe('cut true')
    scene.publication.sealed([])
    expect(scene.appendAll(10)).toEqual(['append a 1 CLOSE', 'end'])
  })
})

describe('a message that is too large', () => {
  const cutting = (): Scene => {
    const scene = new Scene().open()
    scene.publication.ask()
    scene.next()
    scene.publication.sealed([KEYS])
    expect(scene.next()).toBe('append a 1 EPOCH')
    return scene
  }
  const again = (scene: Scene): string => {
    expect([scene.publication.tooLarge(50), scene.next(50)]).toEqual([true, 'cut true'])
    scene.publication.sealed([KEYS])
    return scene.next(50)
  }

  it('gives its number to the one that is cut again', () => {
    expect(again(cutting())).toBe('append a 1 EPOCH')
  })

  it('keeps its number if the log may have it', () => {
    const scene = cutting()
    scene.publication.away(0)
    expect(again(scene)).toBe('append a 2 EPOCH')
  })

  it('gives its number away if the log has refused it, whatever the engine does then', () => {
    const scene = cutting()
    scene.publication.refused()
    expect(scene.next()).toBe(`last ${INSTANCES[0]}`)
    scene.publication.away(0)
    expect(scene.next(10)).toBe(`last ${INSTANCES[0]}`)
    scene.publication.found({ ...scene.publication.resumable!, n: 0, bytes: KEYS }, 10)
    expect(scene.next(10)).toBe('append a 1 EPOCH')
    expect(again(scene)).toBe('append a 1 EPOCH')
  })

  it('stays under way if it has no keys', () => {
    const scene = new Scene()
    const message = scene.message()
    expect([scene.publication.tooLarge(0), scene.message()]).toEqual([false, message])
  })
})

describe('a message that the engine refuses', () => {
  /** Refuses the message under way, and says what the log's last one is. */
  function refuse(scene: Scene, last: LogMessage | undefined, nowMs = 0): void {
    scene.message(nowMs)
    scene.publication.refused()
    expect(scene.next(nowMs)).toMatch(/^last/)
    scene.publication.found(last, nowMs)
  }

  it.each([undefined, 0, 1])('goes behind what is left of the log: %s', (left) => {
    const scene = new Scene().open()
    const answer = (id: string, nowMs: number): void => {
      scene.publication.request(id)
      expect(scene.next(nowMs)).toBe('cut true')
      scene.publication.sealed([])
    }
    answer('r1', 1000)
    expect(scene.append(1000)).toBe('append a 1 BEAT r1')
    answer('r2', 1050)
    const message = scene.message(1050)
    refuse(scene, left === undefined ? undefined : foreign(message, left), 1050)
    expect(scene.troubles).toEqual(left === 1 ? [] : ['lost'])
    expect(scene.message(1050)).toBe(message)
  })

  it('goes to the beginning of a log that is empty', () => {
    const scene = new Scene({ beatMs: 1 }).open()
    const message = scene.message(1)
    refuse(scene, undefined, 1)
    expect([scene.message(1), scene.troubles]).toEqual([message, ['lost']])
  })

  it('is the first one of another instance if the log refuses it a third time', () => {
    const scene = new Scene()
    for (let i = 0; i < 3; i++) {
      expect(scene.next()).toBe('append a 0 OPEN any')
      refuse(scene, undefined)
    }
    expect(scene.troubles).toEqual(['taken'])
    expect(scene.append()).toBe('append b 0 OPEN any')
    expect(scene.publication.isOpen).toBe(true)
  })

  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ['one byte', (bytes) => bytes.map((byte, i) => (i === 20 ? byte ^ 1 : byte))],
    ['a byte more', (bytes) => Uint8Array.of(...bytes, 0)],
    ['a byte less', (bytes) => bytes.subarray(0, -1)],
    ['every byte', (bytes) => bytes.map((byte) => byte ^ 1)],
  ])('is of another process if it differs in %s, and another instance begins', (_, change) => {
    const scene = new Scene()
    const message = scene.message()
    refuse(scene, { ...message, bytes: change(message.bytes) })
    expect(scene.troubles).toEqual(['taken'])
    expect(scene.appendAll()).toEqual(['append b 0 OPEN any', 'wait 1000'])
    expect(scene.publication.isOpen).toBe(true)
    scene.publication.request('r1')
    scene.next()
    scene.publication.sealed([])
    expect(scene.append()).toBe('append b 1 BEAT r1') // nothing was there that could be missed
  })

  it('comes again from another instance behind a gap, if the first one had messages', () => {
    const scene = new Scene({ hears: false }).open()
    scene.publication.request('r1')
    scene.next()
    scene.publication.sealed([KEYS])
    refuse(scene, undefined) // without onTrouble, what was lost is told to no listener
    refuse(scene, foreign(scene.message()))
    expect(scene.appendAll()).toEqual(['append b 0 OPEN any', 'append b 2 EPOCH r1', 'commit'])
  })
})

describe('what another process goes on from', () => {
  it('is nothing before the first message, and nothing after the last one', () => {
    const scene = new Scene()
    expect(scene.publication.resumable).toBeUndefined()
    scene.open().publication.close()
    scene.next()
    scene.publication.sealed([])
    const { bytes } = scene.message()
    expect(scene.publication.resumable).toEqual({
      ...SAVED,
      instance: INSTANCES[0],
      n: 1,
      flight: bytes,
      isClosing: true,
    })
    scene.append()
    expect(scene.publication.resumable).toBeUndefined()
  })

  it('is a last message only if that one is under way', () => {
    const scene = new Scene()
    const { bytes } = scene.message()
    expect(scene.publication.resumable).toMatchObject({ flight: bytes, isClosing: false })
    scene.append()
    scene.publication.close()
    scene.next()
    scene.publication.sealed([])
    const last = scene.message()
    scene.publication.refused()
    scene.publication.found(foreign(last), 0)
    const open = scene.message()
    const resume = scene.publication.resumable!
    expect(resume).toMatchObject({ flight: open.bytes, isClosing: false })
    expect(scene.append()).toBe('append b 0 OPEN any')
    expect(scene.publication.resumable).toMatchObject({ flight: undefined, isClosing: false })
    expect(scene.appendAll()).toEqual(['append b 2 CLOSE', 'end'])
    // Behind the gap it is known that messages of the first instance may be lost.
    const other = new Scene({ resume })
    expect(other.append()).toBe('append b 0 OPEN any')
    other.publication.close()
    other.next()
    other.publication.sealed([])
    expect(other.appendAll()).toEqual(['append b 2 CLOSE', 'end'])
  })

  it('goes on with a sign of life', () => {
    for (const namespaces of [undefined, [1]]) {
      const scene = new Scene({ resume: SAVED, namespaces })
      expect(scene.appendAll()).toEqual(['append d 3 BEAT', 'wait 1000'])
      expect(scene.publication.isOpen).toBe(true)
    }
  })

  it('begins another instance behind a last message', () => {
    const flight = new Scene().message().bytes
    const scene = new Scene({ resume: { ...SAVED, flight, isClosing: true } })
    expect(scene.message()).toEqual({ node: 'node', instance: SAVED.instance, n: 3, bytes: flight })
    scene.publication.appended(0)
    expect(scene.publication.isOpen).toBe(false)
    expect(scene.appendAll()).toEqual(['append a 0 OPEN any', 'wait 1000'])
    expect(scene.publication.isOpen).toBe(true)
  })

  it.each([
    [4095, 4096, 4096],
    [4096, 1, 4096],
    [4096, 0, undefined],
  ])('declares, with %d namespaces before and number %d: %s', (before, added, count) => {
    const resume = { ...SAVED, namespaces: range(1, before) }
    const { body } = openEnvelope(new Scene({ resume, namespaces: [added] }).message().bytes)!
    expect(decodeNamespacesBody(body)?.length).toBe(count)
  })
})
