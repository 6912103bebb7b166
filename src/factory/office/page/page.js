"use strict";
// The page of a production line: GET /api/v1/line is shown every two seconds, forms POST. All text goes in by textContent:
// DeviceIDs, names of stations and columns of files are whatever somebody sent.

const API = "/api/v1", EVERY = 2000, HIDDEN_EVERY = 15000, PATIENCE = 10000, PAGE = 50;
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const state = { line: null, session: null, timer: 0, board: null, next: null, batch: null, product: null, reclaim: null, file: null, lostSince: 0, started: 0 };

class Failure extends Error {
  constructor(status, json) {
    super(json.message || `The server answered with status ${status}.`);
    this.status = status;
    this.json = json;
  }
}

// ---- asking ----

async function call(method, path, { query, body, patience = PATIENCE } = {}) {
  const filled = Object.entries(query || {}).filter(([, v]) => v !== undefined && v !== null && v !== "" && v !== false);
  const options = { method, headers: {}, cache: "no-store" };
  if (patience) options.signal = AbortSignal.timeout(patience);
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(`${API}${path}${filled.length ? `?${new URLSearchParams(filled)}` : ""}`, options);
  } catch {
    throw new Failure(0, { message: "The server does not answer. What was asked may have happened all the same; look before you repeat it." });
  }
  const json = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== "/session") showLogin();
  if (!answer.ok) throw new Failure(answer.status, json);
  return json;
}

// ---- small helpers ----

function element(name, text, className) {
  const e = document.createElement(name);
  if (text !== undefined && text !== null) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function svg(name, attributes, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}

function button(text, act, className) {
  const b = element("button", text, className);
  b.type = "button";
  b.addEventListener("click", act);
  return b;
}

function row(...cells) {
  const tr = document.createElement("tr");
  for (const c of cells) tr.append(c instanceof Node && c.nodeName === "TD" ? c : cell(c));
  return tr;
}

// The whole row opens something; its button does the same for the keyboard.
function opens(tr, act) {
  tr.className = "link";
  tr.addEventListener("click", (e) => { if (e.target.nodeName !== "BUTTON") act(); });
  return tr;
}

function cell(content, className) {
  const td = element("td", undefined, className);
  td.append(content instanceof Node ? content : String(content ?? ""));
  return td;
}

function facts(list, pairs) {
  list.replaceChildren(...pairs.filter(([, v]) => v !== undefined && v !== null && v !== "").flatMap(([k, v, c]) => {
    const dd = element("dd", undefined, c);
    dd.append(v instanceof Node ? v : String(v));
    return [element("dt", k), dd];
  }));
}

// Redrawn only when it changed: who points at something or selects a text is not disturbed.
const drawn = new WeakMap();
function changed(place, what) {
  const text = JSON.stringify(what);
  if (drawn.get(place) === text) return false;
  drawn.set(place, text);
  return true;
}

const numbers = new Intl.NumberFormat("en");
const count = (n) => numbers.format(n || 0);
const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
const two = (n) => String(n).padStart(2, "0");

function clock(text, seconds = true) {
  const d = new Date(text);
  return `${two(d.getHours())}:${two(d.getMinutes())}${seconds ? `:${two(d.getSeconds())}` : ""}`;
}

function moment(text) {
  if (!text) return "";
  const d = new Date(text), now = new Date();
  return d.toDateString() === now.toDateString() ? clock(text) : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(text)}`;
}

function span(ms) {
  const minutes = Math.floor(ms / 60000);
  if (minutes < 1) return "less than a minute";
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return plural(Math.floor(minutes / 1440), "day");
}

function ago(text, now) {
  const ms = now - Date.parse(text);
  return ms < 5000 ? "now" : ms < 60000 ? `${Math.floor(ms / 1000)} s ago` : `${span(ms)} ago`;
}

// ---- the line ----

function showTiles(line) {
  const f = line.figures;
  for (const b of $$("#tiles button")) $("b", b).textContent = count(f.count[b.dataset.state]);
  const say = (name, text) => { $(`#tiles [data-state=${name}] small`).textContent = text; };
  const ends = line.products.filter((p) => p.endsInMs >= 0).sort((a, b) => a.endsInMs - b.endsInMs)[0];
  say("free", !f.total ? "nothing in stock" : ends ? (ends.endsInMs ? `${ends.productKey} ends in ${span(ends.endsInMs)}` : `none of ${ends.productKey} left`) : `of ${count(f.total)} in stock`);
  say("allocated", f.anonymous ? `${count(f.anonymous)} without a DeviceID` : "given, not yet reported");
  say("written", `${count(f.writtenDay)} in 24 hours`);
  say("void", "taken out");
}

function showProblems(problems) {
  const list = $("#problems ul");
  if (changed(list, problems)) list.replaceChildren(...problems.map((p) => element("li", p.text, p.level)));
}

function stack(counts, total) {
  const bar = element("div", undefined, "stack");
  bar.setAttribute("role", "img");
  const names = ["written", "allocated", "free", "void"].filter((n) => counts[n]);
  bar.setAttribute("aria-label", names.map((n) => `${count(counts[n])} ${n}`).join(", ") || "empty");
  bar.title = bar.getAttribute("aria-label");
  bar.append(...names.map((n) => {
    const part = element("i", undefined, n);
    part.style.flexGrow = Math.max(counts[n] / total, 0.004);
    return part;
  }));
  return bar;
}

function batchRow({ batch: b, endsInMs }) {
  const div = element("div", undefined, "batch");
  const name = element("div", undefined, "name"), title = element("b", b.name), ends = element("div", undefined, "ends");
  div.classList.toggle("closed", b.closed);
  if (b.closed) title.append(element("span", "closed", "tag"));
  name.append(title, element("small", `${b.productKey} · ${count(b.total)} in all`));
  const low = !b.closed && b.low > 0 && b.count.free < b.low;
  ends.classList.toggle("bad", !b.closed && (low || (b.count.free > 0 && endsInMs >= 0 && endsInMs < 7200000)));
  ends.append(element("b", `${count(b.count.free)} free`),
    element("small", b.closed ? "not given out" : !b.count.free ? "used up" : endsInMs >= 0 ? `runs out in ${span(endsInMs)}` : "no board in the last hour"));
  const act = element("div", undefined, "do");
  if (!state.session.viewOnly) {
    const shut = button(b.closed ? "Open" : "Close", () => closeBatch(b, shut));
    shut.setAttribute("aria-label", `${b.closed ? "Open" : "Close"} batch ${b.name}`);
    act.append(shut);
  }
  const manage = button(state.session.viewOnly ? "Boards" : "Manage", () => (state.session.viewOnly ? showBatchBoards(b) : openBatch(b)));
  manage.setAttribute("aria-label", `${manage.textContent}: batch ${b.name}`);
  act.append(manage);
  div.append(name, stack(b.count, b.total), ends, act);
  return div;
}

// Batches that are used up and closed come last; the order within a product is the order of use.
function showBatches(line) {
  const place = $("#stock .rows"), rank = (x) => (x.batch.closed ? 2 : x.batch.count.free ? 0 : 1);
  const list = [...line.batches].sort((a, b) => rank(a) - rank(b));
  $("#stock .hint").hidden = list.length > 0;
  document.body.classList.toggle("nothing", !list.length);
  if (!changed(place, [list.map((x) => ({ ...x, endsInMs: x.endsInMs < 0 ? -1 : Math.floor(x.endsInMs / 60000) })), state.session.viewOnly])) return;
  const focus = document.activeElement && place.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  place.replaceChildren(...list.map(batchRow));
  if (focus) $$("button", place).find((b) => b.getAttribute("aria-label") === focus)?.focus();
  fillSelect($("#list [name=batch]"), [...new Set(list.map((x) => x.batch.name))]);
}

function fillSelect(select, values) {
  const before = select.value;
  select.replaceChildren(...[["", "any"], ...values.map((v) => [v, v])].map(([value, text]) => {
    const option = element("option", text);
    option.value = value;
    return option;
  }));
  select.value = values.includes(before) ? before : "";
}

function niceTop(n) {
  const step = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
  return Math.max(4, [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((m) => m * step).find((v) => v >= n));
}

// Bars: boards written in each slot, as a rate an hour. Line: certificates given out.
function showRate(line) {
  const r = line.rate, picture = $("#rate svg"), box = picture.getBoundingClientRect(), width = Math.round(box.width), height = Math.round(box.height);
  $("#rate .big b").textContent = count(line.figures.writtenHour);
  const gap = line.figures.allocatedHour - line.figures.writtenHour;
  $("#rate .hint").textContent = `${count(line.figures.allocatedHour)} given in the last hour` + (gap > 0 ? `, ${count(gap)} more than reported` : "");
  if (width < 50 || !changed(picture, [r.allocated, r.written, width, height, clock(r.until, false)])) return;
  const hour = 3600000 / r.slotMs, left = 44, bottom = 20, n = r.written.length, end = Date.parse(r.until);
  const top = niceTop(Math.max(...r.written, ...r.allocated) * hour), w = (width - left) / n;
  const y = (v) => 6 + (height - bottom - 6) * (1 - (v * hour) / top), x = (i) => left + i * w;
  const parts = [0, 0.5, 1].flatMap((part) => [svg("line", { class: "axis", x1: left, x2: width, y1: y((part * top) / hour), y2: y((part * top) / hour) }),
    svg("text", { x: left - 6, y: y((part * top) / hour) + 4, "text-anchor": "end" }, count(part * top))]);
  r.written.forEach((v, i) => { if (v) parts.push(svg("rect", { class: "written", x: x(i) + w * 0.12, y: y(v), width: w * 0.76, height: height - bottom - y(v), rx: 1.5 })); });
  const points = r.allocated.map((v, i) => `${(x(i) + w / 2).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
  parts.push(svg("polyline", { class: "allocated", points }));
  const first = end - n * r.slotMs, mark = new Date(first);
  mark.setMinutes(0, 0, 0);
  for (let t = mark.getTime(); t <= end; t += 3600000) {
    const at = left + ((t - first) / r.slotMs) * w;
    if (new Date(t).getHours() % 3 === 0 && at > left + 14 && at < width - 14) parts.push(svg("text", { x: at, y: height - 5, "text-anchor": "middle" }, clock(t, false)));
  }
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.setAttribute("aria-label", `Boards an hour over the last ${plural(n / hour, "hour")}: ${count(line.figures.writtenHour)} written in the last one; most in a quarter of an hour: ${count(Math.max(...r.written))}.`);
  picture.replaceChildren(...parts);
}

const REFUSED = { UNKNOWN_PRODUCT: "unknown product", OUT_OF_STOCK: "out of stock", UNKNOWN_DEVICE: "unknown board", BATCH_CLOSED: "batch closed", QUOTA_EXCEEDED: "quota used up",
  BAD_REQUEST: "bad request", UNAUTHORIZED: "refused", BUSY: "busy" };

// What the stock knows of the last day, and what the server saw since it runs, by name.
function stationList(line) {
  const all = new Map(line.stations.map((s) => [s.name, { ...s }]));
  for (const s of line.live.stations || []) {
    const one = all.get(s.name) || { name: s.name, allocated: 0, written: 0, unreported: 0, last: null };
    all.set(s.name, { ...one, ...s, last: !one.last || Date.parse(s.last) > Date.parse(one.last) ? s.last : one.last });
  }
  return [...all.values()].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true })); // a table that is read stays in its place
}

function showStations(line) {
  const list = stationList(line), body = $("#stations tbody");
  $("#stations .empty").hidden = list.length > 0;
  $("#stations .scroll").hidden = !list.length;
  const shown = list.map((s) => {
    const age = line.at - Date.parse(s.last), refused = s.answer && s.answer !== "OK" && REFUSED[s.answer];
    const dot = element("i", undefined, `dot ${refused && age < 600000 ? "bad" : age < 300000 ? "on" : ""}`), name = cell("");
    name.append(dot, s.name, ...(refused ? [element("small", `last answer: ${refused}`)] : []));
    const quota = s.quota ? `${count(s.used)} of ${count(s.quota)}` : "";
    return [[s.name, s.answer, dot.className, s.allocated, s.written, s.unreported, s.waiting || 0, quota, ago(s.last, line.at)],
      () => row(name, cell(count(s.allocated), "n"), cell(count(s.written), "n"), cell(count(s.unreported), `n${s.unreported > Math.max(3, s.allocated / 50) ? " bad-text" : ""}`),
        cell(s.waiting ? count(s.waiting) : "", "n"), cell(quota, "t"), cell(ago(s.last, line.at), "t"))];
  });
  if (changed(body, shown.map(([key]) => key))) body.replaceChildren(...shown.map(([, make]) => make()));
}

const WORDS = { allocate: "allocated", again: "asked again", write: "written", import: "import", void: "void", reclaim: "taken back", batch: "batch", product: "product", export: "export",
  device: "device", handout: "handed out", order: "order" };
const COLOURS = { allocate: "allocated", write: "written", void: "void", reclaim: "free", import: "free" };

const kindCell = (e) => cell(WORDS[e.what] || e.what, `what ${COLOURS[e.what] || ""}`);

function showRecent(line) {
  const body = $("#recent tbody");
  $("#recent .empty").hidden = line.recent.length > 0;
  $("#recent .scroll").hidden = !line.recent.length;
  if (!changed(body, line.recent.map((e) => [e.node, e.number]))) return;
  body.replaceChildren(...line.recent.map((e) => {
    const board = cell("");
    const tr = row(cell(moment(e.at), "t"), kindCell(e), board, e.who);
    if (!e.deviceName || !e.productKey) {
      board.append((e.text || "").replace(/, sum [0-9a-f]{32,}/, ""));
      return tr;
    }
    const act = () => showBoard({ productKey: e.productKey, deviceName: e.deviceName });
    board.append(button(e.deviceId || e.deviceName, act, "row"), ...(e.deviceId ? [element("small", e.deviceName)] : []));
    return opens(tr, act);
  }));
}

function showProducts(line, settings) {
  const place = $("#products .rows"), by = new Map(settings.map((p) => [p.productKey, p]));
  fillSelect($("#list [name=productKey]"), settings.map((p) => p.productKey));
  if (!changed(place, [settings, line.products.map((p) => p.figures.count.free), state.session.viewOnly])) return;
  place.replaceChildren(...settings.map((p) => {
    const div = document.createElement("div"), left = document.createElement("div"), free = line.products.find((x) => x.productKey === p.productKey);
    const says = [p.bluetooth ? `Bluetooth${p.productId ? `, ProductID ${p.productId}` : ""}` : "", p.crcForm === "number" ? "CRC32 as number" : "", p.crcOrder === "prose" ? "other CRC32 order" : "",
      p.normalizeMac ? "MACs in any form" : "", p.replyColumns.length ? `replies carry ${p.replyColumns.join(", ")}` : ""].filter(Boolean);
    left.append(element("b", p.productKey), element("small", [free ? `${count(free.figures.count.free)} free` : "", ...says].filter(Boolean).join(" · ")));
    div.append(left);
    if (!state.session.viewOnly) {
      const b = button("Settings", () => openProduct(by.get(p.productKey)));
      b.setAttribute("aria-label", `Settings of product ${p.productKey}`);
      div.append(b);
    }
    return div;
  }));
  if (!settings.length) place.replaceChildren(element("p", "A product appears with its first import.", "hint"));
}

function showLine(line) {
  state.line = line;
  showProblems(line.problems);
  if (!line.figures) return; // the database is not there: what was seen last stays
  showTiles(line);
  showBatches(line);
  showRate(line);
  showStations(line);
  showRecent(line);
  showProducts(line, line.products.map((p) => p.settings));
}

function showLink(ok, text, lost = false) {
  document.body.classList.toggle("trouble", !ok);
  document.body.classList.toggle("lost", lost);
  if ($("#link span").textContent !== text) $("#link span").textContent = text;
}

async function refresh() {
  clearTimeout(state.timer);
  try {
    if (!state.session || state.lostSince) await meet();
    if (state.session && (state.session.name || !state.session.operators)) {
      showLine(await call("GET", "/line"));
      const line = state.line, waiting = line.live.waiting;
      if (state.started && state.started !== line.live.started) await meet(); // stopped and started between two looks
      state.started = line.live.started;
      showLink(line.live.up, line.live.up ? (waiting ? `${plural(waiting, "request")} waiting` : "live") : "database trouble");
      $("#as-of").textContent = `as of ${clock(line.at)}`;
    }
    state.lostSince = 0;
  } catch (failure) {
    if (failure.status === 401) {
      state.lostSince = 0;
    } else if (failure.status) {
      showLink(false, failure.message);
    } else {
      state.lostSince = state.lostSince || Date.now();
      showLink(false, `no answer since ${clock(state.lostSince)}, trying again`, true);
    }
  }
  state.timer = setTimeout(refresh, document.hidden ? HIDDEN_EVERY : EVERY);
}

// ---- log-in ----

async function meet() {
  const session = await call("GET", "/session");
  take(session);
}

function take(session) {
  if (state.session && state.session.version !== session.version) { location.reload(); return; } // the server has a newer page
  state.session = session;
  $("#version").textContent = `causeway-factory ${session.version}`;
  if (session.operators && !session.name) { showLogin(); return; }
  $("#login").hidden = true;
  document.body.classList.remove("outside");
  $("main").hidden = false;
  $("#me").hidden = !session.operators;
  $("#me span").textContent = session.name + (session.viewOnly ? " (view only)" : "");
  $("#logout").hidden = session.how !== "session";
  document.body.classList.toggle("view-only", session.viewOnly);
}

function showLogin() {
  const first = $("#login").hidden;
  if (state.session) state.session.name = null;
  for (const d of $$("dialog[open]")) d.close();
  $("#login").hidden = false;
  document.body.classList.add("outside");
  $("main").hidden = true;
  $("#me").hidden = true;
  showLink(true, "not logged in");
  if (first) $("#login [name=name]").focus();
}

async function login(e) {
  e.preventDefault();
  const form = e.target, output = $("output", form), go = $("button", form);
  output.textContent = "";
  go.disabled = true;
  try {
    take(await call("POST", "/session", { body: { name: form.elements.name.value, token: form.elements.token.value } }));
    form.reset();
    $("#search").focus();
    refresh();
  } catch (failure) {
    output.textContent = failure.message;
    form.elements.token.select();
  }
  go.disabled = false;
}

async function logout() {
  try {
    take(await call("DELETE", "/session"));
  } catch (failure) {
    showLink(false, failure.message);
  }
}

// ---- boards ----

const STATES = { free: "free", allocated: "allocated: a station has it for a board", written: "written: a station reported that the board has it", void: "void: nobody gets it" };

function boardFacts(b) {
  return [["DeviceName", b.deviceName], ["State", STATES[b.state], `state ${b.state}`], ["DeviceID", b.deviceId ? b.deviceId + (b.anonymous ? " (made up here: none was sent)" : "") : ""],
    ["Product", b.productKey], ["Batch", b.batch], ["Station", b.station], ["ProductID", b.productId], ["Imported", moment(b.imported)], ["Allocated", moment(b.allocated)],
    ["Written", moment(b.written)], ["Void", moment(b.voided)], ["Reason", b.reason], ["Further columns", b.extra ? Object.entries(b.extra).map(([k, v]) => `${k}: ${v}`).join(", ") : ""],
    ["Secrets", "kept sealed; never shown here"]];
}

async function showBoard(query) {
  const place = $("#board");
  try {
    const { board, history } = await call("GET", "/board", { query });
    state.board = board;
    $("#board-title").textContent = board.deviceId || board.deviceName;
    facts($("dl", place), boardFacts(board));
    $("#void").hidden = board.state === "void";
    $("#take-back").hidden = board.state !== "allocated";
    $("tbody", place).replaceChildren(...history.map((e) => row(cell(moment(e.at), "t"), kindCell(e), e.who, e.address, e.text)));
    if (!history.length) $("tbody", place).replaceChildren(row(element("td", "nothing has happened to it since its import", "hint")));
    $(".body", place).hidden = false;
    $(".hint", place).textContent = "";
    place.hidden = false;
    place.scrollIntoView({ block: "nearest" });
    return true;
  } catch (failure) {
    if (failure.status === 401) return true;
    state.board = null;
    $("#board-title").textContent = query.text || query.deviceName;
    $(".body", place).hidden = true;
    $(".hint", place).textContent = failure.message;
    place.hidden = false;
    return failure.status !== 404 && failure.status !== 409;
  }
}

async function find(e) {
  e.preventDefault();
  const text = $("#search").value.trim();
  if (!text) return;
  $("#list").hidden = true;
  if (!(await showBoard({ text }))) await showList({ text });
  $("#search").select(); // the next scan takes its place
}

// A scanner types wherever the focus is, and its Enter would press the button that was clicked last: what is typed outside of fields is sought.
function wireScanner() {
  const search = $("#search");
  search.addEventListener("focus", () => search.select());
  document.addEventListener("keydown", (e) => {
    if (e.key.length !== 1 || e.key === " " || e.ctrlKey || e.metaKey || e.altKey || $("main").hidden || e.target.closest("input, select, textarea, dialog")) return;
    search.focus(); // the character goes there
  });
}

function listRow(d) {
  const act = () => showBoard({ productKey: d.productKey, deviceName: d.deviceName }), open = button(d.deviceName, act, "row");
  const last = [d.voided, d.written, d.allocated, d.imported].find(Boolean);
  return opens(row(open, d.deviceId, cell(d.state, `what ${d.state}`), d.productKey, d.batch, d.station, cell(moment(last), "t")), act);
}

function listQuery() {
  const form = $("#list form"), query = Object.fromEntries(new FormData(form));
  return { ...query, most: PAGE };
}

async function loadList(after) {
  const place = $("#list"), hint = $(".hint", place), body = $("tbody", place);
  try {
    const { devices, next } = await call("GET", "/devices", { query: { ...listQuery(), after } });
    if (after) body.append(...devices.map(listRow));
    else body.replaceChildren(...devices.map(listRow));
    state.next = next;
    $("#more").hidden = !next;
    $(".scroll", place).hidden = !body.rows.length;
    hint.textContent = body.rows.length ? `${plural(body.rows.length, "board")} shown${next ? ", there are more" : ""}` : "No certificate fits.";
  } catch (failure) {
    hint.textContent = failure.message;
  }
}

async function showList(filter) {
  const form = $("#list form");
  form.reset();
  for (const [name, value] of Object.entries(filter)) form.elements[name].value = value;
  $("#list").hidden = false;
  await loadList();
  $("#list").scrollIntoView({ block: "nearest" });
}

const showBatchBoards = (b) => showList({ batch: b.name, productKey: b.productKey });

// ---- dialogs ----

// A dialog's form acts when it is sent; it closes when that went well.
function dialog(id, act) {
  const d = $(id), form = $("form", d), output = $("output", d);
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    output.textContent = "";
    const go = $("button[type=submit]", form);
    go.disabled = true;
    try {
      await act(form);
      d.close();
      refresh();
    } catch (failure) {
      output.textContent = failure.message;
    }
    go.disabled = false;
  });
  // A scanner's Enter is nobody's decision: what it types may stand in a field, but only a button sends it, and none that does harm has the focus.
  form.addEventListener("keydown", (e) => { if (e.key === "Enter" && e.target.nodeName !== "BUTTON") e.preventDefault(); });
  $(".cancel", d).addEventListener("click", () => d.close());
  return () => { output.textContent = ""; d.showModal(); };
}

let openVoidDialog, openBatchDialog, openReclaimDialog, openProductDialog;

function openVoid() {
  const b = state.board, form = $("#void-dialog form");
  form.reset();
  facts($("dl", form), [["DeviceName", b.deviceName], ["DeviceID", b.deviceId], ["Product", b.productKey], ["State", b.state, `state ${b.state}`]]);
  $("#void-what").textContent = { free: "Nobody has it. It will not be given to any board.", allocated: "A station has it for a board, which may have it by now. The DeviceID becomes free for another certificate.",
    written: "A board has it! It goes on working on the platform; take the device out there, too. The DeviceID becomes free for another certificate." }[b.state];
  openVoidDialog();
}

async function doVoid(form) {
  const { productKey, deviceName } = state.board;
  await call("POST", "/void", { body: { productKey, deviceName, seen: state.board.state, reason: form.elements.reason.value.trim() } });
  await showBoard({ productKey, deviceName });
}

function openBatch(b) {
  const form = $("#batch-dialog form");
  state.batch = b;
  $("#batch-title").textContent = `Batch ${b.name}`;
  facts($("dl", form), [["Product", b.productKey], ["File", b.file], ["First import", moment(b.created)], ["Last import", moment(b.imported)],
    ["Certificates", `${count(b.total)}: ${["free", "allocated", "written", "void"].map((n) => `${count(b.count[n])} ${n}`).join(", ")}`], ["State", b.closed ? "closed: nothing is given out from it" : "open"]]);
  form.elements.low.value = b.low;
  form.elements.lease.value = b.lease;
  form.elements.hours.value = b.leaseMs ? b.leaseMs / 3600000 : 24;
  $("#batch-closed").textContent = b.closed ? "Open batch" : "Close batch";
  $("#batch-reclaim").hidden = !b.count.allocated;
  openBatchDialog();
}

async function saveBatch(form) {
  const { name, productKey } = state.batch, lease = form.elements.lease.value;
  await call("POST", "/batch", { body: { name, productKey, low: Number(form.elements.low.value || 0), lease, leaseMs: lease === "none" ? 0 : Math.round(Number(form.elements.hours.value) * 3600000) } });
}

async function closeBatch(b, pressed) {
  pressed.disabled = true;
  try {
    await call("POST", "/batch", { body: { name: b.name, productKey: b.productKey, closed: !b.closed } });
  } catch (failure) {
    showLink(false, failure.message);
  }
  pressed.disabled = false;
  await refresh();
}

// Shown first, done when somebody has seen what it is.
async function openReclaim(filter, what) {
  const d = $("#reclaim-dialog");
  let found;
  try {
    found = await call("POST", "/reclaim", { body: { ...filter, doit: false } });
  } catch (failure) {
    showLink(false, failure.message);
    return;
  }
  state.reclaim = { ...filter, until: found.until }; // what stations are given while this is open is theirs
  $(".what", d).textContent = found.count ? `${plural(found.count, "certificate")} of ${what} would go back to the stock, to be given to other boards.` : `No allocation of ${what} waits for a report.`;
  $("tbody", d).replaceChildren(...found.devices.map((x) => row(x.deviceName, x.deviceId, x.station, cell(moment(x.allocated), "t"))));
  $(".scroll", d).hidden = !found.count;
  $("button[type=submit]", d).textContent = `Take ${plural(found.count, "certificate")} back`;
  $("button[type=submit]", d).hidden = !found.count;
  openReclaimDialog();
}

async function doReclaim() {
  await call("POST", "/reclaim", { body: { ...state.reclaim, doit: true }, patience: 0 });
  if (state.board && !$("#board").hidden) await showBoard({ productKey: state.board.productKey, deviceName: state.board.deviceName });
}

function openProduct(p) {
  const form = $("#product-dialog form"), f = form.elements;
  state.product = p;
  $("#product-title").textContent = `Product ${p.productKey}`;
  f.bluetooth.checked = p.bluetooth;
  f.productId.value = p.productId || "";
  f.crcForm.value = p.crcForm;
  f.crcOrder.value = p.crcOrder;
  f.normalizeMac.checked = p.normalizeMac;
  f.replyColumns.value = p.replyColumns.join(",");
  openProductDialog();
}

async function saveProduct(form) {
  const f = form.elements;
  await call("POST", "/product", { body: { productKey: state.product.productKey, bluetooth: f.bluetooth.checked, productId: f.productId.value.trim(), crcForm: f.crcForm.value, crcOrder: f.crcOrder.value,
    normalizeMac: f.normalizeMac.checked, replyColumns: f.replyColumns.value.split(",").map((c) => c.trim()).filter(Boolean).join(",") } });
}

// ---- import ----

const batchOf = (file) => file ? file.name.replace(/\.[^.]*$/, "").slice(0, 64) : "";

function chooseFile(file) {
  const form = $("#import form");
  state.file = file || null;
  $("#drop span").textContent = file ? `${file.name}, ${file.size < 10240 ? `${count(file.size)} bytes` : `${count(Math.round(file.size / 1024))} KiB`}` : "Drop a CSV file here, or choose one";
  if (file && !form.elements.batch.value) form.elements.batch.value = batchOf(file);
}

function importResult(json, failure) {
  const place = $("#import .result"), parts = [];
  if (failure) parts.push(element("p", failure, "bad"));
  else parts.push(element("p", `${plural(json.new, "new certificate")} in batch ${json.batch}.`, "good"));
  if (json.read !== undefined && (json.read || !failure)) { // nothing was read: the sentence has said why
    const list = document.createElement("dl");
    for (const [name, value] of [["read", json.read], ["new", json.new], ["known", json.known], ["refused", json.refused]]) {
      const div = document.createElement("div");
      div.append(element("dt", name), element("dd", count(value)));
      list.append(div);
    }
    parts.push(list);
    if (json.products.length) parts.push(element("p", `${plural(json.products.length, "product")}: ${json.products.join(", ")}; read as ${json.encoding}`, "hint"));
  }
  if (json.notes && json.notes.length) {
    const scroll = element("div", undefined, "scroll"), table = document.createElement("table"), head = document.createElement("thead"), body = document.createElement("tbody");
    const titles = document.createElement("tr");
    titles.append(...["Line", "Column", "What"].map((t) => element("th", t)));
    head.append(titles);
    body.append(...json.notes.map((n) => row(cell(n.line || "", "t"), n.column, cell(n.sentence, n.refused ? "bad" : ""))));
    table.append(head, body);
    scroll.append(table);
    parts.push(scroll);
    const told = json.notes.filter((n) => n.refused).length;
    if (json.refused > told && told) parts.push(element("p", `The first ${count(told)} of ${count(json.refused)} refused lines.`, "hint"));
  }
  place.replaceChildren(...parts);
}

// XMLHttpRequest, because fetch() tells nothing about an upload under way.
function upload(file, query, secret, progress) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${API}/import?${new URLSearchParams(query)}`);
    request.setRequestHeader("Content-Type", "text/csv");
    if (secret) request.setRequestHeader("X-Product-Secret", secret);
    request.upload.addEventListener("progress", (e) => { if (e.lengthComputable) progress.value = e.loaded / e.total; });
    request.upload.addEventListener("load", () => progress.removeAttribute("value"));
    request.addEventListener("loadend", () => {
      let json = {};
      try { json = JSON.parse(request.responseText); } catch { /* no answer, or not ours */ }
      resolve({ status: request.status, json });
    });
    request.send(file);
  });
}

async function doImport(e) {
  e.preventDefault();
  const form = $("#import form"), f = form.elements, progress = $("progress", form), go = $("button", form), place = $("#import .result");
  if (!state.file) {
    place.replaceChildren(element("p", "Choose a file first.", "bad"));
    return;
  }
  if (/[^\x21-\x7e]/.test(f.secret.value)) {
    place.replaceChildren(element("p", "A ProductSecret has letters and digits only.", "bad"));
    return;
  }
  const query = { batch: f.batch.value.trim(), file: state.file.name };
  if (f.productKey.value.trim()) query.productKey = f.productKey.value.trim();
  if (f.bluetooth.checked) query.bluetooth = "1";
  if (f.productId.value.trim()) query.productId = f.productId.value.trim();
  go.disabled = true;
  progress.hidden = false;
  progress.value = 0;
  place.replaceChildren(element("p", "importing …", "hint"));
  const { status, json } = await upload(state.file, query, f.secret.value, progress);
  progress.hidden = true;
  go.disabled = false;
  if (status === 401) showLogin();
  if (status === 200) {
    form.reset();
    chooseFile(null);
  }
  importResult(json, status === 200 ? null : json.message || (status ? `The server answered with status ${status}.` :
    "The connection ended before the answer came. Import the file again: certificates that are in stock count as known."));
  refresh();
}

function wireDrop() {
  const input = $("#drop input");
  const batch = $("#import [name=batch]");
  let proposed = false; // what is typed now replaces a name that is only the file's; a click would take the selection away again
  batch.addEventListener("focus", () => { proposed = batch.value !== "" && batch.value === batchOf(state.file); if (proposed) batch.select(); });
  batch.addEventListener("mouseup", (e) => { if (proposed) { e.preventDefault(); batch.select(); } proposed = false; });
  let depth = 0;
  const files = (e) => e.dataTransfer && [...e.dataTransfer.types].includes("Files") && !state.session?.viewOnly;
  const mark = (on) => document.body.classList.toggle("dragging", on);
  input.addEventListener("change", () => chooseFile(input.files[0]));
  window.addEventListener("dragenter", (e) => { if (files(e)) { depth++; mark(true); e.preventDefault(); } });
  window.addEventListener("dragleave", (e) => { if (files(e) && --depth <= 0) { depth = 0; mark(false); } });
  window.addEventListener("dragover", (e) => { if (files(e)) e.preventDefault(); });
  window.addEventListener("drop", (e) => { // anywhere on the page: a browser would leave it for the file otherwise
    if (!files(e)) return;
    e.preventDefault();
    depth = 0;
    mark(false);
    if ($("main").hidden || !e.dataTransfer.files.length) return;
    chooseFile(e.dataTransfer.files[0]);
    $("#import").scrollIntoView({ block: "nearest" });
    $("#import [name=batch]").focus();
  });
}

// ---- audit ----

async function verify() {
  const place = $("#audit .result"), pressed = $("#verify");
  pressed.disabled = true;
  place.replaceChildren(element("p", "looking at every entry …", "hint"));
  try {
    const v = await call("GET", "/audit/verify", { patience: 0 });
    const parts = [v.count ? element("p", `${plural(v.count, "problem")} in ${plural(v.entries, "entry", "entries")}:`, "bad") :
      element("p", `${plural(v.entries, "entry", "entries")}, nothing was changed.`, "good")];
    parts.push(...v.problems.map((p) => element("p", `${p.node}${p.number ? ` ${p.number}` : ""}: ${p.sentence}`, "bad")));
    if (v.heads.length) parts.push(element("p", "Note this elsewhere, to notice an older copy of the database:", "hint"), ...v.heads.map((h) => element("code", h)));
    place.replaceChildren(...parts);
  } catch (failure) {
    place.replaceChildren(element("p", failure.message, "bad"));
  }
  pressed.disabled = false;
}

// ---- the whole ----

function wire() {
  $("#login form").addEventListener("submit", login);
  $("#logout").addEventListener("click", logout);
  $("#find").addEventListener("submit", find);
  for (const b of $$("#tiles button")) b.addEventListener("click", () => showList({ state: b.dataset.state }));
  for (const b of $$(".close")) b.addEventListener("click", () => { b.closest("section").hidden = true; $("#search").focus(); });
  $("#list form").addEventListener("submit", (e) => { e.preventDefault(); loadList(); });
  $("#list form").addEventListener("change", () => loadList());
  $("#more").addEventListener("click", () => loadList(state.next));
  openVoidDialog = dialog("#void-dialog", doVoid);
  openBatchDialog = dialog("#batch-dialog", saveBatch);
  openReclaimDialog = dialog("#reclaim-dialog", doReclaim);
  openProductDialog = dialog("#product-dialog", saveProduct);
  $("#void").addEventListener("click", openVoid);
  $("#take-back").addEventListener("click", () => openReclaim({ productKey: state.board.productKey, deviceName: state.board.deviceName, deviceId: state.board.deviceId }, state.board.deviceId || state.board.deviceName));
  $("#batch-closed").addEventListener("click", async () => { await closeBatch(state.batch, $("#batch-closed")); $("#batch-dialog").close(); });
  $("#batch-list").addEventListener("click", () => { $("#batch-dialog").close(); showBatchBoards(state.batch); });
  $("#batch-reclaim").addEventListener("click", () => { $("#batch-dialog").close(); openReclaim({ batch: state.batch.name, productKey: state.batch.productKey }, `batch ${state.batch.name}`); });
  $("#import form").addEventListener("submit", doImport);
  $("#verify").addEventListener("click", verify);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  new ResizeObserver(() => { if (state.line?.figures) showRate(state.line); }).observe($("#rate svg"));
  wireDrop();
  wireScanner();
}

wire();
refresh();
