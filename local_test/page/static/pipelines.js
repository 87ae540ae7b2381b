// Pipelines: their executions, and the steps of one on its graph.

import { facts, h, here, link, none, pathOf, pill, ranFor, showMissing, time } from "/.page/dom.js"
import { follow, getJson, stopButton } from "/.page/feed.js"
import { Graph, stepsOf } from "/.page/graph.js"
import { List, long } from "/.page/list.js"

const view = document.getElementById("view")
const PAGES = { TrainingJob: "training-jobs", TuningJob: "tuning-jobs", ProcessingJob: "processing-jobs" }
const executionLink = (pipeline, execution) => h("a", { href: here(pathOf("pipelines", pipeline, execution.id)) }, execution.name)

export function showPipelines() {
  const list = new List([
    { name: "Name", cell: one => long(link("pipelines", one.id)), by: one => one.id },
    { name: "Last execution", cell: one => one.last ? executionLink(one.id, one.last) : "–" },
    { name: "Status", cell: one => one.last ? pill(one.last.status) : "", by: one => one.last?.status },
    { name: "Started", cell: one => one.last ? time(one.last.created) : "", by: one => one.last?.created },
  ], { label: "Pipelines", empty: "No pipeline yet. CreatePipeline of any client makes one.", sort: "Started" })
  view.append(h("h1", {}, "Pipelines"), list.element)
  follow([["list", "pipelines"]], { open: () => list.clear(), rows: rows => list.apply(rows) })
}

export async function showPipeline(name) {
  const missing = () => showMissing(name, "There is no pipeline of this name here: it was deleted, or belongs to another server or region.", "/pipelines", "All pipelines")
  const list = new List([
    { name: "Execution", cell: one => executionLink(name, one), by: one => one.name },
    { name: "Status", cell: one => pill(one.status), by: one => one.status },
    { name: "Started", cell: one => time(one.created), by: one => one.created },
    { name: "Duration", cell: one => ranFor(one.created, one.ended), by: one => (one.ended ?? Date.now() / 1000) - one.created },
    { name: "Reason", cell: one => long(one.failure) },
  ], { label: "Executions", empty: "None yet. StartPipelineExecution starts one.", sort: "Started" })
  const text = h("p")
  view.append(h("h1", {}, name), text, h("h2", {}, "Executions"), list.element, h("h2", {}, "Steps"))
  follow([["list", `pipelines/${name}`]], { open: () => list.clear(), rows: rows => list.apply(rows), missing, ended: missing })
  const pipeline = await getJson(pathOf("pipelines", name))
  if (!pipeline) return missing()
  text.textContent = pipeline.PipelineDescription ?? ""
  const graph = new Graph(JSON.parse(pipeline.PipelineDefinition))
  view.append(graph.element)
  graph.draw()
}

export async function showExecution(name, id) {
  const title = [link("pipelines", name), ` · ${id}`]
  const missing = () => showMissing(`${name} · ${id}`, "There is no such execution here: it was deleted, or belongs to another server or region.", "/pipelines", "All pipelines")
  const execution = await getJson(pathOf("pipelines", name, id))
  if (!execution) return missing()
  const definition = JSON.parse(execution.PipelineDefinition), types = new Map(stepsOf(definition).map(step => [step.name, step]))
  const parameters = execution.PipelineParameters
  const head = h("div"), graph = new Graph(definition)
  const list = new List([
    { name: "Name", cell: step => long(types.get(step.id)?.title ?? step.id), by: step => step.id },
    { name: "Type", cell: step => types.get(step.id)?.type ?? "", by: step => types.get(step.id)?.type },
    { name: "Status", cell: step => pill(step.status), by: step => step.status },
    { name: "Duration", cell: step => ranFor(step.created, step.ended), by: step => (step.ended ?? Date.now() / 1000) - step.created },
    { name: "Result", cell: step => long(...resultOf(step)) },
  ], { label: "Steps", empty: "No step was begun yet.", sort: "", by: step => step.order, descending: false })
  view.append(h("h1", {}, title), head, graph.element, h("h2", {}, "Steps"), list.element,
    h("h2", {}, "Parameters"), parameters.length ? facts(Object.fromEntries(parameters.map(one => [one.Name, one.Value]))) : none())
  const draw = () => graph.draw(one => list.rows.get(one)?.status)
  draw()
  const steps = `pipelines/${name}/${id}`
  follow([["list", `pipelines/${name}`], ["list", steps]], {
    open: () => list.clear(),
    missing,
    ended: missing,
    rows: ({ list: address, rows, gone }) => {
      if (address === steps) {
        list.apply({ rows, gone })
        return draw()
      }
      const now = rows.find(one => one.id === id)
      if (gone.includes(id)) missing()
      if (now) showHead(head, name, now, execution)
    },
  })
}

function showHead(head, name, { status, created, ended, failure }, { PipelineExecutionArn: arn }) {
  // a page that is open from elsewhere than this machine has no randomUUID
  const token = crypto.randomUUID?.() ?? `page-${Date.now()}-${"0".repeat(32)}`
  head.replaceChildren(h("div", { class: "bar" }, pill(status), ranFor(created, ended), stopButton(`this execution of ${name}`,
    status === "Executing", "StopPipelineExecution", { PipelineExecutionArn: arn, ClientRequestToken: token })))
  if (failure) head.append(h("p", { class: "message" }, failure))
}

/** What a step made, decided or failed for. */
function resultOf(step) {
  const said = Object.entries(step.made).flatMap(([kind, made]) => {
    if (made.Arn && PAGES[kind]) return [link(PAGES[kind], made.Arn.split("/").at(-1))]
    return [made.Outcome ?? made.Arn ?? made.ErrorMessage ?? JSON.stringify(made)]
  })
  if (step.cached) said.push(" from the cache")
  if (step.failure) said.push(` ${step.failure}`)
  return said
}
