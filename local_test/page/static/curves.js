// Charts of jobs' or runs' metrics, and a job's log.

import { Chart } from "/.page/chart.js"
import { Pace, h } from "/.page/dom.js"

const LOG_LINES = 5000
const COLORS = /(?:\x1b|#033)\[[\d;]*m/g // of a terminal, as they are or as a log spells them

/** A chart a metric, with a line a job; `labelOf`: a job's name → what its line is called. */
export class Curves {
  constructor(names, labelOf = name => name) {
    Object.assign(this, { names, labelOf, charts: new Map(), pace: new Pace(() => this.draw()) })
    this.grid = h("div", { class: "charts" })
    const weight = h("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: 0, input: () => this.pace.plan() })
    const log = h("input", { type: "checkbox", change: () => this.draw() })
    const axis = h("select", { change: () => this.draw(), "aria-label": "horizontal axis" }, h("option", { value: "index" }, "by value"), h("option", { value: "time" }, "by seconds"))
    this.controls = { weight, log, axis }
    this.bar = h("div", { class: "bar", hidden: true }, h("label", {}, "Smoothing", weight), h("label", {}, log, "Logarithmic"), axis)
    this.element = h("section", { "aria-label": "Metrics" }, this.bar, this.grid)
    this.clear()
  }

  clear() {
    this.points = new Map() // metric → job → its Points
  }

  /** Of one job, which is another one now. */
  clearJob(job) {
    for (const jobs of this.points.values()) jobs.set(job, new Points())
    this.pace.plan()
  }

  add(job, points) {
    for (const [metric, at, value, index] of points) {
      if (!this.points.has(metric)) this.points.set(metric, new Map(this.names.map(name => [name, new Points()])))
      this.points.get(metric).get(job).add(index, at, value ?? NaN)
    }
    this.pace.plan()
  }

  draw() {
    const { weight, log, axis } = this.controls
    this.bar.hidden = this.points.size === 0
    for (const [metric, jobs] of this.points) {
      if (!this.charts.has(metric)) {
        this.charts.set(metric, new Chart(metric))
        this.grid.append(this.charts.get(metric).element)
      }
      const series = [...jobs].map(([name, points]) => ({ label: this.names.length > 1 ? this.labelOf(name) : "", ...points.by(axis.value) }))
      this.charts.get(metric).set(series, { weight: Number(weight.value), log: log.checked, whole: axis.value === "index" })
    }
  }
}

/** A metric's values as they came: arrays of one length. A run's steps and times may come in any order. */
class Points {
  constructor() {
    Object.assign(this, { index: [], time: [], value: [], ascends: { index: true, time: true } })
  }

  add(index, time, value) {
    const last = this.value.length - 1
    if (index < this.index[last]) this.ascends.index = false
    if (time < this.time[last]) this.ascends.time = false
    this.index.push(index)
    this.time.push(time)
    this.value.push(value)
  }

  by(axis) {
    const order = this.ascends[axis] ? null : [...this[axis].keys()].sort((one, other) => this[axis][one] - this[axis][other])
    const [x, y] = [this[axis], this.value].map(values => order ? order.map(at => values[at]) : values)
    return { x, y, from: axis === "time" ? x[0] : 0 }
  }
}

/** The last lines of all hosts. It follows as long as its end is in sight; else who reads it keeps the place, also where
 *  all is told anew. */
export class Log {
  constructor(title = "Log") {
    this.text = h("pre", { class: "log", tabindex: 0, "aria-label": "Log" })
    this.element = h("section", {}, h("h2", {}, title), this.text)
  }

  clear() {
    if (!this.follows()) this.place = this.text.scrollTop
    this.text.replaceChildren()
  }

  follows() {
    return this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 30
  }

  add(host, lines) {
    const follows = this.follows()
    const prefix = host === "algo-1" ? "" : `${host}: `
    this.text.append(...lines.slice(-LOG_LINES).map(line => document.createTextNode(`${prefix}${line.replace(COLORS, "")}\n`)))
    while (this.text.childNodes.length > LOG_LINES) this.text.firstChild.remove()
    if (this.place) this.text.scrollTop = this.place
    else if (follows) this.text.scrollTop = this.text.scrollHeight
    this.place = null
  }
}
