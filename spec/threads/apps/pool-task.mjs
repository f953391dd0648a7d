/** A task: marks its keys, and ends as it is told to. */
import { threadWriter, withWriter } from 'dirtyring'

export default function run(task) {
  const { handle, marked, task: number, first, keys, how } = task
  const mark = (dirty, count, from = 0) => {
    for (let i = from; i < count; i++) {
      dirty.mark(first + i)
      Atomics.store(marked, number, i + 1)
    }
  }
  switch (how) {
    case 'returns':
      return withWriter(handle, (dirty) => mark(dirty, keys))
    case 'resolves':
      return withWriter(handle, async (dirty) => {
        mark(dirty, keys >>> 1)
        await new Promise((resolve) => setTimeout(resolve, 1))
        mark(dirty, keys, keys >>> 1)
      })
    case 'throws':
      return withWriter(handle, (dirty) => {
        mark(dirty, keys)
        throw new Error('as told')
      })
    case 'endless':
      return withWriter(handle, (dirty) => {
        mark(dirty, keys)
        for (;;); // until it is terminated
      })
    case 'crash':
      return withWriter(handle, async (dirty) => {
        mark(dirty, keys)
        setImmediate(() => {
          throw new Error('a crash, as told')
        })
        await new Promise(() => undefined)
      })
    case 'crash by exit':
      return withWriter(handle, (dirty) => {
        mark(dirty, keys)
        process.exit(1)
      })
    case 'forgets':
      mark(threadWriter(handle), keys)
      return undefined
  }
}
