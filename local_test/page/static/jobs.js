// Training, processing and tuning jobs: their lists, and what one of them does.

import { format } from "/.page/chart.js"
import { Curves, Log } from "/.page/curves.js"
import { facts, failed, h, here, link, none, pathOf, pill, ranFor, showMissing, size, table, time } from "/.page/dom.js"
import { follow, getJson, stopButton } from "/.page/feed.js"
import { List, long, shownValues } from "/.page/list.js"

const FINAL = ["Completed", "Failed", "Stopped"]
const view = document.getElementById("view")

const columns = kind => [
  { name: "Name", cell: job => long(link(kind, job.id)), by: job => job.id },
  { name: "Status", cell: job => pill(job.status, job.state), by: job => job.status },
  { name: "Created", cell: job => time(job.created), by: job => job.created },
]
const DURATION = { name: "Duration", cell: job => ranFor(job.created, job.ended), by: job => (job.ended ?? Date.now() / 1000) - job.created }
const METRICS = { name: "Last metrics", cell: job => long(shownValues(job.metrics)) }

/** A list that shows all of one address's. */
function showList(title, address, list) {
  view.append(h("h1", {}, title), list.element)
  follow([["list", address]], { open: () => list.clear(), rows: rows => list.apply(rows) })
}

export function showTrainingJobs() {
  showList("Training jobs", "training-jobs", new List([...columns("training-jobs"), DURATION, METRICS], {
    label: "Training jobs",
    compare: ([first, ...others]) => here(pathOf("training-jobs", first), others.map(name => ["with", name])),
    empty: `No training job yet. Any SageMaker client creates one here: set AWS_ENDPOINT_URL=${location.origin} `
      + "for it, and the other variables that the server has printed.",
  }))
}

export function showProcessingJobs() {
  showList("Processing jobs", "processing-jobs", new List([...columns("processing-jobs"), DURATION], {
    label: "Processing jobs", empty: "No processing job yet. CreateProcessingJob of any client makes one.",
  }))
}

export function showTuningJobs() {
  showList("Tuning jobs", "tuning-jobs", new List([
    ...columns("tuning-jobs"), { name: "Strategy", cell: job => job.strategy, by: job => job.strategy },
    { name: "Best", cell: job => bestOf(job), by: job => job.best?.value },
  ], { label: "Tuning jobs", empty: "No tuning job yet. CreateHyperParameterTuningJob of any client makes one." }))
}

const bestOf = ({ best }) => best ? h("span", {}, link("training-jobs", best.job), ` ${best.metric} ${format(best.value)}`) : "–"

// One tuning job: its training jobs, and the report that it leaves at its end, as of now

export function showTuningJob(name) {
  const list = new List([...columns("training-jobs"), DURATION, METRICS], { label: "Training jobs", empty: "None yet.", descending: false })
  const head = h("div"), frame = h("iframe", { title: "Tuning report", sandbox: "" })
  view.append(h("h1", {}, name), head, h("h2", {}, "Training jobs"), list.element, h("h2", {}, "Report"), frame)
  const missing = () => showMissing(name, "There is no tuning job of this name here: it was deleted, or belongs to another server or region.", "/tuning-jobs", "All tuning jobs")
  let job = null, reported = "", planned = null
  const report = () => {
    // at most every other second: a report that is drawn anew is read from its beginning
    const state = JSON.stringify([job?.status, job?.best, [...list.rows.values()].map(one => [one.id, one.status])])
    if (!job || state === reported || planned) return
    planned = setTimeout(() => { planned = null; report() }, 2000)
    reported = state
    frame.src = here(`/.page${pathOf("tuning-jobs", name)}/report.html`)
  }
  follow([["list", "tuning-jobs"], ["list", "training-jobs"]], {
    open: () => list.clear(),
    rows: ({ list: address, rows, gone }) => {
      if (address === "tuning-jobs") {
        const now = rows.find(one => one.id === name)
        if (gone.includes(name)) return missing()
        if (now) showTuningHead(head, job = now)
      } else if (!job) return missing() // the other list has come whole
      else list.apply({ rows: rows.filter(one => one.tuning === name), gone })
      report()
    },
  })
}

function showTuningHead(head, job) {
  head.replaceChildren(h("div", { class: "bar" }, pill(job.status), h("span", {}, "Best: ", bestOf(job)),
    stopButton(job.id, !FINAL.includes(job.status), "StopHyperParameterTuningJob", { HyperParameterTuningJobName: job.id })))
  if (job.failure) head.append(h("p", { class: "message" }, job.failure))
}

// One job, or several on the same charts

export function showJob(kind, name, others) {
  const names = [name, ...others.filter(one => one !== name)], curves = new Curves(names), log = new Log(names.length > 1 ? `Log of ${name}` : "Log")
  const head = h("div"), rest = h("div"), title = names.length > 3 ? `${name} and ${names.length - 1} others` : names.join(" · ")
  const compared = new Compared(kind, names)
  view.append(h("h1", {}, title), head, curves.element, compared.element, log.element, rest)
  const show = kind === "training-jobs" ? showTrainingJob : showProcessingJob
  const missing = () => showMissing(title, "There is no job of this name here: it was deleted, or belongs to another server or region.", `/${kind}`, "All jobs")
  const ended = one => one === name ? missing() : failed(new Error(`${one} is not here: it was deleted, or belongs to another server or region.`))
  let created = null, state = "", shown = Promise.resolve()
  follow([["kind", kind], ["list", kind], ...names.map(one => ["job", one]), ["log", "1"]], {
    open: () => { curves.clear(); log.clear(); compared.clear() },
    missing,
    ended: ({ job }) => ended(job),
    cleared: ({ job }) => { curves.clearJob(job); if (job === name) log.clear() },
    metrics: ({ job, points }) => curves.add(job, points),
    log: ({ host, lines }) => log.add(host, lines),
    rows: ({ rows, gone }) => {
      for (const one of gone.filter(one => names.includes(one))) ended(one)
      compared.apply(rows, gone)
      const now = rows.find(one => one.id === name)
      if (!now) return
      if (created !== null && created !== now.created) location.reload() // another job that has got its name
      created = now.created
      const before = state
      state = JSON.stringify([now.status, now.state, now.ended]) // what is shown below changes with that alone
      if (state !== before) shown = shown.then(() => getJson(pathOf(kind, name))).then(job => job && show(head, rest, job)).catch(failed)
    },
  })
}

/** A table of jobs, where there are several, with the hyperparameters that are not the same for all. */
class Compared {
  constructor(kind, names) {
    Object.assign(this, { kind, names, hyperparameters: new Map(), last: Promise.resolve() })
    this.list = new List(() => [...columns(kind), DURATION, METRICS, ...this.differing()], { label: "Jobs", empty: "…" })
    this.element = h("section", { hidden: names.length < 2 }, h("h2", {}, "Jobs"), this.list.element)
  }

  clear() {
    this.list.clear()
  }

  apply(rows, gone) {
    if (this.names.length < 2) return
    const own = rows.filter(row => this.names.includes(row.id))
    this.list.apply({ rows: own, gone })
    for (const { id } of own.filter(row => !this.hyperparameters.has(row.id))) {
      this.hyperparameters.set(id, null)
      this.last = this.last.then(() => getJson(pathOf(this.kind, id))).then(job => {
        this.hyperparameters.set(id, job?.HyperParameters ?? null)
        this.list.apply({ rows: [this.list.rows.get(id)].filter(Boolean), gone: [] })
      }).catch(failed)
    }
  }

  differing() {
    const all = [...this.hyperparameters.values()].filter(Boolean), names = [...new Set(all.flatMap(one => Object.keys(one)))].sort()
    return names.filter(name => new Set(all.map(one => one[name])).size > 1).map(name => {
      const value = row => this.hyperparameters.get(row.id)?.[name]
      return { name, cell: row => long(value(row) ?? ""), by: row => isNaN(value(row)) ? value(row) : Number(value(row)) }
    })
  }
}

/** Status, duration, a button to stop, and why it failed. */
function showHead(head, what, job, state, ...more) {
  const status = job[`${what}Status`], over = FINAL.includes(status)
  head.replaceChildren(h("div", { class: "bar" }, pill(status, state),
    ranFor(Date.parse(job.CreationTime) / 1000, over ? Date.parse(job.LastModifiedTime) / 1000 : null),
    stopButton(job[`${what}Name`], !over && status !== "Stopping", `Stop${what}`, { [`${what}Name`]: job[`${what}Name`] }), ...more))
  for (const text of [job.FailureReason, job.ExitMessage]) if (text) head.append(h("p", { class: "message" }, text))
}

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
