// Circuit breakers: how each stands, and, for whoever has the token, what to make of it.
function drawBreakers() {
  const all = seen.status && seen.status.breakers;
  at("breakers").hidden = !all;
  if (!all) return;
  const acts = token !== null && !seen.gone;
  // What moves with the time alone moves by itself.
  const still = all.map(({ since_ms, probes_in_ms, ...one }) => ({ ...one, due: probes_in_ms === 0 }));
  // Counts move every second: whoever is about to press a button keeps it.
  const held = document.activeElement?.dataset.breaker;
  put("breaker-rows", [still, seen.status.breakers_unlisted, acts], () => breakers(seen.status, acts));
  if (held && !document.activeElement?.dataset.breaker) document.querySelector(`[data-breaker="${held}"]`)?.focus();
}

function breakers(status, acts) {
  const bad = new Set(["open", "half-open", "forced-open"]);
  const rows = status.breakers.map((one) => {
    const name = one.key === undefined ? one.name : element("span", {}, `${one.name} `, element("code", {}, one.key));
    const state = element("span", {}, element("span", { class: bad.has(one.state) ? "pill bad" : "pill" }, one.state), " for ", running(status.uptime_ms - one.since_ms));
    if (one.probes_in_ms !== undefined && one.state === "open") state.append(one.probes_in_ms > 0 ? `, probes after ${clock(wall(status.uptime_ms + one.probes_in_ms))}` : ", will probe");
    const { calls, failures, slow } = one.window;
    const recent = calls ? element("span", {}, `${failures} failed, ${slow} slow of ${calls}`, bar(failures / calls, failures * 2 >= calls)) : "no calls";
    const cells = [name, state, recent, `${one.failures} of ${one.calls}`, String(one.rejected), String(one.opened)];
    if (acts) cells.push(element("span", { class: "row" }, ...forcing(one)));
    return cells;
  });
  const left = status.breakers_unlisted;
  const heads = [["Breaker"], ["Is"], ["Lately"], ["Failed so far", "n"], ["Refused", "n"], ["Opened", "n"]];
  if (acts) heads.push(["Force"]);
  return table(left ? `Those that are not closed first; ${left} more have no room here` : "Those that are not closed first", heads, rows);
}

function forcing(one) {
  const choices = [["forced-open", "open", "Open …"], ["forced-closed", "close", "Close …"]].filter(([state]) => one.state !== state);
  if (one.state.startsWith("forced")) choices.push(["", "release", "Release …"]);
  return choices.map(([, deed, text]) => {
    const label = `${text.replace(" …", "")} ${one.name}${one.key === undefined ? "" : ` ${one.key}`}`;
    const button = element("button", { type: "button", class: "plain", "aria-label": label, "data-breaker": `${one.id}/${deed}` }, text);
    button.addEventListener("click", () => sure(`breakers/${deed}`, one));
    return button;
  });
}
