import { describe, it } from '@jest/globals'
import { clusterConformance } from '../../lib/cluster/conformance.js'
import { ipcHub } from '../../lib/ipc/hub.js'
import { sinkOf } from '../../lib/ipc/sink.js'
import { sourceOf } from '../../lib/ipc/source.js'
import { channelPair } from '../support/channel-pair.js'

describe.each(['json', 'advanced', 'one process'] as const)('a hub, %s', (kind) => {
  const cases = clusterConformance(
    () => {
      let hub = ipcHub(undefined, { maxBytes: 2 ** 24 })
      const { parent, child } = channelPair(kind === 'json' ? 'json' : 'advanced')
      hub.add(parent)
      return {
        sink: () => (kind === 'one process' ? hub.sink() : sinkOf(child, 'dirty')),
        source: () => (kind === 'one process' ? hub.source() : sourceOf(child, 'dirty')),
        end: () => hub.close(),
        ...(kind === 'one process'
          ? {}
          : {
              async replace() {
                await hub.close()
                hub = ipcHub(parent)
              },
            }),
      }
    },
    { replaces: kind !== 'one process' },
  )
  it.each(cases)('$name', ({ run }) => run())
})
