/** A figure with its newest value, and a line of those before it. */
const POINTS = 60

export class Plot {
  #figure
  #format
  #values = []

  constructor(figure, digits = 0) {
    this.#figure = figure
    this.#format = new Intl.NumberFormat('en', {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    })
  }

  add(value) {
    this.#values.push(value)
    if (this.#values.length > POINTS) this.#values.shift()
    const max = Math.max(...this.#values, Number.MIN_VALUE)
    const points = this.#values.map((y, i) => [POINTS - this.#values.length + i + 1, 1 - y / max])
    const [left, right] = [points[0][0], points.at(-1)[0]]
    this.#figure.querySelector('polyline').setAttribute('points', points.join(' '))
    const area = [[left, 1], ...points, [right, 1]].join(' ')
    this.#figure.querySelector('polygon').setAttribute('points', area)
    this.#figure.querySelector('output').textContent = this.#format.format(value)
    this.#figure.querySelector('small').textContent = `max ${this.#format.format(max)}`
  }
}
