"use strict";
// The emulator's page: what GET answers is shown, forms POST, messages arrive as server-sent events. All text goes in
// by textContent: payloads are whatever a device sent.

const API = "api/v1";
const KEEP = 500; // messages on the page
const $ = (selector, root = document) => root.querySelector(selector);

const state = { chosen: null, messages: [], paused: false, waiting: [], faults: [], switches: {}, products: "", skew: 0 };

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.body = typeof body === "string" ? body : JSON.stringify(body);
    options.headers["Content-Type"] = typeof body === "string" ? "application/octet-stream" : "application/json";
  }
  const answer = await fetch(`${API}${path}`, options);
  const text = await answer.text();
  let json = {};
  try { json = text ? JSON.parse(text) : {}; } catch { json = { error: text }; }
  if (!answer.ok) {
    const failure = new Error(json.error || json.result || `status ${answer.status}`);
    failure.json = json;
    throw failure;
  }
  return json;
}

function element(name, text, className) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function row(cells, onChoose) {
  const tr = document.createElement("tr");
  for (const c of cells) tr.append(c instanceof Node ? c : element("td", c));
  if (onChoose) {
    tr.tabIndex = 0;
    tr.addEventListener("click", onChoose);
    tr.addEventListener("keydown", (e) => { if (e.key === "Enter") onChoose(); });
  }
  return tr;
}

// PK/DN, which breaks at the slash when it must.
function idCell(id) {
  const cell = element("td", undefined, "id"), [product, ...name] = id.split("/");
  cell.append(`${product}/`, document.createElement("wbr"), name.join("/"));
  return cell;
}

const number = (n) => element("td", String(n), "n");
const time = (ms) => new Date(ms).toISOString().replace("T", " ").slice(0, 23);
const path = (id) => id.split("/").map(encodeURIComponent).join("/");

// ---- devices and products ----

function statusCell(status) {
  return element("td", status, status === "ONLINE" ? "good" : status === "DISABLED" ? "bad" : "dim");
}

async function showDevices() {
  const query = new URLSearchParams({ limit: "200" });
  if ($("#search").value) query.set("search", $("#search").value);
  if ($("#status-filter").value) query.set("status", $("#status-filter").value);
  const { devices, total } = await call("GET", `/devices?${query}`);
  $("#device-count").textContent = devices.length < total ? `${devices.length} of ${total}` : String(total);
  $("#devices tbody").replaceChildren(...devices.map((d) => {
    const id = `${d.productKey}/${d.deviceName}`;
    const tr = row([idCell(id), statusCell(d.status), d.session ? d.session.channel : "", number(d.up), number(d.down)], () => choose(id));
    tr.classList.toggle("chosen", id === state.chosen);
    return tr;
  }));
}

async function showProducts() {
  const { products } = await call("GET", "/products");
  const text = JSON.stringify(products);
  if (text === state.products) return;
  state.products = text;
  $("#products tbody").replaceChildren(...products.map((p) =>
    row([p.productKey, p.name || "", p.nodeType, p.format, p.registration ? "on" : "off"])));
  const select = $("#add-device select");
  const before = select.value;
  select.replaceChildren(...products.map((p) => element("option", p.productKey)));
  if (before) select.value = before;
}

function choose(id) {
  state.chosen = id;
  $("#send output").textContent = "";
  refresh();
  renderMessages();
}

function facts(list, pairs) {
  list.replaceChildren(...pairs.filter(([, v]) => v !== undefined && v !== null && v !== "")
    .flatMap(([k, v]) => [element("dt", k), element("dd", String(v))]));
}

async function showDetail() {
  if (!state.chosen) return;
  let d;
  try {
    d = await call("GET", `/devices/${path(state.chosen)}`);
  } catch (failure) {
    $("#detail-title").textContent = `${state.chosen}: ${failure.message}`;
    $("#detail-body").hidden = true;
    return;
  }
  $("#detail-title").textContent = state.chosen;
  $("#detail-hint").hidden = true;
  $("#detail-body").hidden = false;
  const s = d.session || {};
  facts($("#facts"), [["Status", d.status], ["Channel", s.channel], ["Address", s.address], ["Client id", s.clientId],
    ["Gateway", d.gateway], ["Sub-devices", d.subDevices && d.subDevices.length ? d.subDevices.length : ""],
    ["Last online", d.lastOnline ? time(d.lastOnline) : ""], ["Dropped", d.dropped || ""], ["Stored for it", d.stored || ""],
    ["Subscribed", (d.subscriptions || []).join("\n")],
    ["Last refusal", d.refused && d.refused.length ? `${d.refused.at(-1).code} ${d.refused.at(-1).reason}` : ""]]);
  $("#toggle-disabled").textContent = d.status === "DISABLED" ? "Enable" : "Disable";
  const desired = d.desired || {};
  const names = [...new Set([...Object.keys(d.reported || {}), ...Object.keys(desired)])].sort();
  $("#reported tbody").replaceChildren(...names.map((n) => {
    const r = (d.reported || {})[n];
    const want = desired[n] && "value" in desired[n] ? `desired ${JSON.stringify(desired[n].value)}` : "";
    return row([n, r ? JSON.stringify(r.value) : "", r ? time(r.time) : "", want]);
  }));
  if (!names.length) $("#reported tbody").replaceChildren(row([element("td", "nothing yet", "dim")]));
  $("#more pre").textContent = JSON.stringify(d, null, 2);
}

// ---- messages ----

function topicMatches(filter, topic) {
  const f = filter.split("/"), t = topic.split("/");
  for (let i = 0; i < f.length; i++) {
    if (f[i] === "#") return true;
    if (i >= t.length || (f[i] !== "+" && f[i] !== t[i])) return false;
  }
  return f.length === t.length;
}

function passes(m) {
  const filter = $("#topic-filter").value, direction = $("#direction").value;
  if (direction && m.direction !== direction) return false;
  if ($("#only-device").checked && state.chosen && m.device !== state.chosen) return false;
  return !filter || (/[+#]/.test(filter) ? topicMatches(filter, m.topic) : m.topic.includes(filter));
}

function pretty(m) {
  if (m.payload === undefined) return m.payloadHex || "";
  try { return JSON.stringify(JSON.parse(m.payload), null, 2); } catch { return m.payload; }
}

function openMessage(m) {
  $("#message-title").textContent = `${m.direction === "up" ? "From" : "To"} ${m.device}`;
  facts($("#message-facts"), [["Topic", m.topic], ["Time", time(m.time)], ["QoS", m.qos], ["Outcome", m.outcome], ["Reason", m.reason],
    ["Payload", m.payload === undefined ? "bytes, in hexadecimal" : "text"]]);
  $("#message-payload").textContent = pretty(m);
  $("#message-dialog").showModal();
}

// The device stands beside it: its part of the topic says nothing new.
function topicCell(m) {
  const cell = element("td", undefined, "topic");
  const payload = m.payload === undefined ? `0x${m.payloadHex || ""}` : m.payload;
  cell.title = m.topic;
  cell.append(element("div", m.topic.replace(`/${m.device}`, "/…")), element("div", payload.slice(0, 160), "preview"));
  return cell;
}

function messageRow(m) {
  const bad = !["taken", "delivered", "stored"].includes(m.outcome);
  return row([time(m.time).slice(11), element("td", m.direction === "up" ? "▲" : "▼"), idCell(m.device), topicCell(m), String(m.qos),
    element("td", m.reason ? `${m.outcome}: ${m.reason}` : m.outcome, bad ? "bad" : "")], () => openMessage(m));
}

function renderMessages() {
  const shown = state.messages.filter(passes).slice(-200).reverse();
  $("#messages tbody").replaceChildren(...shown.map(messageRow));
  $("#no-messages").hidden = shown.length !== 0;
}

let planned = false;
function take(m) {
  const list = state.paused ? state.waiting : state.messages;
  list.push(m);
  if (list.length > KEEP) list.splice(0, list.length - KEEP);
  if (state.paused || planned) return;
  planned = true; // a burst is drawn once
  setTimeout(() => { planned = false; renderMessages(); }, 100);
}

function follow() {
  // The stream first, then what was before it; after a lost connection the same again closes the gap.
  const source = new EventSource(`${API}/messages/stream`);
  let newest = 0;
  let early = [];
  source.onopen = async () => {
    early = [];
    const { messages } = await call("GET", `/messages?limit=${KEEP}&since=${newest}`);
    for (const m of [...messages, ...early]) if (m.seq > newest) { newest = m.seq; take(m); }
    early = null;
  };
  source.onmessage = (e) => {
    const m = JSON.parse(e.data);
    if (early) early.push(m);
    else if (m.seq > newest) { newest = m.seq; take(m); }
  };
}

// ---- faults ----

const SWITCHES = [
  ["Withhold acknowledgements", { kind: "puback" }], ["Stop reading", { kind: "stall" }],
  ["Refuse logins", { kind: "connack", code: 3 }], ["Drop replies", { kind: "reply" }],
];
const same = (f, spec) => Object.entries(spec).every(([k, v]) => f[k] === v) && !f.device && !f.topic && !f.channel && f.left < 0;

async function showFaults() {
  const { faults, kinds } = await call("GET", "/faults");
  state.faults = faults;
  const select = $("#add-fault select");
  if (kinds && select.options.length !== kinds.length) select.replaceChildren(...kinds.map((k) => {
    const option = element("option", k.kind);
    option.title = k.help;
    return option;
  }));
  $("#fault-help").textContent = select.selectedOptions[0] ? select.selectedOptions[0].title : "";
  for (const [name, spec] of SWITCHES)
    state.switches[name].setAttribute("aria-pressed", String(faults.some((f) => same(f, spec))));
  $("#faults tbody").replaceChildren(...faults.map((f) => {
    const where = [f.channel, f.device, f.topic, f.direction].filter(Boolean).join(" ") || "everywhere";
    const how = ["code", "ms", "rate", "after", "probability"].filter((k) => f[k] && !(k === "probability" && f[k] === 1)).map((k) => `${k} ${f[k]}`);
    const place = element("td", where, "long");
    if (how.length) place.append(element("div", how.join(", "), "dim"));
    const end = element("button", "End");
    end.addEventListener("click", async () => { await call("DELETE", `/faults/${f.id}`); showFaults(); });
    const cell = element("td");
    cell.append(end);
    return row([f.kind, place, number(f.hits), number(f.left < 0 ? "∞" : f.left), cell]);
  }));
}

// What exceeded a limit, or was ended by a fault: the newest of all devices.
async function showViolations() {
  const { devices } = await call("GET", "/violations");
  const list = Object.entries(devices).flatMap(([id, all]) => all.map((v) => ({ id, ...v }))).sort((a, b) => b.time - a.time).slice(0, 20);
  $("#violations tbody").replaceChildren(...list.map((v) => row([time(v.time).slice(11, 19), idCell(v.id), v.limit, v.done])));
  if (!list.length) $("#violations tbody").replaceChildren(row([element("td", "none", "dim")]));
}

function makeSwitches() {
  for (const [name, spec] of SWITCHES) {
    const button = element("button", name);
    button.type = "button";
    button.addEventListener("click", async () => {
      const on = state.faults.filter((f) => same(f, spec));
      if (on.length) await Promise.all(on.map((f) => call("DELETE", `/faults/${f.id}`)));
      else await call("POST", "/faults", spec);
      showFaults();
    });
    state.switches[name] = button;
    $("#switches").append(button);
  }
  const cut = element("button", "Cut all connections now");
  cut.type = "button";
  cut.addEventListener("click", async () => { await call("POST", "/faults", { kind: "cut" }); refresh(); });
  $("#switches").append(cut);
}

// ---- forms ----

function onSubmit(form, act) {
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const output = $("output", form);
    if (output) { output.className = "dim"; output.textContent = "…"; }
    try {
      const answer = await act(Object.fromEntries(new FormData(form)));
      if (output) { output.className = "good"; output.textContent = answer === undefined ? "done" : JSON.stringify(answer, null, 2); }
    } catch (failure) {
      if (output) {
        output.className = "bad";
        output.textContent = failure.json ? JSON.stringify(failure.json, null, 2) : failure.message;
      }
    }
    refresh();
  });
}

const filled = (data) => Object.fromEntries(Object.entries(data).filter(([, v]) => v !== ""));

function sendFields() {
  const what = $("#send [name=what]").value;
  for (const label of $("#send").querySelectorAll("[data-for]"))
    label.hidden = !label.dataset.for.split(" ").includes(what);
  $("#payload-label").textContent = { properties: "Properties as JSON", services: "Arguments as JSON", raw: "Payload, text",
    rrpc: "Payload, text" }[what];
}

async function sendIt(data) {
  const base = `/devices/${path(state.chosen)}`;
  const query = new URLSearchParams(filled({ topic: data.topic || "", qos: data.what === "raw" ? data.qos : "" }));
  switch (data.what) {
  case "properties": return call("POST", `${base}/properties`, JSON.parse(data.payload));
  case "services": return call("POST", `${base}/services/${encodeURIComponent(data.service)}`, JSON.parse(data.payload));
  case "raw": return call("POST", `${base}/raw?${query}`, data.payload);
  default: return call("POST", `${base}/rrpc?${query}`, data.payload);
  }
}

function numbers(data) {
  const spec = filled(data);
  for (const name of ["code", "ms", "rate", "count", "after", "probability", "seed"])
    if (name in spec) spec[name] = Number(spec[name]);
  return spec;
}

function wire() {
  onSubmit($("#add-device"), (data) => call("POST", "/devices", filled(data)));
  onSubmit($("#add-product"), (data) => call("POST", "/products", filled(data)));
  onSubmit($("#send"), sendIt);
  onSubmit($("#add-fault"), (data) => call("POST", "/faults", numbers(data)));
  $("#add-fault [name=kind]").addEventListener("change", showFaults);
  onSubmit($("#clock-form"), async () => { await call("POST", "/clock", { advance: $("#clock-by").value }); });
  $("#send [name=what]").addEventListener("change", sendFields);
  for (const id of ["#search", "#status-filter"]) $(id).addEventListener("input", showDevices);
  for (const id of ["#topic-filter", "#direction", "#only-device"]) $(id).addEventListener("input", renderMessages);
  $("#pause").addEventListener("click", () => {
    state.paused = !state.paused;
    $("#pause").setAttribute("aria-pressed", String(state.paused));
    if (!state.paused) { state.messages = state.messages.concat(state.waiting).slice(-KEEP); state.waiting = []; renderMessages(); }
  });
  $("#clear").addEventListener("click", () => { state.messages = []; renderMessages(); });
  const act = (id, fn) => $(id).addEventListener("click", async () => { await fn(); refresh(); });
  act("#toggle-disabled", () => call("POST", `/devices/${path(state.chosen)}/${$("#toggle-disabled").textContent.toLowerCase()}`));
  act("#kick", () => call("POST", "/faults", { kind: "kick", device: state.chosen }));
  act("#delete", async () => { if (confirm(`Delete ${state.chosen}? Its secret dies with it.`)) await call("DELETE", `/devices/${path(state.chosen)}`); });
}

// ---- the whole ----

async function showFigures() {
  const s = await call("GET", "/stats");
  $("#figures").textContent = `${s.online} of ${s.devices} devices online, ${s.connections} connections, ${s.published} up, ` +
    `${s.pushed} down, limits ${s.limits}`;
  const clock = await call("GET", "/clock");
  $("#clock").textContent = time(clock.now).slice(0, 19) + "Z" + (clock.aheadMs ? " (put forward)" : "");
}

async function refresh() {
  const parts = await Promise.allSettled([showFigures(), showDevices(), showProducts(), showDetail(), showFaults(), showViolations()]);
  const failed = parts.find((p) => p.status === "rejected");
  document.body.classList.toggle("lost", Boolean(failed));
  if (failed) $("#figures").textContent = `no answer: ${failed.reason.message}`;
}

wire();
makeSwitches();
sendFields();
refresh();
follow();
setInterval(refresh, 2000);
