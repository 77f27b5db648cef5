// What all widgets draw with: HTML and SVG elements, controls that work with keys, a plot's frame, and the
// ties to the model. The look is in kit.css. Python joins a widget's file and those that it imports into one.
import { clamp, formatNumber, path } from "./numbers.js";

// ---- elements ----

const SVG = "http://www.w3.org/2000/svg";

function make(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...(children ?? []).filter((c) => c !== null && c !== undefined));
  return element;
}

/** An HTML element; the attribute `text` is its text. */
export const h = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);
/** An SVG element. */
export const s = (tag, attributes, ...children) =>
  make(document.createElementNS(SVG, tag), attributes, children);
/** Change attributes. */
export const set = (element, attributes) => make(element, attributes);
/** Elements beside each other. */
export const row = (...children) => h("div", { class: "lk-row" }, ...children);
/** A small square of a colour, for legends. */
export const swatch = (color) => h("i", { class: "lk-swatch", style: `background:var(${color})` });

let serial = 0;
const uid = (name) => `lk-${name}-${++serial}-${Math.random().toString(36).slice(2, 7)}`;

/** A widget's root element, named for screen readers. */
export function root(el, name, className) {
  const element = h("div", { class: `lk ${className ?? ""}`, role: "group", "aria-label": name });
  el.append(element);
  return element;
}

const COLORS = ["--lk-blue", "--lk-orange", "--lk-green", "--lk-pink", "--lk-sky", "--lk-yellow"];
/** The colour of layer group `k` of `n`: the head's is always the first. */
export const groupColor = (k, n) => COLORS[(n - 1 - k) % COLORS.length];

// ---- controls ----

// JupyterLab takes arrow keys from a focused control unless the control itself says that they are its own
const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" };

/** A control whose keys stay with it. */
function control(tag, attributes, signal) {
  const element = h(tag, attributes);
  element.addEventListener("keydown", (e) => e.stopPropagation(), { signal });
  return element;
}

/**
 * A slider with a label and its value as text; arrows, Home, End, PageUp and PageDown are the browser's own.
 * `text(v)` is what is shown and said. Returns {element, input, show(v)}.
 */
export function slider({ label, min, max, step = 1, value, text = String, oninput, signal, className }) {
  const input = control("input", { type: "range", min, max, step, "aria-label": label, ...OWN_KEYS }, signal);
  const out = h("output", { "aria-hidden": "true" });
  const say = () => {
    const words = text(Number(input.value));
    out.textContent = words;
    input.setAttribute("aria-valuetext", words);
  };
  const show = (v) => { input.value = v; say(); };
  input.addEventListener("input", () => { say(); oninput?.(Number(input.value)); }, { signal });
  show(value);
  const name = h("span", { text: label });
  return { element: h("label", { class: `lk-slider ${className ?? ""}` }, name, input, out), input, show };
}

/** A button. */
export function button(label, onclick, signal, attributes) {
  const element = control("button", { type: "button", ...OWN_KEYS, text: label, ...attributes }, signal);
  element.addEventListener("click", onclick, { signal });
  return element;
}

/** One of several: radio buttons in a row. Returns {element, show(v)}. */
export function choice({ label, options, value, onchange, signal }) {
  const name = uid("choice");
  const inputs = options.map(([key]) => {
    const input = control("input", { type: "radio", name, value: key, ...OWN_KEYS }, signal);
    input.checked = key === value;
    input.addEventListener("change", () => input.checked && onchange(key), { signal });
    return input;
  });
  return {
    element: h("div", { class: "lk-choice", role: "radiogroup", "aria-label": label },
      h("span", { class: "lk-label", text: label }),
      ...options.map(([, text], k) => h("label", { class: "lk-option" }, inputs[k], h("span", { text })))),
    show(v) { for (const input of inputs) input.checked = input.value === v; },
  };
}

/** A box that is ticked or not. Returns {element, input}. */
export function toggle({ label, text, value, onchange, signal }) {
  const attributes = { type: "checkbox", role: "switch", "aria-label": label, ...OWN_KEYS };
  const input = control("input", attributes, signal);
  input.checked = value;
  input.addEventListener("change", () => onchange(input.checked), { signal });
  return { element: h("label", { class: "lk-option" }, input, h("span", { text })), input };
}

// ---- plots ----

/** The grid, the frame, the numbers and the titles of a plot. */
function axesOf({ x, y, xlabel, ylabel, xtext = formatNumber, ytext = formatNumber }) {
  const word = (px, py, anchor, text, look) =>
    s("text", { x: px, y: py, "text-anchor": anchor, ...look, text });
  const title = { class: "lk-title" };
  return [
    ...y.ticks.map((t) => s("line", { x1: x.from, x2: x.end, y1: y.to(t), y2: y.to(t) })),
    ...x.ticks.map((t) => upright(x.to(t), y)),
    s("path", { d: `M${x.from},${y.end}V${y.from}H${x.end}`, class: "lk-frame" }),
    ...y.ticks.map((t) => word(x.from - 6, y.to(t) + 4, "end", ytext(t))),
    ...x.ticks.map((t) => word(x.to(t), y.from + 16, "middle", xtext(t))),
    ...(xlabel ? [word(x.end, y.from + 32, "end", xlabel, title)] : []),
    ...(ylabel ? [word(x.from - 6, y.end - 8, "start", ylabel, title)] : []),
  ];
}

/**
 * A plot's frame: `draw({width, height, x, y, xlabel, ylabel, xtext, ytext})` makes the axes anew. `marks` is
 * the layer for what the caller draws inside, clipped to the plot; `over` is not clipped.
 */
export function plot(label, className) {
  const clip = uid("clip");
  const area = s("rect"), axes = s("g", { class: "lk-axes", "aria-hidden": "true" });
  const marks = s("g", { "clip-path": `url(#${clip})` }), over = s("g");
  const element = s("svg", { class: `lk-plot ${className ?? ""}`, role: "img", "aria-label": label },
    s("defs", null, s("clipPath", { id: clip }, area)), axes, marks, over);
  let scales = {};
  return {
    element, marks, over, scales: () => scales,
    draw({ width, height, x, y, ...words }) {
      scales = { x, y };
      const inside = { width: Math.max(0, x.end - x.from), height: Math.max(0, y.from - y.end) };
      set(element, { width, height, viewBox: `0 0 ${width} ${height}` });
      set(area, { x: x.from, y: y.end, ...inside });
      axes.replaceChildren(...axesOf({ x, y, ...words }));
    },
  };
}

/** A line from the bottom to the top of a plot. */
export function upright(px, y, attributes) {
  return s("line", { x1: px, x2: px, y1: y.from, y2: y.end, ...attributes });
}

/** A line through points. */
export function curve(xs, ys, x, y, color, attributes) {
  return s("path", { d: path(xs, ys, x, y), class: "lk-curve", stroke: `var(${color})`, ...attributes });
}

/** A line and a dot that move together: `show(px, v)`, `hide()`. */
export function cursor(y, color) {
  const line = s("line", { class: "lk-cursor", y1: y.from, y2: y.end });
  const dot = s("circle", { r: 4.5, class: "lk-dot", fill: `var(${color})` });
  return {
    line, dot,
    show(px, v) {
      set(line, { x1: px, x2: px, visibility: null });
      set(dot, { cx: px, cy: clamp(y.to(v), y.end, y.from), visibility: null });
    },
    hide() { for (const mark of [line, dot]) set(mark, { visibility: "hidden" }); },
  };
}

const pointIn = (svg, e) => {
  const box = svg.getBoundingClientRect();
  return [e.clientX - box.left, e.clientY - box.top];
};

/** Call `move(x, y, first)` with places in the svg while the pointer is held down on it, then `end()`. */
export function onDrag(svg, move, signal, end = () => {}) {
  svg.addEventListener("pointerdown", (e) => {
    if (e.button !== 0) return;
    svg.setPointerCapture(e.pointerId);
    move(...pointIn(svg, e), true);
    e.preventDefault();
  }, { signal });
  svg.addEventListener("pointermove", (e) => {
    if (e.buttons === 1 && svg.hasPointerCapture(e.pointerId)) move(...pointIn(svg, e), false);
  }, { signal });
  svg.addEventListener("lostpointercapture", end, { signal });
}

/** Say what is under the pointer, above the plot at its right: `text(x, y)`, nothing where that is empty. */
export function onHover(chart, text, signal) {
  const says = s("text", { class: "lk-readout", y: 12, "text-anchor": "end", "aria-hidden": "true" });
  const line = s("line", { class: "lk-hair", visibility: "hidden" });
  chart.element.append(line, says);
  chart.element.addEventListener("pointermove", (e) => {
    const [px, py] = pointIn(chart.element, e), { x, y } = chart.scales();
    const words = x && px >= x.from && px <= x.end ? text(px, py) || "" : "";
    if (!x) return;
    set(says, { x: x.end, text: words });
    set(line, { x1: px, x2: px, y1: y.from, y2: y.end, visibility: words ? null : "hidden" });
  }, { signal });
  chart.element.addEventListener("pointerleave", () => {
    set(says, { text: "" });
    set(line, { visibility: "hidden" });
  }, { signal });
}

// ---- the model, and when to draw; what starts something returns what ends it ----

/** Call `draw(width)` with the room for a plot in `element`, now and whenever that changes. */
export function onWidth(element, draw) {
  let last = -1;
  const look = () => {
    const width = Math.round(clamp(element.clientWidth || 640, 260, 720));
    if (width !== last) { last = width; draw(width - 8); }
  };
  look();                                                // el may be detached now: it gets its width later
  const observer = new ResizeObserver(look);
  observer.observe(element);
  return () => observer.disconnect();
}

/** Keep `draw` in step with the model's traits. */
export function onChange(model, names, draw) {
  for (const name of names) model.on(`change:${name}`, draw);
  return () => { for (const name of names) model.off(`change:${name}`, draw); };
}

const SETTLED = 700, waiting = new WeakMap();              // ms without a change

/** Have what is saved follow the choice when it has settled, where no view is made anew for that. */
function settle(model) {
  if (!globalThis.lessonkitKeepsViews) return;             // labextension/lab.js
  const count = () => { model.set("settled", model.get("settled") + 1); model.save_changes(); };
  clearTimeout(waiting.get(model));
  waiting.set(model, setTimeout(count, SETTLED));
}

/** Give the model values, and Python with it. */
export function send(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
  settle(model);
}

/** One call a frame at most, the last one's. */
export function perFrame(f) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; f(); });
  };
}

/** What ends all of them. */
export const endAll = (ends) => () => ends.forEach((end) => end());
