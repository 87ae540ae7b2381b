// Elements of the page. Everything that a job says becomes text, never HTML.

import { format } from "/.page/chart.js"

const view = document.getElementById("view")
export const region = new URLSearchParams(location.search).get("region") // none: the server's home

/** An element: attributes, listeners (functions), children (nodes, or text). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value)
    else if (value === true) element.setAttribute(name, "")
    else if (value !== false && value != null) element.setAttribute(name, value)
  }
  element.append(...children.flat().filter(child => child != null))
  return element
}

/** An address of this page, in the region that it shows. */
export function here(address, parameters = [], at = region) {
  const query = String(new URLSearchParams([...parameters, ...at ? [["region", at]] : []]))
  return query ? `${address}?${query}` : address
}

export const pathOf = (...names) => `/${names.map(encodeURIComponent).join("/")}`
export const link = (kind, name, text = name) => h("a", { href: here(pathOf(kind, name)) }, text)
export const pill = (status, state) => h("span", { class: `status ${status}` }, state && state !== status ? `${status} · ${state}` : status)
export const time = seconds => new Date(seconds * 1000).toLocaleString()
export const none = () => h("p", { class: "quiet" }, "None.")
export const scrolled = (label, ...children) => h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": label }, children)
const since = (from, to) => Math.max(0, Math.round((to ?? Date.now() / 1000) - from))

function duration(total) {
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor(total / 60) % 60]
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${total % 60} s` : `${total} s`
}

/** How long it took; of what still runs, each second anew. */
export const ranFor = (from, to) => h("span", { "data-from": from, "data-to": to ?? "" }, duration(since(from, to)))
setInterval(() => {
  for (const cell of document.querySelectorAll('[data-to=""]')) cell.textContent = duration(since(Number(cell.dataset.from)))
}, 1000)

export function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${format(Number((bytes / 1e6).toPrecision(3)))} MB`
}

export function table(head, rows) {
  return scrolled(head.join(", "), h("table", { class: "list" },
    h("thead", {}, h("tr", {}, head.map(name => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map(cells => h("tr", {}, cells.map(cell => cell instanceof HTMLTableCellElement ? cell : h("td", {}, cell)))))))
}

export function facts(values) {
  return h("table", {}, h("tbody", {}, Object.entries(values).filter(([, value]) => value !== undefined && value !== "").map(([name, value]) =>
    h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "name" }, typeof value === "object" && !(value instanceof Node) ? JSON.stringify(value) : value)))))
}

export function failed(error) {
  view.querySelector("[role=alert]")?.remove()
  view.append(h("p", { class: "message", role: "alert" }, error.message))
}

/** What the address names is not there, or not any more. */
export function showMissing(title, text, address, more, at = region) {
  view.replaceChildren(h("h1", {}, title), h("p", { class: "message", role: "alert" }, text), h("a", { href: here(address, [], at) }, more))
}

/** Gives `old` the attributes and children of `fresh`. What is the same stays, so that the focus, a selection and a click
 *  that has begun are kept. */
export function update(old, fresh) {
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name)
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value)
  const before = [...old.childNodes], after = [...fresh.childNodes]
  after.forEach((child, index) => {
    const same = before[index]
    if (!same) old.append(child)
    else if (same.nodeName !== child.nodeName) same.replaceWith(child)
    else if (same.nodeType !== Node.TEXT_NODE) update(same, child)
    else if (same.data !== child.data) same.data = child.data
  })
  for (const child of before.slice(after.length)) child.remove()
}

/** Draws now, and later at most a fifth of the time, however often it is asked to. */
export class Pace {
  constructor(draw) {
    this.draw = draw
  }

  plan() {
    this.planned ??= setTimeout(() => {
      const began = performance.now()
      this.planned = null
      this.draw()
      this.pause = 4 * (performance.now() - began)
    }, this.pause ?? 0)
  }
}
