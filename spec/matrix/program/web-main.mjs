/** The program of a page, and of Bun and Deno with Web Workers: prints one line an outcome. */
import * as library from 'dirtyring'
import { runCases } from './run.mjs'
import { webHost } from './web-host.mjs'

const isPage = typeof document !== 'undefined'
const text = isPage ? decodeURIComponent(location.search.slice(1)) : process.argv[2]
const { place, ...args } = JSON.parse(text)
const tell = (line) => console.log(JSON.stringify(line))

async function main() {
  if (place === 'main') {
    await runCases({ library, host: webHost('main'), tell, ...args })
  } else {
    const worker = new Worker(new URL('./web-worker.mjs', import.meta.url), { type: 'module' })
    globalThis.casesWorker = worker // an unreferenced worker may be collected
    worker.postMessage(args)
    await new Promise((resolve) => {
      worker.onmessage = ({ data }) => (data.over ? resolve() : tell(data))
      worker.onerror = (event) => {
        event.preventDefault()
        tell({ uncaught: event.message })
      }
    })
    worker.terminate()
  }
  tell({ over: true })
  if (!isPage) process.exit(0)
}

void main()
