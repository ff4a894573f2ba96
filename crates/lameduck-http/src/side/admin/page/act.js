// What somebody with the token may do. The token is in this variable and nowhere else.
let token = null;
const deeds = {
  drain: ["Drain it?", "The lame-duck window begins now; the process ends when nothing is in flight, at the deadline at the latest. This cannot be taken back.", "Drain it"],
  reload: ["Reload it?", "What subscribed to reloads reads its configuration again. A broken one is refused, and the notes say so.", "Reload it"],
  "breakers/open": ["Force it open?", "It refuses every call from now on, until it is released.", "Force it open"],
  "breakers/close": ["Force it closed?", "It admits every call from now on, whatever comes of it, until it is released.", "Force it closed"],
  "breakers/release": ["Release it?", "It is left to itself again, where it stands without force.", "Release it"],
  cut: ["Cut it now?", "The process ends at once. Everything in flight is lost.", "Cut it"],
};

function drawActions() {
  const acts = document.body.dataset.acts === "yes";
  const isHere = !seen.gone;
  at("actions").hidden = !isHere;
  at("no-actions").hidden = acts;
  at("token-part").hidden = !acts || token !== null;
  at("action-part").hidden = !acts || token === null;
  for (const button of document.querySelectorAll("[data-does]")) {
    const does = button.dataset.does;
    const phase = seen.status ? seen.status.phase : "";
    const fits = does === "cut" || (does === "reload" ? phase === "Running" : ["Initializing", "Running"].includes(phase));
    button.disabled = !isHere || !fits;
  }
  drawBreakers();
}

function useToken() {
  const given = at("token").value.trim();
  at("token").value = "";
  if (!given) return;
  token = given;
  at("acted").textContent = "";
  drawActions();
  const first = document.querySelector("[data-does]:not(:disabled)") || at("forget");
  first.focus();
}

// Asks before it is done; `one` is the breaker that it is done to, if it is done to one.
function sure(does, one, className) {
  const [title, what, yes] = deeds[does];
  at("sure-h").textContent = title;
  at("sure-what").textContent = one ? `${one.name}${one.key === undefined ? "" : ` ${JSON.stringify(one.key)}`}: ${what}` : what;
  at("sure-yes").textContent = yes;
  at("sure-yes").className = className || "";
  at("reason").value = "";
  at("sure").dataset.does = does;
  at("sure").dataset.id = one ? one.id : "";
  at("sure").showModal();
  at("sure-no").focus();
}

async function act(does, reason, id) {
  let said;
  try {
    const answer = await fetch(id ? `/${does}?id=${id}` : `/${does}`, { method: "POST", headers: { authorization: `Bearer ${token}` }, body: reason, cache: "no-store" });
    said = (await answer.text()).trim();
    if (answer.status === 401) token = null;
  } catch {
    said = "no answer came: the process may be gone";
  }
  at("acted").textContent = `${does}: ${said}`;
  drawActions();
}

at("use-token").addEventListener("click", useToken);
at("token").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  // The focus moves to a button, which the rest of this key would press.
  event.preventDefault();
  useToken();
});
at("forget").addEventListener("click", () => { token = null; drawActions(); at("token").focus(); });
for (const button of document.querySelectorAll("[data-does]")) {
  button.addEventListener("click", () => sure(button.dataset.does, null, button.className));
}
at("sure-no").addEventListener("click", () => at("sure").close());
at("sure-yes").addEventListener("click", () => {
  at("sure").close();
  act(at("sure").dataset.does, at("reason").value, at("sure").dataset.id);
});

drawActions();
listen();
// Whoever wants less motion gets a step a second.
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
setInterval(() => { if (seen.status && !document.hidden) tick(); }, calm ? 1000 : 100);
setInterval(() => { if (seen.status && !seen.gone && !document.hidden) drawLanes(); }, 1000);
addEventListener("resize", () => { if (seen.status) drawLanes(); });
