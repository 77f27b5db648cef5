// Replay: the monitor on a recorded run, to scrub through and to play, with no kernel and no GPU.
import { button, clamp, h, onChange, onWidth, perFrame, root, send, slider } from "./kit.js";
import { bar, drawTable, latest, place, runPlots, upTo } from "./run.js";

const SECONDS = 12;                                      // the whole run takes that long to play

/** The update to show after `seconds` of playing from `start`; the run's end is the last. */
export function playedTo(start, seconds, n) {
  return Math.round(clamp(start + (seconds * n) / SECONDS, 0, n));
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name), run = get("run"), n = run.n_steps;
  const box = root(el, "Replay of a training run"), head = h("div", { class: "lk-big" }), values = h("div", { class: "lk-soft" });
  const table = h("table"), plots = runPlots(), progress = bar(), end = h("div", { class: "lk-soft", text: get("stopped") });
  const play = button("play", () => (timer === null ? begin() : (halt(), show(at))), signal);
  const scrub = slider({ label: "update", min: 0, max: n, value: get("step"), signal, text: (k) => `${k} of ${n}`, oninput: (k) => { halt(); show(k); } });
  let width = 640, timer = null, from = 0, since = 0, at = get("step");

  function show(step) { at = step; send(model, { step }); draw(); }

  function draw() {
    const part = upTo(run, at);
    head.textContent = place(part);
    values.textContent = latest(part);
    end.style.visibility = at >= n ? "" : "hidden";
    scrub.show(at);
    progress.show(part);
    plots.draw(part, width, run);
    drawTable(table, part);
  }

  function begin() {
    from = at >= n ? 0 : at;
    since = performance.now();
    play.textContent = "pause";
    const tick = () => {
      at = playedTo(from, (performance.now() - since) / 1000, n);
      draw();
      if (at >= n) { halt(); show(at); } else timer = requestAnimationFrame(tick);
    };
    timer = requestAnimationFrame(tick);
  }

  function halt() {
    if (timer !== null) cancelAnimationFrame(timer);
    timer = null;
    play.textContent = "play";
  }

  box.append(head, progress.element, h("div", { class: "lk-row" }, play, scrub.element), h("div", { class: "lk-row" }, values), ...plots.elements, table, end);
  const ends = [onWidth(box, (w) => { width = w - 8; draw(); }), onChange(model, ["step"], perFrame(() => { if (timer === null) { at = get("step"); draw(); } }))];
  return () => { halt(); ends.forEach((f) => f()); };
}

export default { render };
