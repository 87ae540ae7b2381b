// A table of rows that come, change and go, sorted by any column, with as many of them as one wants to see. What it is
// sorted by, and which names are looked for, is in the page's address.

import { format } from "/.page/chart.js"
import { Pace, h, scrolled, update } from "/.page/dom.js"

const AT_FIRST = 100 // rows; each click shows as many more
const FEW = 10 // among which nobody has to look for a name

/** `columns`: [{name, cell: row → a node, a td or text, by: row → what it is sorted by}], or a function that makes them of
 *  all rows. `empty`: what is there without rows. `compare`: where two or more chosen ones are compared, by their ids. */
export class List {
  constructor(columns, { empty, compare = null, sort = "Created", by = row => row.created, descending = true, label }) {
    Object.assign(this, { columnsOf: typeof columns === "function" ? columns : () => columns, empty, compare, sort, by, descending })
    const known = new URLSearchParams(location.search), order = known.get("sort")
    if (order) Object.assign(this, { sort: order.replace(/^-/, ""), descending: order.startsWith("-") })
    this.wanted = known.get("name") ?? ""
    this.most = AT_FIRST
    this.chosen = new Set()
    this.pace = new Pace(() => this.draw())
    this.head = h("thead")
    this.body = h("tbody")
    this.table = scrolled(label, h("table", { class: "list" }, this.head, this.body))
    this.none = h("p", { class: "quiet" }, "…")
    this.more = h("button", { hidden: true, click: () => { this.most += AT_FIRST; this.draw() } })
    this.button = h("button", { disabled: true, click: () => { location.href = compare([...this.chosen]) } }, "Compare")
    this.search = h("input", { type: "search", placeholder: "Name", "aria-label": `find in ${label} by name`, value: this.wanted, input: () => {
      this.wanted = this.search.value
      this.remember("name", this.wanted)
      this.pace.plan()
    } })
    this.bar = h("div", { class: "bar", hidden: true }, this.search, ...compare ? [this.button, h("span", { class: "quiet" }, "two or more on the same charts")] : [])
    this.element = h("div", {}, this.bar, this.none, this.table, this.more)
    this.table.hidden = true
    this.body.addEventListener("change", event => this.choose([event.target.value], event.target.checked))
    this.clear()
  }

  /** Before all is told anew. What is drawn stays until then. */
  clear() {
    this.rows = new Map()
    this.stale = new Set()
  }

  apply({ rows, gone }) {
    for (const row of rows) {
      this.rows.set(row.id, row)
      this.stale.add(row.id)
    }
    for (const id of gone) this.rows.delete(id)
    this.choose(gone, false)
    this.pace.plan()
  }

  choose(ids, chosen) {
    for (const id of ids) this.chosen[chosen ? "add" : "delete"](id)
    this.button.disabled = this.chosen.size < 2
    this.button.textContent = this.chosen.size < 2 ? "Compare" : `Compare ${this.chosen.size}`
  }

  draw() {
    const rows = [...this.rows.values()]
    const matching = this.find(rows)
    this.none.hidden = matching.length > 0
    this.none.textContent = rows.length ? "None of this name." : this.empty
    this.table.hidden = !matching.length
    this.search.hidden = rows.length < FEW && !this.wanted
    this.bar.hidden = !rows.length
    this.drawHead(this.columnsOf(rows))
    const shown = this.ordered(matching).slice(0, this.most)
    this.more.hidden = shown.length === matching.length
    this.more.textContent = `Show more (${shown.length} of ${matching.length})`
    this.drawBody(shown)
  }

  drawHead(columns) {
    const heading = JSON.stringify([columns.map(({ name }) => name), this.sort, this.descending])
    if (heading === this.heading) return
    this.heading = heading
    const names = JSON.stringify(columns.map(({ name }) => name))
    if (names !== this.names) this.body.replaceChildren()
    this.names = names
    this.columns = columns
    const all = this.all = h("input", { type: "checkbox", "aria-label": "compare all that are shown", change: () => {
      const boxes = [...this.body.querySelectorAll("input")]
      for (const box of boxes) box.checked = all.checked
      this.choose(boxes.map(box => box.value), all.checked)
    } })
    const cells = columns.map(({ name, by }) => h("th", { scope: "col", "aria-sort": name === this.sort && (this.descending ? "descending" : "ascending") },
      by ? h("button", { class: "sort", click: () => this.sortBy(name) }, name) : name))
    const fresh = h("thead", {}, h("tr", {}, this.compare ? h("td", {}, all) : null, cells))
    const focused = this.head.contains(document.activeElement) && document.activeElement.textContent
    this.head.replaceChildren(...fresh.children)
    if (focused) [...this.head.querySelectorAll("button")].find(button => button.textContent === focused)?.focus()
  }

  find(rows) {
    const wanted = this.wanted.toLowerCase()
    return wanted ? rows.filter(({ id, name }) => [id, name].some(one => one?.toLowerCase().includes(wanted))) : rows
  }

  /** So that a way back, a bookmark or who gets the address sees the same. */
  remember(name, value) {
    const address = new URL(location)
    if (value) address.searchParams.set(name, value)
    else address.searchParams.delete(name)
    history.replaceState(null, "", address)
  }

  sortBy(name) {
    this.descending = name === this.sort ? !this.descending : true
    this.sort = name
    this.remember("sort", `${this.descending ? "-" : ""}${name}`)
    this.draw()
  }

  /** Numbers before texts; what has no value is last, whichever way. */
  ordered(rows) {
    const by = this.columns.find(({ name }) => name === this.sort)?.by ?? this.by, way = this.descending ? -1 : 1
    const rank = value => value === undefined || value === null || value === "" ? 2 : typeof value === "number" ? 0 : 1
    const keyed = rows.map(row => ({ row, value: by(row) }))
    keyed.sort((one, other) => {
      const [first, second] = [rank(one.value), rank(other.value)]
      if (first !== second || first === 2) return first - second
      return way * (first === 0 ? one.value - other.value : one.value.localeCompare(other.value, undefined, { numeric: true }))
    })
    return keyed.map(({ row }) => row)
  }

  drawBody(shown) {
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null
    const known = new Map([...this.body.children].map(row => [row.dataset.id, row])), wanted = new Set(shown.map(row => row.id))
    for (const [id, row] of known) if (!wanted.has(id)) row.remove()
    let at = this.body.firstChild
    for (const row of shown) {
      let element = known.get(row.id)
      if (!element) element = this.drawRow(row)
      else if (this.stale.has(row.id)) update(element, this.drawRow(row))
      if (element === at) at = at.nextSibling
      else this.body.insertBefore(element, at)
    }
    this.stale.clear()
    this.all.checked = shown.length > 0 && shown.every(row => this.chosen.has(row.id))
    if (focused?.isConnected) focused.focus({ preventScroll: true })
  }

  drawRow(row) {
    const box = this.compare && h("td", {}, h("input", { type: "checkbox", "aria-label": `compare ${row.name ?? row.id}`, value: row.id, checked: this.chosen.has(row.id) }))
    return h("tr", { "data-id": row.id }, box, this.columns.map(({ cell }) => {
      const made = cell(row)
      return made instanceof HTMLTableCellElement ? made : h("td", {}, made)
    }))
  }
}

/** A td for what may be long. */
export const long = (...children) => h("td", { class: "name" }, ...children)

export const shownValues = values => Object.entries(values).map(([name, value]) => `${name}\u00a0${format(value)}`).join(", ")
