/** Draws the tiles that the painters changed since the frame before, and no others. */
import { DirtyTracker } from 'dirtyring'
import { Plot } from './plot.js'
import { cornerOf, createPixels, HEIGHT, TILE, TILE_BYTES, TILES, WIDTH } from './tiles.js'

const PAINTERS = 4
const find = (selector) => document.querySelector(selector)

if (!globalThis.crossOriginIsolated) {
  find('#problem').hidden = false
  throw new Error('this page has no shared memory')
}

// ------------------------------------------------------------------------------------ the painters
const pixels = createPixels()
const control = new Int32Array(new SharedArrayBuffer(4)) // how many brushes each painter has
const tracker = await DirtyTracker.create({ maxKeysPerEpoch: TILES })

for (let painter = 0; painter < PAINTERS; painter++) {
  const worker = new Worker(new URL('painter.js', import.meta.url), { type: 'module' })
  worker.postMessage({ handle: tracker.handle, pixels, control, painter })
}

function setBrushes() {
  Atomics.store(control, 0, find('#paused').checked ? 0 : Number(find('#brushes').value))
}
find('#paused').onchange = find('#brushes').oninput = setBrushes
setBrushes()

// -------------------------------------------------------------------------------------- the frames
const layers = ['#picture', '#outlines'].map((selector) =>
  Object.assign(find(selector), { width: WIDTH, height: HEIGHT }),
)
const [picture, outlines] = layers.map((canvas) => canvas.getContext('2d'))
const image = picture.createImageData(TILE, TILE)
const allTiles = Array.from({ length: TILES }, (_, tile) => tile)

function draw(tile) {
  image.data.set(pixels.subarray(tile * TILE_BYTES, (tile + 1) * TILE_BYTES))
  picture.putImageData(image, ...cornerOf(tile))
}

/** Shows which tiles were drawn in this frame. */
function outline(tiles) {
  outlines.clearRect(0, 0, WIDTH, HEIGHT)
  if (!find('#outlined').checked) return
  outlines.strokeStyle = getComputedStyle(find('#outlines')).color
  for (const tile of tiles) {
    const [x, y] = cornerOf(tile)
    outlines.strokeRect(x + 0.5, y + 0.5, TILE - 1, TILE - 1)
  }
}

const frames = { drawn: 0, tiles: 0, cutMs: [] }

async function frame() {
  const asked = performance.now()
  await tracker.consume((epoch) => {
    frames.cutMs.push(performance.now() - asked)
    const tiles = epoch.exact ? [...epoch.ids()] : allTiles
    tiles.forEach(draw)
    outline(tiles)
    frames.drawn++
    frames.tiles += tiles.length
  })
  requestAnimationFrame(frame)
}
void frame()

// --------------------------------------------------------------------------------------- the plots
const plots = {
  marks: new Plot(find('#marks')),
  epochs: new Plot(find('#epochs')),
  tiles: new Plot(find('#tiles')),
  latency: new Plot(find('#latency'), 2),
}
let [lastTime, lastMarks] = [performance.now(), 0]

setInterval(() => {
  if (frames.drawn === 0) return
  const seconds = (performance.now() - lastTime) / 1000
  const marks = tracker.stats().writers.reduce((sum, { marked }) => sum + marked, 0)
  plots.marks.add((marks - lastMarks) / seconds)
  plots.epochs.add(frames.drawn / seconds)
  plots.tiles.add(frames.tiles / frames.drawn)
  plots.latency.add(frames.cutMs.sort((a, b) => a - b)[frames.cutMs.length >> 1])
  ;[lastTime, lastMarks] = [performance.now(), marks]
  Object.assign(frames, { drawn: 0, tiles: 0, cutMs: [] })
}, 250)
