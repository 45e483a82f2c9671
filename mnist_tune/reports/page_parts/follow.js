// --- the page of a running sweep loads itself again, and keeps what was chosen

const KEY = `mnist_tune:${location.pathname}`, fields = () => all("select, input");
const keep = () => {
  const kept = {chosen: [...state.chosen].map((s) => data.ids[trialsOf[s][0]]), values: fields().map((one) => one.value), by: state.by, down: state.down, limit: state.limit, scroll: scrollY};
  try { sessionStorage.setItem(KEY, JSON.stringify(kept)); } catch { /* a browser without storage forgets */ }
};
addEventListener("pagehide", keep);
let kept;
try { kept = JSON.parse(sessionStorage.getItem(KEY)); } catch { /* as above */ }
if (kept) {
  const number = new Map(data.ids.map((id, t) => [id, data.of[t]]));
  fields().forEach((one, i) => { if (one.tagName !== "SELECT" || [...one.options].some((option) => option.value === kept.values[i])) one.value = kept.values[i] ?? ""; });
  Object.assign(state, {chosen: new Set(kept.chosen.filter((id) => number.has(id)).map((id) => number.get(id))), by: kept.by, down: kept.down, limit: kept.limit ?? Infinity});
  state.measure = element("measure")?.value ?? state.measure;
}
if (data.running) {
  const stale = Date.now() - data.written > 20 * 60 * 1000, begun = Date.now();  // the slowest pages are written more often than that
  for (const one of all(".written")) one.textContent = `Written ${new Date(data.written).toLocaleTimeString()}.` + (stale ? " It has not changed since: the sweep may have been killed." : "");
  let busy = 0;
  for (const name of ["pointerdown", "keydown", "wheel"]) addEventListener(name, () => { busy = Date.now(); }, {passive: true});
  const timer = stale || setInterval(() => {
    if (Date.now() - begun < data.reload || document.hidden || Date.now() - busy < 3000) return;
    clearInterval(timer);  // a second call would begin a slow load anew
    keep();  // the new page may begin before this one is hidden
    location.reload();
  }, 1000);
}
show();
table();
if (kept?.scroll) requestAnimationFrame(() => scrollTo(0, kept.scroll));
page.ready = true;
})();
