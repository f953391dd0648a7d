import { FORM_FILTER, GATHERED_KEYS, GATHERED_MAX, GATHERED_TEXTS } from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { openCheckOf, type SlotHeader } from '../memory/slot.js'
import { TEXT_HEADER } from '../memory/table-size.js'
import { filterCount, filterFold } from '../set/filter.js'
import { HEAD_AT, recordWords, textBytesOf } from '../set/text-set.js'
import { digest, hashWords } from '../text/murmur.js'
import { insertKeys } from './open-epoch.js'
import { publishCount, publishFill, raiseFlags } from './publish.js'
import { emptySlot, enterSlot, newSlotState, type SlotState, storeSlot } from './state.js'
import { turn } from './superset.js'
import { insertPlaces } from './texts.js'

/** What one epoch slot held, in memory of the caller's own. */
export interface SlotContent extends Pick<SlotHeader, 'flags' | 'namespaces' | 'form'> {
  /** The keys of the log: low, high, low, high … */
  readonly pairs: Int32Array
  /** The records of the arena: a word that means nothing here, the head, the payload. */
  readonly records: Int32Array
  /** The filter; empty unless the form is FILTER. Its length is a power of two. */
  readonly filter: Int32Array
}

/**
 * Puts contents into an epoch slot that no other thread has seen yet, as the sealed epoch of that
 * number (mod 2^19). If there is no room for all of them, the slot becomes a superset.
 *
 * @param staging - the word index of memory that is free: texts lie there while they are inserted
 * @param stagingWords - how many words of it there are
 */
export function loadContents(
  memory: Memory,
  slot: number,
  epoch: number,
  contents: readonly SlotContent[],
  staging: number,
  stagingWords: number,
): void {
  const a = newSlotState(memory)
  emptySlot(a, slot, openCheckOf(epoch))
  enterSlot(a, slot)
  for (const content of contents) {
    loadPairs(a, content.pairs)
    loadRecords(a, content.records, staging, stagingWords)
    if (content.form === FORM_FILTER) {
      turn(a)
      filterFold(a.filter, content.filter)
      filterCount(a.filter)
      publishFill(a)
    }
    raiseFlags(a, content)
  }
  storeSlot(a, epoch)
}

function loadPairs(a: SlotState, pairs: Int32Array): void {
  const { words } = a
  for (let from = 0; from < pairs.length; from += GATHERED_MAX * 2) {
    const to = Math.min(from + GATHERED_MAX * 2, pairs.length)
    for (let i = from; i < to; i++) words[GATHERED_KEYS + i - from] = pairs[i]
    insertKeys(a, GATHERED_KEYS, GATHERED_KEYS + to - from)
  }
  publishCount(a)
}

function loadRecords(
  a: SlotState,
  records: Int32Array,
  staging: number,
  stagingWords: number,
): void {
  const { words } = a
  const hasText = a.memory.layout.maxStringsPerEpoch > 0
  let [place, texts] = [0, 0]
  const insert = (): void => {
    if (texts > 0) insertPlaces(a, texts)
    place = 0
    texts = 0
  }
  for (let at = 0; at < records.length;) {
    const size = recordWords(records[at + HEAD_AT])
    if (!hasText || size > stagingWords) {
      loadFingerprint(a, records.subarray(at + TEXT_HEADER, at + size), records[at + HEAD_AT])
    } else {
      if (place + size > stagingWords || texts === GATHERED_MAX) insert()
      for (let i = 0; i < size; i++) words[staging + place + i] = records[at + i]
      words[GATHERED_TEXTS + texts++] = staging + place
      place += size
    }
    at += size
  }
  insert()
}

/**
 * A text that the tracker has no room for. Without any memory for texts it is marked by its
 * fingerprint; where there is some, an epoch that lacks one is a superset.
 */
function loadFingerprint(a: SlotState, payload: Int32Array, head: number): void {
  if (a.memory.layout.maxStringsPerEpoch > 0) turn(a)
  hashWords(payload, textBytesOf(head), 0)
  loadPairs(a, digest.subarray(0, 2))
}
