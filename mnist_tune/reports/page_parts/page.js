"use strict";
// Links what Bokeh draws: chips, brush, chosen trial, curves, table. What is shown was prepared in Python.
window.page = (() => {
  const read = id => JSON.parse(document.getElementById(id).textContent);
  const element = id => document.getElementById(id);
  const data = read("page-data");
  const page = {colours: data.colours, ready: false};

  // --- numbers

  const KINDS = {f4: Float32Array, f8: Float64Array, u2: Uint16Array};
  function array(stored) {
    if ("all" in stored) return new Float64Array(count).fill(stored.all);
    if (stored.names) return Array.from(array(stored.codes), code => stored.names[code]);
    const [[kind, text]] = Object.entries(stored);
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return new KINDS[kind](bytes.buffer);
  }
  const thousands = number => number.toLocaleString("en");
  page.plain = value => Number.isNaN(value) ? "–" : !Number.isFinite(value) ? (value > 0 ? "infinite" : "-infinite")
    : String(Number(value.toPrecision(4)));
  page.fixed = value => Number.isFinite(value) ? value.toFixed(4) : page.plain(value);

  function steps(low, high, count) {  // round numbers, about `count` of them
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find(one => one * power >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(i * step);
    return found;
  }
  page.ticks = range => {
    const low = Math.min(range.start, range.end);
    const high = Math.min(Math.max(range.start, range.end), range.name.endsWith("-y") ? below : Infinity);
    if (!(high > low)) return [];
    if (!range.tags.includes("log")) return steps(low, high, 6);
    const decades = high - low, found = [];
    const every = Math.ceil(decades / 7), parts = decades > 3.2 ? [1] : decades > 1.6 ? [1, 3] : [1, 2, 5];
    for (let power = Math.floor(low); power <= high; power++) {
      if (power % every) continue;
      for (const part of parts) found.push(power + Math.log10(part));
    }
    const inside = found.filter(tick => tick >= low && tick <= high);
    return inside.length > 2 ? inside : steps(10 ** low, 10 ** high, 5).filter(one => one > 0).map(Math.log10);
  };
  page.written = (tick, range) => page.plain(Number((range.tags.includes("log") ? 10 ** tick : tick).toPrecision(6)));
  let below = Infinity;  // no ticks at and above the line of what is not finite

  // --- the trials

  const count = data.ids.length, all = [...Array(count).keys()];
  const columns = Object.fromEntries(Object.entries(data.columns).map(([name, column]) => [name, array(column)]));
  const rates = array(data.rates), sweep = array(data.sweep);
  const metrics = (data.metrics || []).map(metric => ({...metric, places: array(metric.places)}));
  const curves = Object.fromEntries(
    Object.entries(data.curves || {}).map(([key, curve]) => [key, {...curve, codes: array(curve.codes)}]));
  const settings = Object.fromEntries(Object.entries(data.settings || {}).map(([name, one]) => [name, array(one)]));
  const looks = {
    colour: columns.regime.map(regime => data.colours[regime]),
    marker: columns.regime.map(regime => data.markers[regime]),
    rate: Array.from(columns.learning_rate, page.plain), regime: columns.regime, trial: columns.trial,
  };
  const MISSING = 65535;

  const state = {off: new Set(), metric: 0, brush: null, focus: null, find: ""};
  let shown = all.map(() => true);
  const metric = () => metrics[state.metric];
  const drawn = i => shown[i] && !Number.isNaN(metrics[0].places[i]);
  const inBrush = i => !state.brush || state.brush.has(i);

  function value(i) {
    const found = columns[metric().column][i];
    return page.plain(metric().error ? 1 - found : found);
  }
  function curve(i) {  // a trial's epochs and places, without those that it lacks
    const of = curves[metric().curve], length = data.epochs.length, xs = [], ys = [];
    for (let j = 0; j < length; j++) {
      const code = of.codes[i * length + j];
      if (code === MISSING) continue;
      const place = of.low + of.step * code;
      xs.push(data.epochs[j]);
      ys.push(metric().key === metric().curve ? place : 1 - 10 ** place);
    }
    return [xs, ys];
  }

  // --- what Bokeh drew

  let find;  // a model by its name
  const maps = [...Array(data.metrics ? data.sweeps : 0).keys()].map(k => ({
    name: `map-${k}`, xs: rates, has: i => sweep[i] === k}));
  const plots = [...maps, ...Object.entries(settings).map(([name, xs]) => ({
    name: `setting-${name}`, xs, has: () => true}))];
  let quiet = false, resting;

  function setRange(range, start, end) {
    range.setv({start, end, reset_start: start, reset_end: end});
  }
  function padded(values) {
    let low = Infinity, high = -Infinity;
    for (const one of values) if (Number.isFinite(one)) { low = Math.min(low, one); high = Math.max(high, one); }
    const margin = 0.05 * Math.max(high - low, 0.2);
    return low > high ? [0, 1] : [low - margin, high + margin];
  }

  function drawTrials() {
    const now = metric(), y = now.places, values = all.map(value);
    below = now.top === null ? Infinity : now.top - 0.02 * (now.end - now.start);
    for (const plot of plots) {
      const range = find(plot.name === "map-0" || !plot.name.startsWith("map-") ? `${plot.name.replace("-0", "")}-y` : "map-y");
      range.tags = now.log ? ["log"] : [];
      setRange(range, now.start, now.end);
      find(`${plot.name}-trials`).data = {...looks, x: plot.xs, y, value: values};
      const top = find(`${plot.name}-top`), said = find(`${plot.name}-top-label`), visible = now.top !== null;
      top.setv({location: now.top ?? 0, visible});
      said.setv({y: now.top ?? 0, visible});
      const tips = find(`${plot.name}-tips`);
      tips.tooltips = [...tips.tooltips.slice(0, -1), [now.title, "@value"]];
    }
    for (let k = 0; k < data.sweeps; k++) {
      title(`map-${k}`, now.title);
      title(`curves-${k}`, now.title);
    }
    for (const name of Object.keys(settings)) title(`setting-${name}`, now.title);
    const range = find("curves-y");
    range.tags = now.log ? ["log"] : [];
    const margin = 0.05 * (now.end - now.start);
    setRange(range, now.start, now.top === null ? now.end : now.top - margin);
  }
  function title(plot, text) {
    find(plot).left[0].axis_label.text = text;
  }

  function drawCurves() {
    if (!metrics.length) return;
    for (let k = 0; k < data.sweeps; k++) drawCurvesOf(k);
  }
  function drawCurvesOf(k) {
    const here = all.filter(i => sweep[i] === k && drawn(i)), brushed = here.filter(inBrush);
    let lines = data.few ? here : state.brush ? brushed : [];
    const many = lines.length;
    if (many > data.most) {  // evenly over the rates
      const sorted = [...lines].sort((a, b) => rates[a] - rates[b] || a - b);
      lines = [...Array(data.most).keys()].map(j => sorted[Math.floor(j * many / data.most)]);
    }
    const focus = state.focus !== null && sweep[state.focus] === k ? state.focus : null;
    if (focus !== null) lines = [...lines.filter(i => i !== focus), focus];
    const source = {xs: [], ys: [], colour: [], alpha: [], width: [], rate: [], regime: [], trial: []};
    const dots = {x: [], y: [], colour: [], marker: [], alpha: []};
    for (const i of lines) {
      const [xs, ys] = curve(i), alpha = i === focus ? 1 : inBrush(i) && focus === null ? 0.8 : data.few ? 0.2 : 0.5;
      source.xs.push(xs); source.ys.push(ys); source.alpha.push(alpha); source.width.push(i === focus ? 3.5 : 1.4);
      for (const name of ["colour", "rate", "regime", "trial"]) source[name].push(looks[name][i]);
      for (let j = data.few || i === focus ? 0 : Math.max(xs.length - 1, 0); j < xs.length; j++) {
        dots.x.push(xs[j]); dots.y.push(ys[j]); dots.alpha.push(alpha);
        dots.colour.push(looks.colour[i]); dots.marker.push(looks.marker[i]);
      }
    }
    find(`curves-${k}-names`).data = data.few ? names(k, source) : names(k, {xs: []});
    find(`curves-${k}-lines`).data = source;
    find(`curves-${k}-dots`).data = dots;
    const bands = (data.bands[k][metric().key] || []).filter(band => !state.off.has(band.regime));
    find(`curves-${k}-bands`).data = wide(bands);
    const drawnLines = thousands(lines.length - (focus !== null && !inBrush(focus) ? 1 : 0));
    element(`curves-${k}-said`).textContent = data.few
      ? `Each line is one of ${thousands(here.length)} trials, named by its learning rate${state.brush ? `; ${thousands(brushed.length)} are selected` : ""}.`
      : state.brush
        ? `${drawnLines} of ${thousands(brushed.length)} selected trials${many > data.most ? ", evenly over the rates" : ""}; median and 10–90% band of each regime.`
        : `Median and 10–90% band of each regime's trials, up to the epoch that half of them reached. Drag over the map to see single curves.`;
    element(`map-${k}-said`).textContent = `${thousands(here.length)} of ${thousands(all.filter(i => sweep[i] === k).length)} trials`
      + `${state.brush ? `, ${thousands(brushed.length)} of them selected` : ""}`
      + `${metric().top === null ? "" : "; what is not finite is on the line at the top"}.`;
  }
  const LETTERS = 13;  // pixels between two names
  function names(k, source) {  // the rate of each line at its end; names at the same epoch are moved apart
    const found = {x: [], y: [], shift: [], text: [], colour: []}, model = find(`curves-${k}`);
    const scale = (model.inner_height || 300) / (model.y_range.end - model.y_range.start), ends = new Map();
    source.xs.forEach((xs, j) => {
      if (!xs.length) return;
      const x = xs[xs.length - 1], y = source.ys[j][xs.length - 1], key = `${x} ${source.rate[j]} ${source.colour[j]}`;
      if (!ends.has(key)) ends.set(key, {x, y, at: y * scale, text: source.rate[j], colour: source.colour[j]});
    });
    for (const x of new Set([...ends.values()].map(end => end.x))) {
      const here = [...ends.values()].filter(end => end.x === x).sort((a, b) => a.y - b.y);
      for (let round = 0; round < 200; round++) {
        let moved = false;
        for (let j = 1; j < here.length; j++) {
          const lacks = LETTERS - (here[j].at - here[j - 1].at);
          if (lacks > 0.5) { here[j].at += lacks / 2; here[j - 1].at -= lacks / 2; moved = true; }
        }
        if (!moved) break;
      }
      const low = model.y_range.start * scale + LETTERS / 2;
      const below = Math.max(low - (here[0]?.at ?? low), 0);
      for (const end of here) {
        found.x.push(end.x); found.y.push(end.y); found.shift.push(end.at + below - end.y * scale);
        found.text.push(end.text); found.colour.push(end.colour);
      }
    }
    return found;
  }
  function wide(bands) {  // a band of one epoch has no width of its own
    const data = {xs: [], ys: [], mx: [], my: [], colour: [], regime: [], said: []};
    for (const band of bands) {
      const known = band.epochs.map((_, j) => j).filter(j => band.low[j] !== null && band.high[j] !== null);
      const pick = values => known.map(j => values[j]);
      let xs = pick(band.epochs), low = pick(band.low), high = pick(band.high), middle = pick(band.middle);
      if (xs.length === 1) {
        xs = [xs[0] - 0.15, xs[0] + 0.15];
        [low, high, middle] = [low, high, middle].map(([one]) => [one, one]);
      }
      data.xs.push([...xs, ...[...xs].reverse()]); data.ys.push([...low, ...[...high].reverse()]);
      data.mx.push(xs); data.my.push(middle);
      data.colour.push(page.colours[band.regime]); data.regime.push(band.regime); data.said.push(String(band.trials));
    }
    return data;
  }

  function drawSeeds() {
    if (!metrics.length) return;
    const shares = find("shares"), means = find("means");
    if (shares && data.shares.length) {
      const names = Object.keys(data.shares[0]);
      sourceOf("shares").data = Object.fromEntries(names.map(name => [name, data.shares.map(row => row[name])]));
      setRange(find("shares-x"), ...padded(data.shares.map(row => row.x)));
    }
    if (means && data.means.length) {
      const rows = data.means.filter(row => !state.off.has(row.regime));
      sourceOf("means").data = {...wide(rows), rate: rows.map(row => row.rate)};
      setRange(find("means-x"), ...padded(data.means.flatMap(row => row.epochs)));
      setRange(find("means-y"), ...padded(data.means.flatMap(row => [...row.low, ...row.high].filter(one => one !== null))));
    }
  }
  const sourceOf = name => find(`${name}-source`);

  function drawFocus() {
    for (const plot of plots) {
      const on = state.focus !== null && plot.has(state.focus) && !Number.isNaN(metric().places[state.focus]);
      find(`${plot.name}-focus`).data = on ? {x: [plot.xs[state.focus]], y: [metric().places[state.focus]]} : {x: [], y: []};
    }
    const panel = element("trial");
    if (!panel) return;
    panel.hidden = state.focus === null;
    if (state.focus === null) return;
    const i = state.focus, said = text => text === "" ? "–" : typeof text === "number" ? page.plain(text) : text;
    panel.querySelector("h3").textContent = `Trial ${columns.trial[i]}: learning rate ${looks.rate[i]}, ${columns.regime[i]}`;
    panel.querySelector(".evidence").textContent = columns.evidence[i];
    panel.querySelector(".facts").replaceChildren(...Object.keys(columns)
      .filter(name => !["trial", "evidence", "learning_rate", "regime", "reaches"].includes(name))
      .map(name => {
        const pair = document.createElement("div"), term = document.createElement("dt"), fact = document.createElement("dd");
        [term.textContent, term.title] = data.named[name];
        fact.textContent = said(columns[name][i]);
        pair.append(term, fact);
        return pair;
      }));
  }

  // --- the table

  let words;
  function matches(i) {
    if (!state.find) return true;
    words ??= all.map(j => {
      const cells = Object.values(columns).map(column => column[j]), numbers = cells.filter(one => typeof one === "number");
      const texts = cells.filter(one => typeof one !== "number");
      return {text: texts.join(" ").toLowerCase(), numbers: new Set(numbers.map(page.plain))};
    });
    const {text, numbers} = words[i], number = word => !Number.isNaN(Number(word)) && !/^0\d/.test(word);  // no trial's id
    return state.find.toLowerCase().split(/\s+/)
      .every(word => number(word) ? numbers.has(page.plain(Number(word))) : text.includes(word));
  }
  const inTable = () => all.map(i => shown[i] && inBrush(i) && matches(i));
  function drawTable() {
    const rows = inTable(), found = rows.filter(Boolean).length;
    find("table-shown").booleans = rows;
    const table = find("table"), wide = table.columns.reduce((sum, column) => sum + column.width, 0);
    const height = table.row_height * Math.min(Math.max(found, 1), data.rows) + data.head_height;
    if (table.height !== height) table.height = height;
    element("found").textContent = `${thousands(found)} of ${thousands(count)} trials, best first; click a column to sort.`
      + (wide > element("table").clientWidth ? " Scroll sideways to see all columns." : "");
  }
  function chooseInTable() {
    const active = document.activeElement;
    quiet = true;
    find("table-trials").selected.indices = state.focus === null ? [] : [state.focus];
    quiet = false;
    if (document.activeElement !== active) {  // the grid takes the keyboard for the row that it scrolls to
      document.activeElement.blur();
      active.focus?.({preventScroll: true});
    }
  }
  page.csv = () => {
    const names = Object.keys(columns), rows = inTable();
    const cell = one => {
      if (typeof one === "number") return Number.isNaN(one) ? "" : Number.isFinite(one) ? String(one) : one > 0 ? "inf" : "-inf";
      const safe = /^[=+\-@\t\r]/.test(one) ? `'${one}` : one;  // a spreadsheet would compute it
      return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    const lines = all.filter(i => rows[i]).map(i => names.map(name => cell(columns[name][i])).join(","));
    return [names.join(","), ...lines].join("\r\n") + "\r\n";
  };

  // --- what the reader does

  function filter() {
    shown = columns.regime.map(regime => !state.off.has(regime));
    for (const plot of plots) find(`${plot.name}-shown`).booleans = all.map(i => shown[i] && plot.has(i));
    for (const chip of document.querySelectorAll(".chip")) {
      chip.setAttribute("aria-pressed", String(!state.off.has(chip.dataset.regime)));
    }
  }
  function brushed(source) {  // while a drag moves, only its own figure follows; the rest when it rests
    if (quiet) return;
    clearTimeout(resting);
    resting = setTimeout(() => {
      const indices = [...source.selected.indices];
      state.brush = indices.length ? new Set(indices) : null;
      selectBrush();
      follow();
    }, 250);
  }
  function selectBrush() {
    quiet = true;
    const indices = state.brush ? [...state.brush] : [];
    for (const plot of plots) find(`${plot.name}-trials`).selected.indices = indices.filter(plot.has);
    quiet = false;
  }
  function follow() {  // everything that depends on the brush and the chosen trial
    drawCurves();
    drawFocus();
    drawTable();
    say();
  }
  function choose(i) {
    state.focus = i;
    drawCurves();
    drawFocus();
    chooseInTable();
    say();
    element("trial")?.querySelector(".evidence").scrollIntoView({block: "nearest"});
  }
  function clear() {
    state.brush = null; state.focus = null; state.find = ""; state.off.clear();
    element("find").value = "";
    filter();
    drawSeeds();
    selectBrush();
    follow();
    chooseInTable();
  }
  function say() {
    element("clear").hidden = !(state.brush || state.focus !== null || state.find || state.off.size);
    const status = element("chosen");
    if (status) status.textContent = state.brush ? `${thousands(all.filter(i => drawn(i) && inBrush(i)).length)} of ${thousands(count)} trials are selected.` : "";
    save();
  }
  function nearest(plot, event) {  // the trial drawn within 16 pixels of a click
    const model = find(plot.name), x = model.x_range, y = model.y_range;
    const wide = model.inner_width / (x.end - x.start), high = model.inner_height / (y.end - y.start);
    let best = null, least = 16 ** 2;
    for (const i of all) {
      if (!drawn(i) || !plot.has(i)) continue;
      const distance = ((plot.xs[i] - event.x) * wide) ** 2 + ((metric().places[i] - event.y) * high) ** 2;
      if (distance <= least) { least = distance; best = i; }
    }
    return best;
  }
  function nearestCurve(k, event) {
    const model = find(`curves-${k}`), x = model.x_range, y = model.y_range;
    const wide = model.inner_width / (x.end - x.start), high = model.inner_height / (y.end - y.start);
    const source = find(`curves-${k}-lines`).data;
    let best = null, least = 12 ** 2;
    source.xs.forEach((xs, j) => xs.forEach((one, at) => {
      const distance = ((one - event.x) * wide) ** 2 + ((source.ys[j][at] - event.y) * high) ** 2;
      if (distance <= least) { least = distance; best = source.trial[j]; }
    }));
    return best === null ? null : all.find(i => sweep[i] === k && columns.trial[i] === best);
  }
  function step(event) {
    const along = {ArrowLeft: -1, ArrowRight: 1}[event.key], ranked = {ArrowUp: -1, ArrowDown: 1}[event.key];
    if (!metrics.length || !(along || (ranked && state.focus !== null))) return false;
    const order = all.filter(i => drawn(i) && inBrush(i));
    if (along) order.sort((a, b) => sweep[a] - sweep[b] || rates[a] - rates[b] || a - b);
    if (!order.length) return false;
    const at = order.indexOf(state.focus);
    choose(at < 0 ? order[along < 0 ? order.length - 1 : 0] : order[Math.min(Math.max(at + (along || ranked), 0), order.length - 1)]);
    return true;
  }

  // --- the page of a running sweep loads itself again, and keeps what was chosen

  const KEY = `mnist_tune:${location.pathname}`;
  function save() {
    const ids = indices => [...indices].map(i => data.ids[i]);
    const kept = {off: [...state.off], metric: metric()?.key, find: state.find, brush: state.brush && ids(state.brush),
      focus: state.focus === null ? null : data.ids[state.focus], scroll: scrollY};
    try { sessionStorage.setItem(KEY, JSON.stringify(kept)); } catch { /* a browser without storage forgets */ }
  }
  function restore() {
    let kept;
    try { kept = JSON.parse(sessionStorage.getItem(KEY)); } catch { /* as above */ }
    if (!kept) return;
    const index = new Map(data.ids.map((id, i) => [id, i]));
    state.off = new Set(kept.off);
    state.metric = Math.max(metrics.findIndex(one => one.key === kept.metric), 0);
    state.find = kept.find;
    const left = (kept.brush || []).filter(id => index.has(id)).map(id => index.get(id));
    state.brush = left.length ? new Set(left) : null;
    state.focus = index.get(kept.focus) ?? null;
    element("find").value = state.find;
    return kept.scroll;
  }
  const STALE = 20 * 60 * 1000;  // the slowest pages of running sweeps are written more often than that
  function keepUp() {
    const stale = Date.now() - data.written > STALE;
    element("written").textContent = `Written ${new Date(data.written).toLocaleTimeString()}.`
      + (stale ? " It has not changed since: the sweep may have been killed." : "");
    if (stale) return;
    let busy = 0;
    const early = {capture: true, passive: true};  // Bokeh lets no end of a drag go further
    for (const name of ["pointerdown", "keydown", "wheel"]) addEventListener(name, () => { busy = Date.now(); }, early);
    let held = false;
    addEventListener("pointerdown", () => { held = true; }, early);
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => { held = false; }, early);
    const begun = Date.now();
    setInterval(() => {
      if (Date.now() - begun < data.reload || document.hidden || held || Date.now() - busy < 3000) return;
      save();
      location.reload();
    }, 1000);
  }

  // --- looks

  function paint(dark) {
    const ink = dark ? "#c3cad3" : "#424a53";
    const edges = [...document.querySelectorAll("[id^=edge-]")].map(holder => holder.id);
    for (const plot of [...plots.map(plot => plot.name), ...[...Array(maps.length).keys()].map(k => `curves-${k}`), "shares", "means", ...edges]) {
      const model = find(plot);
      if (!model) continue;
      for (const axis of [...model.below, ...model.left]) {
        axis.setv({axis_line_color: ink, major_tick_line_color: ink, minor_tick_line_color: ink,
          major_label_text_color: ink, axis_label_text_color: ink});
      }
    }
    for (const plot of plots) {
      find(`${plot.name}-top`).line_color = ink;
      find(`${plot.name}-top-label`).text_color = ink;
      find(`${plot.name}-ring`).glyph.line_color = ink;
    }
  }

  // --- the start

  async function start() {
    const json = read("page-document"), roots = {};
    for (const root of json.roots) {
      const holder = element(root.attributes.name);
      roots[root.id] = holder.id;
    }
    const [views] = await Bokeh.embed.embed_items({page: json}, [{docid: "page", roots, root_ids: Object.keys(roots)}]);
    const model = Bokeh.documents[Bokeh.documents.length - 1];
    find = name => model.get_model_by_name(name);
    const scroll = restore();
    find("table-trials").data = {...columns};
    if (metrics.length) {
      setRange(find("map-x"), ...padded(rates));
      const [first, last] = padded(data.epochs);
      const room = Math.max(0.05, 50 / Math.max(150, element("curves-0").clientWidth - 80));  // for names, in pixels
      setRange(find("curves-x"), first, data.few ? last + room * (last - first) : last);
      for (const [name, xs] of Object.entries(settings)) {
        const range = find(`setting-${name}-x`);
        if (range.start === 0 && range.end === 1) setRange(range, ...padded(xs));
        else range.setv({reset_start: range.start, reset_end: range.end});
      }
      const dark = matchMedia("(prefers-color-scheme: dark)");
      paint(dark.matches);
      dark.addEventListener("change", () => paint(dark.matches));
      addEventListener("beforeprint", () => paint(false));
      addEventListener("afterprint", () => paint(dark.matches));
      element("metric").selectedIndex = state.metric;
      drawTrials();
      drawSeeds();
      for (const plot of plots) {
        const selected = find(`${plot.name}-trials`).selected;
        selected.connect(selected.properties.indices.change, () => brushed(find(`${plot.name}-trials`)));
        find(plot.name).on_event("tap", event => {
          const i = nearest(plot, event);
          if (i !== null) choose(i);
        });
      }
      for (let k = 0; k < data.sweeps; k++) {
        find(`curves-${k}`).on_event("tap", event => {
          const i = nearestCurve(k, event);
          if (i !== null) choose(i);
        });
      }
      if (matchMedia("(pointer: coarse)").matches) {  // a finger scrolls the page; the toolbar turns the brush on
        for (const plot of plots) find(plot.name).toolbar.active_drag = null;
      }
    }
    const rows = find("table-trials").selected;
    rows.connect(rows.properties.indices.change, () => {
      if (!quiet && rows.indices.length) {
        state.focus = rows.indices[rows.indices.length - 1];
        drawCurves(); drawFocus(); say();
      }
    });
    filter();
    if (state.brush) selectBrush();
    follow();
    chooseInTable();
    listen();
    if (data.running) keepUp();
    if (scroll) requestAnimationFrame(() => scrollTo(0, scroll));
    page.ready = true;
    page.took = performance.now();
    return views;
  }

  function listen() {
    for (const chip of document.querySelectorAll(".chip")) {
      chip.addEventListener("click", event => {
        const regime = chip.dataset.regime, all = [...document.querySelectorAll(".chip")].map(one => one.dataset.regime);
        const others = all.filter(one => one !== regime), alone = others.every(one => state.off.has(one)) && !state.off.has(regime);
        if (event.shiftKey) state.off = new Set(alone ? [] : others);
        else if (!state.off.delete(regime)) state.off.add(regime);
        if (state.focus !== null && state.off.has(columns.regime[state.focus])) state.focus = null;
        filter();
        drawSeeds();
        follow();
        chooseInTable();
      });
    }
    element("metric")?.addEventListener("change", event => {
      state.metric = event.target.selectedIndex;
      drawTrials();
      if (state.brush) selectBrush();
      follow();
    });
    let typed;
    element("find").addEventListener("input", event => {
      clearTimeout(typed);
      typed = setTimeout(() => { state.find = event.target.value.trim(); drawTable(); say(); }, 150);
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
  }

  page.state = state;
  page.start = start;
  return page;
})();
page.start();
