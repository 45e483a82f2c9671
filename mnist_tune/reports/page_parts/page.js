"use strict";
// Links what Bokeh draws: chips, brush, chosen trial, curves, table. What is shown was prepared in Python.
window.page = {ready: false};
(async () => {
  const element = id => document.getElementById(id);
  const packed = Uint8Array.from(atob(element("page-data").textContent), one => one.charCodeAt(0));
  const data = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  const thousands = number => number.toLocaleString("en");
  page.colours = data.colours;
  page.plain = value => Number.isNaN(value) ? "–" : !Number.isFinite(value) ? (value > 0 ? "infinite" : "-infinite")
    : String(Number(value.toPrecision(4)));

  // --- the trials

  const count = data.ids.length, all = [...Array(count).keys()], {sweep, metrics} = data;
  const number = value => value === null ? NaN : Number(value);
  const columns = Object.fromEntries(Object.entries(data.columns).map(
    ([name, column]) => [name, data.numbers.includes(name) ? Float64Array.from(column, number) : column]));
  const said = name => data.said[name] ?? columns[name];
  const looks = {
    colour: columns.regime.map(regime => data.colours[regime]),
    marker: columns.regime.map(regime => data.markers[regime]),
    rate: data.said.learning_rate, regime: columns.regime, trial: columns.trial,
  };
  const state = page.state = {off: new Set(), metric: 0, brush: null, focus: null, find: ""};
  let shown = all.map(() => true), heights = [];
  const metric = () => metrics[state.metric];
  const drawn = i => shown[i] && !Number.isNaN(heights[i]);
  const inBrush = i => !state.brush || state.brush.has(i);
  const value = i => metric().error ? 1 - columns[metric().column][i] : columns[metric().column][i];
  const height = i => Number.isFinite(value(i)) ? Math.max(value(i), metric().least)
    : Number.isNaN(columns[metric().measured][i]) ? NaN : metric().top;

  // --- what Bokeh drew

  const json = JSON.parse(element("page-document").textContent);
  const roots = Object.fromEntries(json.roots.map(root => [root.id, element(root.attributes.name).id]));
  await Bokeh.embed.embed_items({page: json}, [{docid: "page", roots, root_ids: Object.keys(roots)}]);
  const models = Bokeh.documents.at(-1), find = name => models.get_model_by_name(name);
  const frame = plot => Bokeh.index.find_one_by_id(plot.id).frame;
  const table = find("table"), rows = find("table-trials"), trials = find("trials");
  const maps = [...models.all_models].filter(one => one.type === "Figure" && one.renderers[0]?.data_source === trials);
  let quiet = false, resting;

  function drawMetric() {
    if (!metrics.length) return;
    const {start, end, top, ticks, title} = metric();
    heights = all.map(height);
    trials.data = {...trials.data, y: heights, said: all.map(i => `${title} ${page.plain(value(i))}`)};
    find("y").setv({start, end, reset_start: start, reset_end: end});
    find("heights").ticks = ticks;
    find("top").data = top === null ? {y: [], text: []} : {y: [top], text: ["not finite"]};
    for (const one of models.all_models) if (one.name === "metric") one.axis_label.text = title;
    filter();
  }
  function filter() {  // by the chips, and by the metric
    shown = columns.regime.map(regime => !state.off.has(regime));
    for (const one of models.all_models) {
      if (one.type !== "BooleanFilter" || one.name === "table-shown") continue;
      const {regime, metric: of} = find(one.name.replace("-shown", "")).data;
      one.booleans = Array.from(regime ?? of, (_, i) => !(regime && state.off.has(regime[i])) && !(of && of[i] !== metric().key));
    }
    for (const chip of chips) chip.setAttribute("aria-pressed", String(!state.off.has(chip.dataset.regime)));
  }

  function drawCurves(k) {
    const here = all.filter(i => sweep[i] === k && drawn(i)), brushed = here.filter(inBrush);
    let chosen = data.few ? here : state.brush ? brushed : [];
    const many = chosen.length, focus = sweep[state.focus] === k ? state.focus : null;
    if (many > data.most) {  // evenly over the rates
      const sorted = [...chosen].sort((a, b) => columns.learning_rate[a] - columns.learning_rate[b] || a - b);
      chosen = [...Array(data.most).keys()].map(j => sorted[Math.floor(j * many / data.most)]);
    }
    const lines = Object.fromEntries(Object.keys(find(`curves-${k}-lines`).data).map(name => [name, []])), ends = [];
    for (const i of [...chosen.filter(i => i !== focus), ...(focus === null ? [] : [focus])]) {
      const places = data.curves[metric().key][i], known = [...places.keys()].filter(j => places[j] !== null);
      const xs = known.map(j => data.epochs[j]), ys = known.map(j => 10 ** (places[j] / 1e4));
      const alpha = i === focus ? 1 : inBrush(i) && focus === null ? 0.8 : data.few ? 0.2 : 0.5;
      const looksOf = Object.fromEntries(Object.entries(looks).map(([name, values]) => [name, values[i]]));
      const line = {...looksOf, xs, ys, alpha, width: i === focus ? 3.5 : 1.4};
      for (const name of Object.keys(lines)) lines[name].push(line[name]);
      if (xs.length) ends.push({...line, x: xs.at(-1), y: ys.at(-1), shift: 0, text: ""});
    }
    if (data.few) nameEnds(find(`curves-${k}`), ends);
    const source = find(`curves-${k}-ends`);
    source.data = Object.fromEntries(Object.keys(source.data).map(name => [name, ends.map(end => end[name])]));
    find(`curves-${k}-lines`).data = lines;
    const some = thousands(chosen.length), all_ = thousands(brushed.length), selected = state.brush ? `${all_} of them selected` : "";
    element(`curves-${k}-said`).textContent = data.few
      ? `Each line is one of ${thousands(here.length)} trials, named by its learning rate${selected && `; ${selected}`}.`
      : state.brush
        ? `${some} of ${all_} selected trials${many > data.most ? ", evenly over the rates" : ""}; median and 10–90% band of each regime.`
        : "Median and 10–90% band of each regime's trials, up to the epoch that half of them reached. Drag over the map to see single curves.";
    element(`map-${k}-said`).textContent = `${thousands(here.length)} of ${thousands(sweep.filter(one => one === k).length)} trials`
      + `${selected && `, ${selected}`}${metric().top === null ? "" : "; what is not finite is on the line at the top"}.`;
  }
  const LETTERS = 13;  // pixels between two names
  function nameEnds(plot, ends) {  // once for curves that end alike; names at the same epoch are moved apart
    const {y_scale, bbox} = frame(plot), named = new Map();
    for (const end of ends) named.set(`${end.x} ${end.rate} ${end.colour}`, end);
    for (const x of new Set([...named.values()].map(end => end.x))) {
      const here = [...named.values()].filter(end => end.x === x).sort((a, b) => a.y - b.y);
      const places = here.map(end => bbox.bottom - y_scale.compute(end.y));
      const moved = [...places];
      for (let j = 1; j < moved.length; j++) moved[j] = Math.max(moved[j], moved[j - 1] + LETTERS);
      let limit = bbox.height;
      for (let j = moved.length - 1; j >= 0; j--) limit = (moved[j] = Math.min(moved[j], limit)) - LETTERS;
      here.forEach((end, j) => Object.assign(end, {text: end.rate, shift: moved[j] - places[j]}));
    }
  }

  function drawFocus() {
    const i = state.focus, panel = element("trial");
    if (!panel) return;
    find("focus").data = Object.fromEntries(Object.entries(trials.data).map(
      ([name, column]) => [name, i === null ? [] : [column[i]]]));
    panel.hidden = i === null;
    if (i === null) return;
    panel.querySelector("h3").textContent = `Trial ${columns.trial[i]}: learning rate ${looks.rate[i]}, ${columns.regime[i]}`;
    panel.querySelector(".evidence").textContent = columns.evidence[i];
    panel.querySelector(".facts").replaceChildren(...data.details
      .filter(([name]) => !["trial", "evidence", "learning_rate", "regime"].includes(name))
      .map(([name, called, about]) => {
        const pair = document.createElement("div"), term = document.createElement("dt"), fact = document.createElement("dd");
        Object.assign(term, {textContent: called, title: about});
        fact.textContent = said(name)[i] || "–";
        pair.append(term, fact);
        return pair;
      }));
  }

  // --- the table

  let words;
  function matches(i) {
    if (!state.find) return true;
    words ??= all.map(j => {
      const numbers = data.numbers.map(name => page.plain(columns[name][j]));
      return {text: Object.keys(columns).map(name => said(name)[j]).join(" ").toLowerCase(), numbers: new Set(numbers)};
    });
    const {text, numbers} = words[i], isNumber = word => !Number.isNaN(Number(word)) && !/^0\d/.test(word);  // no trial's id
    return state.find.toLowerCase().split(/\s+/)
      .every(word => isNumber(word) ? numbers.has(page.plain(Number(word))) : text.includes(word));
  }
  const inTable = i => shown[i] && inBrush(i) && matches(i);
  function drawTable() {
    const seen = all.map(inTable), found = seen.filter(Boolean).length;
    find("table-shown").booleans = seen;
    const wide = table.columns.reduce((sum, column) => sum + column.width, 0);
    table.height = table.row_height * Math.min(Math.max(found, 1), data.rows) + data.head_height;
    element("found").textContent = `${thousands(found)} of ${thousands(count)} trials, best first; click a column to sort.`
      + (wide > element("table").clientWidth ? " Scroll sideways to see all columns." : "");
  }
  function quietly(change) {  // selections that the reader has not made
    const active = document.activeElement;
    quiet = true;
    change();
    quiet = false;
    if (document.activeElement !== active) {  // the grid takes the keyboard for the row that it scrolls to
      document.activeElement.blur();
      active.focus?.({preventScroll: true});
    }
  }
  page.csv = () => {
    const names = Object.keys(columns);
    const cell = one => {
      if (typeof one === "number") return Number.isNaN(one) ? "" : String(one).replace("Infinity", "inf");
      // As in exports/csv.py: a spreadsheet would compute it.
      const safe = one.replace(/(^|[;,|\t\r\n])(?=\s*[=+@-])|^(?=[\t\r])/g, "$1'");
      return `"${safe.replaceAll('"', '""')}"`;
    };
    const lines = all.filter(inTable).map(i => names.map(name => cell(columns[name][i])).join(","));
    return [names.join(","), ...lines].join("\r\n") + "\r\n";
  };

  // --- what the reader does

  const chips = [...document.querySelectorAll(".chip")], choices = [...document.querySelectorAll(".choice")];
  function follow() {  // everything that depends on what is chosen
    for (let k = 0; k < data.sweeps && metrics.length; k++) drawCurves(k);
    drawFocus();
    drawTable();
    element("clear").hidden = !(state.brush || state.focus !== null || state.find || state.off.size);
    if (metrics.length) element("chosen").textContent = state.brush
      ? `${thousands(all.filter(i => drawn(i) && inBrush(i)).length)} of ${thousands(count)} trials are selected.` : "";
  }
  function select() {
    quietly(() => {
      if (trials) trials.selected.indices = [...(state.brush ?? [])];
      rows.selected.indices = state.focus === null ? [] : [state.focus];
    });
    follow();
  }
  function brushed() {  // while a drag moves, only the maps follow; the rest when it rests
    if (quiet) return;
    clearTimeout(resting);
    resting = setTimeout(() => {
      state.brush = trials.selected.indices.length ? new Set(trials.selected.indices) : null;
      follow();
    }, 250);
  }
  function choose(i) {
    if (i === null) return;
    state.focus = i;
    select();
    element("trial")?.querySelector(".evidence").scrollIntoView({block: "nearest"});
  }
  function clear() {
    Object.assign(state, {brush: null, focus: null, find: ""});
    state.off.clear();
    element("find").value = "";
    filter();
    select();
  }
  function nearest(plot, event, points, reach) {  // the trial of the point within so many pixels of a click
    const {x_scale, y_scale} = frame(plot);
    let best = null, least = reach ** 2;
    for (const [i, x, y] of points) {
      const distance = (x_scale.compute(x) - event.sx) ** 2 + (y_scale.compute(y) - event.sy) ** 2;
      if (distance <= least) { least = distance; best = i; }
    }
    return best;
  }
  function step(event) {
    const along = {ArrowLeft: -1, ArrowRight: 1}[event.key], ranked = {ArrowUp: -1, ArrowDown: 1}[event.key];
    if (!metrics.length || !(along || (ranked && state.focus !== null))) return false;
    const order = all.filter(i => drawn(i) && inBrush(i));
    if (along) order.sort((a, b) => sweep[a] - sweep[b] || columns.learning_rate[a] - columns.learning_rate[b] || a - b);
    if (!order.length) return false;
    const at = order.indexOf(state.focus);
    choose(at < 0 ? order.at(along < 0 ? -1 : 0) : order[Math.min(Math.max(at + (along || ranked), 0), order.length - 1)]);
    return true;
  }
  function offer() {  // of charts that a menu chooses among, those that are chosen
    for (const menu of choices) for (const part of menu.closest("section").querySelectorAll("[data-choice]"))
      part.hidden = part.dataset.choice !== menu.value;
  }

  // --- the page of a running sweep loads itself again, and keeps what was chosen

  const KEY = `mnist_tune:${location.pathname}`;
  function save() {
    const kept = {...state, off: [...state.off], metric: metric()?.key, choices: choices.map(menu => menu.value), scroll: scrollY,
      brush: state.brush && [...state.brush].map(i => data.ids[i]), focus: data.ids[state.focus]};
    try { sessionStorage.setItem(KEY, JSON.stringify(kept)); } catch { /* a browser without storage forgets */ }
  }
  function restore() {
    let kept;
    try { kept = JSON.parse(sessionStorage.getItem(KEY)); } catch { /* as above */ }
    if (!kept) return 0;
    const index = new Map(data.ids.map((id, i) => [id, i])), brush = (kept.brush ?? []).filter(id => index.has(id));
    state.off = new Set(kept.off);
    state.metric = Math.max(metrics.findIndex(one => one.key === kept.metric), 0);
    state.brush = brush.length ? new Set(brush.map(id => index.get(id))) : null;
    state.focus = index.get(kept.focus) ?? null;
    element("find").value = state.find = kept.find;
    choices.forEach((menu, j) => { if ([...menu.options].some(one => one.value === kept.choices[j])) menu.value = kept.choices[j]; });
    return kept.scroll;
  }
  const STALE = 20 * 60 * 1000;  // the slowest pages of running sweeps are written more often than that
  function keepUp() {
    const stale = Date.now() - data.written > STALE;
    element("written").textContent = `Written ${new Date(data.written).toLocaleTimeString()}.`
      + (stale ? " It has not changed since: the sweep may have been killed." : "");
    if (stale) return;
    let busy = 0, held = false;
    const begun = Date.now(), early = {capture: true, passive: true};  // Bokeh lets no end of a drag go further
    for (const name of ["pointerdown", "keydown", "wheel", "pointerup", "pointercancel"]) {
      addEventListener(name, () => { busy = Date.now(); held = name === "pointerdown" || (held && !name.startsWith("pointer")); }, early);
    }
    setInterval(() => {
      if (Date.now() - begun >= data.reload && !document.hidden && !held && Date.now() - busy >= 3000) location.reload();
    }, 1000);
  }

  // --- the start

  const scroll = restore();
  rows.data = {...columns, ...Object.fromEntries(Object.keys(columns).map(name => [`${name}_said`, said(name)]))};
  if (metrics.length) {
    trials.data = {...looks, ...data.settings, learning_rate: columns.learning_rate, number: data.number, sweep,
      y: all.map(() => NaN), said: columns.trial};
    element("metric").selectedIndex = state.metric;
    element("metric").addEventListener("change", event => {
      state.metric = event.target.selectedIndex;
      drawMetric();
      select();
    });
    for (const plot of maps) {
      const x = trials.data[plot.renderers[0].glyph.x.field], k = /^map-(\d+)$/.exec(plot.name)?.[1] ?? null;
      plot.on_event("tap", event => choose(nearest(plot, event,
        all.filter(i => drawn(i) && (k === null || sweep[i] === Number(k))).map(i => [i, x[i], heights[i]]), 16)));
      if (matchMedia("(pointer: coarse)").matches) plot.toolbar.active_drag = null;  // a finger scrolls the page
    }
    for (let k = 0; k < data.sweeps; k++) {
      find(`curves-${k}`).on_event("tap", event => {
        const {xs, ys, trial} = find(`curves-${k}-lines`).data;
        const points = xs.flatMap((one, j) => one.map((x, at) => [trial[j], x, ys[j][at]]));
        const found = nearest(find(`curves-${k}`), event, points, 12);
        if (found !== null) choose(all.find(i => sweep[i] === k && columns.trial[i] === found));
      });
    }
    trials.selected.connect(trials.selected.properties.indices.change, brushed);
    const repaint = () => { for (const view of Bokeh.index) view.request_paint?.(); };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    for (const name of ["beforeprint", "afterprint"]) addEventListener(name, repaint);
    if (data.few) {  // room for the names of the curves
      const range = find("curves-0").x_range, wide = Math.max(150, element("curves-0").clientWidth - 80);
      const end = range.end + 50 / wide * (range.end - range.start);
      range.setv({end, reset_end: end});
    }
    drawMetric();
  } else filter();
  rows.selected.connect(rows.selected.properties.indices.change, () => {
    if (quiet || !rows.selected.indices.length) return;
    state.focus = rows.selected.indices.at(-1);
    follow();
  });
  for (const chip of chips) {
    chip.addEventListener("click", event => {
      const regime = chip.dataset.regime, others = chips.map(one => one.dataset.regime).filter(one => one !== regime);
      const alone = others.every(one => state.off.has(one)) && !state.off.has(regime);
      if (event.shiftKey) state.off = new Set(alone ? [] : others);
      else if (!state.off.delete(regime)) state.off.add(regime);
      if (state.focus !== null && state.off.has(columns.regime[state.focus])) state.focus = null;
      filter();
      select();
    });
  }
  for (const menu of choices) menu.addEventListener("change", offer);
  let typed;
  element("find").addEventListener("input", event => {
    clearTimeout(typed);
    typed = setTimeout(() => { state.find = event.target.value.trim(); follow(); }, 150);
  });
  element("clear").addEventListener("click", clear);
  element("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([page.csv()], {type: "text/csv;charset=utf-8"}));
    link.download = "trials.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  addEventListener("keydown", event => {
    if (event.key === "Escape") { clear(); return; }
    const where = event.composedPath();
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (where.some(one => one.id === "table" || /^(INPUT|SELECT|TEXTAREA|PRE)$/.test(one.tagName || ""))) return;
    if (step(event)) event.preventDefault();
  });
  addEventListener("pagehide", save);
  offer();
  select();
  if (data.running) keepUp();
  if (scroll) requestAnimationFrame(() => scrollTo(0, scroll));
  page.ready = true;
})();
