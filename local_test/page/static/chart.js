// A line chart on a canvas: many series of many points, ticks at 1, 2, 5 × 10ⁿ, values under the pointer.

const MARGIN = { left: 44, right: 12, top: 10, bottom: 26 }
const HEIGHT = 240
// each at least 3 : 1 against its ground
const LIGHT = ["#0b62c4", "#c8500a", "#1a7f37", "#8250df", "#bf3989", "#57606a", "#0a7ea4", "#9a6700"]
const DARK = ["#6db0ff", "#ff9a57", "#57c777", "#c297ff", "#ff7eb6", "#a4adb8", "#4fc3dd", "#e3b341"]
const scheme = matchMedia("(prefers-color-scheme: dark)")
export const colorOf = index => (scheme.matches ? DARK : LIGHT)[index % LIGHT.length]

/** Round values between low and high, about `count` of them: multiples of 1, 2 or 5 × 10ⁿ. */
export function ticks(low, high, count = 5) {
  if (!(high > low)) return [low]
  const rough = (high - low) / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const far = one => Math.abs(Math.log(one * power / rough))
  const step = [1, 2, 5, 10].reduce((best, one) => far(one) < far(best) ? one : best) * power  // whichever is nearest
  const first = Math.ceil(low / step), last = Math.floor(high / step + 1e-9)
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)))
}

/** Powers of ten between low and high, at most about `count`, with 2 and 5 times them where there are few. */
export function logTicks(low, high, count = 6) {
  const powers = [], first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high))
  const every = Math.max(1, Math.ceil((last - first) / count))
  for (let power = Math.ceil(first / every) * every; power <= last; power += every) powers.push(10 ** power)
  const all = last - first > 2 ? powers : powers.flatMap(power => [power, 2 * power, 5 * power])
  return all.map(value => Number(value.toPrecision(12))).filter(value => value >= low && value <= high)
}

/** Exponential moving average with the share `weight` of the past, not biased towards its beginning. What is no number
 *  stays so, and tells nothing of the others. */
export function smooth(values, weight) {
  let average = 0, norm = 0
  return values.map(value => {
    if (!Number.isFinite(value)) return value
    average = weight * average + (1 - weight) * value
    norm = weight * norm + (1 - weight)
    return average / norm
  })
}

/** A number in at most five significant digits. */
export function format(value) {
  if (value === 0) return "0"
  if (!Number.isFinite(value)) return "not a number"
  const size = Math.abs(value)
  return size >= 1e6 || size < 1e-4 ? value.toExponential(2).replace(/\.?0*e\+?/, "e") : String(Number(value.toPrecision(5)))
}

/** `series`: [{label, x, y, from}]: x, ascending, and y as arrays of one length; `from` is taken from each x. A value
 *  that is no number, or that a logarithmic axis has no place for, is a gap. `whole`: x are whole numbers. */
export class Chart {
  constructor(title) {
    this.title = title
    this.series = []
    this.weight = 0
    this.log = this.whole = false
    this.cursor = this.chosen = null // a place on the horizontal axis; the index of a line that stands out
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
    this.values.addEventListener("pointerover", event => this.choose(event.target.dataset.index ?? null))
    this.values.addEventListener("pointerleave", () => this.choose(null))
    new ResizeObserver(() => this.draw()).observe(this.canvas)
    scheme.addEventListener("change", () => this.draw())
  }

  set(series, { weight = this.weight, log = this.log, whole = this.whole } = {}) {
    Object.assign(this, { series, weight, log, whole })
    this.lines = series.map(one => ({ ...one, shown: weight ? smooth(one.y, weight) : one.y }))
    this.draw()
  }

  // keys move the cursor and choose a line as the pointer does
  step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key], line = { ArrowUp: -1, ArrowDown: 1, Escape: NaN }[event.key]
    if (!(by || line !== undefined) || !this.longest()) return
    event.preventDefault()
    if (!by) return this.choose(line && this.series.length > 1 ? ((this.chosen ?? (line > 0 ? -1 : 0)) + line + this.series.length) % this.series.length : null)
    const { x, from } = this.longest()
    const at = this.cursor === null ? (by > 0 ? -1 : x.length) : nearest(x, this.cursor + from)
    this.show(x[Math.min(x.length - 1, Math.max(0, at + by))] - from)
  }

  choose(index) {
    const chosen = index === null ? null : Number(index)
    if (chosen === this.chosen || this.series.length < 2) return
    this.chosen = chosen
    this.draw()
  }

  point(offset) {
    if (this.frame) this.show(this.frame.toX(offset))
  }

  show(x) {
    this.cursor = x
    this.planned ??= requestAnimationFrame(() => {
      this.planned = null
      this.drawCursor()
    })
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
    this.filled = filled
    if (!filled.length) return this.describe()
    context.font = `11px ${style.fontFamily}`
    this.frame = frame(filled, width, this, text => context.measureText(text).width)
    axes(context, this.frame, width, style.getPropertyValue("--rule"), style.color)
    const paint = (line, index) => draw(context, this.frame, line, colorOf(index), this.lines.length > 8)
    context.globalAlpha = this.chosen === null ? 1 : 0.15
    this.lines.forEach(paint)
    context.globalAlpha = 1
    if (this.lines[this.chosen]) paint(this.lines[this.chosen], this.chosen)
    this.ground = new OffscreenCanvas(this.canvas.width, this.canvas.height)
    this.ground.getContext("2d").drawImage(this.canvas, 0, 0)
    this.drawCursor()
  }

  // over the lines, which stay as they are however many points they have
  drawCursor() {
    if (!this.filled?.length) return
    this.describe()
    const context = this.canvas.getContext("2d")
    context.save()
    context.resetTransform()
    context.clearRect(0, 0, this.canvas.width, this.canvas.height)
    context.drawImage(this.ground, 0, 0)
    context.restore()
    if (this.cursor !== null) this.mark(context, getComputedStyle(this.canvas).color)
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
  describe() {
    const parts = this.filled.map(line => {
      const at = this.cursor === null ? line.x.length - 1 : nearest(line.x, this.cursor + line.from)
      return { line, text: `${format(line.y[at])} at ${format(line.x[at] - line.from)}` }
    })
    this.values.replaceChildren(...parts.map(({ line, text }) => {
      const item = document.createElement("span"), index = this.lines.indexOf(line)
      item.dataset.index = index
      item.className = index === this.chosen ? "chosen" : ""
      item.style.setProperty("--line", colorOf(index))
      item.textContent = `${line.label ? `${line.label}: ` : ""}${text}`
      return item
    }))
    const spoken = parts.filter(({ line }) => this.chosen === null || line === this.lines[this.chosen]).map(({ line, text }) => `${line.label || this.title}: ${line.x.length} values, ${text}`)
    this.canvas.setAttribute("aria-label", `${this.title}. ${spoken.join(". ") || "No values yet"}`)
  }
}

function frame(lines, width, { log: wanted, whole }, measure) {
  const log = wanted && lines.some(line => line.shown.some(value => value > 0 && value < Infinity))
  const fits = value => Number.isFinite(value) && (!log || value > 0)
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity]
  for (const line of lines) {
    left = Math.min(left, line.x[0] - line.from)
    right = Math.max(right, line.x.at(-1) - line.from)
    for (const value of line.shown) {
      if (value < low && fits(value)) low = value
      if (value > high && fits(value)) high = value
    }
  }
  if (low > high) [low, high] = [0, 1] // no number at all
  if (right === left) [left, right] = [left - 0.5, right + 0.5]
  if (high === low) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) * 0.05 || 0.5), high + (Math.abs(high) * 0.05 || 0.5)]
  const bend = log ? Math.log : value => value
  const [bottom, top] = [bend(low), bend(high)]
  const marks = log ? logTicks(low, high) : ticks(low, high)
  const start = Math.min(width / 3, Math.max(MARGIN.left, ...marks.map(value => measure(format(value)) + 10)))
  const across = (width - start - MARGIN.right) / (right - left), up = (HEIGHT - MARGIN.top - MARGIN.bottom) / (top - bottom)
  return {
    start, fits,
    x: value => start + (value - left) * across,
    y: value => HEIGHT - MARGIN.bottom - (bend(value) - bottom) * up,
    toX: offset => left + (offset - start) / across,
    across: ticks(left, right, Math.max(2, Math.floor(width / 90))).filter(value => !whole || Number.isInteger(value)),
    up: marks,
  }
}

function axes(context, at, width, rule, ink) {
  context.fillStyle = ink
  context.strokeStyle = rule
  context.lineWidth = 1
  context.textBaseline = "middle"
  context.textAlign = "right"
  for (const value of at.up) {
    const y = Math.round(at.y(value)) + 0.5
    context.beginPath()
    context.moveTo(at.start, y)
    context.lineTo(width - MARGIN.right, y)
    context.stroke()
    context.fillText(format(value), at.start - 6, y)
  }
  context.textAlign = "center"
  for (const value of at.across) {
    const text = format(value), right = width - context.measureText(text).width / 2 // the last one's place, if it is long
    context.fillText(text, Math.min(at.x(value), right), HEIGHT - MARGIN.bottom / 2)
  }
}

// Of all points in a column of pixels only the first, lowest, highest and last can be seen, of a crowd of lines its range.
function draw(context, at, { x, shown, from }, color, crowded) {
  context.strokeStyle = context.fillStyle = color
  context.lineWidth = crowded ? 1 : 1.5
  context.lineCap = "round" // so that a value between two gaps is a point
  context.beginPath()
  let column = null, isGap = true, first = 0, low = 0, high = 0, last = 0
  const flush = () => {
    if (column === null) return
    if (isGap) context.moveTo(column, first)
    isGap = false
    if (!crowded) context.lineTo(column, first)
    context.lineTo(column, low)
    if (high !== low) context.lineTo(column, high)
    if (!crowded) context.lineTo(column, last)
  }
  for (let index = 0; index < x.length; index++) {
    if (!at.fits(shown[index])) {
      flush()
      column = null
      isGap = true
      continue
    }
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
    if (!at.fits(shown[index])) return
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
