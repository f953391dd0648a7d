/** Mutants of texts in lanes and epochs; list.mjs says what a mutant is. */
import { EFFECTS, LANE, STATE, TEXTS } from './files.mjs'

const TAG = '  words[lane.text + offset] = isSkip ? -tag : tag\n'
const DIES = 'text: a writer that dies anywhere, and the next owner marks numbers there'
const LEFT = 'text: a lane in which its last owner has left a tag'
const CLOSES = 'text: close, and the next owner of the lane, by an aggregator that dies'
const ROOM = 'text: room is given back by an aggregator that dies, and the writer goes on'
const AGAIN = 'text: growth of their table, in a slot that is used again'

export const mutants = [
  {
    name: 'a text is staged before its tag',
    edits: [
      { file: LANE, find: `${TAG}  lane.textEnd = next\n`, replace: '  lane.textEnd = next\n' },
      {
        file: LANE,
        find: '  const isTextDue =',
        replace: `${TAG}  const isTextDue =`,
      },
    ],
    scenario: DIES,
  },
  {
    name: 'no end is stored behind a text',
    edits: [{ file: LANE, find: '  words[lane.text + (next & mask)] = NO_TEXT\n', replace: '' }],
    scenario: 'text: texts of other laps behind the last one',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'the next owner takes over a tag that names no key',
    edits: [
      {
        file: LANE,
        find: '  words[lane.text + (place & (lane.textWords - 1))] = NO_TEXT\n',
        replace: '',
      },
    ],
    scenario: LEFT,
  },
  {
    name: 'the next owner has texts before it marks one',
    edits: [
      {
        file: LANE,
        find: '    if (words[header + LANE_TEXT] !== 0) Atomics.store(words, header + LANE_TEXT, 0)\n',
        replace: '',
      },
    ],
    scenario: LEFT,
  },
  {
    name: 'room for text is given before the room for its keys',
    edits: [
      {
        file: EFFECTS,
        find: '  a.readEnds[a.writer] = readEnd\n  Atomics.store(words, lane + LANE_READ_END, readEnd)\n  giveTextRoom(a, lane, textEnd)\n',
        replace:
          '  giveTextRoom(a, lane, textEnd)\n  a.readEnds[a.writer] = readEnd\n  Atomics.store(words, lane + LANE_READ_END, readEnd)\n',
      },
    ],
    scenario: ROOM,
  },
  {
    name: 'the place behind the texts is noted after their keys are passed',
    edits: [
      {
        file: EFFECTS,
        find: '  words[INTENT_TEXT_END] = textEnd\n  a.readEnds[a.writer] = readEnd\n  Atomics.store(words, lane + LANE_READ_END, readEnd)\n',
        replace:
          '  a.readEnds[a.writer] = readEnd\n  Atomics.store(words, lane + LANE_READ_END, readEnd)\n  words[INTENT_TEXT_END] = textEnd\n',
      },
    ],
    scenario: 'text: by an aggregator that dies twice',
  },
  {
    name: 'a successor does not give the room for text that its predecessor owed',
    edits: [
      {
        file: EFFECTS,
        find: '  if (a.readEnds[a.writer] !== start) {\n    giveTextRoom(a, lane, words[INTENT_TEXT_END])\n',
        replace: '  if (a.readEnds[a.writer] !== start) {\n',
      },
    ],
    scenario: 'text: by an aggregator that dies twice',
  },
  {
    name: 'a lane that is closed again is read from where its texts end by now',
    edits: [
      {
        file: TEXTS,
        find: '  a.textEnd = a.textStart\n  let numbers = 0\n',
        replace: '  a.textEnd = a.textReads[a.writer]\n  let numbers = 0\n',
      },
    ],
    scenario: CLOSES,
  },
  {
    name: 'a tag that names a later key is taken for one of the batch',
    edits: [{ file: TEXTS, find: 'if (index >= n) return n', replace: 'if (index > n) return n' }],
    scenario: 'text: keys staged behind a batch that is being taken',
  },
  {
    name: 'a batch of texts is passed before they are published',
    edits: [
      {
        file: TEXTS,
        find: '  if (texts > 0) insertGathered(a, texts)\n  publishTexts(a)\n',
        replace: '  if (texts > 0) insertGathered(a, texts)\n',
      },
    ],
    scenario: 'text: by an aggregator that dies twice',
  },
  {
    name: "a slot's table of texts is not cleared for the first one",
    edits: [
      {
        file: TEXTS,
        find: '  if (texts.end === 0 && a.form === FORM_EXACT)\n    clearCells(a, texts.table, 2 ** (32 - texts.shift))\n',
        replace: '',
      },
    ],
    scenario: AGAIN,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a table of texts that grows is not cleared',
    edits: [{ file: TEXTS, find: '  clearCells(a, texts.table, larger)\n', replace: '' }],
    scenario: AGAIN,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a table of texts that grows does not get those that are not published yet',
    edits: [
      {
        file: TEXTS,
        find: 'reindexTexts(a, texts.end)',
        replace: 'reindexTexts(a, words[a.openAt + 6])', // SLOT_TEXT_END
      },
    ],
    scenario: AGAIN,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'recovery does not clear the table of texts',
    model: true,
    edits: [
      {
        file: STATE,
        find: '  clearCells(a, texts.table, 2 ** (32 - texts.shift))\n',
        replace: '',
      },
    ],
    scenario: 'text: by an aggregator that dies twice',
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'recovery takes a table of texts that has grown for the smallest',
    edits: [
      {
        file: STATE,
        find: '  setTextCells(a, layout.smallestTextTable * 2 ** header.textGrowth)\n',
        replace:
          '  if (header.textEnd > 0) setTextCells(a, layout.smallestTextTable * 2 ** header.textGrowth)\n',
      },
    ],
    scenario: 'text: exceptions of the aggregator',
  },
  {
    name: 'an epoch begins with the texts of the one before',
    edits: [{ file: STATE, find: '  texts.end = 0\n', replace: '' }],
    scenario: AGAIN,
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a slot that is used again keeps the end of its old texts',
    edits: [{ file: STATE, find: '  Atomics.store(words, at + SLOT_TEXT_END, 0)\n', replace: '' }],
    scenario: AGAIN,
  },
  {
    name: 'a restore does not take the texts',
    edits: [
      {
        file: EFFECTS,
        find: '  if (textEnd > 0) insertRecords(a, arena, arena + textEnd)\n',
        replace: '',
      },
    ],
    scenario: 'text: a cut, and a restore, by an aggregator that dies',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a look at a lane for texts is not ordered behind what its owner stored before them',
    edits: [
      {
        file: EFFECTS,
        find: 'return Atomics.load(words, lane + LANE_TEXT) !== 0',
        replace: 'return true',
      },
    ],
    scenario: LEFT,
  },
  {
    name: 'a writer that waits for text sleeps without a second look at it',
    edits: [
      {
        file: LANE,
        find: ' || (text > 0 && textRoomNow(lane) < text)',
        replace: ' || text > 0',
      },
    ],
    scenario: 'text: a full text ring, entries that wrap',
  },
]
