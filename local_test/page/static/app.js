// The page: which view its address names.

import { failed, here } from "/.page/dom.js"
import { showExperiment, showExperiments } from "/.page/experiments.js"
import { showJob, showProcessingJobs, showTrainingJobs, showTuningJob, showTuningJobs } from "/.page/jobs.js"
import { showExecution, showPipeline, showPipelines } from "/.page/pipelines.js"

const [kind = "training-jobs", name, id] = location.pathname.split("/").slice(1).map(decode).filter(Boolean)
const parameters = new URLSearchParams(location.search), regionChoice = document.getElementById("region")
const views = {
  "training-jobs": () => name ? showJob(kind, name, parameters.getAll("with")) : showTrainingJobs(),
  "processing-jobs": () => name ? showJob(kind, name, []) : showProcessingJobs(),
  "tuning-jobs": () => name ? showTuningJob(name) : showTuningJobs(),
  pipelines: () => id ? showExecution(name, id) : name ? showPipeline(name) : showPipelines(),
  experiments: () => name ? showExperiment(name, parameters.getAll("run")) : showExperiments(),
}
for (const anchor of document.querySelectorAll("nav a")) if (anchor.pathname === `/${kind}`) anchor.setAttribute("aria-current", "page")
for (const anchor of document.querySelectorAll("header a")) anchor.href = here(anchor.pathname)
regionChoice.addEventListener("change", () => { location.href = `/${kind}?${new URLSearchParams({ region: regionChoice.value })}` })
if (name) document.title = `${name} · Local SageMaker`

/** What was typed by hand may be no code of an address; then it is the name of nothing. */
function decode(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

Promise.resolve(views[kind]()).catch(failed)
