"use strict";
// Reads /api every two seconds and draws one view. Everything that comes from the mesh is put in as text, never as markup.

const views = {
  overview: { command: "meshctl check", draw: overview },
  services: { command: "meshctl stat", draw: services },
  endpoints: { command: "meshctl endpoints", draw: endpoints },
  clients: { command: "meshctl clients", draw: clients },
  events: { command: "meshctl events", draw: events },
};
const main = document.getElementById("main");
const state = document.getElementById("state");
let drawing = 0;

function el(name, cls, ...children) {
  const node = document.createElement(name);
  if (cls) node.className = cls;
  for (const child of children) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}

async function get(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function table(heads, rows) {
  const number = (head) => head.startsWith("#");
  const cls = (ix) => (number(heads[ix]) ? "number" : "");
  const body = el("tbody");
  for (const row of rows) {
    const cells = row.map((cell, ix) => {
      const td = el("td", cls(ix));
      td.append(cell instanceof Node ? cell : String(cell));
      return td;
    });
    body.append(el("tr", "", ...cells));
  }
  const head = heads.map((text, ix) => el("th", cls(ix), number(text) ? text.slice(1) : text));
  return el("div", "scroll", el("table", "", el("thead", "", el("tr", "", ...head)), body));
}

function micros(us) {
  if (us === null || us === undefined || us === 0) return "-";
  if (us < 1000) return `${us}us`;
  if (us < 1e6) return `${Math.round(us / 1000)}ms`;
  return `${(us / 1e6).toFixed(1)}s`;
}

function share(part, whole, decimals) {
  if (!whole) return "-";
  const scale = 10 ** decimals;
  let value = Math.round((part * 100 * scale) / whole);
  if (part < whole) value = Math.min(value, 100 * scale - 1);
  return `${(value / scale).toFixed(decimals)}%`;
}

function span(seconds) {
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

function edgeTable(edges) {
  if (!edges.length) return el("p", "quiet", "no calls");
  const heads = ["FROM", "TO", "ROUTE", "#CALLS/S", "#SUCCESS", "#P50", "#P95", "#P99", "#RETRIED", "#RESCUED", "#EJECTED", "mTLS"];
  const rows = edges.map((edge) => {
    const success = el("span", edge.failures * 100 > edge.calls ? "error" : "", share(edge.calls - edge.failures, edge.calls, 2));
    return [
      edge.from, edge.to, edge.route || "(none)", edge.calls_per_second.toFixed(1), success,
      micros(edge.p50_us), micros(edge.p95_us), micros(edge.p99_us),
      share(edge.retries, edge.calls, 1), edge.retries ? share(edge.rescued, edge.calls, 1) : "-",
      el("span", edge.ejected ? "warning" : "", `${edge.ejected}/${edge.endpoints}`),
      el("span", edge.mtls ? "good" : "error", edge.mtls ? "yes" : "NO"),
    ];
  });
  return table(heads, rows);
}

async function overview() {
  const [findings, edges] = await Promise.all([get("/api/check"), get("/api/stat")]);
  const bad = findings.filter((finding) => finding.severity !== "ok");
  const out = [el("h2", "", bad.length ? "Problems" : "No problems")];
  for (const finding of bad) {
    const code = el("span", finding.severity, finding.code);
    out.push(el("div", `finding is-${finding.severity}`,
      el("p", "", code, ` ${finding.subject}: ${finding.message}`),
      el("p", "quiet", `next: ${finding.next}`)));
  }
  const rows = findings.filter((finding) => finding.severity === "ok").map((f) => [el("span", "good", "ok"), f.subject, f.message]);
  if (rows.length) out.push(table(["", "WHAT", ""], rows));
  out.push(el("h2", "", "Calls, last 10 s"), edgeTable(edges));
  return out;
}

async function services() {
  const [short, long] = await Promise.all([get("/api/stat"), get("/api/stat?window=1h")]);
  return [el("h2", "", "Last 10 s"), edgeTable(short), el("h2", "", "Last hour"), edgeTable(long)];
}

async function endpoints() {
  const rows = (await get("/api/endpoints")).map((row) => {
    const views = row.views;
    const out = views.filter((view) => view.state !== "available");
    const sum = (field) => views.reduce((total, view) => total + view[field], 0);
    const labels = Object.entries(row.labels).map(([key, value]) => `${key}=${value}`).join(", ");
    const why = out.map((view) => view.reason).find(Boolean) || views.map((view) => view.last_code).find(Boolean) || "";
    const status = out.length ? `${out[0].state} at ${out.length}/${views.length}` : views.length ? "available" : "unused";
    return [
      row.service, row.addr, row.instance, labels, el("span", out.length ? "error" : "", status),
      sum("calls"), share(sum("failures"), sum("calls"), 1), micros(Math.max(0, ...views.map((view) => view.latency_us))),
      row.lease_left_seconds === null ? "-" : span(row.lease_left_seconds), why,
    ];
  });
  return [table(["SERVICE", "ADDRESS", "INSTANCE", "LABELS", "STATE", "#CALLS", "#FAILED", "#LATENCY", "#LEASE", "WHY"], rows)];
}

async function clients() {
  const answer = await get("/api/clients");
  const now = Math.floor(Date.now() / 1000);
  const rows = answer.clients.map((client) => {
    const refused = client.refused.map((each) => `${each.kind}: ${each.error}`).join("; ");
    const word = refused ? "REFUSED" : client.behind ? "behind" : "current";
    const cls = refused ? "error" : client.behind ? "warning" : "good";
    return [client.service, client.instance, client.addr, span(Math.max(0, now - client.connected_since_unix)),
      client.revision || "-", el("span", cls, word), refused];
  });
  return [el("p", "", `revision in force: ${answer.revision}`),
    table(["SERVICE", "INSTANCE", "ADDRESS", "#CONNECTED", "REVISION", "STATE", ""], rows)];
}

async function events() {
  const rows = (await get("/api/events")).reverse().map((event) =>
    [new Date(event.at_unix_ms).toLocaleTimeString(), event.kind, event.code, event.subject, event.message]);
  return [table(["TIME", "KIND", "CODE", "SUBJECT", "WHAT"], rows)];
}

async function draw() {
  const turn = ++drawing;
  const name = location.hash.slice(1) in views ? location.hash.slice(1) : "overview";
  const view = views[name];
  document.getElementById("command").textContent = view.command;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    const nodes = await view.draw();
    if (turn !== drawing) return;
    main.replaceChildren(...nodes);
    state.textContent = `as of ${new Date().toLocaleTimeString()}`;
    state.className = "quiet";
  } catch (error) {
    if (turn !== drawing) return;
    state.textContent = `control server unreachable: ${error.message}`;
    state.className = "error";
  }
}

addEventListener("hashchange", draw);
setInterval(() => { if (!document.hidden) draw(); }, 2000);
draw();
