// The picture of a run: losses, metric and lrs over the updates. TrainMonitor and Replay draw with it.
import { clamp, formatLr, formatNumber, formatTime, h, path, plot, s, scale, set } from "./kit.js";

export const GROUPS = ["--lk-blue", "--lk-orange", "--lk-green", "--lk-pink", "--lk-sky", "--lk-yellow"];
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 2", "10 4"];

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
    epochs: run.epochs.filter((e) => e.step <= step), cycle_ends: run.cycle_ends,
  };
}

/** Where a run stands, in words: "epoch 2.4 of 7, cycle 2 of 3, update 154 of 448". */
export function place(run) {
  if (!run.n_steps) return "Nothing is training yet: the next fit shows here.";
  const epoch = run.step / run.steps_per_epoch, cycle = Math.min(countUpTo(run.cycle_ends, Math.max(0, run.step - 1)) + 1, run.cycle_ends.length);
  const total = run.n_steps / run.steps_per_epoch, trim = (v) => String(Number(v.toFixed(1)));
  return `epoch ${trim(epoch)} of ${trim(total)}, cycle ${cycle} of ${run.cycle_ends.length}, update ${run.step} of ${run.n_steps}`;
}

/** The limits of a loss axis: the top is where all but the first, wildest losses are. */
export function lossTop(losses, epochs) {
  const ends = epochs.flatMap((e) => [e.train_loss, e.valid_loss]);
  const sorted = [...losses, ...ends].filter(Number.isFinite).sort((a, b) => a - b);
  if (!sorted.length) return 1;
  return Math.max(...ends.filter(Number.isFinite), sorted[Math.floor(0.97 * (sorted.length - 1))]) * 1.08 || 1;
}

/** Three plots one below the other. `draw(run, width)`; limits may come from a longer run (`whole`). */
export function runPlots() {
  const loss = plot("Training and validation loss over the updates"), metric = plot("Metric over the updates");
  const lr = plot("Learning rate of each layer group over the updates"), groups = h("div", { class: "lk-row lk-soft" });
  const swatch = (color, words) => h("span", null, h("i", { class: "lk-swatch", style: `background:var(${color})` }), words);
  const dash = (color, dashes, words) => h("span", null, s("svg", { width: 24, height: 8, "aria-hidden": "true", style: "margin-right:5px" },
    s("line", { x1: 0, x2: 24, y1: 4, y2: 4, stroke: `var(${color})`, "stroke-width": 2, "stroke-dasharray": dashes })), words);
  const legend = h("div", { class: "lk-row lk-soft" }, swatch("--lk-blue", "training"), swatch("--lk-orange", "validation"));
  let keys = "";

  function draw(run, width, whole = run) {
    const x = scale(0, Math.max(1, run.n_steps), 52, width - 14, false, clamp(width / 90, 3, 8));
    const frame = (chart, height, y, more) => chart.draw({ width, height, x, y, ...more });
    const line = (d, color, className = "lk-curve", more) => s("path", { d, class: className, stroke: `var(${color})`, ...more });
    const ends = (y) => run.cycle_ends.slice(0, -1).map((e) => s("line", { x1: x.to(e), x2: x.to(e), y1: y.from, y2: y.end, stroke: "var(--lk-soft)", "stroke-dasharray": "1 4" }));
    const now = (y) => s("line", { class: "lk-cursor", x1: x.to(run.step), x2: x.to(run.step), y1: y.from, y2: y.end });
    const dots = (name, color, y, square) => run.epochs.filter((e) => Number.isFinite(e[name])).map((e) => (square
      ? s("rect", { x: x.to(e.step) - 3.5, y: y.to(e[name]) - 3.5, width: 7, height: 7, fill: `var(${color})`, class: "lk-dot" })
      : s("circle", { cx: x.to(e.step), cy: y.to(e[name]), r: 4, fill: `var(${color})`, class: "lk-dot" })));
    const through = (name) => [run.epochs.map((e) => e.step), run.epochs.map((e) => e[name])];

    const ly = scale(0, lossTop(whole.losses, whole.epochs), 150, 22);
    frame(loss, 170, ly, { ylabel: "loss", xtext: () => "" });
    loss.marks.replaceChildren(...ends(ly), line(path(run.loss_steps, run.losses, x, ly), "--lk-blue", "lk-thin"),
      line(path(...through("train_loss"), x, ly), "--lk-blue"), line(path(...through("valid_loss"), x, ly), "--lk-orange"), now(ly));
    loss.over.replaceChildren(...dots("train_loss", "--lk-blue", ly), ...dots("valid_loss", "--lk-orange", ly, true));

    const values = whole.epochs.map((e) => e[run.metric]).filter(Number.isFinite);
    const spread = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1], room = Math.max(0.02, (spread[1] - spread[0]) * 0.25);
    const my = scale(spread[0] - room, spread[1] + room, 90, 22);
    metric.element.style.display = run.metric ? "" : "none";
    frame(metric, 110, my, { ylabel: run.metric, xtext: () => "" });
    metric.marks.replaceChildren(...ends(my), line(path(...through(run.metric), x, my), "--lk-orange"), now(my));
    metric.over.replaceChildren(...dots(run.metric, "--lk-orange", my, true));

    const all = whole.lrs.flat().filter((v) => v > 0), several = run.lrs.length > 1;
    const top = Math.max(...all, ...run.plan.map((p) => p[1]), 1e-12), tops = whole.lrs.map((l) => Math.max(...l, 0)).filter((v) => v > 0);
    const ry = several ? scale(Math.min(...tops) / 100, top * 2, 110, 22, true, 4) : scale(0, top * 1.05, 110, 22, false, 3);
    frame(lr, 152, ry, { ylabel: "learning rate", xlabel: "update", ytext: formatLr, xtext: formatNumber });
    lr.marks.replaceChildren(...ends(ry), line(path(run.plan.map((p) => p[0]), run.plan.map((p) => p[1]), x, ry), "--lk-soft", "lk-thin"),
      ...run.lrs.map((values, k) => line(path(run.lr_steps, values, x, ry), color(run, k), "lk-curve", { "stroke-dasharray": dashes(run, k) })), now(ry));

    const wanted = `${run.lrs.length}|${run.groups.join()}`;
    if (wanted !== keys) {
      keys = wanted;
      groups.replaceChildren(...(several ? run.lrs.map((_, k) => dash(color(run, k), dashes(run, k), run.groups[k] ?? `group ${k + 1}`)) : []));
    }
  }
  const color = (run, k) => GROUPS[(run.lrs.length - 1 - k) % GROUPS.length];
  const dashes = (run, k) => DASHES[(run.lrs.length - 1 - k) % DASHES.length];
  return { elements: [legend, loss.element, metric.element, lr.element, groups], draw };
}

/** The last evaluations as a table. */
export function drawTable(table, run, n = 4) {
  const rows = run.epochs.slice(-n), names = ["epoch", "train loss", "valid loss", ...(run.metric ? [run.metric] : [])];
  table.replaceChildren(h("tr", null, ...names.map((text) => h("th", { scope: "col", text }))), ...rows.map((e) => h("tr", null,
    ...[e.epoch, e.train_loss, e.valid_loss, ...(run.metric ? [e[run.metric]] : [])].map((v) => h("td", { text: formatNumber(v) })))));
}

/** How far, in words for the eye: the losses and lrs at the last update. */
export function latest(run) {
  const loss = run.losses[run.losses.length - 1], lrs = run.lrs.map((l) => l[l.length - 1]).filter((v) => v !== undefined);
  const parts = [];
  if (loss !== undefined) parts.push(`loss ${formatNumber(loss)}`);
  if (lrs.length) parts.push(`lr ${lrs.map(formatLr).join(" / ")}`);
  if (run.left > 0) parts.push(`${formatTime(run.left)} left`);
  return parts.join(" · ");
}

export const bar = () => {
  const fill = h("i"), element = h("div", { class: "lk-bar", role: "progressbar", "aria-label": "updates made", "aria-valuemin": 0 }, fill);
  return { element, show(run) { fill.style.width = `${(100 * run.step) / Math.max(1, run.n_steps)}%`; set(element, { "aria-valuemax": run.n_steps, "aria-valuenow": run.step }); } };
};
