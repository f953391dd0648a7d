/** Serves the page, with the two headers that give it shared memory. */
import { createServer } from 'node:http'
import { extname } from 'node:path'
import { parseArgs } from 'node:util'
import { buildPage } from './build.js'

const { values } = parseArgs({ options: { port: { type: 'string', default: '8080' } } })

const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' }
const files = await buildPage()

const server = createServer((request, response) => {
  const [path] = request.url.split('?')
  const name = path === '/' ? 'index.html' : path.slice(1)
  if (!Object.hasOwn(files, name)) return response.writeHead(404).end()
  response.writeHead(200, {
    'Content-Type': TYPES[extname(name)],
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
  })
  response.end(files[name])
})
server.listen(Number(values.port), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`)
})
