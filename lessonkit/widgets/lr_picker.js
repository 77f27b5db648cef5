// LRPicker: the learning rate finder's curve, to scrub and to pick from.
import { button, clamp, formatLr, formatNumber, h, nearest, onChange, onDrag, onWidth, path, perFrame, plot, root, roundLr, s, scale, send, set, slider } from "./kit.js";

const HEIGHT = 300, PER_DECADE = 24;
const RULES = { steepest: ["--lk-orange", "circle"], valley: ["--lk-green", "square"], slide: ["--lk-pink", "diamond"], minimum: ["--lk-sky", "triangle"] };
const TRIALS = ["--lk-sky", "--lk-blue", "--lk-orange"], DASHES = ["2 3", "", "7 3"];

/** The lrs that a slider goes through: 24 a decade on two digits (then no two are alike), or 200 even steps. */
export function grid(low, high, linear = false) {
  if (linear) return Array.from({ length: 201 }, (_, k) => low + ((high - low) * k) / 200);
  const first = Math.ceil(Math.log10(low) * PER_DECADE - 1e-6), last = Math.floor(Math.log10(high) * PER_DECADE + 1e-6);
  return Array.from({ length: last - first + 1 }, (_, k) => roundLr(10 ** ((first + k) / PER_DECADE)));
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
  const low = Math.min(...values), first = Math.max(...values.slice(0, Math.max(1, Math.floor(values.length / 3))));
  const span = Math.max(first - low, 1e-3 * Math.max(1, Math.abs(first)));
  return [low - 0.15 * span, first + 0.6 * span];
}

/** Whether the highest suggestion is more than ten times the lowest. */
export function disagree(suggestions) {
  const lrs = Object.values(suggestions);
  return lrs.length > 0 && Math.max(...lrs) > 10 * Math.min(...lrs);
}

function marker(shape, x, y, color) {
  const points = { square: "-5,-5 5,-5 5,5 -5,5", diamond: "0,-7 7,0 0,7 -7,0", triangle: "0,-7 6,5 -6,5" }[shape];
  const attributes = { fill: `var(${color})`, class: "lk-dot", transform: `translate(${x.toFixed(1)},${y.toFixed(1)})` };
  return points ? s("polygon", { points, ...attributes }) : s("circle", { r: 6, ...attributes });
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name);
  const lrs = get("lrs"), losses = get("losses"), valid = get("valid_losses"), curves = get("curves");
  const linear = get("mode") === "linear", steps = grid(lrs[0], lrs[lrs.length - 1], linear);
  const at = (lr) => nearest(steps, lr, !linear);
  const box = root(el, "Learning rate picker");
  const said = h("output", { class: "lk-big", "aria-live": "off" }), chips = h("div", { class: "lk-row" });
  const warning = h("div", { class: "lk-warning", role: "status" });
  const chart = plot("Loss against learning rate", "lk-scrub");
  const tried = h("div", { class: "lk-soft", role: "status" });
  const curve = () => curves[get("level")];
  const words = (lr) => `${formatLr(lr)}, loss ${formatNumber(valueAt(lrs, curve().smoothed, lr))}`;
  const pick = (lr) => { send(model, { lr }); paint(); };

  const scrub = slider({
    label: "learning rate", min: 0, max: steps.length - 1, value: at(get("lr")), signal,
    text: () => words(get("lr")), oninput: (k) => pick(steps[k]),
  });
  const level = slider({
    label: "smoothing", min: 0, max: curves.length - 1, value: get("level"), signal,
    text: (k) => (curves[k].smooth ? curves[k].smooth.toFixed(2) : "none"),
    oninput: (k) => { send(model, { level: k }); whole(); },
  });
  const most = Math.max(0, lrs.length - 10);
  const trims = ["first", "last"].map((which, k) => slider({
    label: `cut the ${which}`, min: 0, max: most, value: get("trim")[k], signal, text: (n) => `${n} step${n === 1 ? "" : "s"}`,
    oninput: (n) => {
      const trim = [...get("trim")];
      trim[k] = n;
      trim[1 - k] = Math.min(trim[1 - k], most - n);
      send(model, { trim });
      trims[1 - k].show(trim[1 - k]);
      whole();
    },
  }));
  const tryIt = button("try it", () => { send(model, { asked: get("asked") + 1 }); tell(); }, signal,
    { title: "train a few real steps at lr/10, lr and 10 lr, and put everything back" });

  let x, y, width = 640, cursor;

  function whole() {                                     // everything but the cursor
    const [cut, end] = get("trim"), shown = [cut, lrs.length - end];
    const part = (values) => values.slice(...shown), xs = part(lrs), smoothed = part(curve().smoothed);
    const [low, high] = lossLimits(smoothed);
    x = scale(xs[0], xs[xs.length - 1], 52, width - 14, !linear, width / 60);
    y = scale(low, high, HEIGHT - 40, 20);
    chart.draw({ width, height: HEIGHT, x, y, xlabel: "learning rate", ylabel: "loss", xtext: formatLr });
    const line = (values, className, color, extra) => s("path", { d: path(xs, values, x, y), class: className, stroke: `var(${color})`, ...extra });
    const found = Object.entries(curve().suggestions).filter(([, lr]) => lr >= xs[0] && lr <= xs[xs.length - 1]);
    cursor = { line: s("line", { class: "lk-cursor", y1: y.from, y2: y.end }), dot: s("circle", { r: 4.5, class: "lk-dot", fill: "var(--lk-fg)" }) };
    chart.marks.replaceChildren(...[
      line(part(losses), "lk-thin", "--lk-blue"), line(smoothed, "lk-curve", "--lk-blue"),
      valid.length ? line(part(valid), "lk-curve", "--lk-soft", { "stroke-dasharray": "5 4" }) : null,
    ].filter(Boolean));
    chart.over.replaceChildren(cursor.line, ...found.map(([name, lr]) =>
      marker(RULES[name][1], x.to(lr), clamp(y.to(valueAt(lrs, curve().smoothed, lr)), y.end, y.from), RULES[name][0])), cursor.dot);
    rules();
    trial();
    paint();
  }

  function rules() {
    const found = curve().suggestions;
    chips.replaceChildren(...Object.entries(found).map(([name, lr]) => {
      const [color, shape] = RULES[name];
      const sign = s("svg", { width: 16, height: 16, viewBox: "-8 -8 16 16", "aria-hidden": "true" }, marker(shape, 0, 0, color));
      const chip = button("", () => pick(lr), signal, { "data-rule": name, "aria-label": `${name}, ${formatLr(lr)}` });
      chip.append(sign, h("span", { text: ` ${name} ${formatLr(lr)}` }));
      return chip;
    }));
    warning.textContent = disagree(found) ? "The rules are more than ten times apart: look at the curve before you pick."
      : Object.keys(found).length ? "" : "The loss does not fall in this sweep, so no rule suggests anything.";
  }

  function paint() {                                     // the cursor, at every key press
    const lr = get("lr"), px = x.to(lr), inside = lr >= x.low * 0.999 && lr <= x.high * 1.001;
    const v = valueAt(lrs, curve().smoothed, lr);
    set(cursor.line, { x1: px, x2: px, visibility: inside ? null : "hidden" });
    set(cursor.dot, { cx: px, cy: clamp(y.to(v), y.end, y.from), visibility: inside ? null : "hidden" });
    said.textContent = `lr ${formatLr(lr)}`;
    scrub.show(at(lr));
    for (const chip of chips.children) set(chip, { "aria-pressed": String(curve().suggestions[chip.dataset.rule] === lr) });
  }

  const small = plot("Losses of the trial at three learning rates");
  function trial() {
    const { runs = [], n_steps: n = 0, message = "" } = get("trial");
    const values = runs.flatMap((r) => r.losses).filter(Number.isFinite);
    small.element.style.display = values.length ? "" : "none";
    tell();
    if (!values.length) { tried.textContent = message; return; }
    const first = runs.map((r) => r.losses[0]).filter(Number.isFinite), top = Math.max(...first) * 1.6;
    const bx = scale(1, Math.max(2, n), 52, width - 14), by = scale(Math.min(...values, 0), Math.min(Math.max(...values), top), 150, 20);
    small.draw({ width, height: 186, x: bx, y: by, xlabel: "update", ylabel: "loss" });
    small.marks.replaceChildren(...runs.map((r, k) => s("path", {
      d: path(r.losses.map((_, i) => i + 1), r.losses, bx, by), class: "lk-curve", stroke: `var(${TRIALS[k]})`, "stroke-dasharray": DASHES[k],
    })));
    tried.replaceChildren(...runs.map((r, k) => h("span", { style: "margin-right:14px" },
      h("i", { class: "lk-swatch", style: `background:var(${TRIALS[k]})` }), h("span", { text: `lr ${formatLr(r.lr)}: ${end(r)}` }))), message);
  }
  const end = (r) => (r.losses.length ? (r.losses.every(Number.isFinite) ? `loss ${formatNumber(mean(r.losses.slice(-5)))}` : "the loss is not finite") : "…");
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const tell = () => { set(tryIt, { disabled: get("trial").running === true }); tryIt.textContent = get("trial").running ? "trying …" : `try lr/10, lr and 10 lr`; };

  box.append(...[
    h("div", { class: "lk-row" }, said, h("span", { class: "lk-soft", text: get("summary") })), chips, warning, chart.element, scrub.element,
    h("div", { class: "lk-row" }, level.element), h("div", { class: "lk-row" }, ...trims.map((t) => t.element)),
    get("can_try") ? h("div", { class: "lk-row" }, tryIt, tried) : null, get("can_try") ? small.element : null,
  ].filter(Boolean));
  onDrag(chart.element, (px) => pick(steps[at(x.back(clamp(px, x.from, x.end)))]), signal);
  const ends = [
    onWidth(box, (w) => { width = w - 8; whole(); }),
    onChange(model, ["lr"], perFrame(paint)), onChange(model, ["trial"], perFrame(trial)),
    onChange(model, ["level", "trim"], () => { level.show(get("level")); trims.forEach((t, k) => t.show(get("trim")[k])); whole(); }),
  ];
  return () => ends.forEach((end) => end());
}

export default { render };
