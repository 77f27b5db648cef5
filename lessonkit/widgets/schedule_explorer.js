// ScheduleExplorer: how SGDR's cycles make a run, and how long it will take.
import {
  cursor, curve, endAll, h, onChange, onDrag, onHover, onWidth, perFrame, plot, root, row, s, send, set,
  slider, toggle, upright,
} from "./kit.js";
import {
  amount, clamp, formatCount, formatLr, formatNumber, formatTime, lrGrid, nearest, scale,
} from "./numbers.js";

const HEIGHT = 250;
const CHOICES = {
  n_cycles: [1, 2, 3, 4, 5, 6, 7, 8], cycle_len: [0.5, 1, 2, 3, 4, 5, 6, 8, 10], cycle_mult: [1, 1.5, 2, 3],
  warmup: [0, 0.1, 0.25, 0.5, 1, 2, 3], floor: [0, 0.001, 0.01, 0.1],
};
const LRS = lrGrid(1e-5, 1), FOLLOWED = ["following", "run_lr"];

// ---- what draws nothing ----

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

const epochs = (v) => amount(v, "epoch", formatNumber);

/** "1+2+4 = 7 epochs, 448 updates, about 3 min". */
export function summary(lengths, warmup, edges, secondsPerEpoch) {
  const parts = [...(warmup ? [warmup] : []), ...lengths].map(formatNumber);
  const total = warmup + lengths.reduce((a, b) => a + b, 0);
  const sum = parts.length > 1 ? `${parts.join("+")} = ` : "";
  const time = secondsPerEpoch > 0 ? `, about ${formatTime(total * secondsPerEpoch)}` : "";
  return `${sum}${epochs(total)}, ${amount(edges[edges.length - 1], "update", formatCount)}${time}`;
}

/** The updates whose lrs make the line: about `most` even ones, and both sides of every edge. */
export function drawnSteps(edges, most = 1200) {
  const n = edges[edges.length - 1], every = Math.max(1, Math.ceil(n / most));
  const even = Array.from({ length: Math.floor(n / every) + 1 }, (_, k) => k * every);
  const all = new Set([...even, ...edges, ...edges.map((e) => e - 1)]);
  return [...all].filter((k) => k >= 0 && k < n).sort((a, b) => a - b);
}

/** The run that the sliders describe. */
function runOf(get) {
  const lengths = cycles(get("n_cycles"), get("cycle_len"), get("grow") ? 1 : get("cycle_mult"));
  const perEpoch = get("steps_per_epoch"), top = (get("following") && get("run_lr")) || get("lr_max");
  const edges = bounds(lengths, get("warmup"), perEpoch);
  const words = summary(lengths, get("warmup"), edges, get("seconds_per_epoch"));
  return {
    edges, n: edges[edges.length - 1], perEpoch, top, low: top * get("floor"), warmup: get("warmup"),
    words: words + (get("grow") ? ", cycles grow while they pay" : ""),
  };
}

// ---- what draws ----

/** The lr over the epochs, with a line where each cycle begins. */
function lines({ edges, perEpoch, top, low }, x, y) {
  const steps = drawnSteps(edges), lrs = steps.map((k) => lrAt(k, edges, top, low));
  const starts = edges.slice(0, -1).map((e) => x.to(e / perEpoch));
  return [
    ...starts.map((px) => upright(px, y, { stroke: "var(--lk-soft)", "stroke-dasharray": "1 4" })),
    curve(steps.map((k) => k / perEpoch), lrs, x, y, "--lk-blue"),
  ];
}

/** Where one can take hold: the top of the first cycle, and its end. */
function handles({ edges, perEpoch, top }, x, y) {
  const [start, end] = edges.map((e) => x.to(e / perEpoch));
  return { top: { x: start, y: y.to(top) }, end: { x: end, y: y.from } };
}

const grip = ({ x, y }, text, cursorName) =>
  s("circle", { cx: x, cy: y, r: 7, class: "lk-grip", style: `cursor:${cursorName}` }, s("title", { text }));

/** The traits that a drag of a handle to a place asks for: the nearest of the sliders' choices. */
export function dragged(handle, px, py, run, x, y) {
  if (handle === "top") {
    const lr = Math.max(LRS[0], y.back(py));
    return { lr_max: LRS[nearest(LRS, lr, true)] };
  }
  const lengths = CHOICES.cycle_len;
  return { cycle_len: lengths[nearest(lengths, Math.max(0, x.back(px) - run.warmup))] };
}

/** Which handle is near enough to be meant, if any. */
export function handleAt(places, px, py) {
  return ["top", "end"].find((name) => Math.hypot(places[name].x - px, places[name].y - py) < 16) ?? null;
}

/** Drag the handles; the scales stay as they are until the pointer is let go: what is returned gives them. */
function takeHold(chart, now, change, signal) {
  let held = null, handle = null;
  onDrag(chart.element, (px, py, first) => {
    if (first) {
      held = now();
      handle = handleAt(handles(held.run, held.x, held.y), px, py);
    }
    if (handle) change(dragged(handle, px, py, held.run, held.x, held.y));
  }, signal, () => { held = null; handle = null; change({}); });
  return () => (handle ? held : null);
}

/** What the lr is at a place in the picture, in words. */
function readout({ edges, perEpoch, top, low, n }, px, x) {
  const step = clamp(Math.round(x.back(px) * perEpoch), 0, n - 1);
  return `epoch ${formatNumber(step / perEpoch)}, lr ${formatLr(lrAt(step, edges, top, low))}`;
}

/** The picture: `draw(run, width)` makes it anew, `follow(epoch, lr)` moves its cursor; none at null. */
function runPlot(change, signal) {
  const chart = plot("Learning rate over the epochs of the run");
  let x, y, here, run;
  const held = takeHold(chart, () => ({ x, y, run }), change, signal);
  onHover(chart, (px) => run && readout(run, px, x), signal);
  return {
    element: chart.element,
    draw(now, width) {
      run = now;
      y = held()?.y ?? scale(0, run.top * 1.08, HEIGHT - 40, 22);
      x = held()?.x ?? scale(0, run.n / run.perEpoch, 52, width - 14, false, clamp(width / 80, 3, 10));
      const { top, end } = handles(run, x, y);
      here = cursor(y, "--lk-orange");
      chart.draw({ width, height: HEIGHT, x, y, xlabel: "epoch", ylabel: "learning rate", ytext: formatLr });
      chart.marks.replaceChildren(...lines(run, x, y), here.line);
      const lift = grip(top, "drag the lr", "ns-resize"), stretch = grip(end, "drag its end", "ew-resize");
      chart.over.replaceChildren(lift, stretch, here.dot);
      set(chart.element, { "aria-label": `Learning rate over the run: ${run.words}` });
    },
    follow(epoch, lr) {
      if (epoch === null) here.hide(); else here.show(x.to(epoch), lr);
    },
  };
}

/** A slider through the choices for a trait. */
function choices(get, change, signal, name, label, text) {
  const values = CHOICES[name], at = () => nearest(values, get(name));
  const one = slider({
    label, min: 0, max: values.length - 1, value: at(), signal,
    text: () => text(get(name)), oninput: (k) => change({ [name]: values[k] }),
  });
  return { element: one.element, show: () => one.show(at()) };
}

/** All sliders and the switch; `show()` sets them to what the model holds. */
function controls(get, change, signal) {
  const pick = (...words) => choices(get, change, signal, ...words);
  const at = () => nearest(LRS, get("lr_max"), true);
  const lr = slider({
    label: "learning rate", min: 0, max: LRS.length - 1, value: at(), signal,
    text: () => formatLr(get("lr_max")), oninput: (k) => change({ lr_max: LRS[k] }), className: "lk-lr",
  });
  const sliders = [
    pick("n_cycles", "cycles", String), pick("cycle_len", "first cycle", epochs),
    pick("cycle_mult", "each next", (v) => (v === 1 ? "as long" : `${formatNumber(v)} times as long`)),
    pick("warmup", "warm-up", (v) => (v ? epochs(v) : "none")),
    pick("floor", "falls to", (v) => (v ? `lr / ${formatNumber(1 / v)}` : "0")),
    { element: lr.element, show: () => lr.show(at()) },
  ];
  const grow = toggle({
    label: "cycles grow by themselves", value: get("grow"), onchange: (v) => change({ grow: v }), signal,
    text: "cycles double while the training loss is above the validation loss",
  });
  const show = () => { sliders.forEach((one) => one.show()); grow.input.checked = get("grow"); };
  return { elements: [row(...sliders.map((one) => one.element)), grow.element], show };
}

/** Where a running fit is, and its lr where that is not the slider's. */
function whereItIs(get, n) {
  const [top, given] = [get("lr_max"), get("run_lr")].map(formatLr);
  const other = top === given ? "" : ` (fit was given ${given}, not ${top})`;
  return `update ${get("step")} of ${n}, lr ${formatLr(get("now"))}${other}`;
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name), box = root(el, "Schedule explorer");
  const said = h("output", { class: "lk-big" }), place = h("div", { class: "lk-soft", role: "status" });
  const change = (values) => { send(model, values); look(); };
  const chart = runPlot(change, signal), { elements, show } = controls(get, change, signal);
  let width = 640, run;

  function paint() {                                     // where a running fit is
    const step = get("step"), inside = step >= 0 && step <= run.n && get("following");
    chart.follow(inside ? step / run.perEpoch : null, get("now"));
    place.textContent = inside ? whereItIs(get, run.n) : "";
  }
  function whole() {
    run = runOf(get);
    chart.draw(run, width);
    said.textContent = run.words;
    paint();
  }
  const look = () => { show(); whole(); };

  box.append(said, chart.element, place, ...elements);
  const shape = [...Object.keys(CHOICES), "lr_max", "grow", "steps_per_epoch", "seconds_per_epoch"];
  return endAll([
    onWidth(box, (w) => { width = w; whole(); }), onChange(model, shape, perFrame(look)),
    onChange(model, ["step", "now"], perFrame(paint)), onChange(model, FOLLOWED, perFrame(whole)),
  ]);
}

export default { render };
