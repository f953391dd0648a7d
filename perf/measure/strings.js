/**
 * One fresh process, one measurement: how long until the distinct ones of the text keys that a
 * writer's thread sends were read back, as strings, on another thread.
 *
 *   node perf/measure/strings.js '{"kind":"dirtyring","distinct":20000,"text":16,"count":2000000}'
 *
 * Prints one JSON line. Kinds: dirtyring, dirtyring js (the TypeScript kernel); KeyDictionary (its
 * ids through dirtyring); postMessage (copied batches of 64 or of 1,024 strings into a Set<string>),
 * ringbuf.js (UTF-8 in batches of 64 into a Set<string>); and two floors with one thread and no
 * channel, 'Set<string>, one thread' and 'empty loop'. See ../harness/pipeline.js for what a kind
 * is, and ../harness/texts.js for `text`.
 *
 * Every kind puts what it reads back into an array, in the time that is taken. Afterwards the array
 * is compared with what was sent: `lost`.
 */
import { isMainThread, parentPort } from 'node:worker_threads'
import { DirtyTracker, KeyDictionary, openWriter } from '../../dist/index.js'
import { args, report } from '../harness/args.js'
import { postMessages, timePipeline, writeStream } from '../harness/pipeline.js'
import { compare, roomFor, storedBytes, tableOf, uniformIds } from '../harness/texts.js'

const kinds = {
  dirtyring: { receive: dirtyring, send: marker, warmUps: 2 },
  'dirtyring js': { receive: dirtyring, send: marker, warmUps: 2 },
  KeyDictionary: { receive: dictionary, send: numberer, warmUps: 2 },
  'postMessage, 64': { receive: keysOfMessages, send: messenger(64), warmUps: 1 },
  'postMessage, 1,024': { receive: keysOfMessages, send: messenger(1024), warmUps: 1 },
  'ringbuf.js': { load: async () => (await import('../peers/channels.js')).ringbufTexts },
  'Set<string>, one thread': { alone: fillSet, warmUps: 1 },
  'empty loop': { alone: walk, warmUps: 4 },
}

if (isMainThread) {
  const { distinct, text, count } = args
  const streams = [uniformIds(count, distinct)]
  const { result, ...timed } = await timePipeline({ url: import.meta.url, kinds, args, streams })
  const { back, ...more } = result
  const compared = back === undefined ? {} : compare(back, streams[0], distinct, text)
  report({ ...args, ...timed, ...compared, ...more })
  process.exit()
} else {
  await writeStream(kinds)
}

async function dirtyring({ kind, distinct, text }) {
  const tracker = await DirtyTracker.create({
    kernel: kind === 'dirtyring js' ? 'js' : 'auto',
    ...roomFor(distinct, text),
  })
  return epochsOf(tracker, tracker.handle, (epoch) => epoch.strings())
}

async function dictionary({ distinct, text }) {
  const tracker = await DirtyTracker.create()
  const keys = KeyDictionary.create({
    maxKeys: 2 * distinct,
    maxBytes: 2 * storedBytes(distinct, text),
  })
  const handles = { tracker: tracker.handle, keys: keys.handle }
  return epochsOf(tracker, handles, function* textsOf(epoch) {
    for (const id of epoch.ids()) yield keys.key(id)
  })
}

/** An epoch of all that was sent, each key read back. */
function epochsOf(tracker, handle, keysOf) {
  const waits = () => tracker.stats().writers[0].waits
  let back
  let before
  return {
    handles: [handle],
    clear: () => void (before = waits()),
    async settle(_count, sent) {
      await sent
      await tracker.consume((epoch) => {
        back = []
        for (const key of keysOf(epoch)) back.push(key)
      })
    },
    result: () => ({ back, waits: waits() - before }),
  }
}

function marker(handle, buffer, { distinct, text }) {
  const writer = openWriter(handle)
  const ids = new Int32Array(buffer)
  const table = tableOf(distinct, text)
  return () => {
    for (let i = 0; i < ids.length; i++) writer.mark(table[ids[i]])
    writer.flush()
  }
}

function numberer(handles, buffer, { distinct, text }) {
  const writer = openWriter(handles.tracker)
  const keys = KeyDictionary.attach(handles.keys)
  const ids = new Int32Array(buffer)
  const table = tableOf(distinct, text)
  return () => {
    for (let i = 0; i < ids.length; i++) writer.mark(keys.id(table[ids[i]]))
    writer.flush()
  }
}

function keysOfMessages() {
  return postMessages(1, (set) => ({ back: listOf(set) }))
}

function messenger(batchSize) {
  return (_handle, buffer, { distinct, text }) => {
    const ids = new Int32Array(buffer)
    const table = tableOf(distinct, text)
    return () => {
      for (let at = 0; at < ids.length; at += batchSize) {
        const batch = []
        const end = Math.min(at + batchSize, ids.length)
        for (let i = at; i < end; i++) batch.push(table[ids[i]])
        parentPort.postMessage(batch)
      }
    }
  }
}

function fillSet({ distinct, text }) {
  const table = tableOf(distinct, text)
  return (streams) => {
    const set = new Set()
    for (const ids of streams) for (let i = 0; i < ids.length; i++) set.add(table[ids[i]])
    return { back: listOf(set) }
  }
}

/** Key by key, as an epoch is read. */
function listOf(set) {
  const list = []
  for (const key of set) list.push(key)
  return list
}

function walk({ distinct, text }) {
  const table = tableOf(distinct, text)
  return (streams) => {
    let sink = 0
    for (const ids of streams) for (let i = 0; i < ids.length; i++) sink += table[ids[i]].length
    return { sink }
  }
}
