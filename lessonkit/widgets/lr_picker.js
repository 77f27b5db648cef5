// LRPicker: the learning rate finder's curve, to scrub and to pick from.
import {
  button, cursor, curve, endAll, h, onChange, onDrag, onWidth, perFrame, plot, root, row, s, send, set,
  slider, swatch,
} from "./kit.js";
import { amount, clamp, formatLr, formatNumber, lrGrid, nearest, scale } from "./numbers.js";

const HEIGHT = 300;
const RULES = {
  steepest: ["--lk-orange", "circle"], valley: ["--lk-green", "square"],
  slide: ["--lk-pink", "diamond"], minimum: ["--lk-sky", "triangle"],
};
const OTHER_RULE = ["--lk-soft", "circle"];
const SHAPES = { square: "-5,-5 5,-5 5,5 -5,5", diamond: "0,-7 7,0 0,7 -7,0", triangle: "0,-7 6,5 -6,5" };
const TRIALS = ["--lk-sky", "--lk-blue", "--lk-orange"], DASHES = ["2 3", "", "7 3"];

// ---- what draws nothing ----

/** The lrs that the slider goes through: 24 a decade on two digits, or 200 even steps. */
export function grid(low, high, linear = false) {
  return linear ? Array.from({ length: 201 }, (_, k) => low + ((high - low) * k) / 200) : lrGrid(low, high);
}

/** The value of a curve at `lr`, between its points. */
export function valueAt(lrs, values, lr) {
  let k = 1;
  while (k < lrs.length - 1 && lrs[k] < lr) k++;
  if (lrs.length < 2) return values[0];
  const part = clamp(Math.log(lr / lrs[k - 1]) / Math.log(lrs[k] / lrs[k - 1]), 0, 1);
  return values[k - 1] + part * (values[k] - values[k - 1]);
}

/** Limits that show the fall: what shoots up at the end may leave the picture. */
export function lossLimits(values) {
  const low = Math.min(...values), third = Math.max(1, Math.floor(values.length / 3));
  const first = Math.max(...values.slice(0, third));
  const span = Math.max(first - low, 1e-3 * Math.max(1, Math.abs(first)));
  return [low - 0.15 * span, first + 0.6 * span];
}

/** Whether the highest suggestion is more than ten times the lowest. */
export function disagree(suggestions) {
  const lrs = Object.values(suggestions);
  return lrs.length > 0 && Math.max(...lrs) > 10 * Math.min(...lrs);
}

/** What to be careful about with these suggestions; empty where there is nothing. */
export function warningFor(suggestions) {
  const none = Object.keys(suggestions).length === 0;
  if (none) return "The loss does not fall in this sweep, so no rule suggests anything.";
  if (!disagree(suggestions)) return "";
  return "The rules are more than ten times apart: look at the curve before you pick.";
}

/** What is cut at the ends when slider `k` says `n` of at most `most` steps; the other end gives way. */
export function cutTo(trim, k, n, most) {
  const other = Math.min(trim[1 - k], most - n);
  return k === 0 ? [n, other] : [other, n];
}

/** How a trial at one lr ended, or that it did not yet. */
export function ending(losses) {
  const last = losses.slice(-5);
  if (!losses.length) return "…";
  if (!losses.every(Number.isFinite)) return "the loss is not finite";
  return `loss ${formatNumber(last.reduce((a, b) => a + b, 0) / last.length)}`;
}

/** The sweep that the model holds: `now()` is its curve at the chosen smoothing, `part()` what is shown. */
function sweepOf(get) {
  const lrs = get("lrs"), curves = get("curves"), linear = get("mode") === "linear";
  const steps = grid(lrs[0], lrs[lrs.length - 1], linear), now = () => curves[get("level")];
  const part = () => {
    const [first, last] = get("trim"), cut = (values) => values.slice(first, lrs.length - last);
    return {
      lrs: cut(lrs), losses: cut(get("losses")), valid: cut(get("valid_losses")),
      smoothed: cut(now().smoothed),
    };
  };
  return {
    steps, curves, linear, now, part,
    most: Math.max(0, lrs.length - 10),                  // that the sliders may cut
    at: (lr) => nearest(steps, lr, !linear),
    lossAt: (lr) => valueAt(lrs, now().smoothed, lr),
  };
}

// ---- the curve ----

function marker(shape, x, y, color) {
  const transform = `translate(${x.toFixed(1)},${y.toFixed(1)})`, points = SHAPES[shape];
  const look = { fill: `var(${color})`, class: "lk-dot", transform };
  return points ? s("polygon", { points, ...look }) : s("circle", { r: 6, ...look });
}

/** The measured losses, the smoothed ones, and those of the validation set. */
function lines({ lrs, losses, smoothed, valid }, x, y) {
  return [
    curve(lrs, losses, x, y, "--lk-blue", { class: "lk-thin" }),
    curve(lrs, smoothed, x, y, "--lk-blue"),
    ...(valid.length ? [curve(lrs, valid, x, y, "--lk-soft", { "stroke-dasharray": "5 4" })] : []),
  ];
}

/** A mark on the curve for each suggestion that is in the picture. */
function ruleMarks(sweep, x, y) {
  const inside = Object.entries(sweep.now().suggestions).filter(([, lr]) => lr >= x.low && lr <= x.high);
  return inside.map(([name, lr]) => {
    const [color, shape] = RULES[name] ?? OTHER_RULE;
    return marker(shape, x.to(lr), clamp(y.to(sweep.lossAt(lr)), y.end, y.from), color);
  });
}

/** The picture: `draw(width)` makes it anew, `move(lr)` only moves its cursor, at every key press. */
function sweepPlot(sweep) {
  const chart = plot("Loss against learning rate", "lk-scrub");
  let x, y, here;
  return {
    element: chart.element,
    lrAt: (px) => x.back(clamp(px, x.from, x.end)),
    draw(width) {
      const part = sweep.part(), [low, high] = lossLimits(part.smoothed);
      x = scale(part.lrs[0], part.lrs[part.lrs.length - 1], 52, width - 14, !sweep.linear, width / 60);
      y = scale(low, high, HEIGHT - 40, 20);
      here = cursor(y, "--lk-fg");
      chart.draw({ width, height: HEIGHT, x, y, xlabel: "learning rate", ylabel: "loss", xtext: formatLr });
      chart.marks.replaceChildren(...lines(part, x, y));
      chart.over.replaceChildren(here.line, ...ruleMarks(sweep, x, y), here.dot);
    },
    move(lr) {
      if (lr >= x.low * 0.999 && lr <= x.high * 1.001) here.show(x.to(lr), sweep.lossAt(lr));
      else here.hide();
    },
  };
}

// ---- what is around it ----

/** A button for a rule's suggestion, with the mark that it has on the curve. */
function ruleButton(name, lr, pick, signal) {
  const [color, shape] = RULES[name] ?? OTHER_RULE;
  const words = { "data-rule": name, "aria-label": `${name}, ${formatLr(lr)}` };
  const size = { width: 16, height: 16, viewBox: "-8 -8 16 16", "aria-hidden": "true" };
  const chip = button("", () => pick(lr), signal, words);
  chip.append(s("svg", size, marker(shape, 0, 0, color)), h("span", { text: ` ${name} ${formatLr(lr)}` }));
  return chip;
}

/** The rules' buttons and a warning: `draw()` for another smoothing, `press(lr)` for another choice. */
function rulesOf(sweep, pick, signal) {
  const chips = row(), warning = h("div", { class: "lk-warning", role: "status" });
  const found = () => sweep.now().suggestions;
  return {
    elements: [chips, warning],
    draw() {
      const buttons = Object.entries(found()).map(([name, lr]) => ruleButton(name, lr, pick, signal));
      chips.replaceChildren(...buttons);
      warning.textContent = warningFor(found());
    },
    press(lr) {
      for (const chip of chips.children) {
        set(chip, { "aria-pressed": String(found()[chip.dataset.rule] === lr) });
      }
    },
  };
}

/** The sliders for the smoothing and for what is cut at each end. */
function viewSliders(sweep, get, change, signal) {
  const level = slider({
    label: "smoothing", min: 0, max: sweep.curves.length - 1, value: get("level"), signal,
    text: (k) => (sweep.curves[k].smooth ? sweep.curves[k].smooth.toFixed(2) : "none"),
    oninput: (k) => change({ level: k }),
  });
  const trims = ["first", "last"].map((which, k) => slider({
    label: `cut the ${which}`, min: 0, max: sweep.most, value: get("trim")[k], signal,
    text: (n) => amount(n, "step"), oninput: (n) => change({ trim: cutTo(get("trim"), k, n, sweep.most) }),
  }));
  return {
    rows: [row(level.element), row(...trims.map((t) => t.element))],
    show() {
      level.show(get("level"));
      trims.forEach((t, k) => t.show(get("trim")[k]));
    },
  };
}

// ---- the trial ----

/** The losses of a trial at each of its lrs, in a plot of their own. */
function drawTrial(chart, runs, n, width) {
  const values = runs.flatMap((r) => r.losses).filter(Number.isFinite);
  const first = runs.map((r) => r.losses[0]).filter(Number.isFinite), top = Math.max(...first) * 1.6;
  const x = scale(1, Math.max(2, n), 52, width - 14);
  const y = scale(Math.min(...values, 0), Math.min(Math.max(...values), top), 150, 20);
  chart.draw({ width, height: 186, x, y, xlabel: "update", ylabel: "loss" });
  chart.marks.replaceChildren(...runs.map(({ losses }, k) =>
    curve(losses.map((_, i) => i + 1), losses, x, y, TRIALS[k], { "stroke-dasharray": DASHES[k] })));
}

/** A button that asks for a trial, what came of it in words, and the plot of its losses. */
function trialOf(get, ask, signal) {
  const title = "train a few real steps at lr/10, lr and 10 lr, and put everything back";
  const said = h("div", { class: "lk-soft", role: "status" });
  const tryIt = button("try it", ask, signal, { title });
  const chart = plot("Losses of the trial at three learning rates");
  const legend = ({ lr, losses }, k) => h("span", { style: "margin-right:14px" },
    swatch(TRIALS[k]), h("span", { text: `lr ${formatLr(lr)}: ${ending(losses)}` }));
  return {
    elements: [row(tryIt, said), chart.element],
    draw(width) {
      const { runs = [], n_steps: n = 0, message = "", running } = get("trial");
      const any = runs.some((r) => r.losses.some(Number.isFinite));
      set(tryIt, { disabled: running === true });
      tryIt.textContent = running ? "trying …" : "try lr/10, lr and 10 lr";
      chart.element.style.display = any ? "" : "none";
      if (any) drawTrial(chart, runs, n, width);
      said.replaceChildren(...(any ? runs.map(legend) : []), message);
    },
  };
}

/** The slider that goes through the sweep and says the lr and the loss there. */
function scrubber(sweep, get, pick, signal) {
  return slider({
    label: "learning rate", min: 0, max: sweep.steps.length - 1, value: sweep.at(get("lr")), signal,
    text: () => `${formatLr(get("lr"))}, loss ${formatNumber(sweep.lossAt(get("lr")))}`,
    oninput: (k) => pick(sweep.steps[k]),
  });
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name), sweep = sweepOf(get), box = root(el, "Learning rate picker");
  const pick = (lr) => { send(model, { lr }); paint(); };
  const chart = sweepPlot(sweep), rules = rulesOf(sweep, pick, signal);
  const said = h("output", { class: "lk-big", "aria-live": "off" });
  const scrub = scrubber(sweep, get, pick, signal);
  const view = viewSliders(sweep, get, (values) => { send(model, values); look(); }, signal);
  const trial = trialOf(get, () => send(model, { asked: get("asked") + 1 }), signal);
  let width = 640;

  function paint() {                                     // the choice, at every key press
    chart.move(get("lr"));
    said.textContent = `lr ${formatLr(get("lr"))}`;
    scrub.show(sweep.at(get("lr")));
    rules.press(get("lr"));
  }
  const whole = () => { chart.draw(width); rules.draw(); trial.draw(width); paint(); };
  const look = () => { view.show(); whole(); };

  box.append(row(said, h("span", { class: "lk-soft", text: get("summary") })), ...rules.elements,
    chart.element, scrub.element, ...view.rows, ...(get("can_try") ? trial.elements : []));
  onDrag(chart.element, (px) => pick(sweep.steps[sweep.at(chart.lrAt(px))]), signal);
  return endAll([
    onWidth(box, (w) => { width = w; whole(); }), onChange(model, ["lr"], perFrame(paint)),
    onChange(model, ["trial"], perFrame(() => trial.draw(width))), onChange(model, ["level", "trim"], look),
  ]);
}

export default { render };
