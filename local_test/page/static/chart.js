// A line chart on a canvas: many series of many points, ticks at 1, 2, 5 × 10ⁿ, values under the pointer.

const MARGIN = { left: 56, right: 12, top: 10, bottom: 26 }
const HEIGHT = 240
export const COLORS = ["#0b62c4", "#c8500a", "#1a7f37", "#8250df", "#bf3989", "#57606a", "#0a7ea4", "#9a6700"]

/** Round values between low and high, about `count` of them: multiples of 1, 2 or 5 × 10ⁿ. */
export function ticks(low, high, count = 5) {
  if (!(high > low)) return [low]
  const rough = (high - low) / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(one => one * power).find(one => one >= rough)
  const first = Math.ceil(low / step), last = Math.floor(high / step + 1e-9)
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)))
}

/** Powers of ten between low and high, with 2 and 5 times them where there are few. */
export function logTicks(low, high) {
  const powers = []
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) powers.push(10 ** power)
  const all = powers.length > 3 ? powers : powers.flatMap(power => [power, 2 * power, 5 * power])
  return all.map(value => Number(value.toPrecision(12))).filter(value => value >= low && value <= high)
}

/** Exponential moving average with the share `weight` of the past, not biased towards its beginning. */
export function smooth(values, weight) {
  let average = 0, norm = 0
  return values.map(value => {
    average = weight * average + (1 - weight) * value
    norm = weight * norm + (1 - weight)
    return average / norm
  })
}

/** A number in at most five significant digits. */
export function format(value) {
  if (value === 0) return "0"
  const size = Math.abs(value)
  return size >= 1e6 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(5)))
}

/** `series`: [{label, x, y, from}]: x, ascending, and y as arrays of one length; `from` is taken from each x. */
export class Chart {
  constructor(title) {
    this.title = title
    this.series = []
    this.weight = 0
    this.log = false
    this.cursor = null
    this.canvas = document.createElement("canvas")
    this.canvas.tabIndex = 0
    this.canvas.setAttribute("role", "img")
    this.values = document.createElement("p")
    this.values.className = "values"
    const caption = document.createElement("figcaption")
    caption.textContent = title
    this.element = document.createElement("figure")
    this.element.append(caption, this.canvas, this.values)
    this.canvas.addEventListener("pointermove", event => this.point(event.offsetX))
    this.canvas.addEventListener("pointerleave", () => this.show(null))
    this.canvas.addEventListener("keydown", event => this.step(event))
    new ResizeObserver(() => this.draw()).observe(this.canvas)
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw())
  }

  set(series, { weight = this.weight, log = this.log } = {}) {
    Object.assign(this, { series, weight, log })
    this.lines = series.map(one => ({ ...one, shown: weight ? smooth(one.y, weight) : one.y }))
    this.draw()
  }

  // keys move the cursor as the pointer does
  step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    if (!by || !this.longest()) return
    event.preventDefault()
    const { x, from } = this.longest()
    const at = this.cursor === null ? (by > 0 ? -1 : x.length) : nearest(x, this.cursor + from)
    this.show(x[Math.min(x.length - 1, Math.max(0, at + by))] - from)
  }

  point(offset) {
    if (this.frame) this.show(this.frame.toX(offset))
  }

  show(x) {
    this.cursor = x
    this.draw()
  }

  longest() {
    return this.series.reduce((best, one) => one.x.length > (best?.x.length ?? 0) ? one : best, null)
  }

  draw() {
    const width = this.canvas.clientWidth
    if (!width || !this.lines) return
    const ratio = devicePixelRatio || 1
    this.canvas.width = width * ratio
    this.canvas.height = HEIGHT * ratio
    const context = this.canvas.getContext("2d")
    context.scale(ratio, ratio)
    const style = getComputedStyle(this.canvas)
    const filled = this.lines.filter(line => line.x.length)
    this.describe(filled)
    if (!filled.length) return
    this.frame = frame(filled, width, this.log)
    axes(context, this.frame, width, style.getPropertyValue("--rule"), style.color, style.fontFamily)
    this.lines.forEach((line, index) => draw(context, this.frame, line, COLORS[index % COLORS.length], this.lines.length > 8))
    if (this.cursor !== null) this.mark(context, style.color)
  }

  mark(context, color) {
    const { x: all, from } = this.longest()
    const x = this.frame.x(all[nearest(all, this.cursor + from)] - from)
    context.strokeStyle = color
    context.globalAlpha = 0.4
    context.beginPath()
    context.moveTo(x, MARGIN.top)
    context.lineTo(x, HEIGHT - MARGIN.bottom)
    context.stroke()
    context.globalAlpha = 1
  }

  // the same for eyes and for a screen reader: each line's value, at the cursor or at its end
  describe(filled) {
    const parts = filled.map(line => {
      const at = this.cursor === null ? line.x.length - 1 : nearest(line.x, this.cursor + line.from)
      return { line, text: `${format(line.y[at])} at ${format(line.x[at] - line.from)}` }
    })
    this.values.replaceChildren(...parts.map(({ line, text }) => {
      const item = document.createElement("span")
      item.style.setProperty("--line", COLORS[this.lines.indexOf(line) % COLORS.length])
      item.textContent = `${line.label ? `${line.label}: ` : ""}${text}`
      return item
    }))
    const spoken = parts.map(({ line, text }) => `${line.label || this.title}: ${line.x.length} values, ${text}`)
    this.canvas.setAttribute("aria-label", `${this.title}. ${spoken.join(". ") || "No values yet"}`)
  }
}

function frame(lines, width, wanted) {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity]
  for (const line of lines) {
    left = Math.min(left, line.x[0] - line.from)
    right = Math.max(right, line.x.at(-1) - line.from)
    for (const value of line.shown) {
      if (value < low) low = value
      if (value > high) high = value
    }
  }
  const log = wanted && low > 0
  if (right === left) [left, right] = [left - 0.5, right + 0.5]
  if (high === low) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) * 0.05 || 0.5), high + (Math.abs(high) * 0.05 || 0.5)]
  const bend = log ? Math.log : value => value
  const [bottom, top] = [bend(low), bend(high)]
  const across = (width - MARGIN.left - MARGIN.right) / (right - left), up = (HEIGHT - MARGIN.top - MARGIN.bottom) / (top - bottom)
  return {
    x: value => MARGIN.left + (value - left) * across,
    y: value => HEIGHT - MARGIN.bottom - (bend(value) - bottom) * up,
    toX: offset => left + (offset - MARGIN.left) / across,
    across: ticks(left, right, Math.max(2, Math.floor(width / 90))),
    up: log ? logTicks(low, high) : ticks(low, high),
  }
}

function axes(context, at, width, rule, ink, font) {
  context.font = `11px ${font}`
  context.fillStyle = ink
  context.strokeStyle = rule
  context.lineWidth = 1
  context.textBaseline = "middle"
  context.textAlign = "right"
  for (const value of at.up) {
    const y = Math.round(at.y(value)) + 0.5
    context.beginPath()
    context.moveTo(MARGIN.left, y)
    context.lineTo(width - MARGIN.right, y)
    context.stroke()
    context.fillText(format(value), MARGIN.left - 6, y)
  }
  context.textAlign = "center"
  for (const value of at.across) context.fillText(format(value), at.x(value), HEIGHT - MARGIN.bottom / 2)
}

// Of all points in a column of pixels only the first, lowest, highest and last can be seen, of a crowd of lines its range.
function draw(context, at, { x, shown, from }, color, crowded) {
  context.strokeStyle = context.fillStyle = color
  context.lineWidth = crowded ? 1 : 1.5
  context.beginPath()
  let column = null, first = 0, low = 0, high = 0, last = 0
  const flush = () => {
    if (column === null) return
    if (!crowded) context.lineTo(column, first)
    context.lineTo(column, low)
    if (high !== low) context.lineTo(column, high)
    if (!crowded) context.lineTo(column, last)
  }
  for (let index = 0; index < x.length; index++) {
    const y = at.y(shown[index]), exact = at.x(x[index] - from), pixel = x.length > 200 ? Math.round(exact) : exact
    if (pixel === column) {
      if (y < low) low = y
      if (y > high) high = y
      last = y
    } else {
      flush()
      column = pixel
      first = low = high = last = y
    }
  }
  flush()
  context.stroke()
  if (x.length > 60) return
  x.forEach((value, index) => {
    context.beginPath()
    context.arc(at.x(value - from), at.y(shown[index]), 2.5, 0, 7)
    context.fill()
  })
}

/** The index of the value nearest to `wanted` in an ascending array, by halving. */
function nearest(values, wanted) {
  let [low, high] = [0, values.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (values[middle] < wanted) low = middle + 1
    else high = middle
  }
  return low > 0 && wanted - values[low - 1] < values[low] - wanted ? low - 1 : low
}
