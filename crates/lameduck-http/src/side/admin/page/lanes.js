// What was in flight over the last minute, from the statuses that came: the counts as lines, requests and participants as lanes.
const MINUTE = 60000;
const LANES = 14;
// What ended sooner is no lane.
const SHORT = 1000;
const minute = { counts: [], lanes: new Map(), rate: null };

function forgetMinute() {
  minute.counts.length = 0;
  minute.lanes.clear();
  minute.rate = null;
}

function remember(status) {
  const now = status.uptime_ms;
  const flight = status.in_flight;
  const rated = minute.counts.findLast((one) => one.at <= now - 4000) || minute.counts[0];
  minute.rate = rated && now - rated.at > 900 ? ((flight.requests_total - rated.total) * 1000) / (now - rated.at) : null;
  minute.counts.push({ at: now, open: flight.connections, busy: flight.busy, total: flight.requests_total });
  for (const one of flight.requests) {
    const from = now - one.age_ms;
    // The start is known to the microsecond; two statuses differ by rounding.
    const key = `${one.method} ${one.path} ${one.peer || ""} ${Math.round(from / 20)}`;
    const near = `${one.method} ${one.path} ${one.peer || ""} ${Math.round(from / 20) - 1}`;
    const lane = minute.lanes.get(key) || minute.lanes.get(near);
    if (lane) lane.to = now;
    else minute.lanes.set(key, { name: `${one.method} ${one.path}`, from, to: now, kind: "request" });
  }
  for (const one of status.participants) {
    if (one.used_ms === undefined) continue;
    const to = one.ended_at_ms ?? now;
    minute.lanes.set(`participant ${one.name}`, { name: one.name, from: to - one.used_ms, to, kind: "part" });
  }
  while (minute.counts.length > 700 || (minute.counts[1] && minute.counts[1].at < now - MINUTE)) minute.counts.shift();
  for (const [key, lane] of minute.lanes) if (lane.to < now - MINUTE || minute.lanes.size > 400) minute.lanes.delete(key);
}

function shape(tag, attributes, text) {
  const it = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) it.setAttribute(name, value);
  if (text !== undefined) it.textContent = text;
  return it;
}

function drawLanes() {
  const now = uptime();
  const box = at("lanes");
  const width = Math.max(280, Math.round(box.clientWidth || 900));
  const left = width < 560 ? 0 : 190;
  const x = (ms) => Math.max(left, Math.min(width, left + ((ms - now + MINUTE) / MINUTE) * (width - left)));
  const last = seen.status.uptime_ms;
  // The longest are what somebody looks for; in the order in which they began.
  const chosen = [...minute.lanes.values()].filter((lane) => lane.to > now - MINUTE && (lane.to >= last - 1 || lane.to - lane.from >= SHORT))
    .sort((a, b) => b.to - b.from - (a.to - a.from)).slice(0, LANES).sort((a, b) => a.from - b.from);
  // Names of phases on top, so that none is written across a line of the chart.
  const names = 40, high = names + 76, row = left ? 20 : 34, top = high + 26;
  const height = top + chosen.length * row + 4;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-labelledby": "lanes-title" });
  const flight = seen.status.in_flight;
  svg.append(shape("title", { id: "lanes-title" }, `The last minute: ${flight.connections} connections and ${flight.busy} requests in flight now, ${chosen.length} lanes of what lasted longest`));
  for (let back = 60; back >= 0; back -= 15) {
    const there = x(now - back * 1000);
    svg.append(shape("line", { class: "grid", x1: there, x2: there, y1: names, y2: height }));
    const anchor = back === 0 ? "end" : back === 60 ? "start" : "middle";
    svg.append(shape("text", { class: "tick", x: there, y: high + 18, "text-anchor": anchor }, back ? `−${back} s` : seen.gone ? "the end" : "now"));
  }
  const most = Math.max(1, ...minute.counts.map((one) => Math.max(one.open, one.busy)));
  const y = (count) => high - (count / most) * (high - names - 6);
  for (const kind of ["open", "busy"]) {
    let path = "", before = null;
    for (const one of minute.counts) {
      if (before !== null) path += ` H${x(one.at).toFixed(1)} V${y(one[kind]).toFixed(1)}`;
      else path = `M${x(one.at).toFixed(1)} ${y(one[kind]).toFixed(1)}`;
      before = one;
    }
    if (before) svg.append(shape("path", { class: kind, d: `${path} H${x(last).toFixed(1)}` }));
  }
  svg.append(shape("text", { class: "tick", x: left ? left - 8 : 2, y: names + 10, "text-anchor": left ? "end" : "start" }, String(most)));
  if (left) svg.append(shape("text", { class: "tick", x: left - 8, y: high, "text-anchor": "end" }, "0"));
  for (const one of seen.status.phases) {
    if (one.at_ms < now - MINUTE || one.at_ms === 0) continue;
    svg.append(shape("line", { class: "cut", x1: x(one.at_ms), x2: x(one.at_ms), y1: 2, y2: height }));
    const nearEnd = x(one.at_ms) > width - 90;
    svg.append(shape("text", { x: x(one.at_ms) + (nearEnd ? -4 : 4), y: 11 + (phases.indexOf(one.phase) % 3) * 13, "text-anchor": nearEnd ? "end" : "start" }, one.phase));
  }
  for (const one of seen.status.signals) {
    if (one.at_ms < now - MINUTE) continue;
    svg.append(shape("line", { class: "sig", x1: x(one.at_ms), x2: x(one.at_ms), y1: names, y2: high }));
  }
  chosen.forEach((lane, index) => {
    const y0 = top + index * row;
    const isOpen = lane.to >= last - 1;
    const from = x(lane.from), to = Math.max(from + 2, x(isOpen && !seen.gone ? now : lane.to));
    const name = lane.name.length > 26 ? `${lane.name.slice(0, 25)}…` : lane.name;
    if (left) svg.append(shape("text", { x: left - 8, y: y0 + 12, "text-anchor": "end" }, name));
    else svg.append(shape("text", { x: 2, y: y0 + 11 }, `${lane.name.slice(0, 40)}, ${span(lane.to - lane.from)}`));
    const kind = lane.kind === "part" ? "part" : isOpen ? "" : "done";
    const bar = shape("rect", { class: `lane ${kind}`, x: from, y: y0 + (left ? 3 : 16), width: to - from, height: 11, rx: 3 });
    bar.append(shape("title", {}, `${lane.name}: ${span(lane.to - lane.from)}`));
    svg.append(bar);
  });
  box.replaceChildren(svg);
}
