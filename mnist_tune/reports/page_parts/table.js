// --- the table

const body = element("rows"), rows = new Map();
const LOOKS = all("thead th", body.parentNode).map((head) => head.className);
const curveColumn = LOOKS.indexOf("curve"), first = data.curves[data.measures[0]?.key];
function small(s) {  // a curve beside the best one's
  const {key, ends: [low, high]} = data.measures[0], step = 86 / Math.max(Math.max(...data.epochs) - 1, 1), up = key.endsWith("accuracy");
  const d = (up ? 16 : -16) / (high - low), axes = [2 - step, step, (up ? 1 : 17) - d * low, d];
  const svg = make("svg", {viewBox: "0 0 90 18", "aria-hidden": "true"});
  for (const [number, look] of [[BEST[0], ""], [s, `own ${data.looks[trialsOf[s][0]]}`]]) {
    if (number !== undefined) svg.append(make("path", {class: look, d: path(points(trialsOf[number][0], axes, first))}));
  }
  return svg;
}
function rowOf(s) {
  if (rows.has(s)) return rows.get(s);
  const row = make("tr", {"data-s": s, class: data.roles[s], tabindex: -1});
  data.cells[s].forEach((cell, j) => row.append(make("td", {class: LOOKS[j] + (LOOKS[j] === "word" ? ` regime ${data.rows[s]}` : "")}, cell)));
  if (first) row.cells[curveColumn].append(small(s));
  if (trialsOf[s].length > 1) {
    const button = make("button", {type: "button", class: "unfold", tabindex: -1, "aria-expanded": "false", "aria-label": "its trials"}, "▸");
    button.addEventListener("click", () => unfold(s));
    row.cells[0].prepend(button);
  }
  rows.set(s, row);
  return row;
}
function unfold(s) {
  if (trialsOf[s].length < 2) return;
  if (!state.unfolded.delete(s)) state.unfolded.add(s);
  const button = rowOf(s).querySelector(".unfold");
  button.textContent = state.unfolded.has(s) ? "▾" : "▸";
  button.setAttribute("aria-expanded", String(state.unfolded.has(s)));
  table();
}
const seedRows = (s) => (state.unfolded.has(s) ? trialsOf[s] : []).map((t) => {
  const row = make("tr", {class: "seed"});
  row.append(make("td", {colspan: LOOKS.length}, saidOf(t)));
  return row;
});
let texts;
function matches(s) {
  const low = parseFloat(element("low").value), high = parseFloat(element("high").value), words = element("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (trialsOf[s].every((t) => data.columns.learning_rate[t] < low || data.columns.learning_rate[t] > high)) return false;
  texts ??= data.cells.map((cells, i) => [...cells, ...trialsOf[i].map((t) => Object.keys(data.columns).map((name) => data.columns[name][t]).join(" "))].join(" ").toLowerCase());
  return words.every((word) => (Number.isNaN(Number(word)) ? texts[s].includes(word) : texts[s].split(/[\s,]+/).some((one) => Number(one) === Number(word))));
}
let found = [];
function table() {
  found = data.rows.map((_, s) => s).filter(matches);
  const hidden = new Set(data.rows.keys());
  for (const s of found) hidden.delete(s);
  for (const [s, drawn] of drawnAs) for (const e of drawn) if (e.dataset.s === undefined || !e.dataset.s.includes(",")) e.classList.toggle("off", hidden.has(s));
  if (state.by !== null) {
    const key = data.keys[state.by], sign = state.down ? -1 : 1;
    found.sort((a, b) => (key[a] === null) - (key[b] === null) || sign * (key[a] < key[b] ? -1 : key[a] > key[b] ? 1 : 0) || a - b);
  }
  body.replaceChildren(...found.slice(0, state.limit).flatMap((s) => [rowOf(s), ...seedRows(s)]));
  const start = found.slice(0, state.limit).find((s) => state.chosen.has(s)) ?? found[0];
  for (const [s, row] of rows) row.tabIndex = s === start ? 0 : -1;
  element("found").textContent = found.length < data.rows.length ? `${found.length} of ${data.rows.length}` : "";
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
  for (const row of rows.values()) row.tabIndex = -1;
  rows.get(s).tabIndex = 0;
  rows.get(s).focus();
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
  else if (by) step(Number.isFinite(by) ? by : Math.sign(by) * data.rows.length, event);
  else if (row && event.target === row && (event.key === "Enter" || event.key === " ")) { unfold(Number(row.dataset.s)); row.focus(); event.preventDefault(); }
});
body.addEventListener("focusin", (event) => { const row = event.target.closest("tr[data-s]"); if (row) say([Number(row.dataset.s)]); });
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
page.csv = () => {
  const names = Object.keys(data.columns), cell = (one) => {
    if (typeof one === "number" || one === null) return one === null ? "" : String(one);
    const safe = one.replace(/(^|[;,|\t\r\n])(?=\s*[=+@-])|^(?=[\t\r])/g, "$1'");  // as in exports/csv.py: a spreadsheet would compute it
    return `"${safe.replaceAll('"', '""')}"`;
  };
  const lines = found.flatMap((s) => trialsOf[s]).map((t) => names.map((name) => cell(data.columns[name][t])).join(","));
  return [names.join(","), ...lines].join("\r\n") + "\r\n";
};
element("download").addEventListener("click", () => {
  const link = make("a", {download: "trials.csv"});
  link.href = URL.createObjectURL(new Blob([page.csv()], {type: "text/csv;charset=utf-8"}));
  link.click();
  URL.revokeObjectURL(link.href);
});
