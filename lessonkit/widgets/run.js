// The picture of a run: losses, metric and lrs over the updates. TrainMonitor and Replay draw with it.
import { curve, groupColor, h, plot, s, set, swatch, upright } from "./kit.js";
import { clamp, formatLr, formatNumber, formatTime, scale } from "./numbers.js";

const DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 2", "10 4"];

// ---- what draws nothing ----

/** How many of the rising `steps` are at most `step`. */
export function countUpTo(steps, step) {
  let low = 0, high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle + 1; else high = middle;
  }
  return low;
}

/** The part of a run up to an update: what Replay shows. */
export function upTo(run, step) {
  const n = countUpTo(run.loss_steps, step), k = countUpTo(run.lr_steps, step);
  return {
    ...run, step,
    loss_steps: run.loss_steps.slice(0, n), losses: run.losses.slice(0, n),
    lr_steps: run.lr_steps.slice(0, k), lrs: run.lrs.map((line) => line.slice(0, k)),
    epochs: run.epochs.filter((e) => e.step <= step),
  };
}

/** Where a run stands, in words: "epoch 2.4 of 7, cycle 2 of 3, update 154 of 448". */
export function place({ step, n_steps: n, steps_per_epoch: perEpoch, cycle_ends: ends }) {
  if (!n) return "Nothing is training yet: the next fit shows here.";
  const trim = (v) => String(Number(v.toFixed(1)));
  const cycle = Math.min(countUpTo(ends, Math.max(0, step - 1)) + 1, ends.length);
  const epoch = `epoch ${trim(step / perEpoch)} of ${trim(n / perEpoch)}`;
  return `${epoch}, cycle ${cycle} of ${ends.length}, update ${step} of ${n}`;
}

/** How it goes, in words: the loss and the lrs at the last update, the time left. */
export function latest(run) {
  const loss = run.losses[run.losses.length - 1];
  const lrs = run.lrs.map((line) => line[line.length - 1]).filter((v) => v !== undefined);
  const parts = [];
  if (loss !== undefined) parts.push(`loss ${formatNumber(loss)}`);
  if (lrs.length) parts.push(`lr ${lrs.map(formatLr).join(" / ")}`);
  if (run.left > 0) parts.push(`${formatTime(run.left)} left`);
  return parts.join(" · ");
}

/** The limits of a loss axis: the top is where all but the first, wildest losses are. */
export function lossTop(losses, epochs) {
  const ends = epochs.flatMap((e) => [e.train_loss, e.valid_loss]);
  const sorted = [...losses, ...ends].filter(Number.isFinite).sort((a, b) => a - b);
  if (!sorted.length) return 1;
  const most = sorted[Math.floor(0.97 * (sorted.length - 1))];
  return Math.max(...ends.filter(Number.isFinite), most) * 1.08 || 1;
}

/**
 * The limits of a metric's axis: its values and a quarter of their span around them. It spans a tenth at
 * least (of 1, or of a larger value), so that one picture of hundreds is no cliff; a share stays about 0 to
 * 1. The twin of lessonkit.plot.metric_limits.
 */
export function metricLimits(values) {
  const known = values.filter(Number.isFinite);
  const [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
  const span = Math.max(1.5 * (high - low), 0.1 * Math.max(1, Math.abs(low), Math.abs(high)));
  if (low < 0 || high > 1) return [(low + high - span) / 2, (low + high + span) / 2];
  const part = Math.min(span, 1 / 0.9), room = 0.05 * part;
  const from = clamp((low + high - part) / 2, -room, 1 + room - part);
  return [from, from + part];
}

/** The limits of the lr axis: from 0 for one group; for several, whose axis is logarithmic, two decades. */
export function lrLimits(lrs, plan) {
  const all = lrs.flat().filter((v) => v > 0), top = Math.max(...all, ...plan.map((p) => p[1]), 1e-12);
  const tops = lrs.map((line) => Math.max(...line, 0)).filter((v) => v > 0);
  return lrs.length > 1 ? [Math.min(...tops) / 100, top * 2] : [0, top * 1.05];
}

// ---- the marks of all three plots ----

const LEFT = 52, RIGHT = 14;                             // px beside a plot
const steps = (run, width) =>
  scale(0, Math.max(1, run.n_steps), LEFT, width - RIGHT, false, clamp(width / 90, 3, 8));
const cycleEnds = (run, x, y) => run.cycle_ends.slice(0, -1).map((e) =>
  upright(x.to(e), y, { stroke: "var(--lk-soft)", "stroke-dasharray": "1 4" }));
const now = (run, x, y) => upright(x.to(run.step), y, { class: "lk-cursor" });
const through = (run, name, x, y, color) =>
  curve(run.epochs.map((e) => e.step), run.epochs.map((e) => e[name]), x, y, color);

/** A dot or a square for each evaluation. */
function dots(run, name, x, y, color, square) {
  const look = { fill: `var(${color})`, class: "lk-dot" };
  return run.epochs.filter((e) => Number.isFinite(e[name])).map((e) => {
    const px = x.to(e.step), py = y.to(e[name]);
    return square ? s("rect", { x: px - 3.5, y: py - 3.5, width: 7, height: 7, ...look })
      : s("circle", { cx: px, cy: py, r: 4, ...look });
  });
}

// ---- the plots; `whole` is the run that gives the limits, `run` the part of it that is shown ----

function drawLosses(chart, run, whole, x, width) {
  const y = scale(0, lossTop(whole.losses, whole.epochs), 150, 22);
  chart.draw({ width, height: 170, x, y, ylabel: "loss", xtext: () => "" });
  chart.marks.replaceChildren(
    ...cycleEnds(run, x, y), curve(run.loss_steps, run.losses, x, y, "--lk-blue", { class: "lk-thin" }),
    through(run, "train_loss", x, y, "--lk-blue"), through(run, "valid_loss", x, y, "--lk-orange"),
    now(run, x, y));
  chart.over.replaceChildren(
    ...dots(run, "train_loss", x, y, "--lk-blue"), ...dots(run, "valid_loss", x, y, "--lk-orange", true));
}

function drawMetric(chart, run, whole, x, width) {
  const name = run.metric, y = scale(...metricLimits(whole.epochs.map((e) => e[name])), 90, 22);
  chart.element.style.display = name ? "" : "none";
  chart.draw({ width, height: 110, x, y, ylabel: name, xtext: () => "" });
  chart.marks.replaceChildren(
    ...cycleEnds(run, x, y), through(run, name, x, y, "--lk-orange"), now(run, x, y));
  chart.over.replaceChildren(...dots(run, name, x, y, "--lk-orange", true));
}

const lrLook = (k, n) => [groupColor(k, n), DASHES[(n - 1 - k) % DASHES.length]];

function drawLrs(chart, run, whole, x, width) {
  const n = run.lrs.length, y = scale(...lrLimits(whole.lrs, run.plan), 110, 22, n > 1, n > 1 ? 4 : 3);
  chart.draw({ width, height: 152, x, y, ylabel: "learning rate", xlabel: "update", ytext: formatLr });
  const [planned, plan] = [0, 1].map((k) => run.plan.map((point) => point[k]));
  const lines = run.lrs.map((lrs, k) => {
    const [color, dashes] = lrLook(k, n);
    return curve(run.lr_steps, lrs, x, y, color, { "stroke-dasharray": dashes });
  });
  chart.marks.replaceChildren(
    ...cycleEnds(run, x, y), curve(planned, plan, x, y, "--lk-soft", { class: "lk-thin" }), ...lines,
    now(run, x, y));
}

// ---- the legends ----

const kinds = () => h("div", { class: "lk-row lk-soft" },
  ...[["--lk-blue", "training"], ["--lk-orange", "validation"]].map(([color, words]) =>
    h("span", null, swatch(color), words)));

/** A group's line, and its name. */
function groupKey(run, k) {
  const [color, dashes] = lrLook(k, run.lrs.length), words = run.groups[k] ?? `group ${k + 1}`;
  const look = { stroke: `var(${color})`, "stroke-width": 2, "stroke-dasharray": dashes };
  const size = { width: 24, height: 8, "aria-hidden": "true", style: "margin-right:5px" };
  return h("span", null, s("svg", size, s("line", { x1: 0, x2: 24, y1: 4, y2: 4, ...look })), words);
}

/** The names of the layer groups, where there are several; made anew only when they are others. */
function groupKeys() {
  const element = h("div", { class: "lk-row lk-soft" });
  let shown = "";
  const draw = (run) => {
    const n = run.lrs.length, wanted = `${n}|${run.groups.join()}`;
    if (wanted === shown) return;
    shown = wanted;
    element.replaceChildren(...(n > 1 ? run.lrs.map((_, k) => groupKey(run, k)) : []));
  };
  return { element, draw };
}

/** Three plots one below the other. `draw(run, width)`; limits may come from a longer run (`whole`). */
export function runPlots() {
  const losses = plot("Training and validation loss over the updates");
  const metric = plot("Metric over the updates");
  const lrs = plot("Learning rate of each layer group over the updates"), keys = groupKeys();
  return {
    elements: [kinds(), losses.element, metric.element, lrs.element, keys.element],
    draw(run, width, whole = run) {
      const x = steps(run, width);
      drawLosses(losses, run, whole, x, width);
      drawMetric(metric, run, whole, x, width);
      drawLrs(lrs, run, whole, x, width);
      keys.draw(run);
    },
  };
}

// ---- around the plots ----

/** The last evaluations as a table. */
export function drawTable(table, run) {
  const values = ({ epoch, train_loss, valid_loss, ...e }) =>
    [epoch, train_loss, valid_loss, ...(run.metric ? [e[run.metric]] : [])];
  const names = ["epoch", "train loss", "valid loss", ...(run.metric ? [run.metric] : [])];
  table.replaceChildren(
    h("tr", null, ...names.map((text) => h("th", { scope: "col", text }))),
    ...run.epochs.slice(-4).map((e) =>
      h("tr", null, ...values(e).map((v) => h("td", { text: formatNumber(v) })))));
}

/** How much of the run is done. */
export function bar() {
  const fill = h("i"), words = { role: "progressbar", "aria-label": "updates made", "aria-valuemin": 0 };
  const element = h("div", { class: "lk-bar", ...words }, fill);
  const show = ({ step, n_steps: n }) => {
    fill.style.width = `${(100 * step) / Math.max(1, n)}%`;
    set(element, { "aria-valuemax": n, "aria-valuenow": step });
  };
  return { element, show };
}
