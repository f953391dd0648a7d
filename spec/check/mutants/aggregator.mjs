/** Mutants of the aggregator's steps, its sets and its sleep; list.mjs says what a mutant is. */
import {
  CONSUME,
  EFFECTS,
  OPEN_EPOCH,
  PARK,
  PUBLISH,
  RING,
  STATE,
  STEP,
  SUPERSET,
} from './files.mjs'

export const mutants = [
  // ---------------------------------------------------------------------------------------- parking
  {
    name: 'the aggregator sleeps without a second look',
    edits: [
      { file: PARK, find: 'if (!hasWork(a)) return true', replace: 'if (a.head >= 0) return true' },
    ],
    scenario: 'parking: against a batch',
  },
  {
    name: 'the aggregator looks first, and says then that it sleeps',
    edits: [
      {
        file: PARK,
        find: '  Atomics.store(a.words, PARKED, 1)\n  if (!hasWork(a)) return true',
        replace:
          '  if (!hasWork(a)) {\n    Atomics.store(a.words, PARKED, 1)\n    return true\n  }',
      },
    ],
    scenario: 'parking: against a batch',
  },
  {
    name: 'a publisher notifies and leaves the word as it is',
    edits: [
      { file: RING, find: ' && Atomics.compareExchange(words, PARKED, 1, 0) === 1', replace: '' },
    ],
    scenario: 'parking: against a batch',
  },
  {
    name: 'the aggregator sleeps without an end',
    model: true,
    edits: [
      {
        file: PARK,
        find: 'Atomics.wait(a.words, PARKED, 1, ms)',
        replace: 'Atomics.wait(a.words, PARKED, 1)',
      },
    ],
    scenario: 'parking: a token of a producer that died, and the tracker waits for it',
  },
  {
    name: 'the tracker is not told',
    edits: [
      {
        file: EFFECTS,
        find: '  }\n  signal(a)\n}\n\n/**\n * SEAL',
        replace: '  }\n}\n\n/**\n * SEAL',
      },
    ],
    scenario: 'parking: against SEAL, RESTORE, EVERYTHING and REAP',
  },

  // --------------------------------------------------------------------------------- the aggregator
  {
    name: 'a consumer does not pass what a predecessor has freed',
    model: true,
    edits: [
      {
        file: CONSUME,
        find: 'if (kind === PASSED) return GONE',
        replace: 'if (kind === PASSED) return NOTHING',
      },
      {
        file: CONSUME,
        find: '>= layout.capacity) return GONE',
        replace: '>= layout.capacity) return NOTHING',
      },
    ],
    scenario: 'ring: one slot, one producer, three laps',
  },
  {
    name: 'a consumer does not know a slot that was freed and filled again',
    edits: [
      { file: CONSUME, find: '>= layout.capacity) return GONE', replace: '< 0) return GONE' },
    ],
    scenario: 'ring: one slot, one producer, three laps',
  },
  {
    name: 'a slot that was freed and filled again is believed only when the tail has moved on',
    edits: [
      {
        file: CONSUME,
        find: '>= layout.capacity) return GONE',
        replace: '> layout.capacity) return GONE',
      },
    ],
    scenario: 'ring: one slot, one producer, three laps',
    with: { preemptions: 2, deaths: 1 },
  },
  {
    name: 'a successor takes a slot before its head that is filled again for a corrupt one',
    edits: [
      {
        file: STATE,
        find: 'let isRight = kind === PASSED || kind === BEHIND_FULL',
        replace: 'let isRight = kind === PASSED',
      },
    ],
    scenario: 'ring: one slot, one producer, three laps',
  },
  {
    name: 'a successor takes the last lap for a corrupt one',
    edits: [{ file: STATE, find: 'beyond === 0 ? STOP : POISON', replace: 'STOP' }],
    scenario: 'stop: races a publish, two slots',
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'the hash of an intent is stored after its position',
    edits: [
      {
        file: STEP,
        find: '  words[INTENT_CHECK] = intentCheck(a)\n  words[INTENT_POSITION] = a.intent\n',
        replace: '  words[INTENT_POSITION] = a.intent\n  words[INTENT_CHECK] = intentCheck(a)\n',
      },
    ],
    scenario: 'ring: one slot, one producer, three laps',
  },
  {
    name: 'an aggregator does not remember how far it has read a lane',
    edits: [{ file: EFFECTS, find: '  a.readEnds[a.writer] = readEnd\n', replace: '' }],
    scenario: 'lane: full, with waiting',
  },
  {
    name: 'a successor does not look how far its predecessor has read the lanes',
    edits: [
      {
        file: STATE,
        find: 'a.readEnds[writer] = readEndOf(a.memory, lane, words[lane + LANE_STAGED_END])',
        replace:
          'if (a.openAt === 0 && words[lane + LANE_STAGED_END] === 0) a.readEnds[writer] = 0',
      },
    ],
    scenario: 'run: batches of one writer behind each other, by an aggregator that dies twice',
  },
  {
    name: 'a seal leaves no hash in its slot',
    edits: [
      {
        file: EFFECTS,
        find: '    storeSlot(a, a.epoch)\n    emptySlot(',
        replace: '    emptySlot(',
      },
    ],
    scenario: 'restore: by an aggregator that dies',
    with: { preemptions: 0 },
  },
  {
    name: 'an epoch begins with the reasons of the one before',
    edits: [{ file: STATE, find: '  a.flags = 0\n', replace: '' }],
    scenario: 'everything: one call makes one epoch inexact, and not the next one of its slot',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a tail that has overtaken is not healed',
    edits: [{ file: CONSUME, find: '<= 0) return NOTHING', replace: '<= 2 ** 29) return NOTHING' }],
    scenario: 'ring: a tail that has overtaken is healed',
  },
  {
    name: 'the intent has its position first',
    edits: [
      {
        file: STEP,
        find: '  words[INTENT_POSITION] = 0\n  saveTotal',
        replace: '  words[INTENT_POSITION] = head + 1\n  saveTotal',
      },
    ],
    scenario: 'ring: one slot, one producer, three laps',
  },
  {
    name: 'an intent is written anew',
    edits: [{ file: STEP, find: 'if (!isInHand(a)) saveIntent', replace: 'saveIntent' }],
    scenario: 'ring: one slot, one producer, three laps',
  },
  {
    name: 'a run is remembered by its first token',
    edits: [{ file: STEP, find: 'done >= 0 && done < a.tokens', replace: 'done >= 0 && done < 1' }],
    scenario: 'run: batches of one writer behind each other, by an aggregator that dies twice',
  },
  {
    name: 'an intent grows while its position is that of another',
    edits: [
      { file: STEP, find: '  words[INTENT_POSITION] = 0\n  saveTotal', replace: '  saveTotal' },
    ],
    scenario: 'run: batches of one writer behind each other, by an aggregator that dies twice',
  },
  {
    name: 'a run goes on over a cut',
    edits: [
      {
        file: STEP,
        find: 'if (!isSameWriter(layout, token, other)) break',
        replace: '',
      },
    ],
    scenario: 'run: a cut between batches of one writer, which dies',
  },
  {
    name: 'the slots of a run are freed from its end',
    edits: [
      {
        file: STEP,
        find: 'const at = advance(head, i)\n      const word = i === 0 ? seen : peek(memory, at)',
        replace: 'const at = advance(head, tokens - 1 - i)\n      const word = peek(memory, at)',
      },
    ],
    scenario: 'run: a cut between batches of one writer, which dies',
  },
  {
    name: 'totals are added to, not set',
    model: true,
    edits: [
      {
        file: STEP,
        find: 'setTotal(words, EVENTS, INTENT_EVENTS, tokens)',
        replace: 'setTotal(words, EVENTS, EVENTS, tokens)',
      },
    ],
    scenario: 'ring: one slot, one producer, three laps',
  },
  {
    name: 'room is given before the keys are counted',
    edits: [
      {
        file: EFFECTS,
        find: '  publishCount(a)\n  passBatches(a, lane)',
        replace: '  passBatches(a, lane)\n  publishCount(a)',
      },
    ],
    scenario: 'ring: one slot, one producer, three laps',
  },
  {
    name: 'the slot is freed before its token is handled',
    edits: [
      {
        file: STEP,
        find: '    tokens = handle(a, token)\n',
        replace:
          '    if (!stopping && kindOf(token) !== STOP) freeSlot(memory, head, seen)\n    tokens = handle(a, token)\n',
      },
      {
        file: STEP,
        find: 'if (!(stopping ? poison(memory, at, word) : freeSlot(memory, at, word)))',
        replace: 'if (stopping && !poison(memory, at, word))',
      },
    ],
    scenario: 'ring: one slot, one producer, three laps',
  },
  {
    name: 'the head moves before the slot is free',
    edits: [
      {
        file: STEP,
        find: '    tokens = handle(a, token)\n',
        replace: '    tokens = handle(a, token)\n    if (!stopping) moveHead(a, tokens)\n',
      },
      {
        file: STEP,
        find: '  moveHead(a, tokens)\n  a.since',
        replace:
          '  if (stopping || seen === GONE || token === POISON_TOKEN) moveHead(a, tokens)\n  a.since',
      },
    ],
    scenario: 'ring: one slot, one producer, three laps',
  },
  {
    name: 'a batch that was taken is taken again',
    edits: [
      {
        file: EFFECTS,
        find: 'if (a.readEnds[a.writer] !== start) {',
        replace: 'if (a.head < 0) {',
      },
    ],
    scenario: 'lane: full, with waiting',
  },
  {
    name: 'recovery does not clear the table',
    model: true,
    edits: [
      { file: STATE, find: '  clearCells(a, set.table, 2 ** (32 - set.shift))\n', replace: '' },
    ],
    scenario:
      'set: a batch of old and new keys, key 0 among them, by an aggregator that dies twice',
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'recovery does not enter the log into the table',
    edits: [{ file: STATE, find: '  reindex(a)\n', replace: '' }],
    scenario:
      'set: a batch of old and new keys, key 0 among them, by an aggregator that dies twice',
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'an exception is followed by a try on the half-done state',
    model: true,
    edits: [
      {
        file: STATE,
        find: '  recoverEpoch(a)\n  recoverMerges(a)',
        replace: '  if (a.openAt === 0) recoverEpoch(a)\n  recoverMerges(a)',
      },
    ],
    scenario: 'exceptions: the aggregator recovers from a batch, growth in the middle of it',
    with: { preemptions: 0, deaths: 0, throws: 1 },
  },
  {
    name: 'recovery does not ask the log for key 0',
    edits: [
      {
        file: STATE,
        find: '  set.zero = false\n  clearCells(a, set.table',
        replace: '  clearCells(a, set.table',
      },
    ],
    scenario: 'exceptions: the aggregator recovers from a batch, growth in the middle of it',
    with: { preemptions: 0, deaths: 0, throws: 1 },
  },

  // -------------------------------------------------------------------------------- sets and epochs
  {
    name: 'a table that grows is not cleared',
    edits: [{ file: OPEN_EPOCH, find: '  clearCells(a, set.table, cells)\n', replace: '' }],
    scenario: 'set: growth in a slot that is used again',
  },
  {
    name: 'a table that grows does not get the keys that are not counted yet',
    edits: [
      {
        file: OPEN_EPOCH,
        find: '  reindex(a)\n  a.growth += by',
        replace:
          '  const all = set.count\n  set.count = words[a.openAt]\n  reindex(a)\n  set.count = all\n  a.growth += by',
      },
    ],
    scenario: 'set: growth in the middle of a batch',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'overflow is not said',
    edits: [{ file: SUPERSET, find: '  raiseFlag(a, FLAG_OVERFLOW)\n', replace: '' }],
    scenario: 'set: overflow in the middle of a batch',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'key 0 is not said to be in',
    edits: [
      {
        file: PUBLISH,
        find: 'words[openAt + SLOT_ZERO] = set.zero ? 1 : 0',
        replace: 'words[openAt + SLOT_ZERO] = 0',
      },
    ],
    scenario: 'set: growth in the middle of a batch',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'the cut comes before its slot is ready',
    edits: [
      {
        file: EFFECTS,
        find: '    emptySlot(a, slot, openCheckOf(epoch))\n',
        replace:
          '    Atomics.store(words, CUR, curWord(epoch, slot))\n    emptySlot(a, slot, openCheckOf(epoch))\n',
      },
    ],
    scenario: 'seal: without writers, by an aggregator that dies',
    with: { preemptions: 0 },
  },
  {
    name: 'a seal is executed twice',
    edits: [
      {
        file: EFFECTS,
        find: 'if (epoch !== a.epoch || slot !== a.slot) {',
        replace: 'if (epoch >= 0) {',
      },
    ],
    scenario: 'seal: without writers, by an aggregator that dies',
    with: { preemptions: 0 },
  },
  {
    name: 'a slot that is used again keeps its flags',
    edits: [{ file: STATE, find: '  words[at + SLOT_FLAGS] = 0\n', replace: '' }],
    scenario: 'everything: one call makes one epoch inexact, and not the next one of its slot',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a slot that is used again keeps its table',
    edits: [
      {
        file: STATE,
        find: 'for (let i = 0; i < memory.layout.smallestTable * 2; i++) words[table + i] = 0',
        replace: 'words[table] = 0',
      },
    ],
    scenario: 'set: the same keys in a slot that is used again',
  },
  {
    name: 'epochs are compared without their wrap',
    edits: [
      {
        file: EFFECTS,
        find: 'if (epochDistance(epoch, a.epoch) !== 1 ||',
        replace: 'if (epoch !== a.epoch + 1 ||',
      },
    ],
    scenario: 'seal: a slot is used again',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a restore counts as done before its keys are counted',
    edits: [
      {
        file: EFFECTS,
        find: '  publishCount(a)\n  if (textEnd > 0)',
        replace:
          '  Atomics.store(words, at + SLOT_RESTORED, epoch + 1)\n  publishCount(a)\n  if (textEnd > 0)',
      },
    ],
    scenario: 'restore: by an aggregator that dies',
    with: { preemptions: 0 },
  },
]
