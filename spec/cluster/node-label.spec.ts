import * as os from 'node:os'
import { pid } from 'node:process'
import { describe, expect, it, jest } from '@jest/globals'

let host = ''
jest.unstable_mockModule('node:os', () => ({ ...os, hostname: () => host }))
const { publishEpochs } = await import('../../lib/cluster/index.js')
const { FaultLog } = await import('../support/fault-log.js')
const { openInline } = await import('../support/in-process.js')

describe('the label of a node', () => {
  it.each([
    ['web.example.org', `web-example-org-${pid}`],
    ['x'.repeat(80), `${'x'.repeat(80)}-${pid}`.slice(-64)],
  ])('is by default the name of its host and the process: %s', async (name, label) => {
    host = name
    const tracker = await openInline({ maxConsumers: 1 })
    const sink = new FaultLog({ seed: 1 }).sink()
    const publisher = await publishEpochs(tracker.consumer('cluster'), { sink, everyMs: 60_000 })
    expect(publisher.node).toBe(label)
    await publisher.close()
  })
})
