/** Mutants of a reader on another thread; list.mjs says what a mutant is. */
import { LIVE, OUTBOX } from './files.mjs'

const WALKS = 'reader: walks an epoch that is committed, and its slot is used again'
const ASKS = 'reader: asks for a number while the table is cleared for the next epoch'
const TEXTS = 'reader: walks texts of an epoch that is committed, and its slot is used again'
const TAKEN_BACK = '  Atomics.exchange(o.words, epochAt(o.memory.layout, slot) + SLOT_STAMP, 0)\n'
/** It still looks, so that it is still called as one that touches shared memory. */
const LEFT = '  Atomics.load(o.words, epochAt(o.memory.layout, slot) + SLOT_STAMP)\n'
const CHECK = 'Atomics.or(words, stampAt, 0) === stamp'

export const mutants = [
  {
    name: 'the stamp is taken back once the slot is in use again',
    edits: [
      { file: OUTBOX, find: TAKEN_BACK, replace: LEFT },
      {
        file: OUTBOX,
        find: '  o.openSlot = open\n',
        replace: `  o.openSlot = open\n${TAKEN_BACK.replace('slot', 'open')}`,
      },
    ],
    scenario: ASKS,
  },
  {
    name: 'the stamp is never taken back',
    edits: [{ file: OUTBOX, find: TAKEN_BACK, replace: LEFT }],
    scenario: 'reader: walks an epoch that is restored, and its slot is used again',
  },
  {
    name: 'a reader checks the stamp by a plain read',
    edits: [{ file: LIVE, find: CHECK, replace: 'words[stampAt] === stamp' }],
    scenario: WALKS,
  },
  {
    name: 'a reader checks nothing',
    edits: [{ file: LIVE, find: CHECK, replace: 'stamp !== 0' }],
    scenario: TEXTS,
  },
  {
    name: 'a reader checks before it copies',
    edits: [
      {
        file: LIVE,
        find: '  copyWords(live.words, at, into, 0, count)\n  return isLive(live)\n',
        replace:
          '  const was = isLive(live)\n  copyWords(live.words, at, into, 0, count)\n  return was\n',
      },
    ],
    scenario: WALKS,
    with: { preemptions: 2 },
  },
  {
    name: "a reader's has() checks nothing",
    edits: [
      {
        file: LIVE,
        find: '    if (a === lo && b === hi) {\n      answer = PRESENT\n      break\n    }\n    x = (x + 1) & mask\n  }\n  return isLive(live) ? answer : SETTLED\n',
        replace:
          '    if (a === lo && b === hi) {\n      answer = PRESENT\n      break\n    }\n    x = (x + 1) & mask\n  }\n  return answer\n',
      },
    ],
    scenario: ASKS,
  },
]
