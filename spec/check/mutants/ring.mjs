/** Mutants of pushing, of lanes, and of waiting for room; list.mjs says what a mutant is. */
import { EFFECTS, LANE, RING, STEP, WAKE } from './files.mjs'

export const mutants = [
  // ------------------------------------------------------------------------------------------- push
  {
    name: 'a producer does not move the tail for one that died before it did',
    edits: [
      {
        file: RING,
        find: 'if (kind === TAKEN || kind === PASSED) {',
        replace: 'if (kind === PASSED) {',
      },
    ],
    scenario: 'push: two producers, two slots, no consumer',
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
    name: 'a ring counts as full without a second look at the tail',
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
    scenario: 'push: two producers, two slots, no consumer',
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
    scenario: 'push: two producers, two slots, no consumer',
  },

  // ------------------------------------------------------------------------------------------- lane
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
        find: '  const first = end & mask\n',
        replace:
          '  lane.end = (end + count) | 0\n  words[lane.stagedAt] = lane.end\n  publish(lane)\n  const first = end & mask\n',
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

  // ---------------------------------------------------------------------------------------- waiting
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
        find: 'if (isMissing && Atomics',
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
    name: 'the end wakes no writer',
    edits: [{ file: STEP, find: '  doChores(a)\n  wakeEveryWriter(a)\n', replace: '' }],
    scenario: 'stop: a writer waits for a slot',
  },
]
