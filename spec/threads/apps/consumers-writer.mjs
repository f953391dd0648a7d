/**
 * Writes rows of the store in transactions, with batch() around each, until it is told to stop or
 * is terminated. With `forgets` it leaves out that part of its marks, which is wrong.
 */
import { workerData } from 'node:worker_threads'
import Database from 'better-sqlite3'
import { openWriter } from 'dirtyring'
import { pick, randomFrom, sleep } from '../programs/threads.mjs'
import { STOP, TRANSACTIONS, VERSION, wordsOf } from './consumers-store.mjs'

const { handle, path, rows, buffer, seed, everyMs, forgets } = workerData
const WORDS = [
  'apple',
  'bread',
  'cheese',
  'dates',
  'eggs',
  'flour',
  'grapes',
  'honey',
  'ice',
  'jam',
]
const random = randomFrom(seed)
const { words, promised, deleted } = wordsOf(rows, buffer)
const db = new Database(path, { timeout: 60_000 })
db.pragma('synchronous = NORMAL')

const replace = db.prepare('INSERT OR REPLACE INTO rows VALUES (?, ?, ?)')
const remove = db.prepare('DELETE FROM rows WHERE id = ?')
const putVersion = db.prepare("UPDATE facts SET value = ? WHERE name = 'version'")
const words3 = () => Array.from({ length: 3 }, () => WORDS[pick(random, WORDS.length)]).join(' ')

const transaction = db.transaction((ids, fails) => {
  // Inside the database's write lock: versions rise in the order of the commits.
  const version = Atomics.add(words, VERSION, 1) + 1
  const removed = []
  for (const id of ids) {
    if (random() >= forgets) dirty.mark(id)
    if (random() < 0.2) {
      remove.run(id)
      removed.push(id)
    } else replace.run(id, version, words3())
  }
  putVersion.run(version)
  if (fails) throw new Error('rolled back')
  for (const id of removed) Atomics.store(deleted, id, version)
  return version
})

let dirty
for (;;) {
  try {
    dirty = openWriter(handle)
    break
  } catch (error) {
    // the one before may not be harvested yet
    if (error.code !== 'ERR_DIRTYRING_NO_WRITER_SLOT') throw error
    await sleep(2)
  }
}
while (Atomics.load(words, STOP) === 0) {
  const ids = Array.from({ length: 1 + pick(random, 8) }, () => pick(random, rows))
  if (dirty.room < ids.length) await dirty.waitForRoom(ids.length)
  try {
    const version = dirty.batch(() => transaction.immediate(ids, random() < 0.1))
    for (const id of ids) Atomics.store(promised, id, version)
  } catch (error) {
    if (error.message !== 'rolled back') throw error
  }
  Atomics.add(words, TRANSACTIONS, 1)
  await sleep(everyMs)
}
dirty.close()
db.close()
