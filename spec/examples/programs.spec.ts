import { describe, expect, it, jest } from '@jest/globals'
import { runChanged, startExample } from './start.js'

jest.setTimeout(120_000) // for a busy machine

/** The number before some words, or after them. */
const numberIn = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1])

describe('the example sqlite-backup', () => {
  it('copies the rows that changed, and no committed row is missing, although each writer is killed', async () => {
    const { code, stdout, stderr } = await startExample('sqlite-backup', ['--kills', '8']).ended

    expect(stderr).toBe('')
    expect(stdout).toContain('the copy equals the store')
    expect(code).toBe(0)
    expect(numberIn(stdout, /by (\d+) writers/)).toBeGreaterThanOrEqual(8)
    expect(numberIn(stdout, /transactions +(\d+)/)).toBeGreaterThan(8)
    const copied = numberIn(stdout, /rows copied +(\d+)/)
    expect(copied).toBeGreaterThan(0)
    expect(copied).toBeLessThan(numberIn(stdout, /full copies: (\d+)/))
  })

  it('lacks rows when one of two is not marked, so that this proof can fail', async () => {
    const change = { file: 'writer.js', text: 'dirty.mark(to)', by: '', args: ['--kills', '3'] }
    const { code, stdout } = await runChanged('sqlite-backup', change)

    expect(stdout).toMatch(/the copy lacks [1-9]\d* changes/)
    expect(code).toBe(1)
  })
})

describe('the example game-loop', () => {
  it('sends the values that changed, and the client has the same world', async () => {
    const { code, stdout, stderr } = await startExample('game-loop', ['--ticks', '30']).ended

    expect(stderr).toBe('')
    expect(stdout).toContain('the client equals the server')
    expect(code).toBe(0)
    expect(numberIn(stdout, /ticks +(\d+)/)).toBeGreaterThanOrEqual(30)
    const sent = numberIn(stdout, /sent +([\d.]+) kB/)
    expect(sent).toBeGreaterThan(0)
    expect(sent).toBeLessThan(numberIn(stdout, /a full copy +([\d.]+) kB/))
  })

  it('has another world when a value is not marked, so that this proof can fail', async () => {
    const { code, stdout } = await runChanged('game-loop', {
      file: 'systems.js',
      text: 'dirty.markPair(entity, which)',
      by: 'if (which !== HEALTH) dirty.markPair(entity, which)',
      args: ['--ticks', '10'],
    })

    expect(stdout).toMatch(/[1-9]\d* values differ/)
    expect(code).toBe(1)
  })
})

describe('the example cache-server', () => {
  /** A quarter of them. */
  const products = Array.from({ length: 100 }, (_, id) => id)

  /** The reports of the server, as its page gets them. */
  async function* reportsOf(address: string): AsyncGenerator<any> {
    const response = await fetch(`${address}/reports`)
    let text = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk
      const messages = text.split('\n\n')
      text = messages.pop()!
      for (const message of messages) yield JSON.parse(message.replace('data: ', ''))
    }
  }
  const staleIn = ({ ages }: { ages: number[] }) => ages.filter((age) => age > 0).length

  async function priceOf(address: string, id: number, cache = 'store') {
    const response = await fetch(`${address}/product?id=${id}&cache=${cache}`)
    return ((await response.json()) as { price: number }).price
  }

  /** The products of which a cache has another price than the store. */
  async function wrongIn(address: string, cache: string) {
    const wrong = []
    for (const id of products) {
      const [cached, stored] = [await priceOf(address, id, cache), await priceOf(address, id)]
      if (cached !== stored) wrong.push(id)
    }
    return wrong
  }

  it('answers from the cache what the store has, and a cache with a time to live does not', async () => {
    const server = startExample('cache-server', ['--port', '0', '--ttl', '3600000'])
    try {
      const address = await server.address
      let isPaused = false
      for await (const { ttl, dirtyring } of reportsOf(address)) {
        if (isPaused && staleIn(dirtyring) === 0) break
        if (isPaused || staleIn(ttl) < 100) continue
        await fetch(`${address}/writers?paused=true`, { method: 'POST' })
        isPaused = true
      }

      expect(await wrongIn(address, 'dirtyring')).toEqual([])
      expect((await wrongIn(address, 'ttl')).length).toBeGreaterThan(0)
    } finally {
      await server.stop()
    }
  })

  it('says what it does not have', async () => {
    const server = startExample('cache-server', ['--port', '0'])
    try {
      const address = await server.address
      const statusOf = async (path: string) => (await fetch(address + path)).status

      expect(await statusOf('/')).toBe(200)
      expect(await statusOf('/product?id=7&cache=ttl')).toBe(200)
      expect(await statusOf('/product?id=400')).toBe(400)
      expect(await statusOf('/product?id=7&cache=toString')).toBe(400)
      expect(await statusOf('/nothing')).toBe(404)
      expect(await statusOf('//')).toBe(404)
      expect(await statusOf('/')).toBe(200)
    } finally {
      await server.stop()
    }
  })
})

describe('the example browser', () => {
  it('says what it does not have, and goes on', async () => {
    const server = startExample('browser', ['--port', '0'])
    try {
      const address = await server.address
      const statusOf = async (path: string) => (await fetch(address + path)).status

      expect(await statusOf('/page.js?x=1')).toBe(200)
      expect(await statusOf('/toString')).toBe(404)
      expect(await statusOf('//')).toBe(404)
      expect(await statusOf('/')).toBe(200)
    } finally {
      await server.stop()
    }
  })
})
