/**
 * What the applications with several consumers share: a SQLite store, copies of it, and the words
 * in which the writers promise what each copy has to have.
 */
import Database from 'better-sqlite3'

/** Words that the writers share with the main thread. Two words for each row follow them. */
export const [VERSION, STOP, TRANSACTIONS, HEADER] = [0, 1, 2, 3]

/**
 * `promised`: the version of a row whose transaction was committed, and whose mark was published.
 * `deleted`: the version of its last deletion.
 */
export function wordsOf(rows, buffer = new SharedArrayBuffer((HEADER + 2 * rows) * 4)) {
  return {
    words: new Int32Array(buffer, 0, HEADER),
    promised: new Int32Array(buffer, HEADER * 4, rows),
    deleted: new Int32Array(buffer, (HEADER + rows) * 4, rows),
  }
}

export function openDatabase(path) {
  const db = new Database(path, { timeout: 60_000 })
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = NORMAL')
  db.exec(`
    CREATE TABLE IF NOT EXISTS rows (
      id INTEGER PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value)`)
  return db
}

/** Every second row, if the store is new. */
export function fill(db, rows) {
  const insert = db.prepare('INSERT OR IGNORE INTO rows VALUES (?, 1, ?)')
  const isNew = db.prepare("SELECT value FROM facts WHERE name = 'version'").get() === undefined
  if (!isNew) return
  db.transaction(() => {
    for (let id = 0; id < rows; id += 2) insert.run(id, `row ${id}`)
    db.exec("INSERT INTO facts VALUES ('version', 1)")
  })()
}

/** All that the store has when no writer runs is promised: rows, and that others are not there. */
export function promiseAll(db, rows, { words, promised, deleted }) {
  const version = db.prepare("SELECT value FROM facts WHERE name = 'version'").pluck().get()
  Atomics.store(words, VERSION, version)
  promised.fill(version)
  deleted.fill(version)
  for (const { id, version } of db.prepare('SELECT id, version FROM rows').iterate())
    promised[id] = version
}

/** A copy of the store's rows in a database of its own, with the position of its consumer. */
export class Copy {
  #db
  #store
  #versions
  #clock
  #take

  constructor(path, store) {
    const db = openDatabase(path)
    this.#db = db
    this.#store = store
    this.#versions = db.prepare('SELECT id, version FROM rows')
    this.#clock = db.prepare("SELECT value FROM facts WHERE name = 'clock'").pluck()
    const read = store.prepare('SELECT version, body FROM rows WHERE id = ?')
    const put = db.prepare('INSERT OR REPLACE INTO rows VALUES (?, ?, ?)')
    const remove = db.prepare('DELETE FROM rows WHERE id = ?')
    const putClock = db.prepare("INSERT OR REPLACE INTO facts VALUES ('clock', ?)")
    this.#take = db.transaction((epoch, inside) => {
      let taken = 0
      for (const id of dirtyIds(epoch, store, db)) {
        const row = read.get(id)
        if (row === undefined) remove.run(id)
        else put.run(id, row.version, row.body)
        if (taken++ === 0) inside()
      }
      putClock.run(epoch.clock)
      return taken
    })
  }

  /** The position that lies with the rows; undefined in a new copy. */
  get clock() {
    return this.#clock.get()
  }

  /**
   * Copies the rows that an epoch has, and its clock, in one transaction. `inside` is called behind
   * the first row. Returns how many rows it copied.
   */
  take(epoch, inside = () => undefined) {
    return this.#take.immediate(epoch, inside)
  }

  /** Rows that are older here than what was promised. */
  behind(due, deleted) {
    const here = new Map(this.#versions.raw().all())
    let count = 0
    for (let id = 0; id < due.length; id++)
      if ((here.get(id) ?? Atomics.load(deleted, id)) < due[id]) count++
    return count
  }

  /** Rows that differ from the store's, in any byte. */
  get differing() {
    return differing(rowsOf(this.#store), rowsOf(this.#db))
  }

  close() {
    this.#db.close()
  }
}

/** The ids that an epoch has: its own list, or those of both sides for which has() is true. */
export function* dirtyIds(epoch, ...databases) {
  if (epoch.exact) {
    yield* epoch.ids()
    return
  }
  const ids = databases.flatMap((db) => db.prepare('SELECT id FROM rows').pluck().all())
  for (const id of new Set(ids)) if (epoch.has(id)) yield id
}

/** Each row as one text, by its id. */
export function rowsOf(db) {
  const rows = db.prepare('SELECT id, version, body FROM rows').all()
  return new Map(rows.map(({ id, version, body }) => [id, `${version} ${body}`]))
}

/** How many entries of two maps differ. */
export function differing(one, other) {
  let count = 0
  for (const id of new Set([...one.keys(), ...other.keys()]))
    if (one.get(id) !== other.get(id)) count++
  return count
}
