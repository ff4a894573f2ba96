// What is seen, part by part. Everything is written as text: nothing that a peer sent can become markup.
function element(tag, attributes, ...children) {
  const it = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) it.setAttribute(name, value);
  it.append(...children.filter((child) => child !== null && child !== undefined));
  return it;
}

function table(caption, heads, rows) {
  const head = element("tr", {}, ...heads.map(([name, kind]) => element("th", { scope: "col", class: kind || "" }, name)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell, index) => {
    const [name, kind] = heads[index];
    if (index === 0) return element("th", { scope: "row" }, cell);
    return element("td", { class: kind || "", "data-label": name }, cell);
  })));
  return element("div", { class: "scroll" }, element("table", { class: "stack" }, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body)));
}

// A part is made anew only when what it shows is another: a selection in it stays.
const shown = new Map();
function put(id, data, make) {
  const key = JSON.stringify(data);
  if (shown.get(id) === key) return;
  shown.set(id, key);
  at(id).replaceChildren(...[make(data)].flat());
}

function bar(part, isOver) {
  const fill = element("i");
  fill.style.width = `${Math.max(0, Math.min(1, part)) * 100}%`;
  return element("span", { class: isOver ? "bar over" : "bar", "aria-hidden": "true" }, fill);
}

function lead(status) {
  if (seen.gone) return goneSentence() + (seen.gone.said ? "" : " The connection broke: it was killed, cut, or the way to it is closed.") + " Below is the last that was seen; looking for the next process …";
  if (status.holds) return status.holds;
  if (status.phase === "Initializing") {
    const starting = status.participants.filter((one) => one.state === "starting").map((one) => one.name);
    return starting.length ? `It starts, and waits for ${starting.join(", ")}.` : "It starts.";
  }
  return "It serves. Nothing has asked it to leave.";
}

// What moves with the time alone.
function tick() {
  const status = seen.status;
  if (!status) return;
  const now = uptime(), passed = now - status.uptime_ms;
  at("who").textContent = `lameduck · pid ${status.pid} · ${location.host} · ${seen.gone ? "was up" : "up"} ${span(now).replace(/\.\d s/, " s")}`;
  const isLeaving = status.deadline_in_ms !== undefined && !seen.gone;
  at("clocks").hidden = at("course").hidden = !isLeaving;
  if (isLeaving) {
    const window = status.window_ends_in_ms;
    const first = (window === undefined ? status.drain_ends_in_ms : window) - passed;
    at("first-name").textContent = window === undefined ? "Drain ends in" : "Window ends in, at the latest";
    for (const [id, left] of [["first-clock", first], ["last-clock", status.deadline_in_ms - passed]]) {
      at(id).textContent = left >= 0 ? span(left) : `over by ${span(-left)}`;
      at(id).className = left < 0 ? "over" : "";
    }
    const whole = status.plan.deadline_ms || 1;
    at("spent").style.width = `${Math.min(1, (now - status.requested_at_ms) / whole) * 100}%`;
    at("drain-mark").style.left = `${Math.min(0.995, status.plan.drain_end_ms / whole) * 100}%`;
  }
  for (const cell of document.querySelectorAll("[data-from]")) cell.textContent = span(now - Number(cell.dataset.from));
  const left = isLeaving ? ` ${span(status.deadline_in_ms - passed).replace(/\.\d s/, " s")}` : "";
  document.title = `${seen.gone ? "Gone" : status.phase}${left} · pid ${status.pid} · lameduck`;
}

// An age or a time used, which goes on by itself.
const running = (from) => element("span", { "data-from": from }, span(uptime() - from));

function strip(status) {
  const known = new Map(status.phases.map((one) => [one.phase, one]));
  return phases.map((name) => {
    const one = known.get(name);
    const isNow = name === status.phase && !seen.gone;
    const item = element("li", { class: isNow ? "now" : one ? "was" : "" }, element("b", {}, name));
    if (isNow) item.setAttribute("aria-current", "step");
    if (one) item.append(element("span", {}, `from ${clock(wall(one.at_ms))}`), element("span", {}, isNow ? element("span", {}, "for ", running(one.at_ms)) : `for ${span(one.took_ms)}`));
    else item.append(element("span", {}, isNow ? "now" : phases.indexOf(name) < phases.indexOf(status.phase) ? "skipped" : "not yet"));
    return item;
  });
}

function fact(name, value, more) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, String(value), more ? element("small", {}, ` ${more}`) : null));
}

function draw() {
  const status = seen.status, flight = status.in_flight;
  document.documentElement.dataset.phase = seen.gone ? "Gone" : status.phase;
  at("phase").textContent = seen.gone ? "Gone" : status.phase;
  at("lead").textContent = lead(status);
  at("cause").hidden = !status.cause;
  if (status.cause) at("cause").textContent = `Asked to leave at ${clock(wall(status.requested_at_ms))}: ${status.cause}`;
  put("strip", [status.phases.map((one) => [one.phase, one.at_ms]), status.phase, Boolean(seen.gone)], () => strip(status));
  put("facts", [flight.connections, flight.busy, flight.idle, flight.guards, flight.requests_total, minute.rate, Boolean(seen.gone)], () => [
    fact("Connections", flight.connections), fact("Requests in flight", flight.busy), fact("Idle", flight.idle),
    fact("Guards", flight.guards), fact("Requests so far", flight.requests_total, minute.rate === null || seen.gone ? "" : `${minute.rate > 0 && minute.rate < 10 ? minute.rate.toFixed(1) : Math.round(minute.rate)} a second`),
  ]);
  const requests = flight.requests.map((one) => [one.method, one.path, one.peer || "Unix socket", one.protocol, Math.round((status.uptime_ms - one.age_ms) / 10) * 10]);
  put("blockers", [requests, flight.unnamed], () => blockers(requests, flight.unnamed));
  put("protocol-rows", flight.protocols, protocols);
  put("signal-rows", [status.signals, status.dropped.signals], () => signals(status));
  put("participant-rows", [status.participants.map((one) => ({ ...one, due_in_ms: undefined, used_ms: one.ended_at_ms ? one.used_ms : one.used_ms !== undefined && Math.round(status.uptime_ms / 500), hook_used_ms: undefined })), status.phase], () => participants(status));
  put("note-rows", [status.notes, status.dropped], () => notes(status));
  put("count-rows", status.counts, (counts) => pairs(Object.entries(counts).map(([name, count]) => [name.replaceAll("_", " "), count])));
  put("plan-rows", status.plan, (plan) => pairs([["plan", plan.said], ["preset", plan.preset], ["grace period", span(plan.grace_ms)], ["drain ends after", span(plan.drain_end_ms)], ["deadline after", span(plan.deadline_ms)], ["window: floor, quiet, ceiling", [plan.window.floor_ms, plan.window.quiet_ms, plan.window.ceiling_ms].map(span).join(", ")], ["late requests", plan.late], ["repeated signals", plan.repeat]]));
  drawActions();
  tick();
  drawLanes();
}

function blockers(requests, unnamed) {
  if (!requests.length) return element("p", { class: "empty" }, "No request is in flight.");
  const rows = requests.map(([method, path, peer, protocol, from]) => [element("code", {}, `${method} ${path}`), running(from), peer, protocol]);
  const caption = unnamed ? `Oldest first; ${unnamed} more have no room here` : "Oldest first";
  return table(caption, [["Request"], ["Age", "n"], ["From"], ["Protocol"]], rows);
}

function protocols(counts) {
  const all = Object.entries(counts).filter(([name]) => name !== "http/2 stream").sort((a, b) => b[1] - a[1]);
  if (!all.length) return element("p", { class: "empty" }, "No connection is open.");
  const most = Math.max(...all.map((one) => one[1]));
  const names = { unknown: "not known yet" };
  const streams = counts["http/2 stream"];
  return element("ul", { class: "rows" }, ...all.map(([name, count]) => element("li", {}, element("span", { class: "split" }, element("span", {}, names[name] || name), element("b", {}, name === "http/2" && streams ? `${count} (${streams} streams)` : String(count))), bar(count / most))));
}

function signals(status) {
  if (!status.signals.length) return element("p", { class: "empty" }, "No signal has come.");
  const rows = status.signals.toReversed().map((one) => [one.signal, clock(wall(one.at_ms)), one.sender.said, one.verdict]);
  const dropped = status.dropped.signals;
  return table(dropped ? `Youngest first; ${dropped} later ones had no room` : "Youngest first", [["Signal"], ["At"], ["From"], ["Made of it"]], rows);
}

const MOST_ROWS = 100;

function participants(status) {
  if (!status.participants.length) return element("p", { class: "empty" }, "There are none.");
  const bad = new Set(["failed", "refused", "overdue", "not-started", "away"]);
  const now = status.uptime_ms;
  // Those that are awaited first, where there are too many for a page.
  const all = status.participants.length <= MOST_ROWS ? status.participants : status.participants.toSorted((a, b) => (a.ended_at_ms !== undefined) - (b.ended_at_ms !== undefined));
  const rows = all.slice(0, MOST_ROWS).map((one) => {
    const at = one.progress;
    const figures = Object.entries(one.figures ?? {}).map(([name, figure]) => `${name} ${figure}`).join(", ");
    const said = [one.why, one.ended_at_ms === undefined && at ? `${at.done} of ${at.total}${at.note ? `, ${at.note}` : ""}` : "", figures].filter(Boolean).join("; ");
    const state = element("span", {}, element("span", { class: bad.has(one.state) ? "pill bad" : "pill" }, one.state), said ? ` ${said}` : "");
    const granted = (one.grants ?? []).reduce((sum, grant) => sum + grant.by_ms, 0);
    let budget = element("span", {}, one.budget_ms === undefined ? "until the drain ends" : `${span(one.budget_ms)}${granted ? ` and ${span(granted)} more` : ""}`);
    let used = "";
    if (one.used_ms !== undefined) {
      used = one.ended_at_ms === undefined ? running(now - one.used_ms) : span(one.used_ms);
      const whole = one.budget_ms !== undefined ? one.budget_ms + granted : Math.max(1, one.used_ms + (status.drain_ends_in_ms ?? 0));
      budget.append(bar(one.used_ms / whole, one.state === "overdue" || one.used_ms > whole));
    }
    const hook = one.hook === "running" ? element("span", {}, "running for ", running(now - one.hook_used_ms)) : one.hook || "none";
    return [one.name, state, used, budget, one.after.join(", ") || "nothing", hook];
  });
  const left = all.length - rows.length;
  return table(left ? `Those that have not ended first; ${left} more have no room here` : "In the order in which they enrolled", [["Name"], ["Is"], ["Used", "n"], ["Budget"], ["Depends on"], ["Stop hook"]], rows);
}

function notes(status) {
  const parts = [];
  const dropped = Object.entries(status.dropped);
  if (dropped.length) parts.push(element("p", {}, element("span", { class: "pill bad" }, "dropped"), ` ${dropped.map(([name, count]) => `${count} ${name}`).join(", ")}: lists and queues have bounds`));
  if (!status.notes.length) parts.push(element("p", { class: "empty" }, "Nothing was noted."));
  else parts.push(element("ul", { class: "rows" }, ...status.notes.toReversed().map((one) => element("li", {}, `${clock(wall(one.at_ms))}  ${one.what}`))));
  return parts;
}

function pairs(rows) {
  if (!rows.length) return element("p", { class: "empty" }, "Nothing was counted.");
  return element("div", { class: "scroll" }, element("table", {}, element("tbody", {}, ...rows.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, String(value)))))));
}
