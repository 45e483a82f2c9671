// --- the picture

const drawnAs = new Map();
const settingsOf = (e) => (e.dataset.s ?? e.dataset.t).split(",").map((n) => (e.dataset.s === undefined ? data.of[n] : Number(n)));
for (const e of all(".picture [data-t], .picture [data-s]")) {
  for (const s of settingsOf(e)) if (!drawnAs.get(s)?.push(e)) drawnAs.set(s, [e]);
}
let lit = new Set(), hovered = [], timer;
function light() {  // what is chosen, and what the pointer is on
  const next = new Set([...state.chosen, ...hovered]);
  for (const s of lit) if (!next.has(s)) for (const e of drawnAs.get(s) ?? []) e.classList.remove("on");
  for (const s of next) if (!lit.has(s)) for (const e of drawnAs.get(s) ?? []) if (!e.closest(".seg")) e.classList.add("on");
  lit = next;
  rows.forEach((row, s) => row.classList.toggle("on", next.has(s) && !BEST.includes(s)));
  for (const drawing of all(".picture figure:not([hidden]) svg[data-axes]")) bringUp(drawing, [...next].slice(0, 40));
}
function points(t, [a, b, c, d], curves) {  // of logarithms, or of values
  return curves[t].map((y, j) => (y === null ? null : [a + b * data.epochs[j], c + d * y])).filter(Boolean);
}
const path = (found) => (found.length ? "M" + found.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L") : "");
function bringUp(drawing, settings) {  // curves and names that are not drawn
  for (const old of all(".extra", drawing)) old.remove();
  const axes = drawing.dataset.axes.split(" ").map(Number), curves = data.curves[drawing.closest("figure").dataset.measure];
  const own = drawing.closest("section").dataset.sweep;
  for (const s of settings.filter((s) => rows[s].dataset.sweep === own)) {
    let end;
    for (const t of trialsOf[s]) {
      const found = points(t, axes, curves);
      end = found.at(-1) ?? end;
      if (!drawing.querySelector(`.line [data-t="${t}"]`)) drawing.append(make("path", {class: `extra ${data.looks[t]}`, d: path(found)}));
    }
    if (end && !drawing.querySelector(`.name [data-s="${s}"]`)) drawing.append(make("text", {class: "extra", x: end[0] + 8, y: end[1] + 4, "font-size": 12}, rows[s].dataset.name));
  }
}
const saidOf = (t) => [`rate ${Number(data.rates[t].toPrecision(4))}`, data.values[state.measure]?.[t], data.said[t]].filter(Boolean).join(" · ");
function say(settings, trial) {  // one line of what is hovered or focused
  const s = settings[0], t = trial ?? (s !== undefined && trialsOf[s].length === 1 ? trialsOf[s][0] : undefined);
  let line = HINT;
  if (settings.length > 1) line = `${settings.length} of ${rows.length} rows`;
  else if (t !== undefined) line = saidOf(t);
  else if (s !== undefined) line = [rows[s].dataset.name, ...cellsOf(s).filter((cell) => cell && cell !== rows[s].dataset.name)].join(" · ");
  element("said").textContent = line;
}
function choose(settings, add) {
  state.chosen = new Set(add ? [...state.chosen, ...settings] : settings);
  light();
  say(settings);
}
const stands = (event) => event.target.closest?.("[data-t], [data-s]");
addEventListener("pointerover", (event) => {
  const on = stands(event);
  clearTimeout(timer);
  timer = setTimeout(() => {
    hovered = on && !on.closest(".seg") ? settingsOf(on) : [];
    light();
    if (on) say(settingsOf(on), on.dataset.t?.includes(",") ? undefined : on.dataset.t && Number(on.dataset.t));
  }, 50);
});
addEventListener("click", (event) => {
  const on = stands(event);
  if (!on || event.target.closest("button")) return;
  choose(settingsOf(on), event.shiftKey);
  if (!on.matches("tr")) seen([...state.chosen][0]);
});
function show() {  // the drawings of the chosen measure, and of each sweep's chosen kind
  for (const figure of all(".picture figure")) {
    const menu = figure.closest("section").querySelector(".choice"), {choice, measure} = figure.dataset;
    figure.hidden = Boolean((measure && !data.running && measure !== state.measure) || (menu && choice && choice !== menu.value));
  }
  light();
}
element("measure")?.addEventListener("change", (event) => { state.measure = event.target.value; show(); });
for (const menu of all(".choice")) menu.addEventListener("change", show);
for (const button of all("[data-copy]")) button.addEventListener("click", async () => {
  let done = "Copied";
  try { await navigator.clipboard.writeText(button.dataset.copy); } catch {
    button.nextElementSibling.classList.add("shown");
    getSelection().selectAllChildren(button.nextElementSibling);
    done = "Press Ctrl+C";
  }
  button.textContent = done;
  setTimeout(() => { button.textContent = "Copy command"; }, 2000);
});
