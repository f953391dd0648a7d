import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { run } from '../support/packed.mjs'

let verdict: any
beforeAll(() => {
  const script = fileURLToPath(new URL('fuzz.mjs', import.meta.url))
  const { status, stdout, stderr } = run(process.execPath, [script, '{"inputs":15000}'], {
    timeoutMs: 120_000,
  })
  if (status !== 0) throw new Error(stdout + stderr)
  verdict = JSON.parse(stdout)
}, 120_000)

describe('the decoders of a cluster, fed with damaged messages', () => {
  it('give a typed error or a result that holds together, and notice each change', () => {
    expect([verdict.inputs, verdict.undetected]).toEqual([15_000, 0])
  })

  it.each(['keys', 'epoch', 'beat', 'namespaces', 'envelope'])(
    'were reached: messages of the kind %s were accepted and refused',
    (name) => {
      expect(verdict.counts[`${name}, repaired, accepted`]).toBeGreaterThan(10)
      expect(verdict.counts[`${name}, repaired, refused`]).toBeGreaterThan(10)
    },
  )
})
