// The trial of the picker: a few real updates at a tenth of the lr, at the lr, and at ten times it.
import { button, curve, h, onHover, plot, row, s, send, set, swatch } from "./kit.js";
import { clamp, formatLr, formatNumber, scale } from "./numbers.js";

const LOOKS = [["--lk-green", "2 4"], ["--lk-blue", ""], ["--lk-orange", "9 4"]];
const NAMES = ["lr/10", "lr", "10 lr"];
const PATIENCE = 3000;                                   // ms until nobody is taken to be there
const NOBODY = "No answer: the kernel is at work, or was started anew; then run this cell again.";

// ---- what draws nothing ----

/** Losses without their noise: a mean in which each step back counts a fifth less. */
export function smooth(losses) {
  let sum = 0, weight = 0;
  return losses.map((loss) => {
    sum = 0.8 * sum + loss;
    weight = 0.8 * weight + 1;
    return sum / weight;
  });
}

/** How a trial at one lr ended: the mean of the last third, and how far chance moves it. */
export function ending(losses) {
  const last = losses.slice(-Math.max(1, Math.round(losses.length / 3)));
  const mean = last.reduce((a, b) => a + b, 0) / last.length;
  const spread = Math.sqrt(last.reduce((sum, v) => sum + (v - mean) ** 2, 0) / last.length);
  return { mean, error: spread / Math.sqrt(last.length) };
}

const whole = ({ losses }, n) => losses.length === n && losses.every(Number.isFinite);

/** What three runs of `n` updates say, in words, and the lr to take, null for the one that it was about. */
export function conclusion(runs, n) {
  const ends = runs.map((run) => (whole(run, n) ? ending(run.losses) : { mean: Infinity, error: 0 }));
  const best = ends.reduce((k, end, i) => (end.mean < ends[k].mean ? i : k), 1), at = (k) => ends[k].mean;
  if (!Number.isFinite(at(best))) return { text: "The loss breaks at all three: go lower.", lr: null };
  const said = (k) => (Number.isFinite(at(k)) ? formatNumber(at(k)) : "a loss that breaks");
  const broken = best === 1 && !Number.isFinite(at(2)) ? " Ten times it breaks." : "";
  const noise = 2 * Math.hypot(ends[best].error, ends[1].error);
  const rival = best === 1 ? Math.min(at(0), at(2)) - at(1) : at(1) - at(best);
  const close = `They end too close to tell apart after ${n} updates.`;
  if (rival <= noise) return { text: close + broken, lr: null };
  if (best === 1) return { text: `The lr itself ends lowest, at ${said(1)}: keep it.${broken}`, lr: null };
  const times = best === 2 ? "Ten times the lr" : "A tenth of the lr";
  return { text: `${times} reached ${said(best)} against ${said(1)}.`, lr: runs[best].lr };
}

/** How far a trial of three runs of `n` updates is, such as "34 of 90". */
export function progress(runs, n) {
  return `${runs.reduce((sum, { losses }) => sum + losses.length, 0)} of ${3 * n}`;
}

/** The limits of the losses: all but the curve that goes highest fit, and that one may leave the picture. */
export function trialLimits(curves) {
  const known = curves.map((c) => c.filter(Number.isFinite)).filter((c) => c.length);
  const low = Math.min(...known.flat()), tops = known.map((c) => Math.max(...c)).sort((a, b) => a - b);
  const highest = tops[tops.length - 1], second = tops[Math.max(0, tops.length - 2)];
  const top = Math.max(Math.min(highest, low + 1.25 * (second - low)), low + 1e-6), room = (top - low) * 0.08;
  return [low - room, top + room];
}

/** Places at least `gap` apart, each moved down as little as that takes; those that are none stay. */
export function apart(places, gap) {
  const order = places.map((_, k) => k).filter((k) => Number.isFinite(places[k]));
  order.sort((a, b) => places[a] - places[b]);
  const moved = [...places];
  order.slice(1).forEach((k, i) => { moved[k] = Math.max(moved[k], moved[order[i]] + gap); });
  return moved;
}

// ---- what draws ----

const finite = (losses) => losses.map((v) => (Number.isFinite(v) ? v : NaN));

/** A run's line, thin as measured and strong as smoothed. */
function runLines(losses, k, x, y) {
  const steps = losses.map((_, i) => i + 1), [color, dashes] = LOOKS[k];
  return [
    curve(steps, finite(losses), x, y, color, { class: "lk-thin" }),
    curve(steps, smooth(finite(losses)), x, y, color, { "stroke-dasharray": dashes }),
  ];
}

/** The names of the runs at the ends of their lines. */
function runNames(curves, x, y) {
  const ends = curves.map((means) => means.findLastIndex(Number.isFinite));
  const at = (end, k) => (end < 0 ? NaN : clamp(y.to(curves[k][end]), y.end, y.from) + 4);
  const ys = apart(ends.map(at), 12);
  return ends.map((end, k) => end >= 0
    && s("text", { x: x.to(end + 1) + 5, y: ys[k], style: `fill:var(${LOOKS[k][0]})`, text: NAMES[k] }));
}

function drawRuns(chart, runs, n, width) {
  const curves = runs.map((run) => smooth(finite(run.losses)));
  const x = scale(1, Math.max(2, n), 52, width - 52), y = scale(...trialLimits(curves), 150, 20);
  chart.draw({ width, height: 186, x, y, xlabel: "update", ylabel: "loss" });
  chart.marks.replaceChildren(...runs.flatMap(({ losses }, k) => runLines(losses, k, x, y)));
  chart.over.replaceChildren(...runNames(curves, x, y).filter(Boolean));
}

const legend = ({ lr, losses }, k) => h("span", { style: "margin-right:14px" }, swatch(LOOKS[k][0]),
  h("span", { text: `lr ${formatLr(lr)}: ${losses.length ? lossText(losses) : "…"}` }));
const lossText = (losses) =>
  (losses.every(Number.isFinite) ? `loss ${formatNumber(ending(losses).mean)}` : "the loss is not finite");

/** The losses at an update, in words. */
function readout(runs, step) {
  const at = runs.map(({ losses }) => losses[step - 1]);
  return `update ${step}: ${at.map((v, k) => `${NAMES[k]} ${formatNumber(v)}`).join(", ")}`;
}

/** Ask the kernel for a trial, or to give one up; `note(text)` says it where nobody answers. */
function asker(model, note) {
  let timer = null;
  const get = (name) => model.get(name);
  return () => {
    note("");
    if (get("trial").running) { send(model, { cancelled: get("asked") }); return; }
    const asked = get("asked") + 1;
    send(model, { asked });
    clearTimeout(timer);
    timer = setTimeout(() => { if (get("trial").asked !== asked) note(NOBODY); }, PATIENCE);
  };
}

/** What a trial says, in words, and a button that takes the lr it speaks for: `show(trial)`, `note(text)`. */
function verdictOf(take, signal) {
  let offer = null;
  const said = h("span", { role: "status" }), takeIt = button("", () => take(offer), signal);
  return {
    elements: [said, takeIt],
    note(text) { said.textContent = text; },
    show({ runs, n_steps: n, message, running, waiting }) {
      const over = runs.length && !running && !message;
      const { text, lr } = over ? conclusion(runs, n) : { text: message, lr: null };
      said.textContent = waiting ? "It waits until the fit has ended." : text;
      offer = lr;
      set(takeIt, { text: lr ? `take ${formatLr(lr)}` : "take it" });
      takeIt.style.display = lr ? "" : "none";
    },
  };
}

/** A button for a trial, what came of it, and the plot of its losses: `draw(width)`. */
export function trialOf(model, take, signal) {
  const title = "train a few real steps at lr/10, lr and 10 lr, and put everything back";
  const verdict = verdictOf(take, signal), legends = row();
  const tryIt = button("", asker(model, verdict.note), signal, { title });
  const chart = plot("Losses of the trial at three learning rates");
  onHover(chart, (px) => readout(model.get("trial").runs, Math.round(chart.scales().x.back(px))), signal);
  return {
    elements: [row(tryIt, ...verdict.elements), legends, chart.element],
    draw(width) {
      const trial = { runs: [], n_steps: 0, message: "", ...model.get("trial") };
      const { runs, n_steps: n } = trial;
      const any = runs.some((r) => r.losses.some(Number.isFinite));
      tryIt.textContent = trial.running ? `cancel (${progress(runs, n)})` : "try lr/10, lr and 10 lr";
      verdict.show(trial);
      chart.element.style.display = any ? "" : "none";
      legends.replaceChildren(...(any ? runs.map(legend) : []));
      if (any) drawRuns(chart, runs, n, width);
    },
  };
}
