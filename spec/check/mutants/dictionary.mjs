/** Mutants of the dictionary; list.mjs says what a mutant is. */
import { DICTIONARY } from './files.mjs'

export const mutants = [
  // --------------------------------------------------------------------------------- the dictionary
  {
    name: 'a cell is filled by a store, not by a compareExchange',
    edits: [
      {
        file: DICTIONARY,
        find: 'cell = Atomics.compareExchange(words, table + x, 0, (hash << placeBits) | (at - space + 1))\n',
        replace:
          'cell = Atomics.load(words, table + x)\n        if (cell === 0) Atomics.store(words, table + x, (hash << placeBits) | (at - space + 1))\n',
      },
    ],
    scenario: 'dictionary: two threads add one key',
  },
  {
    name: 'a cell leads to a record before its bytes are there',
    edits: [
      {
        file: DICTIONARY,
        find: '  for (let i = RECORD_BYTES; i < size; i++) words[at + i] = key[i - RECORD_BYTES]\n',
        replace: '',
      },
      {
        file: DICTIONARY,
        find: '          d.room -= size\n',
        replace:
          '          d.room -= size\n          for (let i = RECORD_BYTES; i < size; i++) words[at + i] = key[i - RECORD_BYTES]\n',
      },
    ],
    scenario: 'dictionary: two threads add two keys of one cell, the last one of the table',
  },
  {
    name: 'no entry is written',
    edits: [
      { file: DICTIONARY, find: '  Atomics.store(words, D_ENTRIES + id, cell)\n', replace: '' },
    ],
    scenario: 'dictionary: key() of every number races the adding of keys',
  },
  {
    name: 'an entry is written when the key has its number already',
    edits: [
      { file: DICTIONARY, find: '  Atomics.store(words, D_ENTRIES + id, cell)\n', replace: '' },
      {
        file: DICTIONARY,
        find: '          d.room -= size\n',
        replace: '          d.room -= size\n          Atomics.store(words, D_ENTRIES + id, x)\n',
      },
    ],
    scenario: 'dictionary: two threads add one key',
  },
  {
    name: 'an entry is believed, also when another key has its cell',
    edits: [
      {
        file: DICTIONARY,
        find: 'return words[record + RECORD_ID] === id ? record : -1',
        replace: 'return record',
      },
    ],
    scenario: 'dictionary: key() of every number races the adding of keys',
  },
  {
    name: "a record's space is written again when a cell leads to it",
    edits: [
      { file: DICTIONARY, find: '          d.at += size\n          d.room -= size\n', replace: '' },
    ],
    scenario: 'dictionary: the slower thread goes on with what it took, for keys of other lengths',
  },
  {
    name: 'a number is given to two keys',
    edits: [{ file: DICTIONARY, find: '          d.id = -1\n', replace: '' }],
    scenario: 'dictionary: two threads add two keys of one cell, the last one of the table',
  },
  {
    name: 'a call comes between the compareExchange and the record of what was used',
    edits: [
      {
        file: DICTIONARY,
        find: '          d.id = -1\n          d.at += size\n',
        replace: '          d.at += recordSize(length)\n          d.id = -1\n',
      },
    ],
    scenario: 'dictionary: exceptions, and the thread goes on with what it had',
  },
  {
    name: 'the slower thread does not look at what is in the cell now',
    edits: [
      {
        file: DICTIONARY,
        find: '          return id\n        }\n',
        replace: '          return id\n        }\n        continue\n',
      },
    ],
    scenario: 'dictionary: two threads add one key',
  },
  {
    name: 'the slower thread takes a new number for its next key',
    edits: [{ file: DICTIONARY, find: 'if (d.id < 0) d.id = take(', replace: 'd.id = take(' }],
    scenario: 'dictionary: two threads add two keys of one cell, the last one of the table',
  },
  {
    name: 'the slower thread writes its next key where there is too little room',
    edits: [{ file: DICTIONARY, find: 'if (d.room < size) {', replace: 'if (d.room === 0) {' }],
    scenario: 'dictionary: the slower thread goes on with what it took, for keys of other lengths',
  },
  {
    name: 'a dictionary counts as full without a second look at the cell',
    edits: [
      {
        file: DICTIONARY,
        find: 'the last of it.\n        cell = Atomics.load(words, table + x)\n        if (cell === 0) return -1\n',
        replace: '        return -1\n',
      },
    ],
    scenario: 'dictionary: full by numbers',
  },
  {
    name: 'numbers are taken by a load and a store',
    edits: [
      {
        file: DICTIONARY,
        find: '    if (Atomics.compareExchange(words, counter, taken, taken + count) === taken) return taken\n',
        replace: '    Atomics.store(words, counter, taken + count)\n    return taken\n',
      },
    ],
    scenario: 'dictionary: two threads add two keys of one cell, the last one of the table',
  },
  {
    name: 'keys of one length and one hash are taken for one key',
    edits: [
      {
        file: DICTIONARY,
        find: '  for (let i = RECORD_BYTES; i < size; i++) if (words[record + i] !== key[i - RECORD_BYTES]) return false\n',
        replace: '',
      },
    ],
    scenario: 'dictionary: two threads add two keys of one cell, the last one of the table',
    with: { preemptions: 0, deaths: 0 },
  },
]
