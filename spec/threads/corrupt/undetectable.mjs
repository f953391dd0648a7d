/**
 * The corruptions that no part of the library can tell from what it wrote itself. A wrong answer
 * after one of them is not a failure. Each entry has the reason; `is` looks at one changed word.
 */
import * as map from '../../../dist/memory/map.js'
import * as token from '../../../dist/ring/token.js'

export const UNDETECTABLE = [
  {
    what: "a key's own bits, in a lane or in a log",
    why: 'every value is a key',
    is: ({ kind }) => kind === 'lane keys' || kind === 'logs',
  },
  {
    what: 'a cell of a table',
    why: 'a changed cell hides its key from has() and from the next mark of it, or adds a key that is not in the log',
    is: ({ kind }) => kind === 'tables',
  },
  {
    what: 'a word of a text, or of what stands beside it, in a lane or in an epoch',
    why: 'every text is a key, and its tag and its length stand nowhere else',
    is: ({ kind }) => kind === 'lane texts' || kind === 'arenas' || kind === 'tables of texts',
  },
  {
    what: 'whether a lane has texts, and where they begin and end',
    why: 'both answers are right at some time, and only the texts say how far they reach',
    is: ({ field, at }) =>
      field === 'LANE_TEXT' || field === 'LANE_TEXT_READ' || at === map.INTENT_TEXT_END,
  },
  {
    what: 'a ring word that becomes another word which could stand there',
    why: 'a token is the only record of its batch, cut, restore or harvest',
    is: ({ kind, at, now, memory }) => kind === 'ring words' && isToken(memory, at, now),
  },
  {
    what: "the end of a lane's staged keys, within the lane, until the writer stores it again",
    why: 'the memory says nothing else about the staged keys of a writer that has died or is stopped',
    is: ({ field, now, memory, lane }) =>
      field === 'LANE_STAGED_END' && isWithin(memory, now, memory.words[lane + map.LANE_READ_END]),
  },
  {
    what: 'the end of the keys read, less than a lane away from those staged, until the aggregator stores it again',
    why: 'the writer has no other measure of its room, and soon has staged as much',
    is: ({ field, now, memory, lane }) =>
      field === 'LANE_READ_END' && isNear(memory, memory.words[lane + map.LANE_STAGED_END], now),
  },
  {
    what: "a lane's owner or its generation",
    why: 'the lane then belongs to another thread, or to none',
    is: ({ field }) => field === 'LANE_OWNER',
  },
  {
    what: "the thread that has the aggregator's role",
    why: 'all other threads wait for the thread that this word names',
    is: ({ field }) => field === 'OWNER',
  },
  {
    what: 'the bit in a lane that says that the tracker has stopped, or that everything is dirty',
    why: 'both values are right at some time',
    is: ({ field }) => field === 'LANE_ATTN' || field === 'LANE_EVERYTHING',
  },
  {
    what: 'SLOT_RESTORED of an epoch that becomes the number of that very epoch',
    why: 'it says that the keys are back already',
    is: ({ field }) => field === 'SLOT_RESTORED',
  },
  {
    what: "the open epoch's count, flags or hash, when its aggregator dies before it stores them again",
    why: 'the successor knows nothing else; the hash is that of the next seal from then on',
    is: ({ kind, slot, memory }) =>
      (kind === 'slot headers' || kind === 'namespaces') &&
      slot === token.slotOfCur(memory.words[map.CUR]),
  },
]

function isWithin(memory, end, readEnd) {
  const unread = (end - readEnd) | 0
  return unread >= 0 && unread <= memory.layout.laneCapacity
}

function isNear({ layout }, end, readEnd) {
  return Math.abs((end - readEnd) | 0) <= layout.laneCapacity
}

/** Whether a word could stand in that slot of the ring at some time. */
function isToken({ layout }, at, word) {
  if (word >>> 30 !== 0) return false
  if (!token.isFull(word)) return true
  const value = token.tokenOf(word)
  if (token.isBatch(value)) return token.batchWriter(layout, value) < layout.maxWriters
  return value >>> token.KIND_SHIFT <= token.NOP
}
