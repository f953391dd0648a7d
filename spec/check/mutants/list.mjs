/**
 * Faults of the shipped source, each a small edit, and the scenario that has to find it. Those with
 * `model` are breakages that protocol.md tells of: a rule of the protocol was found by taking it
 * out. `file` is a file of lib/, `find` must stand in it exactly once.
 */
const RING = 'ring/ring'
const LANE = 'ring/lane'
const CONSUME = 'ring/consume'
const STEP = 'aggregator/step'
const EFFECTS = 'aggregator/effects'
const STATE = 'aggregator/state'
const WAKE = 'aggregator/wake'
const PARK = 'aggregator/park'
const OUTBOX = 'tracker/outbox'
const DRAIN = 'ring/drain'
const DICTIONARY = 'dictionary/core'

export const mutants = [
  // ------------------------------------------------------------------------------------------ push
  {
    name: 'a producer does not move the tail for one that died before it did',
    edits: [
      {
        file: RING,
        find: 'if (kind === TAKEN || kind === PASSED) {',
        replace: 'if (kind === PASSED) {',
      },
    ],
    scenario: 'push: two producers, two slots, nobody consumes',
  },
  {
    name: 'a slot that is filled and even consumed already is not helped over',
    model: true,
    edits: [
      {
        file: RING,
        find: 'if (kind === TAKEN || kind === PASSED) {',
        replace: 'if (kind === TAKEN) {',
      },
    ],
    scenario: 'ring: one slot, two producers that do not wait, two laps',
  },
  {
    name: 'full is said without a second look at the tail',
    edits: [
      { file: RING, find: 'if (Atomics.load(words, TAIL) !== tail) return true\n', replace: '' },
    ],
    scenario: 'ring: one slot, two producers that do not wait, two laps',
  },
  {
    name: 'the parity of laps is forgotten',
    edits: [
      {
        file: 'ring/token',
        find: '((word >>> 1) & 1) === (lap & 1) ? TAKEN : BEHIND_FULL',
        replace: 'TAKEN',
      },
    ],
    scenario: 'push: two producers, two slots, nobody consumes',
  },
  {
    name: 'a slot is filled by a store, not by a compareExchange',
    edits: [
      {
        file: LANE,
        find: 'const seen = Atomics.compareExchange(words, slot, empty, fullWord(lap, token))\n',
        replace:
          'const seen = Atomics.load(words, slot)\n    if (seen === empty) Atomics.store(words, slot, fullWord(lap, token))\n',
      },
    ],
    scenario: 'push: two producers, two slots, nobody consumes',
  },

  // ------------------------------------------------------------------------------------------ lane
  {
    name: 'the end of the staged keys is stored before the key',
    edits: [
      {
        file: LANE,
        find: '  words[at] = lo\n  words[at + 1] = hi\n  const next = (end + 1) | 0',
        replace:
          '  const next = (end + 1) | 0\n  words[lane.stagedAt] = next\n  words[at] = lo\n  words[at + 1] = hi',
      },
    ],
    scenario: 'reap: a writer that ended with keys staged',
    with: { preemptions: 1 },
  },
  {
    name: 'a key that is published is taken for a staged one',
    edits: [
      {
        file: LANE,
        find: 'age <= ((lane.end - lane.published) | 0)',
        replace: 'age <= lane.capacity',
      },
    ],
    scenario: 'lane: a key marked again, while it is staged and once it is published',
    with: { preemptions: 1 },
  },
  {
    name: 'a batch is staged key by key',
    edits: [
      {
        file: LANE,
        find: '    words[at + 1] = keys[2 * i + 1]\n',
        replace:
          '    words[at + 1] = keys[2 * i + 1]\n    words[lane.stagedAt] = (end + i + 1) | 0\n',
      },
    ],
    scenario: 'reap: a writer that ended with keys staged',
    with: { preemptions: 1 },
  },
  {
    name: 'a batch is published before its keys are stored',
    edits: [
      {
        file: LANE,
        find: '  for (let i = 0; i < count; i++) {\n    const at = lane.keys',
        replace:
          '  lane.end = (end + count) | 0\n  words[lane.stagedAt] = lane.end\n  publish(lane)\n  for (let i = 0; i < count; i++) {\n    const at = lane.keys',
      },
    ],
    scenario: 'lane: full, with waiting',
  },
  {
    name: 'calls stand between the slot and the statement that it is published',
    edits: [
      { file: LANE, find: '      lane.published = upTo\n      // ^', replace: '      // ^' },
      {
        file: LANE,
        find: '      wakeAggregator(words)\n',
        replace: '      wakeAggregator(words)\n      lane.published = upTo\n',
      },
    ],
    scenario: 'exceptions: a writer goes on with the same lane',
  },
  {
    name: 'lines are fetched that are not free yet',
    edits: [{ file: LANE, find: 'Math.min(OWN_AHEAD, roomOf(lane))', replace: 'OWN_AHEAD' }],
    scenario: 'lane: full, with waiting',
  },
  {
    name: 'a lane is claimed by a store',
    edits: [
      {
        file: LANE,
        find: 'if (Atomics.compareExchange(words, header + LANE_OWNER, owner, mine) !== owner) {',
        replace: 'if (Atomics.store(words, header + LANE_OWNER, mine) !== mine) {',
      },
    ],
    scenario: 'open: two writers claim one lane',
  },
  {
    name: 'a lane is claimed first, and says by whom later',
    model: true,
    edits: [
      {
        file: LANE,
        find: 'Atomics.compareExchange(words, header + LANE_OWNER, owner, mine) !== owner) {',
        replace:
          'Atomics.compareExchange(words, header + LANE_OWNER, owner, owner | 0x1ffff) !== owner || Atomics.store(words, header + LANE_OWNER, mine) !== mine) {',
      },
    ],
    scenario: 'open: a writer that dies while it claims a lane',
  },
  {
    name: 'the ends of a lane are indexes: a full batch looks like none',
    model: true,
    edits: [
      {
        file: EFFECTS,
        find: 'const there = (staged - start) | 0',
        replace: 'const there = (staged - start) & (layout.laneCapacity - 1)',
      },
    ],
    scenario: 'lane: batches as long as the lane, next to its wrap',
  },
  {
    name: 'the keys of a new owner begin at 0',
    edits: [
      {
        file: LANE,
        find: 'const end = words[header + LANE_STAGED_END]\n',
        replace: 'const end = 0\n    words[header + LANE_STAGED_END] = 0\n',
      },
    ],
    scenario: 'close: and the next owner of the lane',
    with: { preemptions: 1 },
  },

  // --------------------------------------------------------------------------------------- waiting
  {
    name: 'a writer sleeps without a second look at the ring',
    edits: [{ file: LANE, find: 'if (!publish(lane) && Atomics', replace: 'if (Atomics' }],
    scenario: 'ring: one slot, two producers that wait',
  },
  {
    name: 'a writer sleeps without a second look at its room',
    edits: [
      {
        file: LANE,
        find: 'if (((lane.readEnd - target) | 0) < 0 && Atomics',
        replace: 'if (Atomics',
      },
    ],
    scenario: 'lane: full, with waiting',
  },
  {
    name: 'a writer that waits for a slot is woken by progress of its lane only',
    model: true,
    edits: [{ file: WAKE, find: 'if (forRoom && (', replace: 'if (!forRoom || (' }],
    scenario: 'ring: one slot, two producers that wait',
  },
  {
    name: 'the flags of waiting writers are cleared after they were looked at',
    edits: [
      {
        file: WAKE,
        find: 'Atomics.exchange(words, WAITERS + group, 0)',
        replace: 'Atomics.load(words, WAITERS + group)',
      },
      {
        file: WAKE,
        find: 'if (waiting !== 0) Atomics.or(words, WAITERS + group, waiting)',
        replace: 'Atomics.store(words, WAITERS + group, waiting)',
      },
    ],
    scenario: 'ring: one slot, two producers that wait',
  },
  {
    name: 'a writer is notified before its word is stored',
    edits: [
      {
        file: WAKE,
        find: '  Atomics.store(words, at, (words[at] + 1) | 0)\n  Atomics.notify(words, at)',
        replace: '  Atomics.notify(words, at)\n  Atomics.store(words, at, (words[at] + 1) | 0)',
      },
    ],
    scenario: 'ring: one slot, two producers that wait',
  },
  {
    // The one fault that this checker has found in the shipped source so far; its schedule was
    // 1s1.32s0.105s2.113s0.163s2.
    name: 'a writer that begins to wait while the tracker finishes sleeps through it',
    edits: [
      {
        file: LANE,
        find: 'if (!publish(lane) && Atomics.load(words, STOPPED) === 0) Atomics.wait(',
        replace: 'if (!publish(lane)) Atomics.wait(',
      },
    ],
    scenario: 'stop: a writer waits for a slot',
  },
  {
    name: 'the end wakes nobody',
    edits: [{ file: STEP, find: '  doChores(a)\n  wakeEveryWriter(a)\n', replace: '' }],
    scenario: 'stop: a writer waits for a slot',
  },

  // --------------------------------------------------------------------------------------- parking
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
    scenario: 'parking: a token of somebody who died, and the tracker waits for it',
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

  // -------------------------------------------------------------------------------- the aggregator
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
    edits: [{ file: EFFECTS, find: '  storeSlot(a)\n  const at', replace: '  const at' }],
    scenario: 'restore: by an aggregator that dies',
    with: { preemptions: 0 },
  },
  {
    name: 'an epoch begins with the reasons of the one before',
    edits: [{ file: STATE, find: '  a.growth = 0\n  a.flags = 0\n', replace: '  a.growth = 0\n' }],
    scenario: 'everything: said once is said, and not in the next epoch of its slot',
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
        find: 'if (a.readEnds[a.writer] !== start) return\n  if (!holds',
        replace: 'if (!holds',
      },
    ],
    scenario: 'lane: full, with waiting',
  },
  {
    name: 'recovery does not clear the table',
    model: true,
    edits: [{ file: STATE, find: '  clearTable(a, 0, 2 ** (32 - a.set.shift))\n', replace: '' }],
    scenario:
      'set: a batch of old and new keys, key 0 among them, by an aggregator that dies twice',
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'recovery does not enter the log into the table',
    edits: [
      { file: STATE, find: '  reindex(a)\n  wakeEveryWriter(a)', replace: '  wakeEveryWriter(a)' },
    ],
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
        find: '  recoverEpoch(a)\n  clearTable(a, 0, 2 ** (32 - a.set.shift))\n  reindex(a)\n',
        replace:
          '  if (a.openAt === 0) {\n    recoverEpoch(a)\n    clearTable(a, 0, 2 ** (32 - a.set.shift))\n    reindex(a)\n  }\n',
      },
    ],
    scenario: 'exceptions: the aggregator recovers from a batch, growth in the middle of it',
    with: { preemptions: 0, deaths: 0, throws: 1 },
  },
  {
    name: 'recovery does not ask the log for key 0',
    edits: [{ file: STATE, find: '  set.zero = false\n', replace: '' }],
    scenario: 'exceptions: the aggregator recovers from a batch, growth in the middle of it',
    with: { preemptions: 0, deaths: 0, throws: 1 },
  },

  // ------------------------------------------------------------------------------- sets and epochs
  {
    name: 'a table that grows is not cleared',
    edits: [{ file: EFFECTS, find: '  clearTable(a, 0, cells)\n', replace: '' }],
    scenario: 'set: growth in a slot that is used again',
  },
  {
    name: 'a table that grows does not get the keys that are not counted yet',
    edits: [
      {
        file: EFFECTS,
        find: '  reindex(a)\n  a.growth += by',
        replace:
          '  const all = set.count\n  set.count = words[a.openAt + SLOT_COUNT]\n  reindex(a)\n  set.count = all\n  a.growth += by',
      },
    ],
    scenario: 'set: growth in the middle of a batch',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'overflow is not said',
    edits: [{ file: EFFECTS, find: 'raiseFlag(a, FLAG_OVERFLOW)\n', replace: '' }],
    scenario: 'set: overflow in the middle of a batch',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'key 0 is not said to be in',
    edits: [
      {
        file: EFFECTS,
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
        find: '  words[at + SLOT_ZERO] = 0\n',
        replace: '  Atomics.store(words, CUR, curWord(epoch, slot))\n  words[at + SLOT_ZERO] = 0\n',
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
        find: 'if (epoch === a.epoch && slot === a.slot) return\n',
        replace: '',
      },
    ],
    scenario: 'seal: without writers, by an aggregator that dies',
    with: { preemptions: 0 },
  },
  {
    name: 'a slot that is used again keeps its flags',
    edits: [{ file: EFFECTS, find: '  words[at + SLOT_FLAGS] = 0\n', replace: '' }],
    scenario: 'everything: said once is said, and not in the next epoch of its slot',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a slot that is used again keeps its table',
    edits: [
      {
        file: EFFECTS,
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
    name: 'a restore is said to be done before its keys are counted',
    edits: [
      {
        file: EFFECTS,
        find: '  publishCount(a)\n  raiseFlag(a, flags)\n  Atomics.store(words, at + SLOT_RESTORED, epoch + 1)',
        replace:
          '  Atomics.store(words, at + SLOT_RESTORED, epoch + 1)\n  publishCount(a)\n  raiseFlag(a, flags)',
      },
    ],
    scenario: 'restore: by an aggregator that dies',
    with: { preemptions: 0 },
  },

  // ------------------------------------------------------------------------- close, reap, and stop
  {
    name: 'CLOSE and REAP do not look at the generation',
    model: true,
    edits: [
      {
        file: EFFECTS,
        find: '  if (generationOf(owner) !== generation) return\n  const { start }',
        replace: '  if ((owner & 0x1ffff) === 0) return\n  const { start }',
      },
    ],
    scenario: 'reap: late, when the lane has its next owner',
  },
  {
    name: 'a lane is free before its keys are passed',
    edits: [
      {
        file: EFFECTS,
        find: '  passKeys(a, lane, n)\n  freeLane(words, lane, owner, n)',
        replace: '  freeLane(words, lane, owner, n)\n  passKeys(a, lane, n)',
      },
    ],
    scenario: 'close: and the next owner of the lane',
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'a lane whose keys were passed is not freed any more',
    model: true,
    edits: [
      {
        file: EFFECTS,
        find: '  const { start } = a\n  const n = (words[lane + LANE_STAGED_END] - start) | 0',
        replace:
          '  const { start } = a\n  if (a.readEnds[a.writer] !== start) return\n  const n = (words[lane + LANE_STAGED_END] - start) | 0',
      },
    ],
    scenario: 'reap: a writer that ended with keys staged',
    with: { preemptions: 0 },
  },
  {
    name: 'what a writer left staged is not harvested',
    edits: [
      {
        file: EFFECTS,
        find: '  insertLane(a, lane, start, n)\n  publishCount(a)\n  if (Atomics',
        replace: '  if (Atomics',
      },
    ],
    scenario: 'reap: a writer that ended with keys staged',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a free lane still says whose it was',
    edits: [
      {
        file: LANE,
        find: '  Atomics.store(words, lane + LANE_THREAD, 0)\n  Atomics',
        replace: '  Atomics',
      },
    ],
    scenario: 'open: a writer that dies while it claims a lane',
  },
  {
    name: 'STOP closes, and what is in the ring is drained once more',
    model: true,
    edits: [
      {
        file: STEP,
        find: '    poison(memory, head, emptyWord(lapOf(head, memory.layout.capacityBits)))\n    return WORKED',
        replace: '    moveHead(a)\n    return WORKED',
      },
    ],
    scenario: 'stop: races a publish, two slots',
    with: { preemptions: 1, deaths: 0 },
  },
  {
    name: "STOP's slot is freed",
    model: true,
    edits: [
      {
        file: STEP,
        find: 'i < tokens && !isStop; i++',
        replace: 'i < tokens; i++',
      },
    ],
    scenario: 'stop: races a publish, one slot',
    with: { preemptions: 1, deaths: 0 },
  },
  {
    name: "slots are poisoned to the lap's end only",
    model: true,
    edits: [
      {
        file: STEP,
        find: 'head === advance(stopPosition, memory.layout.capacity - 1)) return finish(a)',
        replace:
          '(head & (memory.layout.capacity - 1)) === 0 && head !== advance(stopPosition, -1)) return finish(a)',
      },
    ],
    scenario: 'stop: behind a batch, races a publish',
    with: { preemptions: 1, deaths: 0 },
  },
  {
    name: 'keys that stay staged are not said to be',
    edits: [{ file: STEP, find: '  if (unpublished) a.flags |= FLAG_UNPUBLISHED\n', replace: '' }],
    scenario: 'stop: keys that stay staged are said to be',
    with: { preemptions: 0, deaths: 0 },
  },

  {
    name: 'marks are not refused before the last look',
    edits: [
      { file: OUTBOX, find: '    Atomics.store(words, attn, words[attn] | 1)\n', replace: '' },
    ],
    scenario: 'stop: against a writer that marks until it is refused, one slot',
  },
  {
    name: 'a mark reads the refusal before it stores its key',
    edits: [
      {
        file: LANE,
        find: '  const end = lane.end\n  const at = lane.keys + ((end & lane.mask) << 1)\n  words[at] = lo',
        replace:
          '  if (words[lane.attnAt] !== lane.attn && !ready(lane, 1)) return false\n  const end = lane.end\n  const at = lane.keys + ((end & lane.mask) << 1)\n  words[at] = lo',
      },
      {
        file: LANE,
        find: '  if (((next - lane.due) | 0) >= 0 || words[lane.attnAt] !== lane.attn) return afterStaging(lane, end)\n  return true\n',
        replace: '  if (((next - lane.due) | 0) >= 0) afterStaging(lane, end)\n  return true\n',
      },
    ],
    scenario: 'stop: against a writer that marks until it is refused, one slot',
  },
  {
    name: 'a mark that sees the refusal is taken all the same',
    edits: [
      {
        file: LANE,
        find: '    lane.end = before\n    words[lane.stagedAt] = before\n    publish(lane)\n    lane.due = before // ready() refuses the next mark before it stores anything\n    return false\n',
        replace: '    publish(lane)\n    lane.due = lane.end\n    return true\n',
      },
    ],
    scenario: 'stop: against a writer that marks until it is refused, one slot',
  },

  // --------------------------------------------------------------------- batch(), markEverything()
  {
    name: 'what a batch has staged goes out with what falls due in it',
    edits: [
      {
        file: LANE,
        find: 'const upTo = lane.batching ? lane.batchStart : lane.end',
        replace: 'const upTo = lane.end',
      },
    ],
    scenario: 'batch: a publication that falls due in it takes what was staged before, and a cut',
  },
  {
    name: 'a batch is not published when it ends',
    edits: [
      {
        file: LANE,
        find: '  const published = publish(lane)\n  if (!published && !lane.clock.armed)',
        replace: '  const published = true\n  if (!published && !lane.clock.armed)',
      },
    ],
    scenario: 'batch: flushed() waits for its end',
  },
  {
    name: 'a batch in a batch begins anew',
    edits: [
      {
        file: LANE,
        find: '  if (lane.batching) return false\n  lane.batchStart',
        replace: '  lane.batchStart',
      },
    ],
    scenario: 'batch: in a batch',
  },
  {
    name: 'a mark in a batch is suppressed by a key that was staged before',
    edits: [
      {
        file: LANE,
        find: 'if (lane.recent !== undefined && !lane.batching) {',
        replace: 'if (lane.recent !== undefined) {',
      },
    ],
    scenario: 'batch: a key that was staged before it is marked again in it',
  },
  {
    name: 'a batch waits for more room than the keys before it take',
    edits: [
      {
        file: LANE,
        find: '    if (lane.batching && ((target - lane.batchStart) | 0) > 0) target = lane.batchStart\n',
        replace: '',
      },
    ],
    scenario: 'batch: it waits for the room of the keys before it',
  },
  {
    name: 'markEverything() goes out in the middle of a batch',
    edits: [
      {
        file: LANE,
        find: 'if (!lane.batching && pushEverything(lane)) return true',
        replace: 'if (pushEverything(lane)) return true',
      },
    ],
    scenario: 'everything: in a batch, and a death in it',
    with: { preemptions: 2, deaths: 0 },
  },
  {
    name: 'markEverything() is forgotten when the ring is full',
    edits: [
      {
        file: LANE,
        find: '  if (lane.everything && !lane.batching && !pushEverything(lane)) return false\n',
        replace: '',
      },
    ],
    scenario: 'everything: in a ring with room, and in a full one',
  },
  {
    name: 'a harvest leaves markEverything() behind',
    edits: [
      {
        file: EFFECTS,
        find: '  if (Atomics.load(words, lane + LANE_EVERYTHING) !== 0) raiseFlag(a, FLAG_EVERYTHING)\n',
        replace: '',
      },
    ],
    scenario: 'everything: in a batch, and a death in it',
  },
  {
    name: 'the last look leaves markEverything() behind',
    edits: [
      {
        file: STEP,
        find: '    if (Atomics.load(words, lane + LANE_EVERYTHING) !== 0) a.flags |= FLAG_EVERYTHING\n',
        replace: '',
      },
    ],
    scenario: 'everything: against stop',
  },
  {
    name: 'markEverything() does not look whether the last look is over',
    edits: [
      {
        file: LANE,
        find: '  if (isStopped(lane)) {\n    // The',
        replace: '  if (lane.batchStart === -99) {\n    // The',
      },
    ],
    scenario: 'everything: against stop',
  },

  // ---------------------------------------------------------------------- the tracker's own thread
  {
    name: 'a cut takes its number when it is asked for, not when it is made',
    edits: [
      {
        file: OUTBOX,
        find: '    o.openSlot = slot\n    o.epoch++\n',
        replace: '    o.openSlot = slot\n',
      },
      {
        file: OUTBOX,
        find: '  if (canSealNow(o)) o.queue.push(',
        replace: '  o.epoch++\n  if (canSealNow(o)) o.queue.push(',
      },
    ],
    scenario: 'cut: its caller is aborted before it, and after it',
  },
  {
    name: 'an epoch is taken for sealed when its token is in the ring',
    edits: [
      {
        file: OUTBOX,
        find: '  if (epochDistance(epochOfCur(cur), (o.sealing[0].id + 1) & EPOCH_MASK) < 0) return undefined\n',
        replace: '',
      },
    ],
    scenario: 'cut: its caller is aborted before it, and after it',
  },
  {
    name: 'a consumer of a BatchRing gives the room back before it has read the batch',
    edits: [
      {
        file: DRAIN,
        find: '    return { position, seen, lane, producer, start: words',
        replace:
          '    Atomics.store(words, lane + LANE_READ_END, (words[lane + LANE_READ_END] + (token & (layout.laneCapacity - 1)) + 1) | 0)\n    return { position, seen, lane, producer, start: words',
      },
    ],
    scenario: 'BatchRing: a lane and its next owner',
  },
  {
    name: 'a consumer of a BatchRing gives no room back',
    edits: [
      {
        file: DRAIN,
        find: '  if (lane >= 0) Atomics.store(words, lane + LANE_READ_END, (start + count) | 0)\n',
        replace: '',
      },
    ],
    scenario: 'BatchRing: two producers, a consumer, two slots',
  },

  // -------------------------------------------------------------------------------- the dictionary
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
    name: 'an entry is believed, whoever has the cell that it names',
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
    scenario: 'dictionary: who comes second goes on with what it took, for keys of other lengths',
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
    name: 'who comes second does not look at what is in the cell now',
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
    name: 'who comes second takes a new number for its next key',
    edits: [{ file: DICTIONARY, find: 'if (d.id < 0) d.id = take(', replace: 'd.id = take(' }],
    scenario: 'dictionary: two threads add two keys of one cell, the last one of the table',
  },
  {
    name: 'who comes second writes its next key where there is too little room',
    edits: [{ file: DICTIONARY, find: 'if (d.room < size) {', replace: 'if (d.room === 0) {' }],
    scenario: 'dictionary: who comes second goes on with what it took, for keys of other lengths',
  },
  {
    name: 'the dictionary is said to be full without a second look at the cell',
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
