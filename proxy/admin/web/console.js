// The dashboard and debug console. It reads the admin API of the listener it
// came from and nothing else. Everything that came from outside is written as
// text, never as markup.
"use strict";

const POLL = 2000;        // ms between looks at the counters
const POINTS = 60;        // points of a sparkline
const FEED_ROWS = 300;    // rows of the console; older ones go
const SHOWN = 50;         // rows of the other tables

const $ = (id) => document.getElementById(id);
const history = new Map(); // app id -> {at, stats, lines: {connections, events, deliveries}}
let selected = "";
let feed = null;           // AbortController of the open stream
let paused = false;
let feedRows = 0;

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.map((c) => (c === undefined || c === null ? "" : c)));
  return node;
}

// --- the API

function headers(more) {
  const token = sessionStorage.getItem("offramp-token");
  return token ? { ...more, Authorization: "Bearer " + token } : { ...more };
}

async function call(method, path, body) {
  const options = { method, headers: headers(body === undefined ? {} : { "Content-Type": "application/json" }) };
  if (body !== undefined) options.body = JSON.stringify(body);
  const response = await fetch("api/v1/" + path, options);
  if (response.status === 401) $("token-field").hidden = false;
  const text = await response.text();
  let value;
  try { value = JSON.parse(text); } catch { value = { error: text || response.statusText }; }
  if (!response.ok) {
    const error = new Error([value.error, value.fix].filter(Boolean).join(": "));
    error.status = response.status;
    throw error;
  }
  if (Array.isArray(value)) value.total = response.headers.get("X-Total-Count") || value.length;
  return value;
}

function notice(text) {
  $("notice").textContent = text || "";
  $("notice").hidden = !text;
}

// --- numbers and charts

const short = (n) => n >= 1e6 ? (n / 1e6).toFixed(1) + "M" : n >= 1e4 ? (n / 1e3).toFixed(1) + "k" : String(Math.round(n * 10) / 10);

function age(since) {
  const s = Math.max(0, (Date.now() - Date.parse(since)) / 1000);
  if (s < 60) return Math.round(s) + " s";
  if (s < 3600) return Math.round(s / 60) + " min";
  return s < 86400 ? Math.round(s / 3600) + " h" : Math.round(s / 86400) + " d";
}

function spark(points, label) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 100 34");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const top = Math.max(1, ...points);
  const at = points.map((p, i) => (100 - (points.length - 1 - i) * (100 / (POINTS - 1))).toFixed(1) + "," + (32 - (p / top) * 30).toFixed(1));
  if (at.length > 1) {
    const area = document.createElementNS(ns, "polygon");
    area.setAttribute("points", at[0].split(",")[0] + ",34 " + at.join(" ") + " 100,34");
    const line = document.createElementNS(ns, "polyline");
    line.setAttribute("points", at.join(" "));
    svg.append(area, line);
  }
  return svg;
}

// remember takes up an app's counters and returns its lines.
function remember(app, at) {
  const known = history.get(app.id) || { lines: { connections: [], events: [], deliveries: [] } };
  const push = (name, value) => { known.lines[name].push(value); known.lines[name].splice(0, known.lines[name].length - POINTS); };
  push("connections", app.stats.connections);
  if (known.stats) {
    const seconds = Math.max(0.001, (at - known.at) / 1000);
    const rate = (name) => Math.max(0, app.stats[name] - known.stats[name]) / seconds;
    push("events", rate("server_events") + rate("client_events"));
    push("deliveries", rate("deliveries"));
  }
  known.at = at;
  known.stats = app.stats;
  history.set(app.id, known);
  return known.lines;
}

// --- apps

function card(app, at) {
  const lines = remember(app, at);
  const figure = (name, title) => {
    const points = lines[name];
    const last = points.length ? points[points.length - 1] : 0;
    return el("div", { class: "figure" }, el("b", {}, short(last)), el("span", { class: "quiet" }, title), spark(points, title));
  };
  return el("button", { class: "card", type: "button", "aria-pressed": String(app.id === selected), onclick: () => select(app.id) },
    el("strong", {}, app.id), " ", el("span", { class: "quiet" }, app.stage + (app.enabled ? "" : ", disabled")),
    el("div", { class: "figures" }, figure("connections", "connections"), figure("events", "events/s"), figure("deliveries", "deliveries/s")),
    el("span", { class: "quiet" }, `${short(app.stats.channels)} channels, ${short(app.stats.subscriptions)} subscriptions, ${short(app.stats.refusals)} refused`));
}

async function showApps() {
  const apps = await call("GET", "apps");
  const at = performance.now();
  $("apps").replaceChildren(...apps.map((app) => card(app, at)));
  const choice = $("feed-app");
  if (choice.options.length !== apps.length + 1) {
    const kept = choice.value;
    choice.replaceChildren(el("option", { value: "" }, "all"), ...apps.map((a) => el("option", { value: a.id }, a.id)));
    choice.value = kept;
  }
  if (!selected && apps.length === 1) select(apps[0].id);
}

function select(id) {
  selected = id;
  $("app-section").hidden = false;
  $("app-title").textContent = "App " + id;
  refresh();
}

function rows(id, list, make) {
  const body = document.querySelector("#" + id + " tbody");
  body.replaceChildren(...list.map(make));
  if (!list.length) {
    const columns = document.querySelectorAll("#" + id + " th").length;
    body.append(el("tr", {}, el("td", { colspan: columns, class: "quiet" }, "none")));
  }
}

async function showApp() {
  if (!selected) return;
  const app = "apps/" + encodeURIComponent(selected);
  const prefix = encodeURIComponent($("prefix").value);
  const [channels, connections] = await Promise.all([
    call("GET", `${app}/channels?limit=${SHOWN}&prefix=${prefix}`), call("GET", `${app}/connections?limit=${SHOWN}`)]);
  $("channels-total").textContent = channels.total;
  rows("channels", channels, (c) => el("tr", {}, el("td", { class: "mono" }, c.name), el("td", {}, c.kind),
    el("td", { class: "number" }, c.subscriptions), el("td", { class: "number" }, c.users || "")));
  $("connections-total").textContent = connections.total;
  rows("connections", connections, (c) => el("tr", {}, el("td", { class: "mono" }, c.socket), el("td", {}, c.user_id || ""),
    el("td", {}, [c.library, c.version].filter(Boolean).join(" ")), el("td", {}, c.transport + (c.tls ? " (TLS)" : "")),
    el("td", { class: "mono" }, c.remote), el("td", {}, age(c.since))));
}

// --- stage

async function showStage() {
  if (!selected) return;
  try {
    const state = await call("GET", `apps/${encodeURIComponent(selected)}/stage`);
    $("stage-state").textContent = JSON.stringify(state, null, 2);
    $("stage-form").hidden = false;
  } catch (error) {
    $("stage-state").textContent = error.message;
    $("stage-form").hidden = error.status === 404;
  }
}

$("stage-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const app = "apps/" + encodeURIComponent(selected);
  const action = event.submitter ? event.submitter.value : "dry";
  const why = $("stage-why").value;
  if (action !== "dry" && !confirm(`${action === "set" ? "Set the stage of" : "Roll back"} ${selected}?`)) return;
  try {
    let answer;
    if (action === "rollback") {
      answer = await call("POST", app + "/rollback", { why });
    } else {
      const change = { stage: $("stage").value, why, dry_run: action === "dry" };
      if ($("stage-channels").value) change.channels = $("stage-channels").value;
      if ($("stage-percent").value !== "") change.percent = Number($("stage-percent").value);
      answer = await call("PUT", app + "/stage", change);
    }
    $("stage-answer").textContent = JSON.stringify(answer, null, 2);
    $("stage-answer").hidden = false;
    notice("");
  } catch (error) {
    notice(error.message);
  }
});

// --- backends and webhooks

async function showBackends() {
  const backends = await call("GET", "backends");
  rows("backends", backends || [], (b) => el("tr", {}, el("td", {}, b.app), el("td", {}, b.backend), el("td", {}, [b.plugin, b.version].filter(Boolean).join(" ")),
    el("td", {}, b.role), el("td", { class: b.state === "running" && b.healthy ? "good" : "warn" }, b.state + (b.state === "running" && !b.healthy ? ", unhealthy" : "")),
    el("td", { class: "number" }, b.queued), el("td", { class: "number" }, b.delivered), el("td", { class: "number" }, b.dropped),
    el("td", { class: "number" }, b.restarts), el("td", {}, b.last_error || b.detail || "")));
}

async function showWebhooks() {
  const receivers = await call("GET", "webhooks");
  rows("webhooks", receivers || [], (h) => el("tr", {}, el("td", {}, h.app), el("td", { class: "mono" }, h.url),
    el("td", { class: h.down ? "bad" : "good" }, h.down ? "down" : "up"), el("td", { class: "number" }, h.pending),
    el("td", { class: "number" }, h.delivered), el("td", { class: "number" }, h.dead),
    el("td", {}, h.dead ? el("button", { type: "button", onclick: () => replay(h) }, "Replay") : "")));
}

async function replay(receiver) {
  try {
    const { replayed } = await call("POST", "webhooks/replay", { receiver: receiver.receiver });
    notice("");
    $("feed-state").textContent = `${replayed} replayed`;
    showWebhooks();
  } catch (error) {
    notice(error.message);
  }
}

// --- health

async function showHealth() {
  const badge = $("ready");
  try {
    const [ready, live] = await Promise.all([fetch("ready"), fetch("live")]);
    const state = await ready.json();
    badge.textContent = state.ready ? "ready" : "not ready: " + state.reasons.join(", ");
    badge.className = "badge " + (state.ready ? "good" : "bad");
    const alive = await live.json();
    $("version").textContent = `${alive.version}, up ${age(alive.since)}`;
  } catch {
    badge.textContent = "not reachable";
    badge.className = "badge bad";
  }
}

// --- the live feed

function details(r) {
  const parts = [];
  if (r.event) parts.push(r.event.data, `${r.event.bytes} bytes`);
  if (r.client) parts.push([r.client.library, r.client.version, r.client.transport, r.client.remote].filter(Boolean).join(" "));
  if (r.user_id) parts.push("user " + r.user_id);
  if (r.count) parts.push("count " + r.count);
  if (r.code) parts.push("code " + r.code);
  if (r.action) parts.push(r.action);
  if (r.text) parts.push(r.text);
  return parts.join(" · ");
}

function showRecord(r) {
  if (paused) return;
  const body = document.querySelector("#feed tbody");
  const kind = r.kind === "refused" || r.kind === "gap" ? "bad" : "";
  body.prepend(el("tr", {}, el("td", { class: "mono" }, r.at.slice(11, 23)), el("td", { class: kind }, r.kind + (r.leg && r.leg !== "engine" ? " (" + r.leg + ")" : "")),
    el("td", {}, r.app || ""), el("td", { class: "mono" }, r.channel || ""), el("td", {}, r.event ? r.event.name : ""),
    el("td", { class: "mono" }, r.socket || ""), el("td", { class: "mono" }, details(r))));
  feedRows++;
  while (feedRows > FEED_ROWS) { body.lastChild.remove(); feedRows--; }
}

// openFeed reads server-sent events with fetch, which can send the token in a
// header; EventSource cannot.
async function openFeed() {
  if (feed) feed.abort();
  const mine = feed = new AbortController();
  const query = new URLSearchParams();
  for (const [name, id] of [["app", "feed-app"], ["channel", "feed-channel"], ["kinds", "feed-kinds"]]) {
    if ($(id).value.trim()) query.set(name, $(id).value.trim());
  }
  try {
    const response = await fetch("api/v1/events?" + query, { headers: headers(), signal: mine.signal });
    if (!response.ok) {
      const problem = await response.json();
      $("feed-state").textContent = problem.error;
      if (response.status === 400) return;
      throw new Error(problem.error);
    }
    $("feed-state").textContent = "live";
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split("\n").find((line) => line.startsWith("data: "));
        if (data) showRecord(JSON.parse(data.slice(6)));
      }
    }
  } catch {
    // said below
  }
  if (feed !== mine) return;
  $("feed-state").textContent = "not connected, trying again";
  setTimeout(() => { if (feed === mine) openFeed(); }, 3000);
}

$("feed-form").addEventListener("submit", (event) => { event.preventDefault(); openFeed(); });
$("feed-clear").addEventListener("click", () => { document.querySelector("#feed tbody").replaceChildren(); feedRows = 0; });
$("feed-pause").addEventListener("click", (event) => {
  paused = !paused;
  event.target.setAttribute("aria-pressed", String(paused));
  event.target.textContent = paused ? "Go on" : "Pause";
});
$("token").addEventListener("change", (event) => {
  sessionStorage.setItem("offramp-token", event.target.value);
  refresh();
  openFeed();
});

// --- the loop

async function refresh() {
  try {
    await Promise.all([showApps(), showApp(), showStage(), showBackends(), showWebhooks()]);
    notice("");
  } catch (error) {
    notice(error.message);
  }
}

async function loop() {
  if (!document.hidden) await Promise.all([showHealth(), refresh()]);
  setTimeout(loop, POLL);
}

loop();
openFeed();
