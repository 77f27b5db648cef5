// Replay: the monitor on a recorded run, to scrub through and to play, with no kernel and no GPU.
import { button, endAll, h, onChange, onDrag, onWidth, perFrame, root, row, send, slider } from "./kit.js";
import { clamp } from "./numbers.js";
import { bar, drawTable, latest, place, runPlots, tableBox, upTo } from "./run.js";

const SECONDS = 12;                                      // the whole run takes that long to play

/** The update to show after `seconds` of playing from `start`; the run's end is the last. */
export function playedTo(start, seconds, n) {
  return Math.round(clamp(start + (seconds * n) / SECONDS, 0, n));
}

/** A button that plays `n` updates from `now()`: `draw(step)` in each frame, `done()` when it stops. */
function player(n, now, draw, done, signal) {
  let timer = null;
  const halt = () => {
    if (timer !== null) cancelAnimationFrame(timer);
    timer = null;
    play.textContent = "play";
  };
  const begin = () => {
    const from = now() >= n ? 0 : now(), since = performance.now();
    const tick = () => {
      const step = playedTo(from, (performance.now() - since) / 1000, n);
      draw(step);
      if (step >= n) { halt(); done(); } else timer = requestAnimationFrame(tick);
    };
    play.textContent = "pause";
    timer = requestAnimationFrame(tick);
  };
  const press = () => { if (timer === null) begin(); else { halt(); done(); } };
  const play = button("play", press, signal);
  return { element: play, halt, playing: () => timer !== null };
}

/** What shows the run up to an update; `seek(step)`: someone points at another one. */
function screen(run, stopped, seek, signal) {
  const head = h("div", { class: "lk-big" }), values = h("div", { class: "lk-soft" }), table = tableBox();
  const plots = runPlots(signal), progress = bar(), end = h("div", { class: "lk-soft", text: stopped });
  for (const chart of plots.charts) {
    chart.element.classList.add("lk-scrub");
    const point = (px) => seek(Math.round(clamp(chart.scales().x.back(px), 0, run.n_steps)));
    onDrag(chart.element, point, signal);
  }
  return {
    above: [head, progress.element], below: [row(values), ...plots.elements, table, end],
    draw(step, width) {
      const part = upTo(run, step);
      head.textContent = place(part);
      values.textContent = latest(part);
      end.style.visibility = step >= run.n_steps ? "" : "hidden";
      progress.show(part);
      plots.draw(part, width, run);
      drawTable(table, part);
    },
  };
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name), run = get("run"), n = run.n_steps;
  const box = root(el, "Replay of a training run");
  const { above, below, draw } = screen(run, get("stopped"), (k) => { play.halt(); show(k); }, signal);
  let width = 640, at = get("step");

  const look = (step) => { at = step; scrub.show(at); draw(at, width); };
  const show = (step) => { at = step; send(model, { step }); look(at); };
  const play = player(n, () => at, look, () => show(at), signal);
  const scrub = slider({
    label: "update", min: 0, max: n, value: at, signal,
    text: (k) => `${k} of ${n}`, oninput: (k) => { play.halt(); show(k); },
  });

  box.append(...above, row(play.element, scrub.element), ...below);
  return endAll([
    play.halt, onWidth(box, (w) => { width = w; look(at); }),
    onChange(model, ["step"], perFrame(() => { if (!play.playing()) look(get("step")); })),
  ]);
}

export default { render };
