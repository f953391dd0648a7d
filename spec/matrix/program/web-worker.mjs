/** The dedicated worker in which the cases run, if their place is 'worker'. */
import * as library from 'dirtyring'
import { runCases } from './run.mjs'
import { webHost } from './web-host.mjs'

addEventListener(
  'message',
  async ({ data }) => {
    const tell = (line) => postMessage(line)
    await runCases({ library, host: webHost('worker'), tell, ...data })
    tell({ over: true })
  },
  { once: true },
)
