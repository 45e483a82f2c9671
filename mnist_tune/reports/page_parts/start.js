"use strict";
// What a reader chooses is a set of settings. An element of a drawing stands for trials (data-t) or for settings (data-s).
window.page = {ready: false};
(async () => {
const element = (id) => document.getElementById(id), all = (what, within = document) => [...within.querySelectorAll(what)];
const packed = Uint8Array.from(atob(element("data").textContent), (one) => one.charCodeAt(0));
const data = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
element("rows").innerHTML = data.rows;
const rows = all("#rows tr"), cellsOf = (s) => [...rows[s].cells].map((cell) => cell.textContent.trim());
const trialsOf = rows.map(() => []);
data.of.forEach((s, t) => trialsOf[s].push(t));
const BEST = [...rows.keys()].filter((s) => rows[s].className === "best");
const state = {chosen: new Set(BEST), measure: Object.keys(data.curves)[0], by: null, down: false, limit: data.shown};
const HINT = element("said").textContent;
const make = (name, attributes, text = "") => {  // of a drawing
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
};
