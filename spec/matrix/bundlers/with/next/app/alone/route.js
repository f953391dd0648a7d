import { DirtyTracker } from 'dirtyring'

export const dynamic = 'force-dynamic'

export async function GET() {
  const tracker = await DirtyTracker.create()
  const writer = tracker.openWriter()
  for (let row = 0; row < 1500; row++) writer.mark(row)
  const rows = await tracker.consume((epoch) => [...epoch.ids()])
  await tracker.stop()
  return Response.json(rows)
}
