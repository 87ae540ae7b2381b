// What the server tells: its events as they come, an answer to a question, and its API.

import { failed, h, here, region, showMissing } from "/.page/dom.js"

const AGAIN = 2000 // milliseconds until a server that does not answer is asked again
const connection = document.getElementById("connection")
const regionChoice = document.getElementById("region")

/** Of an address below /.page, once the server answers, which the feed says; null if it does not have it. */
export async function getJson(address) {
  let answer
  while (!(answer = await fetch(here(`/.page${address}`)).catch(() => null))) await new Promise(resolve => setTimeout(resolve, AGAIN))
  if (answer.ok) return answer.json()
  if (answer.status !== 404) throw new Error(await answer.text())
  return null
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
}

export function stopButton(name, running, operation, request) {
  if (!running) return null
  const button = h("button", { class: "stop", click: async () => {
    if (!confirm(`Stop ${name}? It does not go on afterwards.`)) return
    button.disabled = true
    try {
      await call(operation, request)
      button.textContent = "Stopping"
    } catch (error) {
      button.disabled = false
      failed(error instanceof TypeError ? new Error("Not stopped: the server does not answer. Try again once it does.") : error)
    }
  } }, "Stop")
  return button
}

/** Server-sent events while the page is seen: a browser has six connections to a server, for all of its tabs. It connects
 *  again by itself, unless the server refuses: what it does not have is `missing`. `open` comes before all is told anew. */
export function follow(parameters, { missing = showNothing, open: begin, ...handlers }) {
  let source = null
  const handle = (name, work) => source.addEventListener(name, event => {
    try {
      work(JSON.parse(event.data))
    } catch (error) {
      failed(error)
      throw error
    }
  })
  const ask = async () => {
    const left = new AbortController()
    const answer = await fetch(source.url, { signal: left.signal }).catch(() => null)
    if (answer?.status >= 400 && answer.status < 500) {
      connection.textContent = ""
      return missing(new Error(await answer.text()))
    }
    left.abort()
    setTimeout(open, AGAIN)
  }
  const open = () => {
    if (document.hidden) return
    source?.close()
    source = new EventSource(here("/.page/feed", parameters))
    handle("regions", showRegions)
    for (const [name, work] of Object.entries(handlers)) handle(name, work)
    source.onopen = () => { connection.textContent = ""; begin?.() }
    source.onerror = () => {
      connection.textContent = "not connected"
      if (source.readyState === EventSource.CLOSED) ask()
    }
  }
  open()
  document.addEventListener("visibilitychange", () => document.hidden ? source?.close() : open())
  addEventListener("pagehide", () => source?.close())
  addEventListener("pageshow", event => event.persisted && open())
}

/** Of a list, that is, of a region. */
const showNothing = error => showMissing("Not here", error.message, "/", "Training jobs of the server's own region", "")

function showRegions(names) {
  regionChoice.hidden = names.length < 2
  regionChoice.replaceChildren(...names.map(name => h("option", { selected: name === region }, name)))
}
