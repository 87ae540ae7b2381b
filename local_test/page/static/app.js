// The page: which view its address names, and what each view shows. Everything that a job says becomes text, never HTML.

import { Chart, format } from "/.page/chart.js"
import { drawGraph, stepsOf } from "/.page/graph.js"

const LOG_LINES = 5000
const view = document.getElementById("view")
const connection = document.getElementById("connection")
const regionChoice = document.getElementById("region")
const region = new URLSearchParams(location.search).get("region") // none: the server's home

/** An element: attributes, listeners (functions), children (nodes, or text). */
function h(tag, attributes = {}, ...children) {
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
function here(address, parameters = []) {
  const query = String(new URLSearchParams([...parameters, ...region ? [["region", region]] : []]))
  return query ? `${address}?${query}` : address
}

async function getJson(address) {
  const answer = await fetch(here(address))
  if (!answer.ok) throw new Error(await answer.text())
  return answer.json()
}

/** An operation of SageMaker's API, which is at the same address. */
async function call(operation, request) {
  const answer = await fetch("/", {
    method: "POST",
    headers: {
      "X-Amz-Target": `SageMaker.${operation}`,
      "Content-Type": "application/x-amz-json-1.1",
      ...region && { Authorization: `AWS4-HMAC-SHA256 Credential=page/20260101/${region}/sagemaker/aws4_request` },
    },
    body: JSON.stringify(request),
  })
  const text = await answer.text()
  const response = text ? JSON.parse(text) : {}
  if (!answer.ok) throw new Error(response.message ?? text)
  return response
}

/** Server-sent events until the page is left. The browser connects again by itself, unless the server refuses: what it
 *  does not have is `missing`. */
function follow(parameters, { missing = failed, ...handlers }) {
  let source = null
  const ask = async () => {
    const left = new AbortController()
    const answer = await fetch(source.url, { signal: left.signal }).catch(() => null)
    if (answer?.status === 404) {
      connection.textContent = ""
      return missing(new Error(await answer.text()))
    }
    left.abort()
    setTimeout(open, 2000)
  }
  const open = () => {
    source = new EventSource(here("/.page/feed", parameters))
    source.addEventListener("regions", event => showRegions(JSON.parse(event.data)))
    source.onopen = () => { connection.textContent = ""; handlers.open?.() }
    source.onerror = () => {
      connection.textContent = "not connected"
      if (source.readyState === EventSource.CLOSED) ask()
    }
    for (const [name, handle] of Object.entries(handlers)) {
      if (name !== "open") source.addEventListener(name, event => handle(JSON.parse(event.data)))
    }
  }
  open()
  addEventListener("pagehide", () => source.close())
  addEventListener("pageshow", event => event.persisted && open())
}

function showRegions(names) {
  regionChoice.hidden = names.length < 2
  regionChoice.replaceChildren(...names.map(name => h("option", { selected: name === region }, name)))
}

const pathOf = (kind, name) => `/${kind}/${encodeURIComponent(name)}`
const link = (kind, name) => h("a", { href: here(pathOf(kind, name)) }, name)
const pill = (status, state) => h("span", { class: `status ${status}` }, state && state !== status ? `${status} · ${state}` : status)
const time = seconds => new Date(seconds * 1000).toLocaleString()
const seconds = (from, to) => Math.max(0, Math.round((to ?? Date.now() / 1000) - from))

function duration(total) {
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor(total / 60) % 60]
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${total % 60} s` : `${total} s`
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${format(Number((bytes / 1e6).toPrecision(3)))} MB`
}

function table(head, rows, attributes = { class: "list" }) {
  return scrolled(head.join(", "), h("table", attributes,
    h("thead", {}, h("tr", {}, head.map(name => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map(cells => {
      const row = h("tr", {}, cells.map(cell => cell instanceof HTMLTableCellElement ? cell : h("td", {}, cell)))
      row.dataset.key = row.querySelector("a")?.getAttribute("href") ?? ""
      return row
    }))))
}

/** Gives `old` the children of `fresh`. What is the same stays, so that the focus, a selection, a click that has begun and
 *  the place that one has scrolled to are kept. Rows are the same by their key. */
function update(old, fresh) {
  const wanted = new Set([...fresh.children].map(child => child.dataset.key))
  for (const child of [...old.children]) if (child.dataset.key && !wanted.has(child.dataset.key)) child.remove()
  const byKey = new Map([...old.children].map(child => [child.dataset.key, child]))
  let at = old.firstChild
  for (const child of [...fresh.childNodes]) {
    const key = child.dataset?.key, same = key ? byKey.get(key) : at?.dataset?.key ? null : at
    if (same?.nodeName !== child.nodeName) {
      old.insertBefore(child, at)
      continue
    }
    if (same === at) at = at.nextSibling
    else old.insertBefore(same, at)
    if (same.nodeType === Node.TEXT_NODE) {
      if (same.data !== child.data) same.data = child.data
      continue
    }
    for (const { name } of [...same.attributes]) if (!child.hasAttribute(name)) same.removeAttribute(name)
    for (const { name, value } of child.attributes) if (same.getAttribute(name) !== value) same.setAttribute(name, value)
    update(same, child)
  }
  while (at) {
    const next = at.nextSibling
    at.remove()
    at = next
  }
}

function facts(values) {
  return h("table", {}, h("tbody", {}, Object.entries(values).filter(([, value]) => value !== undefined && value !== "").map(([name, value]) =>
    h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "name" }, typeof value === "object" && !(value instanceof Node) ? JSON.stringify(value) : value)))))
}

function failed(error) {
  view.querySelector("[role=alert]")?.remove()
  view.append(h("p", { class: "message", role: "alert" }, error.message))
}

// Lists

function jobRow(job, chosen, kind = "training-jobs") {
  const metrics = Object.entries(job.metrics).map(([name, value]) => `${name} ${format(value)}`).join(", ")
  return [
    h("td", {}, h("input", { type: "checkbox", "aria-label": `compare ${job.name}`, value: job.name, checked: chosen.has(job.name) })),
    h("td", { class: "name" }, link(kind, job.name)),
    pill(job.status, job.state), time(job.created),
    ranFor(job.created, job.ended),
    h("td", { class: "name" }, metrics),
  ]
}

function showTrainingJobs() {
  const list = h("div", {}, h("p", { class: "quiet" }, "…")), chosen = new Set()
  const compare = h("button", { disabled: true, click: () => {
    const [first, ...others] = chosen
    location.href = here(pathOf("training-jobs", first), others.map(name => ["with", name]))
  } }, "Compare")
  list.addEventListener("change", event => {
    if (event.target.checked) chosen.add(event.target.value)
    else chosen.delete(event.target.value)
    compare.disabled = chosen.size < 2
  })
  const bar = h("div", { class: "bar", hidden: true }, compare, h("span", { class: "quiet" }, "two or more on the same charts"))
  view.append(h("h1", {}, "Training jobs"), bar, list)
  follow([], {
    jobs: jobs => {
      const newest = [...jobs].sort((one, other) => other.created - one.created)
      bar.hidden = !jobs.length
      update(list, h("div", {}, jobs.length
        ? table(["", "Name", "Status", "Created", "Duration", "Last metrics"], newest.map(job => jobRow(job, chosen)))
        : h("p", { class: "quiet" }, `No training job yet. Any SageMaker client creates one here: set AWS_ENDPOINT_URL=${location.origin} `
          + "for it, and the other variables that the server has printed.")))
    },
  })
}

function showProcessingJobs() {
  const list = h("div", {}, h("p", { class: "quiet" }, "…"))
  view.append(h("h1", {}, "Processing jobs"), list)
  follow([["kind", "processing-jobs"]], {
    jobs: jobs => {
      const newest = [...jobs].sort((one, other) => other.created - one.created)
      update(list, h("div", {}, jobs.length
        ? table(["Name", "Status", "Created", "Duration"], newest.map(job => jobRow(job, new Set(), "processing-jobs").slice(1, -1)))
        : h("p", { class: "quiet" }, "No processing job yet. CreateProcessingJob of any client makes one.")))
    },
  })
}

async function showTuningJobs() {
  const list = h("div")
  view.append(h("h1", {}, "Tuning jobs"), list)
  const refresh = async () => {
    const jobs = await getJson("/.page/tuning-jobs")
    const rows = jobs.sort((one, other) => other.CreationTime.localeCompare(one.CreationTime)).map(job => [
      h("td", { class: "name" }, link("tuning-jobs", job.HyperParameterTuningJobName)), pill(job.HyperParameterTuningJobStatus),
      new Date(job.CreationTime).toLocaleString(), job.HyperParameterTuningJobConfig.Strategy, bestOf(job),
    ])
    update(list, h("div", {}, rows.length ? table(["Name", "Status", "Created", "Strategy", "Best"], rows)
      : h("p", { class: "quiet" }, "No tuning job yet. CreateHyperParameterTuningJob of any client makes one.")))
  }
  follow([], {})
  await repeat(refresh)
}

function bestOf(job) {
  const best = job.BestTrainingJob, objective = best?.FinalHyperParameterTuningJobObjectiveMetric
  return objective ? h("span", {}, link("training-jobs", best.TrainingJobName), ` ${objective.MetricName} ${format(objective.Value)}`) : "–"
}

// One tuning job: its training jobs, and the report that it leaves at its end, as of now

async function showTuningJob(name) {
  let rows = [], reported = "" // of all training jobs; what the report has
  const head = h("div"), list = h("div"), frame = h("iframe", { title: "Tuning report", sandbox: "" })
  view.append(h("h1", {}, name), head, h("h2", {}, "Training jobs"), list, h("h2", {}, "Report"), frame)
  let before = ""
  const refresh = async () => {
    const job = (await getJson("/.page/tuning-jobs")).find(one => one.HyperParameterTuningJobName === name)
    if (!job) throw new Error(`No tuning job is called ${name}.`)
    const running = !FINAL.includes(job.HyperParameterTuningJobStatus)
    const own = rows.filter(one => one.tuning === name).sort((one, other) => one.created - other.created)
    const over = !running && own.length > 0 && own.every(one => FINAL.includes(one.status))
    const state = JSON.stringify([job, own])
    if (state === before) return over
    before = state
    head.replaceChildren(h("div", { class: "bar" }, pill(job.HyperParameterTuningJobStatus), "Best: ", bestOf(job),
      stopButton(name, running, "StopHyperParameterTuningJob", { HyperParameterTuningJobName: name })))
    if (job.FailureReason) head.append(h("p", { class: "message" }, job.FailureReason))
    update(list, h("div", {}, table(["Name", "Status", "Created", "Duration", "Last metrics"], own.map(one => jobRow(one, new Set()).slice(1)))))
    const values = JSON.stringify([running, own.map(one => one.metrics)])
    if (values !== reported) frame.src = here(`/.page${pathOf("tuning-jobs", name)}/report.html`)
    reported = values
    return over
  }
  follow([], { jobs: jobs => { rows = jobs } })
  await repeat(refresh)
}

function stopButton(name, running, operation, request) {
  if (!running) return null
  const button = h("button", { class: "stop", click: async () => {
    if (!confirm(`Stop ${name}? It does not go on afterwards.`)) return
    button.disabled = true
    try {
      await call(operation, request)
      button.textContent = "Stopping"
    } catch (error) {
      failed(error)
    }
  } }, "Stop")
  return button
}

// One training job, or several on the same charts

function showJob(kind, name, others) {
  const names = [name, ...others], curves = new Curves(names), log = new Log()
  const head = h("div"), rest = h("div")
  view.append(h("h1", {}, names.join(" · ")), head, curves.element, log.element, rest)
  const show = kind === "training-jobs" ? showTrainingJob : showProcessingJob
  let before = ""
  follow([["kind", kind], ...names.map(one => ["job", one]), ["log", "1"]], {
    open: () => { curves.clear(); log.clear() },
    missing: () => view.replaceChildren(h("h1", {}, names.join(" · ")), h("p", { class: "message", role: "alert" },
      "There is no job of this name here: it was deleted, or belongs to another server or region."), h("a", { href: here(`/${kind}`) }, "All jobs")),
    metrics: ({ job, points }) => curves.add(job, points),
    log: ({ job, host, lines }) => job === name && log.add(host, lines),
    jobs: async jobs => {
      const state = JSON.stringify(jobs.find(job => job.name === name))
      if (state === before) return
      before = state
      try {
        show(head, rest, await getJson(`/.page${pathOf(kind, name)}`))
      } catch (error) {
        failed(error)
      }
    },
  })
}

const FINAL = ["Completed", "Failed", "Stopped"]

/** Status, duration, a button to stop, and why it failed. */
function showHead(head, what, job, state, ...more) {
  const status = job[`${what}Status`], over = FINAL.includes(status)
  head.replaceChildren(h("div", { class: "bar" }, pill(status, state),
    ranFor(Date.parse(job.CreationTime) / 1000, over ? Date.parse(job.LastModifiedTime) / 1000 : null),
    stopButton(job[`${what}Name`], !over && status !== "Stopping", `Stop${what}`, { [`${what}Name`]: job[`${what}Name`] }), ...more))
  for (const text of [job.FailureReason, job.ExitMessage]) if (text) head.append(h("p", { class: "message" }, text))
}

const none = () => h("p", { class: "quiet" }, "None.")

function showTrainingJob(head, rest, job) {
  showHead(head, "TrainingJob", job, job.SecondaryStatus,
    job.TuningJobArn ? h("span", {}, "of ", link("tuning-jobs", job.TuningJobArn.split("/").at(-1))) : null)
  const opened = rest.querySelector("details")?.open
  rest.replaceChildren(
    h("h2", {}, "Hyperparameters"), Object.keys(job.HyperParameters ?? {}).length ? facts(job.HyperParameters) : none(),
    h("h2", {}, "Channels"), !job.InputDataConfig?.length ? none() : table(["Name", "Mode", "Data"], job.InputDataConfig.map(channel => [
      channel.ChannelName, channel.InputMode ?? job.AlgorithmSpecification.TrainingInputMode, h("td", { class: "name" }, channel.DataSource?.S3DataSource?.S3Uri ?? "")])),
    h("h2", {}, "Job"), facts({
      Image: job.AlgorithmSpecification.TrainingImage, Instances: `${job.ResourceConfig.InstanceCount ?? 1} × ${job.ResourceConfig.InstanceType ?? ""}`,
      Created: new Date(job.CreationTime).toLocaleString(), Model: job.ModelArtifacts?.S3ModelArtifacts,
      "Training seconds": job.TrainingTimeInSeconds, Role: job.RoleArn,
    }),
    ...showArtifacts(job, opened))
}

function showProcessingJob(head, rest, job) {
  showHead(head, "ProcessingJob", job)
  const { ClusterConfig: cluster } = job.ProcessingResources, app = job.AppSpecification
  const places = (title, rows) => [h("h2", {}, title), rows.length ? table(["Name", "Local path", "S3"], rows) : none()]
  const row = (name, { LocalPath: path, S3Uri: uri } = {}) => [name, path ?? "", h("td", { class: "name" }, uri ?? "")]
  rest.replaceChildren(
    ...places("Inputs", (job.ProcessingInputs ?? []).map(one => row(one.InputName, one.S3Input))),
    ...places("Outputs", (job.ProcessingOutputConfig?.Outputs ?? []).map(one => row(one.OutputName, one.S3Output))),
    h("h2", {}, "Job"), facts({
      Image: app.ImageUri, Command: [...app.ContainerEntrypoint ?? [], ...app.ContainerArguments ?? []].join(" "),
      Instances: `${cluster.InstanceCount} × ${cluster.InstanceType}`, Created: new Date(job.CreationTime).toLocaleString(), Role: job.RoleArn,
    }))
}

function showArtifacts(job, opened) {
  const own = pathOf("training-jobs", job.TrainingJobName), files = Object.entries(job.Artifacts)
  if (!files.length) return []
  const list = h("ul", {}, files.map(([file, bytes]) => h("li", {}, h("a", { href: here(`/.page${own}/${file}`), download: true }, file), ` ${size(bytes)}`)))
  if (!job.HasReport) return [h("h2", {}, "Artifacts"), list]
  const report = h("details", { open: opened ?? false, toggle: () => { if (report.open && !frame.src) frame.src = here(`/.page${own}/report.html`) } }, h("summary", {}, "report.html"))
  const frame = h("iframe", { title: "Report", sandbox: "" })
  report.append(frame)
  return [h("h2", {}, "Artifacts"), list, report]
}

/** A chart a metric, with a line a job. */
class Curves {
  constructor(names) {
    this.names = names
    this.charts = new Map()
    this.grid = h("div", { class: "charts" })
    const weight = h("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: 0, input: () => this.draw() })
    const log = h("input", { type: "checkbox", change: () => this.draw() })
    const axis = h("select", { change: () => this.draw(), "aria-label": "horizontal axis" }, h("option", { value: "index" }, "by value"), h("option", { value: "time" }, "by seconds"))
    this.controls = { weight, log, axis }
    this.bar = h("div", { class: "bar", hidden: true }, h("label", {}, "Smoothing", weight), h("label", {}, log, "Logarithmic"), axis)
    this.element = h("section", { "aria-label": "Metrics" }, this.bar, this.grid)
    this.clear()
  }

  clear() {
    this.points = new Map() // metric → job → {index, time, value}: arrays of one length
  }

  add(job, points) {
    for (const [metric, at, value, index] of points) {
      if (!this.points.has(metric)) this.points.set(metric, new Map(this.names.map(name => [name, { index: [], time: [], value: [] }])))
      const columns = this.points.get(metric).get(job)
      columns.index.push(index)
      columns.time.push(at)
      columns.value.push(value ?? NaN)
    }
    this.plan()
  }

  // however many values come: drawing takes at most a fifth of the time
  plan() {
    this.planned ??= setTimeout(() => {
      const began = performance.now()
      this.draw()
      this.pause = 4 * (performance.now() - began)
      this.planned = null
    }, this.pause ?? 0)
  }

  draw() {
    const { weight, log, axis } = this.controls
    this.bar.hidden = this.points.size === 0
    for (const [metric, jobs] of this.points) {
      if (!this.charts.has(metric)) {
        this.charts.set(metric, new Chart(metric))
        this.grid.append(this.charts.get(metric).element)
      }
      const series = [...jobs].map(([name, points]) => ({
        label: this.names.length > 1 ? name : "",
        x: points[axis.value], y: points.value, from: axis.value === "time" ? points.time[0] : 0,
      }))
      this.charts.get(metric).set(series, { weight: Number(weight.value), log: log.checked, whole: axis.value === "index" })
    }
  }
}

/** The last lines of all hosts. It follows as long as its end is in sight. */
class Log {
  constructor() {
    this.text = h("pre", { class: "log", tabindex: 0, "aria-label": "Log" })
    this.element = h("section", {}, h("h2", {}, "Log"), this.text)
  }

  clear() {
    this.text.replaceChildren()
  }

  add(host, lines) {
    const follows = this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 30
    const prefix = host === "algo-1" ? "" : `${host}: `
    this.text.append(...lines.slice(-LOG_LINES).map(line => document.createTextNode(`${prefix}${line}\n`)))
    while (this.text.childNodes.length > LOG_LINES) this.text.firstChild.remove()
    if (follows) this.text.scrollTop = this.text.scrollHeight
  }
}

// Experiments

async function showExperiments() {
  const { ExperimentSummaries: all } = await call("ListExperiments", {})
  view.append(h("h1", {}, "Experiments"), all.length
    ? table(["Name", "Created"], all.map(one => [h("td", { class: "name" }, link("experiments", one.ExperimentName)), time(one.CreationTime)]))
    : h("p", { class: "quiet" }, "No experiment yet."))
}

async function showExperiment(name) {
  const filter = { Filters: [{ Name: "Parents.ExperimentName", Operator: "Equals", Value: name }] }
  const { Results: found } = await call("Search", { Resource: "ExperimentTrialComponent", SearchExpression: filter, MaxResults: 100 })
  const runs = found.map(one => one.TrialComponent)
  const names = key => [...new Set(runs.flatMap(run => Object.keys(run[key] ?? {})))].filter(one => !one.startsWith("SageMaker.")).sort()
  const parameters = names("Parameters"), metrics = [...new Set(runs.flatMap(run => (run.Metrics ?? []).map(one => one.MetricName)))].sort()
  const rows = runs.map(run => [
    h("td", { class: "name" }, run.DisplayName ?? run.TrialComponentName), pill(run.Status?.PrimaryStatus ?? ""),
    ...metrics.map(metric => {
      const last = run.Metrics?.find(one => one.MetricName === metric)?.Last
      return last === undefined ? "" : format(last)
    }),
    ...parameters.map(parameter => {
      const value = run.Parameters?.[parameter] ?? {}
      return value.StringValue ?? (value.NumberValue === undefined ? "" : format(value.NumberValue))
    }),
  ])
  view.append(h("h1", {}, name), rows.length ? table(["Run", "Status", ...metrics, ...parameters], rows) : h("p", { class: "quiet" }, "No run yet."))
}

// Pipelines: their executions, and the steps of one on its graph

const idOf = execution => execution.PipelineExecutionArn.split("/").at(-1)
const executionLink = (name, execution) => h("a", { href: here(`${pathOf("pipelines", name)}/${idOf(execution)}`) },
  execution.PipelineExecutionDisplayName ?? idOf(execution))

async function showPipelines() {
  const { PipelineSummaries: all } = await call("ListPipelines", { SortBy: "CreationTime", MaxResults: 100 })
  const rows = await Promise.all(all.map(async ({ PipelineName: name }) => {
    const [last] = (await call("ListPipelineExecutions", { PipelineName: name, MaxResults: 1 })).PipelineExecutionSummaries
    return [h("td", { class: "name" }, link("pipelines", name)), ...last
      ? [executionLink(name, last), pill(last.PipelineExecutionStatus), time(last.StartTime)] : ["–", "", ""]]
  }))
  view.append(h("h1", {}, "Pipelines"), rows.length ? table(["Name", "Last execution", "Status", "Started"], rows)
    : h("p", { class: "quiet" }, "No pipeline yet. CreatePipeline of any client makes one."))
}

async function showPipeline(name) {
  const pipeline = await call("DescribePipeline", { PipelineName: name })
  const list = h("div")
  view.append(h("h1", {}, name), pipeline.PipelineDescription ?? "", h("h2", {}, "Executions"), list, h("h2", {}, "Steps"),
    scrolled("Graph", drawGraph(JSON.parse(pipeline.PipelineDefinition), () => undefined)))
  await repeat(async () => {
    const { PipelineExecutionSummaries: all } = await call("ListPipelineExecutions", { PipelineName: name, MaxResults: 100 })
    list.replaceChildren(all.length ? table(["Execution", "Status", "Started", "Reason"], all.map(one => [
      executionLink(name, one), pill(one.PipelineExecutionStatus), time(one.StartTime), h("td", { class: "name" }, one.PipelineExecutionFailureReason ?? "")]))
      : h("p", { class: "quiet" }, "None yet. StartPipelineExecution starts one."))
  })
}

async function showExecution(name, id) {
  const { PipelineArn: arn } = await call("DescribePipeline", { PipelineName: name })
  const execution = { PipelineExecutionArn: `${arn}/execution/${id}` }
  const definition = JSON.parse((await call("DescribePipelineDefinitionForExecution", execution)).PipelineDefinition)
  const { PipelineParameters: parameters = [] } = await call("ListPipelineParametersForExecution", { ...execution, MaxResults: 100 })
  const head = h("div"), graph = h("div"), list = h("div")
  view.append(h("h1", {}, link("pipelines", name), ` · ${id}`), head, graph, h("h2", {}, "Steps"), list,
    h("h2", {}, "Parameters"), parameters.length ? facts(Object.fromEntries(parameters.map(one => [one.Name, one.Value]))) : none())
  let before = ""
  await repeat(async () => {
    const job = await call("DescribePipelineExecution", execution), steps = []
    for (let NextToken; ;) {
      const page = await call("ListPipelineExecutionSteps", { ...execution, SortOrder: "Ascending", MaxResults: 100, ...NextToken && { NextToken } })
      steps.push(...page.PipelineExecutionSteps)
      if (!(NextToken = page.NextToken)) break
    }
    const over = !["Executing", "Stopping"].includes(job.PipelineExecutionStatus), state = JSON.stringify([job, steps])
    if (state === before) return over
    before = state
    head.replaceChildren(h("div", { class: "bar" }, pill(job.PipelineExecutionStatus), ranFor(job.CreationTime, over ? job.LastModifiedTime : null),
      stopButton(`this execution of ${name}`, job.PipelineExecutionStatus === "Executing", "StopPipelineExecution", { ...execution, ClientRequestToken: crypto.randomUUID?.() ?? `page-${Date.now()}-${"0".repeat(32)}` })))
    if (job.FailureReason) head.append(h("p", { class: "message" }, job.FailureReason))
    const statuses = new Map(steps.map(step => [step.StepName, step.StepStatus]))
    graph.replaceChildren(scrolled("Graph", drawGraph(definition, one => statuses.get(one))))
    const types = new Map(stepsOf(definition).map(step => [step.name, step.type]))
    list.replaceChildren(table(["Name", "Type", "Status", "Duration", "Result"], steps.map(step => [
      h("td", { class: "name" }, step.StepDisplayName ?? step.StepName), types.get(step.StepName) ?? "", pill(step.StepStatus),
      step.StartTime ? ranFor(step.StartTime, step.EndTime) : "", h("td", { class: "name" }, ...resultOf(step))])))
    return over
  })
}

const PAGES = { TrainingJob: "training-jobs", TuningJob: "tuning-jobs", ProcessingJob: "processing-jobs" }

/** What a step made, decided or failed for. */
function resultOf(step) {
  const said = Object.entries(step.Metadata ?? {}).flatMap(([kind, made]) => {
    if (made.Arn && PAGES[kind]) return [link(PAGES[kind], made.Arn.split("/").at(-1))]
    return [made.Outcome ?? made.Arn ?? made.ErrorMessage ?? JSON.stringify(made)]
  })
  if (step.CacheHitResult) said.push(" from the cache")
  if (step.FailureReason) said.push(` ${step.FailureReason}`)
  return said
}

const scrolled = (label, ...children) => h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": label }, children)

const ranFor = (from, to) => h("span", { "data-from": from, "data-to": to ?? "" }, duration(seconds(from, to)))

/** `work` now and each second, until it says that it is done; an answer that does not come is tried again. */
async function repeat(work) {
  let over = await work()
  while (!over) {
    await new Promise(resolve => setTimeout(resolve, 1000))
    try {
      over = await work()
      connection.textContent = ""
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      connection.textContent = "not connected"
    }
  }
}

// The address

function show() {
  const [kind = "training-jobs", name, id] = location.pathname.split("/").slice(1).map(decodeURIComponent).filter(Boolean)
  for (const anchor of document.querySelectorAll("nav a")) {
    if (anchor.pathname === `/${kind}`) anchor.setAttribute("aria-current", "page")
  }
  for (const anchor of document.querySelectorAll("header a")) anchor.href = here(anchor.pathname)
  regionChoice.addEventListener("change", () => { location.href = `/${kind}?${new URLSearchParams({ region: regionChoice.value })}` })
  if (name) document.title = `${name} · Local SageMaker`
  const others = new URLSearchParams(location.search).getAll("with")
  const views = {
    "training-jobs": () => name ? showJob(kind, name, others) : showTrainingJobs(),
    "processing-jobs": () => name ? showJob(kind, name, []) : showProcessingJobs(),
    "tuning-jobs": () => name ? showTuningJob(name) : showTuningJobs(),
    pipelines: () => {
      follow([], {})
      return id ? showExecution(name, id) : name ? showPipeline(name) : showPipelines()
    },
    experiments: () => {
      follow([], {})
      return name ? showExperiment(name) : showExperiments()
    },
  }
  Promise.resolve(views[kind]()).catch(failed)
}

// durations of what still runs
setInterval(() => {
  for (const cell of document.querySelectorAll('[data-to=""]')) cell.textContent = duration(seconds(Number(cell.dataset.from)))
}, 1000)
show()
