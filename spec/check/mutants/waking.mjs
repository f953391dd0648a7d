/** Mutants of epochs() loops that sleep; list.mjs says what a mutant is. */
import { OUTBOX, STATE, STEP, WAKE } from './files.mjs'

const BATCH = 'waking: against a batch'
const ASK = '  Atomics.store(o.words, DIRTY_WANTED, 1)\n  return isDirty(o, place)\n'
const TELL = '  if (wasClean && !isClean(a)) tellDirty(a)\n'

export const mutants = [
  {
    name: 'a loop looks first, and asks then to be told of the first key',
    edits: [
      {
        file: OUTBOX,
        find: ASK,
        replace:
          '  const was = isDirty(o, place)\n  Atomics.store(o.words, DIRTY_WANTED, 1)\n  return was\n',
      },
    ],
    scenario: BATCH,
  },
  {
    name: 'a loop asks once to be told of the first key',
    edits: [
      {
        file: OUTBOX,
        find: ASK,
        replace: `  if (Atomics.load(o.words, SIGNAL) > 0) return isDirty(o, place)\n${ASK}`,
      },
      { file: OUTBOX, find: '  PLANS,\n', replace: '  PLANS,\n  SIGNAL,\n' },
    ],
    scenario: 'waking: a cut of another caller takes the first key',
  },
  {
    name: 'a loop is told of the first key before it is counted',
    edits: [
      {
        file: STEP,
        find: '  const wasClean = isClean(a)\n',
        replace: '  const wasClean = isClean(a)\n  if (wasClean) tellDirty(a)\n',
      },
      { file: STEP, find: TELL, replace: '' },
    ],
    scenario: BATCH,
  },
  {
    name: 'a loop is not told of the first key',
    edits: [{ file: STEP, find: TELL, replace: '' }],
    scenario: BATCH,
  },
  {
    name: 'a successor does not tell what its predecessor did',
    edits: [
      { file: STATE, find: '  wakeEveryWriter(a)\n  signal(a)', replace: '  wakeEveryWriter(a)' },
    ],
    scenario: BATCH,
  },
  {
    name: 'the aggregator takes the request back, and does not signal',
    edits: [
      {
        file: WAKE,
        find: 'if (Atomics.exchange(a.words, DIRTY_WANTED, 0) !== 0) signal(a)',
        replace: 'Atomics.exchange(a.words, DIRTY_WANTED, 0)',
      },
    ],
    scenario: BATCH,
  },
  {
    name: 'an epoch with reasons alone wakes no loop',
    edits: [
      {
        file: OUTBOX,
        find: ' ||\n    Atomics.load(words, at + SLOT_FLAGS) !== 0\n',
        replace: '\n',
      },
    ],
    scenario: 'waking: against markEverything()',
  },
  {
    name: 'an epoch with texts alone wakes no loop',
    edits: [
      {
        file: OUTBOX,
        find: '    Atomics.load(words, at + SLOT_TEXT_END) !== 0 ||\n',
        replace: '',
      },
    ],
    scenario: 'waking: against a batch of texts',
  },
  {
    name: 'a loop believes the slot of an epoch that is not open yet',
    edits: [
      {
        file: OUTBOX,
        find: 'readCur(o.words) === curWord(o.epoch, o.openSlot) && hasAny',
        replace: 'hasAny',
      },
    ],
    scenario: 'waking: the slot of the next epoch held keys',
  },
  {
    name: 'a backlog wakes no loop',
    edits: [
      {
        file: OUTBOX,
        find: '(place.isFresh || isBacklogDirty(o, place))',
        replace: 'place.isFresh',
      },
    ],
    scenario: 'waking: a consumer sleeps, and another one takes the key',
  },
  {
    name: 'a loop believes a backlog that is not merged yet',
    edits: [{ file: OUTBOX, find: 'backlog < 0 || lastMerged(o) < begun', replace: 'backlog < 0' }],
    scenario: 'waking: a consumer sleeps, and another one takes the key',
  },
]
