// The picture of a run: losses, metric and lrs over the updates. TrainMonitor and Replay draw with it.
import { curve, groupColor, h, onHover, plot, s, set, swatch, upright } from "./kit.js";
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
  const lrs = run.lrs.map((line) => line[line.length - 1]).filter((v) => v !== undefined).map(formatLr);
  const parts = [], different = new Set(lrs).size > 1;
  if (loss !== undefined) parts.push(`loss ${formatNumber(loss)}`);
  if (lrs.length) parts.push(`lr ${different ? lrs.join(" / ") : lrs[0]}`);
  if (run.left > 0) parts.push(`${formatTime(run.left)} left`);
  return parts.join(" · ");
}

/** The best evaluation: the highest metric, or the lowest loss among equals (as History.best); null: none. */
export function bestOf({ epochs, metric }) {
  const score = (e) => (metric ? e[metric] : 0);
  const whole = (e) => [score(e), e.valid_loss].every(Number.isFinite);
  const better = (a, b) => score(a) > score(b) || (score(a) === score(b) && a.valid_loss < b.valid_loss);
  return epochs.filter(whole).reduce((best, e) => (best === null || better(e, best) ? e : best), null);
}

/** What a reader may stumble over in the last evaluation, in words; empty where nothing is. */
export function remark({ epochs }) {
  const last = epochs[epochs.length - 1];
  if (!last || !(last.valid_loss < last.train_loss)) return "";
  return "The validation loss is the lower one: training sees augmented pictures, with dropout, and its loss "
    + "is a mean over the epoch, at whose beginning the network was worse.";
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
/** A ring around the dot of the best evaluation, and the word. */
function bestMark(run, name, x, y) {
  const best = bestOf(run);
  if (!best || run.epochs.length < 2) return [];
  const px = x.to(best.step), py = y.to(best[name]), late = px > (x.from + x.end) / 2;
  const place = { x: px + (late ? -10 : 10), y: Math.max(y.end + 6, py - 6) };
  return [
    s("circle", { cx: px, cy: py, r: 8, fill: "none", stroke: "var(--lk-fg)", "stroke-width": 1.5 }),
    s("text", { ...place, "text-anchor": late ? "end" : "start", text: "best" }),
  ];
}

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
  chart.over.replaceChildren(...dots(run, name, x, y, "--lk-orange", true), ...bestMark(run, name, x, y));
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

/** What a run was at the update under the pointer, in words. */
function readout(run, px, x) {
  const step = clamp(Math.round(x.back(px)), 0, run.step), k = countUpTo(run.loss_steps, step - 1);
  const until = { ...upTo(run, run.loss_steps[Math.min(k, run.loss_steps.length - 1)] ?? 0), left: 0 };
  const done = until.epochs[until.epochs.length - 1];
  const found = done && run.metric ? ` · ${run.metric} ${formatNumber(done[run.metric])}` : "";
  return run.step ? `update ${step} · ${latest(until)}${found}` : "";
}

/** Three plots one below the other. `draw(run, width)`; limits may come from a longer run (`whole`). */
export function runPlots(signal) {
  const losses = plot("Training and validation loss over the updates");
  const metric = plot("Metric over the updates");
  const lrs = plot("Learning rate of each layer group over the updates"), keys = groupKeys();
  let now = null;
  for (const chart of [losses, metric, lrs]) {
    onHover(chart, (px) => now && readout(now, px, chart.scales().x), signal);
  }
  return {
    charts: [losses, metric, lrs],
    elements: [kinds(), losses.element, metric.element, lrs.element, keys.element],
    draw(run, width, whole = run) {
      const x = steps(run, width);
      now = whole;
      drawLosses(losses, run, whole, x, width);
      drawMetric(metric, run, whole, x, width);
      drawLrs(lrs, run, whole, x, width);
      keys.draw(run);
    },
  };
}

// ---- around the plots ----

/** The box of the table: it can be scrolled, by keys, too. */
export const tableBox = () =>
  h("div", { class: "lk-table", tabindex: 0, role: "region", "aria-label": "evaluations" });

/** All evaluations as a table, in a box that shows the last ones. */
export function drawTable(box, run) {
  const rows = JSON.stringify(run.epochs);
  if (box.dataset.rows === rows) return;
  box.dataset.rows = rows;
  const best = bestOf(run), own = run.metric ? [run.metric] : [];
  const names = ["epoch", "train loss", "valid loss", ...own];
  const values = ({ epoch, train_loss, valid_loss, ...e }) =>
    [epoch, train_loss, valid_loss, ...own.map((name) => e[name])];
  box.replaceChildren(h("table", null,
    h("tr", null, ...names.map((text) => h("th", { scope: "col", text }))),
    ...run.epochs.map((e) => h("tr", { class: e === best ? "lk-best" : null },
      ...values(e).map((v) => h("td", { text: formatNumber(v) }))))));
  box.scrollTop = box.scrollHeight;
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
