// ScheduleExplorer: how SGDR's cycles make a run, and how long it will take.
import { clamp, formatCount, formatLr, formatNumber, formatTime, h, nearest, onChange, onWidth, path, perFrame, plot, root, s, scale, send, set, slider, toggle } from "./kit.js";

const HEIGHT = 250;
const CHOICES = { n_cycles: [1, 2, 3, 4, 5, 6, 7, 8], cycle_len: [0.5, 1, 2, 3, 4, 5, 6, 8, 10], cycle_mult: [1, 1.5, 2, 3], warmup: [0, 0.1, 0.25, 0.5, 1, 2, 3], floor: [0, 0.001, 0.01, 0.1] };
export const LRS = Array.from({ length: 121 }, (_, k) => Number((10 ** (-5 + k / 24)).toPrecision(2)));

/** The length of each cycle in epochs. */
export function cycles(n, length, mult) {
  return Array.from({ length: n }, (_, k) => length * mult ** k);
}

/** The updates where the cycles begin and the last ends (as Schedule.bounds: rounded to even at one half). */
export function bounds(lengths, warmup, perEpoch) {
  const even = (v) => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
  let epoch = warmup;
  return [0, ...lengths].map((length) => even((epoch += length) * perEpoch));
}

/** The lr before update `step` (as Schedule.at for cosine cycles). */
export function lrAt(step, edges, lrMax, lrMin) {
  if (step < edges[0]) return (lrMax * step) / edges[0];
  let k = 0;
  while (k < edges.length - 2 && step >= edges[k + 1]) k++;
  const n = Math.max(1, edges[k + 1] - edges[k]), i = Math.min(step - edges[k], n);
  return lrMin + ((lrMax - lrMin) * (1 + Math.cos((Math.PI * i) / n))) / 2;
}

/** "1+2+4 = 7 epochs, 448 updates, about 3 min". */
export function summary(lengths, warmup, edges, secondsPerEpoch) {
  const parts = [...(warmup ? [warmup] : []), ...lengths].map(formatNumber), total = warmup + lengths.reduce((a, b) => a + b, 0);
  const epochs = `${formatNumber(total)} epoch${total === 1 ? "" : "s"}`, n = edges[edges.length - 1];
  return `${parts.length > 1 ? `${parts.join("+")} = ` : ""}${epochs}, ${formatCount(n)} update${n === 1 ? "" : "s"}`
    + (secondsPerEpoch > 0 ? `, about ${formatTime(total * secondsPerEpoch)}` : "");
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name);
  const box = root(el, "Schedule explorer"), said = h("output", { class: "lk-big" }), chart = plot("Learning rate over the epochs of the run");
  const place = h("div", { class: "lk-soft", role: "status" });
  const epochs = (v) => `${formatNumber(v)} epoch${v === 1 ? "" : "s"}`;
  const pick = (name, label, text) => {
    const values = CHOICES[name], one = slider({
      label, min: 0, max: values.length - 1, value: nearest(values, get(name)), signal, text: () => text(get(name)),
      oninput: (k) => { send(model, { [name]: values[k] }); one.show(k); whole(); },
    });
    return { element: one.element, name, show: () => one.show(nearest(values, get(name))) };
  };
  const controls = [
    pick("n_cycles", "cycles", String), pick("cycle_len", "first cycle", epochs),
    pick("cycle_mult", "each next", (v) => `${formatNumber(v)} times as long`), pick("warmup", "warm-up", epochs),
    pick("floor", "falls to", (v) => (v ? `lr / ${formatNumber(1 / v)}` : "0")),
  ];
  const lr = slider({ label: "learning rate", min: 0, max: LRS.length - 1, value: nearest(LRS, get("lr_max"), true), signal, text: () => formatLr(get("lr_max")),
    oninput: (k) => { send(model, { lr_max: LRS[k] }); lr.show(k); whole(); } });
  const grow = toggle({ label: "cycles grow by themselves", text: "cycles double while the training loss is above the validation loss", value: get("grow"), signal,
    onchange: (v) => { send(model, { grow: v }); whole(); } });
  let width = 640, x, y, edges, cursor;

  function whole() {
    const mult = get("grow") ? 1 : get("cycle_mult"), lengths = cycles(get("n_cycles"), get("cycle_len"), mult);
    const perEpoch = get("steps_per_epoch"), top = get("lr_max"), low = top * get("floor");
    edges = bounds(lengths, get("warmup"), perEpoch);
    const n = edges[edges.length - 1];
    x = scale(0, n / perEpoch, 52, width - 14, false, clamp(width / 80, 3, 10));
    y = scale(0, top * 1.08, HEIGHT - 40, 22);
    chart.draw({ width, height: HEIGHT, x, y, xlabel: "epoch", ylabel: "learning rate", ytext: formatLr });
    const every = Math.max(1, Math.ceil(n / 1200)), steps = [...new Set([...Array.from({ length: Math.floor(n / every) + 1 }, (_, k) => k * every), ...edges, ...edges.map((e) => e - 1)])]
      .filter((k) => k >= 0 && k < n).sort((a, b) => a - b);
    cursor = { line: s("line", { class: "lk-cursor", y1: y.from, y2: y.end }), dot: s("circle", { r: 4.5, class: "lk-dot", fill: "var(--lk-orange)" }) };
    chart.marks.replaceChildren(
      ...edges.slice(0, -1).map((e) => s("line", { x1: x.to(e / perEpoch), x2: x.to(e / perEpoch), y1: y.from, y2: y.end, stroke: "var(--lk-soft)", "stroke-dasharray": "1 4" })),
      s("path", { d: path(steps.map((k) => k / perEpoch), steps.map((k) => lrAt(k, edges, top, low)), x, y), class: "lk-curve", stroke: "var(--lk-blue)" }), cursor.line);
    chart.over.replaceChildren(cursor.dot);
    said.textContent = summary(lengths, get("warmup"), edges, get("seconds_per_epoch")) + (get("grow") ? ", cycles grow while they pay" : "");
    set(chart.element, { "aria-label": `Learning rate over the run: ${said.textContent}` });
    paint();
  }

  function paint() {                                     // where a running fit is
    const step = get("step"), n = edges[edges.length - 1], inside = step >= 0 && step <= n && get("following");
    for (const mark of [cursor.line, cursor.dot]) set(mark, { visibility: inside ? null : "hidden" });
    place.textContent = inside ? `update ${step} of ${n}, lr ${formatLr(get("now"))}` : "";
    const px = x.to(step / get("steps_per_epoch"));
    if (inside) { set(cursor.line, { x1: px, x2: px }); set(cursor.dot, { cx: px, cy: clamp(y.to(get("now")), y.end, y.from) }); }
  }

  box.append(said, chart.element, place, h("div", { class: "lk-row" }, ...controls.map((c) => c.element), lr.element), grow.element);
  const names = [...controls.map((c) => c.name), "lr_max", "grow", "steps_per_epoch", "seconds_per_epoch"];
  const ends = [
    onWidth(box, (w) => { width = w - 8; whole(); }), onChange(model, ["step", "now", "following"], perFrame(paint)),
    onChange(model, names, perFrame(() => { controls.forEach((c) => c.show()); lr.show(nearest(LRS, get("lr_max"), true)); grow.input.checked = get("grow"); whole(); })),
  ];
  return () => ends.forEach((end) => end());
}

export default { render };
