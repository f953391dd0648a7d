/** Mutants of epochs that turn into supersets; list.mjs says what a mutant is. */
import { EFFECTS, LIVE, OPEN_EPOCH, STATE, SUPERSET, TEXTS } from './files.mjs'

const NUMBERS = 'superset: too many numbers, by an aggregator that dies twice'
const OF_TEXTS = 'superset: too many texts, by an aggregator that dies'
const INTO_EXACT = 'superset: restored into an exact epoch, by an aggregator that dies'
const AGAIN = 'superset: its slot is used again'
const CLEARS =
  '    clearCells(a, filter.at, a.memory.layout.filterCells)\n    filter.fill = 0\n    publishFill(a)\n    setForm(a, FORM_FILLING)\n'

export const mutants = [
  {
    name: 'the numbers that an epoch has no room for are left out',
    edits: [{ file: OPEN_EPOCH, find: '  if (at < end) addKeys(a, at, end)\n', replace: '' }],
    scenario: NUMBERS,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'the texts that an epoch has no room for are left out',
    edits: [
      {
        file: TEXTS,
        find: '  if (i < n) addTexts(a, GATHERED_TEXTS, i, n)\n',
        replace: '',
      },
    ],
    scenario: OF_TEXTS,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a batch is passed before the filter has it',
    edits: [
      {
        file: EFFECTS,
        find: '  insertLane(a, lane, start, count)\n  publishCount(a)\n  passBatches(a, lane)\n',
        replace:
          '  a.textEnd = a.textStart\n  const isEarly = a.form !== FORM_EXACT\n  if (isEarly) passBatches(a, lane)\n  insertLane(a, lane, start, count)\n  publishCount(a)\n  if (!isEarly) passBatches(a, lane)\n',
      },
    ],
    scenario: NUMBERS,
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'an epoch turns before its keys are counted',
    edits: [
      {
        file: SUPERSET,
        find: '  publishCount(a)\n  storeTexts(a)\n  raiseFlag(a, FLAG_OVERFLOW)\n',
        replace: '  raiseFlag(a, FLAG_OVERFLOW)\n',
      },
    ],
    scenario: NUMBERS,
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'an epoch turns before its overflow is said',
    edits: [
      {
        file: SUPERSET,
        find: '  raiseFlag(a, FLAG_OVERFLOW)\n  setForm(a, FORM_CLEARING)\n  completeTurn(a)\n',
        replace: '  setForm(a, FORM_CLEARING)\n  completeTurn(a)\n  raiseFlag(a, FLAG_OVERFLOW)\n',
      },
    ],
    scenario: NUMBERS,
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'a filter is not cleared',
    edits: [
      {
        file: SUPERSET,
        find: '    clearCells(a, filter.at, a.memory.layout.filterCells)\n',
        replace: '',
      },
    ],
    scenario: NUMBERS,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a turn says that it fills before it has cleared',
    edits: [
      {
        file: SUPERSET,
        find: CLEARS,
        replace: CLEARS.replace(
          /( +clearCells.*\n)( .*\n .*\n)( +setForm.*\n)/,
          '    setForm(a, FORM_FILLING)\n$1$2',
        ),
      },
    ],
    scenario: NUMBERS,
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'a turn that fills starts over',
    edits: [
      {
        file: SUPERSET,
        find: 'if (a.form === FORM_CLEARING) {',
        replace: 'if (a.form !== FORM_FILTER) {',
      },
    ],
    scenario: 'superset: a turn that fills goes on, and keeps what came meanwhile',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a filter does not get the numbers of the log',
    edits: [
      { file: SUPERSET, find: '    addKeys(a, set.log, set.log + set.count * 2)\n', replace: '' },
    ],
    scenario: NUMBERS,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a filter does not get the texts of the arena',
    edits: [
      {
        file: SUPERSET,
        find: '    addRecords(a, texts.arena, texts.arena + texts.end)\n',
        replace: '',
      },
    ],
    scenario: OF_TEXTS,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'recovery makes a table of a filter',
    model: true,
    edits: [
      {
        file: STATE,
        find: '  if (a.form !== FORM_EXACT) {\n',
        replace: '  if (a.slot < 0) {\n',
      },
    ],
    scenario: NUMBERS,
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'recovery fills a filter from its log',
    model: true,
    edits: [
      {
        file: STATE,
        find: '  completeTurn(a)\n',
        replace: '  a.form = 1\n  completeTurn(a)\n',
      },
    ],
    scenario: NUMBERS,
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'recovery does not go on with a turn',
    edits: [{ file: STATE, find: '  completeTurn(a)\n', replace: '' }],
    scenario: NUMBERS,
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'recovery does not count the bits of a filter',
    edits: [{ file: STATE, find: '  filterCount(filter)\n', replace: '' }],
    scenario: NUMBERS,
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'a restore takes of a superset what it lists',
    edits: [
      { file: EFFECTS, find: '    addFilter(a, slot, 0, filterWords(a.filter))\n', replace: '' },
    ],
    scenario: INTO_EXACT,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a restore puts a filter into a table',
    edits: [
      {
        file: EFFECTS,
        find: '    turn(a)\n    addFilter(a, slot, 0, filterWords(a.filter))\n',
        replace: '    addFilter(a, slot, 0, filterWords(a.filter))\n    turn(a)\n',
      },
    ],
    scenario: INTO_EXACT,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a slot that is used again keeps its form',
    edits: [
      {
        file: STATE,
        find: '  Atomics.store(words, at + SLOT_FORM, FORM_EXACT)\n',
        replace: '',
      },
    ],
    scenario: AGAIN,
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'an epoch begins as the superset that the one before it was',
    edits: [{ file: STATE, find: '  a.form = FORM_EXACT\n', replace: '' }],
    scenario: AGAIN,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: "a reader's has() of a superset checks nothing",
    edits: [
      {
        file: LIVE,
        find: '  const answer = filterHas(filter, lo, hi) ? PRESENT : ABSENT\n  return isLive(live) ? answer : SETTLED\n',
        replace: '  return filterHas(filter, lo, hi) ? PRESENT : ABSENT\n',
      },
    ],
    scenario: 'reader: asks a superset for a number while its slot is used again',
  },
]
