// --- the table

const [first] = Object.values(data.curves);
function small(s) {  // a curve beside the best one's
  const [bottom, top] = data.ends[0], step = 86 / Math.max(data.epochs.at(-1) - 1, 1), d = -16 / (top - bottom), axes = [2 - step, step, 17 - d * bottom, d];
  const svg = make("svg", {viewBox: "0 0 90 18", "aria-hidden": "true"});
  for (const [number, look] of [[BEST[0], ""], [s, `own ${data.looks[trialsOf[s][0]]}`]]) {
    if (number !== undefined) svg.append(make("path", {class: look, d: path(points(trialsOf[number][0], axes, first))}));
  }
  return svg;
}
function rowsOf(s) {  // that of a setting and, unfolded, of its trials
  const curve = rows[s].querySelector(".curve"), unfolded = rows[s].querySelector(".unfold[aria-expanded=true]");
  if (first && !curve.firstChild) curve.append(small(s));
  return [rows[s], ...(unfolded ? trialsOf[s] : []).map((t) => {
    const row = Object.assign(document.createElement("tr"), {className: "seed"});
    Object.assign(row.insertCell(), {colSpan: rows[s].cells.length, textContent: saidOf(t)});
    return row;
  })];
}
function unfold(row) {
  const button = row.querySelector(".unfold");
  button?.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") !== "true"));
  table();
}
let texts;
function matches(s) {
  const low = parseFloat(element("low").value), high = parseFloat(element("high").value), words = element("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (trialsOf[s].every((t) => data.rates[t] < low || data.rates[t] > high)) return false;
  texts ??= rows.map((_, i) => [...cellsOf(i), ...trialsOf[i].map((t) => data.csv[t + 1])].join(" ").toLowerCase());
  return words.every((word) => (Number.isNaN(Number(word)) ? texts[s].includes(word) : texts[s].split(/[\s,]+/).some((one) => Number(one) === Number(word))));
}
const stopAt = (s) => rows.forEach((row, i) => { row.tabIndex = i === s ? 0 : -1; });  // the one stop of Tab
let found = [];
function table() {
  found = [...rows.keys()].filter(matches);
  const kept = new Set(found);
  for (const [s, drawn] of drawnAs) for (const e of drawn) if (!e.dataset.s?.includes(",")) e.classList.toggle("off", !kept.has(s));
  if (state.by !== null) {
    const key = data.keys[state.by], sign = state.down ? -1 : 1;
    found.sort((a, b) => (key[a] === null) - (key[b] === null) || sign * (key[a] < key[b] ? -1 : key[a] > key[b] ? 1 : 0) || a - b);
  }
  element("rows").replaceChildren(...found.slice(0, state.limit).flatMap(rowsOf));
  stopAt(found.slice(0, state.limit).find((s) => state.chosen.has(s)) ?? found[0]);
  element("found").textContent = found.length < rows.length ? `${found.length} of ${rows.length}` : "";
  element("more").hidden = found.length <= state.limit;
  element("more").textContent = `Show all ${found.length}`;
  light();
}
function seen(s) {  // the row of what was chosen in a drawing
  if (found.indexOf(s) >= state.limit) { state.limit = found.length; table(); }
}
function step(by, event) {
  const shown = found.slice(0, state.limit), at = shown.indexOf(Number(document.activeElement.closest("tbody tr")?.dataset.s ?? [...state.chosen].at(-1) ?? NaN));
  const s = shown[Math.min(Math.max(at + by, 0), shown.length - 1)];
  if (s === undefined) return;
  stopAt(s);
  rows[s].focus();
  choose([s], event.shiftKey);
  event.preventDefault();
}
const heads = all("[data-column]");
addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
  const row = event.target.closest("tbody tr[data-s]");
  const by = {ArrowLeft: -1, ArrowRight: 1, ...(row ? {ArrowUp: -1, ArrowDown: 1, Home: -Infinity, End: Infinity} : {})}[event.key];
  const head = heads.indexOf(event.target), next = heads[head + by];
  if (event.key === "Escape") choose(BEST);
  else if (head >= 0 && by) {  // the heads are one stop of Tab
    if (next) for (const one of heads) one.tabIndex = one === next ? 0 : -1;
    next?.focus();
  }
  else if (by) step(Number.isFinite(by) ? by : Math.sign(by) * rows.length, event);
  else if (row && event.target === row && (event.key === "Enter" || event.key === " ")) { unfold(row); row.focus(); event.preventDefault(); }
});
element("rows").addEventListener("click", (event) => { if (event.target.matches(".unfold")) unfold(event.target.closest("tr")); });
element("rows").addEventListener("focusin", (event) => { const row = event.target.closest("tr[data-s]"); if (row) say([Number(row.dataset.s)]); });
for (const button of heads) button.addEventListener("click", () => {
  const by = Number(button.dataset.column);
  state.down = state.by === by && !state.down;
  state.by = by;
  for (const head of all("th[aria-sort]")) head.removeAttribute("aria-sort");
  button.parentNode.setAttribute("aria-sort", state.down ? "descending" : "ascending");
  table();
});
for (const id of ["find", "low", "high"]) element(id).addEventListener("input", () => { clearTimeout(element(id).timer); element(id).timer = setTimeout(table, 120); });
element("more").addEventListener("click", () => { state.limit = Infinity; table(); });
element("download").addEventListener("click", () => {
  const lines = [0, ...found.flatMap((s) => trialsOf[s]).map((t) => t + 1)].map((i) => `${data.csv[i]}\r\n`);
  const link = Object.assign(document.createElement("a"), {download: "trials.csv", href: URL.createObjectURL(new Blob(lines, {type: "text/csv;charset=utf-8"}))});
  link.click();
  URL.revokeObjectURL(link.href);
});
