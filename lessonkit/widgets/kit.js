// What all widgets share: numbers as text, scales and ticks, SVG and HTML elements, a plot's frame, sliders that work with
// keys, and the look (kit.css). A widget's file imports it; Python puts the two into one ESM.

// ---- numbers ----

/** A learning rate as people write it: 3.2e-4, 0.01, 1e-5 (as lessonkit.plot.format_lr). @param {number} lr */
export function formatLr(lr) {
  if (lr === 0 || (Math.abs(lr) >= 0.001 && Math.abs(lr) < 1000)) return String(Number(lr.toPrecision(2)));
  const [digits, exponent] = lr.toExponential(1).split("e");
  return `${digits.replace(/\.0$/, "")}e${Number(exponent)}`;
}

/** A number to about three digits. @param {number} v */
export function formatNumber(v) {
  if (!Number.isFinite(v)) return "–";
  if (v !== 0 && (Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3)) return v.toExponential(1).replace("e+", "e");
  return String(Number(v.toPrecision(Math.abs(v) >= 1000 ? 5 : 3)));
}

/** Whole numbers with commas. @param {number} n */
export function formatCount(n) {
  return Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Seconds as people say them: 45 s, 3 min, 2 h 05 min. @param {number} s */
export function formatTime(s) {
  if (!Number.isFinite(s)) return "–";
  if (s < 59.5) return `${Math.max(0, Math.round(s))} s`;
  if (s < 600) return `${Math.floor(Math.round(s) / 60)} min ${String(Math.round(s) % 60).padStart(2, "0")} s`;
  const minutes = Math.round(s / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

/** To two significant digits, as a chosen lr is shown. @param {number} v */
export function roundLr(v) {
  return Number(v.toPrecision(2));
}

export function clamp(v, low, high) {
  return Math.min(high, Math.max(low, v));
}

/** The position of the number nearest to `v` in rising `xs`, by ratio if `log`. */
export function nearest(xs, v, log = false) {
  const far = log ? (x) => Math.abs(Math.log(x / v)) : (x) => Math.abs(x - v);
  let best = 0;
  for (let i = 1; i < xs.length; i++) if (far(xs[i]) < far(xs[best])) best = i;
  return best;
}

// ---- scales ----

/** Steps of 1, 2 or 5 times a power of ten that part [low, high] in about `n`. */
export function linearTicks(low, high, n = 5) {
  if (!(high > low)) return [low];
  const raw = (high - low) / n, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-12) + 1e-300; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

/** The powers of ten in [low, high]; with their 2 and 5 where there are fewer than two; every k-th where there are many. */
export function logTicks(low, high, n = 10) {
  const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
  const every = Math.max(1, Math.ceil((last - first + 1) / n));
  const ticks = [];
  for (let k = first; k <= last; k++) if ((k - first) % every === 0) ticks.push(Number(`1e${k}`));
  if (ticks.length >= 2) return ticks;
  for (let k = first - 1; k <= last + 1; k++) for (const m of [2, 5]) ticks.push(Number(`${m}e${k}`));
  return ticks.filter((t) => t >= low * 0.999 && t <= high * 1.001).sort((a, b) => a - b);
}

/** A scale from [low, high] to pixels [from, to]: `to(v)`, `back(px)`, `ticks`. */
export function scale(low, high, from, to, log = false, n = 5) {
  const f = log ? Math.log : (v) => v, g = log ? Math.exp : (v) => v;
  const a = f(low), b = f(high) === f(low) ? f(low) + 1 : f(high);
  return {
    low, high, log, from, end: to,
    to: (v) => from + ((f(v) - a) / (b - a)) * (to - from),
    back: (px) => g(a + ((px - from) / (to - from)) * (b - a)),
    ticks: log ? logTicks(low, high, n) : linearTicks(low, high, n),
  };
}

/** The `d` of an SVG path through points; a value that is no number breaks the line. */
export function path(xs, ys, x, y) {
  let d = "", pen = "M";
  for (let i = 0; i < xs.length; i++) {
    const px = x.to(xs[i]), py = y.to(ys[i]);
    if (!Number.isFinite(px) || !Number.isFinite(py)) { pen = "M"; continue; }
    d += `${pen}${px.toFixed(1)},${clamp(py, -1e4, 1e4).toFixed(1)}`;
    pen = "L";
  }
  return d;
}

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
export const s = (tag, attributes, ...children) => make(document.createElementNS(SVG, tag), attributes, children);
/** Change attributes. */
export const set = (element, attributes) => make(element, attributes);

let serial = 0;
export const uid = (name) => `lk-${name}-${++serial}-${Math.random().toString(36).slice(2, 7)}`;

/** A widget's root element, named for screen readers. */
export function root(el, name, className) {
  const element = h("div", { class: `lk ${className ?? ""}`, role: "group", "aria-label": name });
  el.append(element);
  return element;
}

/**
 * A slider with a label and its value as text; arrows, Home, End, PageUp and PageDown are the browser's own.
 * `text(v)` is what is shown and said. Returns {element, input, value, show(v)}.
 */
export function slider({ label, min, max, step = 1, value, text = String, oninput, signal, className }) {
  // JupyterLab takes arrow keys from a focused slider unless the slider itself says that they are its own
  const input = h("input", { type: "range", min, max, step, "aria-label": label, "data-lm-suppress-shortcuts": "true" });
  const out = h("output", { "aria-hidden": "true" });
  const say = () => {
    const words = text(Number(input.value));
    out.textContent = words;
    input.setAttribute("aria-valuetext", words);
  };
  input.addEventListener("keydown", (e) => e.stopPropagation(), { signal });
  input.addEventListener("input", () => { say(); oninput?.(Number(input.value)); }, { signal });
  input.value = value;
  say();
  return {
    element: h("label", { class: `lk-slider ${className ?? ""}` }, h("span", { text: label }), input, out), input,
    get value() { return Number(input.value); },
    show(v) { input.value = v; say(); },
    limits(low, high) { set(input, { min: low, max: high }); say(); },
  };
}

/** A button. */
export function button(label, onclick, signal, attributes) {
  const element = h("button", { type: "button", "data-lm-suppress-shortcuts": "true", text: label, ...attributes });
  element.addEventListener("keydown", (e) => e.stopPropagation(), { signal });
  element.addEventListener("click", onclick, { signal });
  return element;
}

/** One of several: radio buttons in a row. Returns {element, show(v)}. */
export function choice({ label, options, value, onchange, signal }) {
  const name = uid("choice");
  const inputs = options.map(([key, words]) => {
    const input = h("input", { type: "radio", name, value: key, "data-lm-suppress-shortcuts": "true" });
    input.checked = key === value;
    input.addEventListener("keydown", (e) => e.stopPropagation(), { signal });
    input.addEventListener("change", () => input.checked && onchange(key), { signal });
    return [input, h("label", { class: "lk-option" }, input, h("span", { text: words }))];
  });
  return {
    element: h("div", { class: "lk-choice", role: "radiogroup", "aria-label": label }, h("span", { class: "lk-label", text: label }),
      ...inputs.map(([, element]) => element)),
    show(v) { for (const [input] of inputs) input.checked = input.value === v; },
  };
}

/** A box that is ticked or not. Returns {element, input}. */
export function toggle({ label, text, value, onchange, signal }) {
  const input = h("input", { type: "checkbox", role: "switch", "aria-label": label, "data-lm-suppress-shortcuts": "true" });
  input.checked = value;
  input.addEventListener("keydown", (e) => e.stopPropagation(), { signal });
  input.addEventListener("change", () => onchange(input.checked), { signal });
  return { element: h("label", { class: "lk-option" }, input, h("span", { text })), input };
}

// ---- plots ----

/**
 * A plot's frame: `draw({width, height, x, y, xlabel, ylabel, xtext, ytext})` makes axes anew and says where things are.
 * `marks` is the layer for what the caller draws inside, clipped to the plot; `over` is not clipped.
 */
export function plot(label, className) {
  const clip = uid("clip");
  const area = s("rect"), axes = s("g", { class: "lk-axes", "aria-hidden": "true" });
  const marks = s("g", { "clip-path": `url(#${clip})` }), over = s("g");
  const element = s("svg", { class: `lk-plot ${className ?? ""}`, role: "img", "aria-label": label },
    s("defs", null, s("clipPath", { id: clip }, area)), axes, marks, over);
  return {
    element, marks, over,
    draw({ width, height, x, y, xlabel, ylabel, xtext = formatNumber, ytext = formatNumber }) {
      set(element, { width, height, viewBox: `0 0 ${width} ${height}` });
      set(area, { x: x.from, y: y.end, width: Math.max(0, x.end - x.from), height: Math.max(0, y.from - y.end) });
      axes.replaceChildren(
        ...y.ticks.map((t) => s("line", { x1: x.from, x2: x.end, y1: y.to(t), y2: y.to(t) })),
        ...x.ticks.map((t) => s("line", { x1: x.to(t), x2: x.to(t), y1: y.from, y2: y.end })),
        s("path", { d: `M${x.from},${y.end}V${y.from}H${x.end}`, class: "lk-frame" }),
        ...y.ticks.map((t) => s("text", { x: x.from - 6, y: y.to(t) + 4, "text-anchor": "end", text: ytext(t) })),
        ...x.ticks.map((t) => s("text", { x: x.to(t), y: y.from + 16, "text-anchor": "middle", text: xtext(t) })),
        xlabel ? s("text", { x: x.end, y: y.from + 32, "text-anchor": "end", class: "lk-title", text: xlabel }) : null,
        ylabel ? s("text", { x: x.from - 6, y: y.end - 8, "text-anchor": "start", class: "lk-title", text: ylabel }) : null);
    },
  };
}

/** Call `draw(width)` with the room that `element` has, now and whenever that changes. Returns what ends it. */
export function onWidth(element, draw, most = 720) {
  let last = -1;
  const look = () => {
    const width = Math.round(clamp(element.clientWidth || 640, 260, most));
    if (width !== last) { last = width; draw(width); }
  };
  look();                                                // el may be detached now: it gets its width later
  const observer = new ResizeObserver(look);
  observer.observe(element);
  return () => observer.disconnect();
}

/** Call `move(x, y)` with places in the svg while the pointer is held down on it. */
export function onDrag(svg, move, signal) {
  const at = (e) => { const box = svg.getBoundingClientRect(); move(e.clientX - box.left, e.clientY - box.top); };
  svg.addEventListener("pointerdown", (e) => { if (e.button === 0) { svg.setPointerCapture(e.pointerId); at(e); e.preventDefault(); } }, { signal });
  svg.addEventListener("pointermove", (e) => { if (e.buttons === 1 && svg.hasPointerCapture(e.pointerId)) at(e); }, { signal });
}

/** Keep `draw` in step with the model's traits. Returns what ends it. */
export function onChange(model, names, draw) {
  for (const name of names) model.on(`change:${name}`, draw);
  return () => { for (const name of names) model.off(`change:${name}`, draw); };
}

/** Give the model values, and Python with it. */
export function send(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
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
