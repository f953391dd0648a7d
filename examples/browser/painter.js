/** A worker that paints with some brushes, and marks the tile of each pixel that it changed. */
import { openWriter } from 'dirtyring'
import { HEIGHT, offsetOf, tileAt, WIDTH } from './tiles.js'

/** Each painter has colors of its own. */
const PALETTES = [
  ['#205c70', '#408490', '#78acb0'],
  ['#d88c48', '#e8b26e', '#c4683c'],
  ['#5c6e54', '#889870', '#b2bc94'],
  ['#78546e', '#a4788c', '#cca4aa'],
]
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16))

addEventListener('message', ({ data }) => paint(data), { once: true })

function paint({ handle, pixels, control, painter }) {
  const colors = PALETTES[painter].map(rgb)
  const dirty = openWriter(handle)

  /** First the write, then the mark. */
  function blend(x, y, color, opacity) {
    const at = offsetOf(x, y)
    const under = pixels[at + 3] === 0 ? color : pixels.subarray(at, at + 3)
    for (let i = 0; i < 3; i++) pixels[at + i] = under[i] + (color[i] - under[i]) * opacity
    pixels[at + 3] = Math.max(pixels[at + 3], 255 * opacity)
    dirty.mark(tileAt(x, y))
  }

  function dab({ x, y, radius, color }) {
    for (let dy = -radius; dy <= radius; dy++) {
      for (let dx = -radius; dx <= radius; dx++) {
        const [px, py] = [Math.floor(x + dx), Math.floor(y + dy)]
        const isInside = px >= 0 && px < WIDTH && py >= 0 && py < HEIGHT
        const softness = 1 - Math.hypot(dx, dy) / (radius + 0.5)
        if (isInside && softness > 0) blend(px, py, color, 0.6 * softness)
      }
    }
  }

  const newBrush = () => ({
    x: WIDTH * Math.random(),
    y: HEIGHT * Math.random(),
    radius: 1 + Math.floor(4 * Math.random() ** 2),
    color: colors[Math.floor(colors.length * Math.random())],
    steps: 60 + 300 * Math.random(),
  })

  /** A brush follows the curves of its painter's field until its paint is used up. */
  function move(brush) {
    const angle = 3 * Math.sin(brush.x / 150 + painter) + 2 * Math.cos(brush.y / 110 - painter)
    brush.x += Math.cos(angle)
    brush.y += Math.sin(angle)
    dab(brush)
    return --brush.steps > 0 ? brush : newBrush()
  }

  let brushes = []
  setInterval(() => {
    const count = Atomics.load(control, 0)
    brushes = Array.from({ length: count }, (_, i) => brushes[i] ?? newBrush())
    for (let step = 0; step < 3; step++) brushes = brushes.map(move)
    dirty.flush() // the next frame shows what was painted until now
  }, 16)
}
