"use strict";
// What a reader chooses is a set of settings. An element of a drawing stands for trials (data-t) or for settings (data-s).
window.page = {ready: false};
(async () => {
const element = (id) => document.getElementById(id), all = (what, within = document) => [...within.querySelectorAll(what)];
const packed = Uint8Array.from(atob(element("data").textContent), (one) => one.charCodeAt(0));
const data = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
const trialsOf = data.rows.map(() => []), SVG = "http://www.w3.org/2000/svg";
data.of.forEach((s, t) => trialsOf[s].push(t));
const BEST = data.roles.flatMap((role, s) => (role === "best" ? [s] : []));
const state = {chosen: new Set(BEST), unfolded: new Set(), measure: data.measures[0]?.key, by: null, down: false, limit: data.shown};
const make = (name, attributes, text) => {
  const made = document.createElementNS(name === "path" || name === "svg" || name === "text" ? SVG : "http://www.w3.org/1999/xhtml", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
