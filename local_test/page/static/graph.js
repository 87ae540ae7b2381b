// The graph of a pipeline's steps: a layer for each distance from the start, arrows for what waits for what.

import { scrolled } from "/.page/dom.js"

const SVG = "http://www.w3.org/2000/svg"
const NODE = { width: 190, height: 46 }, GAP = { across: 24, down: 44 }

/** Every step of a definition, those of branches after their condition: {name, type, title, before: Set, branch}. */
export function stepsOf(definition) {
  const steps = []
  const walk = (list, condition, branch) => {
    for (const step of list ?? []) {
      const before = new Set([...step.DependsOn ?? [], ...references(step.Arguments)])
      if (condition) before.add(condition)
      const { IfSteps: yes, ElseSteps: no } = step.Type === "Condition" ? step.Arguments : {}
      steps.push({ name: step.Name, type: step.Type, title: step.DisplayName ?? step.Name, before, condition, branch })
      walk(yes, step.Name, "if")
      walk(no, step.Name, "else")
    }
  }
  walk(definition.Steps)
  const known = new Map(steps.map(step => [step.name, step]))
  // a condition's arguments hold its branches, whose references are theirs and not its own
  for (const step of steps) step.before = new Set([...step.before].filter(name => known.has(name) && !isWithin(known, name, step.name)))
  return steps
}

function isWithin(known, name, condition) {
  for (let one = known.get(name); one; one = known.get(one.condition)) if (one.name === condition) return true
  return false
}

/** The names of the steps that a value refers to, but for what a condition's branches say. */
function references(value, found = new Set()) {
  if (typeof value !== "object" || value === null) return found
  for (const [key, item] of Object.entries(value)) {
    if (key === "IfSteps" || key === "ElseSteps") continue
    const text = ["Get", "Path", "Step"].includes(key) && typeof item === "string" ? item : ""
    const name = /^Steps\.([^.[]+)/.exec(text)?.[1]
    if (name) found.add(name)
    references(item, found)
  }
  return found
}

/** Layers of steps: each stands below all that it waits for, near them. */
export function layersOf(steps) {
  const known = new Map(steps.map(step => [step.name, step])), depths = new Map()
  const depth = (name, above = new Set()) => {
    if (above.has(name)) return 0 // a circle, which the server refuses
    if (!depths.has(name)) depths.set(name, Math.max(-1, ...[...known.get(name).before].map(one => depth(one, new Set([...above, name])))) + 1)
    return depths.get(name)
  }
  const layers = []
  for (const step of steps) (layers[depth(step.name)] ??= []).push(step)
  const place = new Map()
  for (const layer of layers) {
    const wish = step => {
      const places = [...step.before].map(name => place.get(name)).filter(one => one !== undefined)
      return places.length ? places.reduce((sum, one) => sum + one, 0) / places.length : 0
    }
    layer.sort((one, other) => wish(one) - wish(other))
    layer.forEach((step, index) => place.set(step.name, index - (layer.length - 1) / 2))
  }
  return layers
}

function element(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  made.append(...children)
  return made
}

/** A place for the graph of a definition that keeps its place where it is drawn anew; at first its middle, where it begins,
 *  is seen. */
export class Graph {
  constructor(definition) {
    this.definition = definition
    this.element = scrolled("Graph")
  }

  draw(statusOf = () => undefined) {
    const isFirst = !this.element.firstChild
    this.element.replaceChildren(drawGraph(this.definition, statusOf))
    if (isFirst) this.element.scrollLeft = (this.element.scrollWidth - this.element.clientWidth) / 2
  }
}

/** The drawing; `statusOf`: a step's name → its status so far. */
function drawGraph(definition, statusOf) {
  const steps = stepsOf(definition), layers = layersOf(steps), places = new Map()
  const width = Math.max(...layers.map(layer => layer.length)) * (NODE.width + GAP.across)
  const height = layers.length * (NODE.height + GAP.down) - GAP.down + 4
  layers.forEach((layer, row) => layer.forEach((step, index) => places.set(step.name, {
    x: width / 2 + (index - (layer.length - 1) / 2) * (NODE.width + GAP.across), y: row * (NODE.height + GAP.down) + 2,
  })))
  const arrow = element("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
    element("path", { d: "M0 0L8 4L0 8z" }))
  const lines = steps.flatMap(step => [...step.before].map(name => {
    const [from, to] = [places.get(name), places.get(step.name)], [start, end] = [from.y + NODE.height, to.y]
    const middle = (start + end) / 2
    const line = element("path", { d: `M${from.x} ${start}C${from.x} ${middle} ${to.x} ${middle} ${to.x} ${end}`, "marker-end": "url(#arrow)" })
    if (name !== step.condition) return [line]
    return [line, element("text", { x: (from.x + to.x) / 2 + 6, y: middle - 4, class: "branch" }, step.branch)]
  }).flat())
  const nodes = steps.map(step => {
    const { x, y } = places.get(step.name), status = statusOf(step.name)
    return element("g", { class: `node ${status ?? ""}` },
      element("title", {}, `${step.title}: ${step.type}${status ? `, ${status}` : ""}`),
      element("rect", { x: x - NODE.width / 2, y, width: NODE.width, height: NODE.height, rx: 8 }),
      element("text", { x, y: y + 19, class: "name" }, shorten(step.title)),
      element("text", { x, y: y + 36, class: "kind" }, status ? `${step.type} · ${status}` : step.type))
  })
  const label = `Graph: ${steps.map(step => `${step.title}${step.before.size ? ` after ${[...step.before].join(", ")}` : ""}`).join("; ")}`
  const svg = element("svg", { class: "graph", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}` }, element("defs", {}, arrow), ...lines, ...nodes)
  svg.style.maxWidth = `${width}px`
  svg.style.minWidth = `${0.75 * width}px` // a phone shows it smaller, and scrolls where that is not enough
  return svg
}

const shorten = name => name.length > 24 ? `${name.slice(0, 23)}…` : name
