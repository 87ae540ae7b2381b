// Experiments, and the runs of one compared: parameters, metrics, curves.

import { format } from "/.page/chart.js"
import { Curves } from "/.page/curves.js"
import { failed, h, here, link, pathOf, pill, showMissing, time } from "/.page/dom.js"
import { follow } from "/.page/feed.js"
import { List, long } from "/.page/list.js"

const view = document.getElementById("view")
const SOURCES = { SageMakerTrainingJob: "training-jobs", SageMakerProcessingJob: "processing-jobs" }

export function showExperiments() {
  const list = new List([
    { name: "Name", cell: one => long(link("experiments", one.id)), by: one => one.id },
    { name: "Runs", cell: one => String(one.runs), by: one => one.runs },
    { name: "Created", cell: one => time(one.created), by: one => one.created },
    { name: "Description", cell: one => long(one.description) },
  ], { label: "Experiments", empty: "No experiment yet. Run of an SDK, or CreateExperiment of any client, makes one." })
  view.append(h("h1", {}, "Experiments"), list.element)
  follow([["list", "experiments"]], { open: () => list.clear(), rows: rows => list.apply(rows) })
}

/** All runs, or the `chosen` ones with their curves. */
export function showExperiment(name, chosen) {
  const address = ids => here(pathOf("experiments", name), ids.map(id => ["run", id]))
  const list = new List(rows => columnsOf(rows, address), {
    label: "Runs", empty: "No run yet.", compare: chosen.length ? null : address,
  })
  const labelOf = id => list.rows.get(id)?.name ?? id
  const curves = new Curves(chosen, labelOf)
  view.append(h("h1", {}, name), chosen.length ? h("p", {}, h("a", { href: address([]) }, "All runs")) : "", curves.element, list.element)
  const isShown = id => !chosen.length || chosen.includes(id)
  const missing = () => showMissing(name, "There is no experiment of this name here: it was deleted, or belongs to another server or region.", "/experiments", "All experiments")
  const lost = id => failed(new Error(`The run ${id} is not here: it was deleted, or belongs to another experiment.`))
  follow([["list", `experiments/${name}`], ...chosen.map(id => ["run", id])], {
    open: () => { list.clear(); curves.clear() },
    missing,
    ended: ({ list: gone, job }) => gone ? missing() : lost(job),
    cleared: ({ job }) => curves.clearJob(job),
    metrics: ({ job, points }) => curves.add(job, points),
    rows: ({ rows, gone }) => {
      list.apply({ rows: rows.filter(row => isShown(row.id)), gone })
      if (chosen.length) curves.pace.plan() // a line is called as its run
      for (const id of gone) if (chosen.includes(id)) lost(id)
    },
  })
}

function columnsOf(rows, address) {
  const names = key => [...new Set(rows.flatMap(row => Object.keys(row[key])))].sort((one, other) => one.localeCompare(other, undefined, { numeric: true }))
  return [
    { name: "Run", cell: row => long(h("a", { href: address([row.id]) }, row.name)), by: row => row.name },
    { name: "Status", cell: row => row.status ? pill(row.status) : "–", by: row => row.status },
    { name: "Created", cell: row => time(row.created), by: row => row.created },
    ...names("metrics").map(metric => ({ name: metric, cell: row => shown(row.metrics[metric]?.Last), by: row => row.metrics[metric]?.Last })),
    ...names("parameters").map(parameter => ({ name: parameter, cell: row => shown(row.parameters[parameter]), by: row => row.parameters[parameter] })),
    { name: "Job", cell: row => row.source.type in SOURCES ? link(SOURCES[row.source.type], row.source.arn.split("/").at(-1)) : row.source.type },
  ]
}

const shown = value => typeof value === "number" ? format(value) : value?.length > 24 ? long(value) : value ?? ""
