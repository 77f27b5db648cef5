// LRPicker: the learning rate finder's curve, to scrub and to pick from.
import {
  button, cursor, curve, endAll, h, onChange, onDrag, onHover, onWidth, perFrame, plot, root, row, s, send,
  set, slider,
} from "./kit.js";
import { amount, clamp, formatLr, formatNumber, lrGrid, nearest, scale } from "./numbers.js";
import { trialOf } from "./trial.js";

const HEIGHT = 300;
const RULES = {
  steepest: ["--lk-orange", "circle"], valley: ["--lk-green", "square"],
  slide: ["--lk-pink", "diamond"], minimum: ["--lk-sky", "triangle"],
};
const OTHER_RULE = ["--lk-soft", "circle"];
const SHAPES = { square: "-5,-5 5,-5 5,5 -5,5", diamond: "0,-7 7,0 0,7 -7,0", triangle: "0,-7 6,5 -6,5" };
const LOOKS_FOR = {
  steepest: "the highest lr where the loss falls nearly as fast as anywhere, well before its lowest point",
  valley: "two thirds of the way down, from where the fall begins to where it ends",
  slide: "the daring one: the first lr, coming from the high ones, at which the loss still falls fast",
  minimum: "a tenth of the lr where the loss is lowest",
};

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

/** What the curve says: up to the first lr it is too slow, beyond the second one it breaks; null: no fall. */
export function zones(lrs, smoothed) {
  const start = smoothed[0], low = Math.min(...smoothed), lowest = smoothed.indexOf(low), fall = start - low;
  if (!(fall > 0)) return null;
  let slow = 0;
  while (slow < lowest && smoothed[slow + 1] > start - 0.1 * fall) slow++;
  return [lrs[slow], lrs[lowest]];
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

/** What the lrs at both sides of the fall do, said in the picture where there is room. */
function zoneMarks({ lrs, smoothed }, found, x, y) {
  const ends = Object.keys(found).length ? zones(lrs, smoothed) : null;
  const sides = ends ? [[x.from, x.to(ends[0]), "too slow"], [x.to(ends[1]), x.end, "breaks"]] : [];
  return sides.filter(([from, end]) => end - from > 50).flatMap(([from, end, text]) => [
    s("rect", { x: from, y: y.end, width: end - from, height: y.from - y.end, class: "lk-zone" }),
    s("text", { x: (from + end) / 2, y: y.end + 14, "text-anchor": "middle", text }),
  ]);
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
function sweepPlot(sweep, signal) {
  const chart = plot("Loss against learning rate", "lk-scrub");
  let x, y, here;
  const readout = (lr) => `lr ${formatLr(lr)}, loss ${formatNumber(sweep.lossAt(lr))}`;
  onHover(chart, (px) => readout(x.back(px)), signal);
  return {
    element: chart.element,
    lrAt: (px) => x.back(clamp(px, x.from, x.end)),
    draw(width) {
      const part = sweep.part(), [low, high] = lossLimits(part.smoothed);
      x = scale(part.lrs[0], part.lrs[part.lrs.length - 1], 52, width - 14, !sweep.linear, width / 60);
      y = scale(low, high, HEIGHT - 40, 20);
      here = cursor(y, "--lk-fg");
      chart.draw({ width, height: HEIGHT, x, y, xlabel: "learning rate", ylabel: "loss", xtext: formatLr });
      const found = sweep.now().suggestions;
      chart.marks.replaceChildren(...zoneMarks(part, found, x, y), ...lines(part, x, y));
      chart.over.replaceChildren(here.line, ...ruleMarks(sweep, x, y), here.dot);
    },
    move(lr) {
      if (lr >= x.low * 0.999 && lr <= x.high * 1.001) here.show(x.to(lr), sweep.lossAt(lr));
      else here.hide();
    },
  };
}

// ---- what is around it ----

/** A button for a rule's suggestion, with its mark on the curve; `tell(text)` what the rule looks for. */
function ruleButton(name, lr, pick, tell, signal) {
  const [color, shape] = RULES[name] ?? OTHER_RULE, about = LOOKS_FOR[name] ?? "";
  const words = { "data-rule": name, "aria-label": `${name}, ${formatLr(lr)}`, "aria-description": about };
  const size = { width: 16, height: 16, viewBox: "-8 -8 16 16", "aria-hidden": "true" };
  const chip = button("", () => pick(lr), signal, words);
  chip.append(s("svg", size, marker(shape, 0, 0, color)), h("span", { text: ` ${name} ${formatLr(lr)}` }));
  for (const kind of ["pointerenter", "focus"]) {
    chip.addEventListener(kind, () => tell(about && `${name}: ${about}`), { signal });
  }
  return chip;
}

/** The rules' buttons and a warning: `draw()` for another smoothing, `press(lr)` for another choice. */
function rulesOf(sweep, pick, signal) {
  const chips = row(), warning = h("div", { class: "lk-warning", role: "status" });
  const about = h("div", { class: "lk-soft lk-about", text: "Four rules, four opinions: point at one." });
  const found = () => sweep.now().suggestions, tell = (text) => { about.textContent = text; };
  return {
    elements: [chips, about, warning],
    draw() {
      const made = Object.entries(found()).map(([name, lr]) => ruleButton(name, lr, pick, tell, signal));
      chips.replaceChildren(...made);
      about.hidden = made.length === 0;
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

// ---- all of it ----

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
  const chart = sweepPlot(sweep, signal), rules = rulesOf(sweep, pick, signal);
  const said = h("output", { class: "lk-big", "aria-live": "off" });
  const scrub = scrubber(sweep, get, pick, signal);
  const view = viewSliders(sweep, get, (values) => { send(model, values); look(); }, signal);
  const trial = trialOf(model, pick, signal);
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
