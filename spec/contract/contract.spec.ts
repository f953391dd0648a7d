import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { differences } from '../support/contract.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

describe('the built package, against the contract', () => {
  it('exports every name, with a type that can stand in its place', () => {
    expect(differences()).toEqual([])
  })

  it.each([
    {
      what: 'a function that is not exported',
      file: 'index',
      from: 'threadWriter, ',
      to: '',
      says: "'threadWriter' does not exist",
    },
    {
      what: 'a method of another name',
      file: 'writer/writer',
      from: 'waitForRoom(keys?',
      to: 'awaitRoom(keys?',
      says: "'waitForRoom' is missing",
    },
    {
      what: 'a method that takes less',
      file: 'writer/writer',
      from: 'keys: KeyList',
      to: 'keys: BigUint64Array',
      says: "'markMany' are incompatible",
    },
    {
      what: 'a method that asks for more',
      file: 'tracker/tracker',
      from: 'stop(options?',
      to: 'stop(options',
      says: "'stop' are incompatible",
    },
    {
      what: 'a static of another name',
      file: 'tracker/tracker',
      from: 'static create(',
      to: 'static open(',
      says: "'create' is missing",
    },
    {
      what: 'a constructor that asks for more',
      file: 'writer/txn-buffer',
      from: 'expectedKeys?',
      to: 'expectedKeys',
      says: 'typeof TxnBuffer',
    },
    {
      what: 'a property that may have another value',
      file: 'epochs/sealed-epoch',
      from: `state(): 'sealed'`,
      to: `state(): 'open'`,
      says: "'state' are incompatible",
    },
    {
      what: 'an option that takes less',
      file: 'options',
      from: `onFull?: 'wait' | `,
      to: 'onFull?: ',
      says: "'onFull' are incompatible",
    },
    {
      what: "an event's field that is gone",
      file: 'tracker/events',
      from: 'retryInMs: number;',
      to: '',
      says: "'retryInMs' is missing",
    },
    {
      what: 'a dictionary that takes text alone',
      file: 'dictionary/key-dictionary',
      from: 'find(key: string | Uint8Array)',
      to: 'find(key: string)',
      says: "'find' are incompatible",
    },
  ])('would be found to have $what', ({ file, from, to, says }) => {
    let changed = 0
    const found = differences((path, text) => {
      if (!path.endsWith(`dist/${file}.d.ts`)) return text
      changed++
      return text.replace(from, () => (changed++, to))
    })

    expect(changed).toBe(2)
    expect(found.join('\n')).toContain(says)
  })

  it('has the public declarations that docs/dirtyring.api.md reports; after a change that is meant, `npm run api` renews it', () => {
    const { NODE_OPTIONS: _, ...env } = process.env
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['node_modules/@microsoft/api-extractor/bin/api-extractor', 'run'],
      {
        cwd: root,
        env,
        encoding: 'utf8',
      },
    )

    expect({ status, output: status === 0 ? '' : stdout + stderr }).toEqual({
      status: 0,
      output: '',
    })
  })
})
