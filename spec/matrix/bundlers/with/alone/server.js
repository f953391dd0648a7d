import { createServer } from 'node:http'
import { DirtyTracker } from 'dirtyring'

async function main() {
  const tracker = await DirtyTracker.create()
  const writer = tracker.openWriter()
  for (let row = 0; row < 1500; row++) writer.mark(row)

  const server = createServer(async (request, response) => {
    const rows = await tracker.consume((epoch) => [...epoch.ids()])
    response.end(JSON.stringify(rows))
  })
  server.listen(Number(process.env.PORT), '127.0.0.1')
}

main()
