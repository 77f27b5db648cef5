// LayerGroups: which layers learn, and how fast.
import {
  endAll, groupColor, h, onChange, onDrag, onWidth, perFrame, plot, root, row, s, send, set, slider, swatch,
  toggle,
} from "./kit.js";
import { clamp, formatCount, formatLr, lrGrid, nearest, scale } from "./numbers.js";

const LRS = lrGrid(1e-8, 1), ROW = 26;                   // px of a group's bar and the gap below it
const at = (lr) => nearest(LRS, lr, true);

// ---- what draws nothing ----

/** One lr a group, the last `lr`, each earlier one `factor` times lower (as spread_lrs). */
export function spread(lr, n, factor) {
  return Array.from({ length: n }, (_, k) => lr / factor ** (n - 1 - k));
}

/** What a factor is for. */
export function meaning(factor) {
  const times = `${Number(factor.toFixed(1))}x a group`;
  if (factor < 2) return `${times}: nothing to protect, as from scratch`;
  if (factor <= 4) return `${times}: pictures like those it was pretrained on`;
  if (factor < 8) return `${times}: somewhat unlike those it was pretrained on`;
  return `${times}: pictures unlike those it was pretrained on`;
}

/** What to be careful about with these lrs of groups that train, from the input on; or nothing. */
export function warningFor(lrs, pretrained) {
  const early = Math.max(...lrs.slice(0, -1), 0), head = lrs[lrs.length - 1];
  if (!pretrained || !early) return "";
  if (early >= 0.03) {
    return `An lr of ${formatLr(early)} in early layers breaks what they know of edges and colours.`;
  }
  return early > head ? "Early layers learn faster than the head: usually it is the other way round." : "";
}

/** What the model holds of group `k`, for its row and its bar. */
function groupOf(get, k) {
  const n = get("names").length, lr = get("lrs")[k], frozen = k < get("frozen_to"), norm = get("norms")[k];
  return {
    name: get("names")[k], lr, frozen, last: k === n - 1, color: groupColor(k, n),
    rate: frozen ? "frozen" : formatLr(lr),
    about: `${formatCount(get("n_params")[k])} weights${norm ? `, batch norm ${norm}` : ""}`,
  };
}

const groupsOf = (get) => get("names").map((_, k) => groupOf(get, k));

// ---- the bars ----

/** Whole decades around all lrs. */
function lrScale(lrs, width) {
  const low = 10 ** Math.floor(Math.log10(Math.min(...lrs)) - 0.5);
  const high = 10 ** Math.ceil(Math.log10(Math.max(...lrs)) + 0.1);
  return scale(low, high, 14, width - 60, true, width / 70);
}

const barOf = ({ lr, frozen, color }, k, x) => s("rect", {
  x: x.from, y: 20 + ROW * k, height: 16, rx: 2,
  width: frozen ? 0 : Math.max(2, x.to(lr) - x.from), fill: `var(${color})`,
});
const textOf = ({ lr, frozen, rate }, k, x) =>
  s("text", { x: (frozen ? x.from : x.to(lr)) + 6, y: 32 + ROW * k, class: "lk-title", text: rate });
const tickOf = (_, k) =>
  s("line", { y1: 16 + ROW * k, y2: 40 + ROW * k, stroke: "var(--lk-fg)", "stroke-width": 2.5 });

/** Drag a bar to another lr, `pull(k, lr)`; the scale stays as it is meanwhile: what is returned gives it. */
function pullBars(chart, now, pull, signal) {
  let held = null, k = -1;
  onDrag(chart.element, (px, py, first) => {
    if (first) {
      held = now();
      k = held.groups.findIndex((g, i) => !g.frozen && py >= 16 + ROW * i && py < 42 + ROW * i);
    }
    if (k >= 0) pull(k, LRS[at(held.x.back(clamp(px, held.x.from, held.x.end)))]);
  }, signal, () => { held = null; pull(-1); });
  return () => held?.x;
}

/** A bar for each group; `follow(lrs)` puts a tick on each where a running fit is, none where the lr is 0. */
function bars(pull, signal) {
  const chart = plot("Learning rate of each layer group", "lk-scrub");
  let x, groups = [], ticks = [];
  const held = pullBars(chart, () => ({ x, groups }), pull, signal);
  return {
    element: chart.element,
    draw(now, width) {
      groups = now;
      const height = 30 + ROW * groups.length + 40;
      const y = { from: height - 40, end: 12, ticks: [], to: (v) => v };
      x = held() ?? lrScale(groups.map((g) => g.lr), width);
      ticks = groups.map(tickOf);
      chart.draw({ width, height, x, y, xlabel: "learning rate", xtext: formatLr });
      chart.marks.replaceChildren(...groups.map((g, k) => barOf(g, k, x)));
      chart.over.replaceChildren(...groups.map((g, k) => textOf(g, k, x)), ...ticks);
      const words = groups.map((g) => `${g.name} ${g.rate}`).join(", ");
      set(chart.element, { "aria-label": `Learning rate of each layer group: ${words}` });
    },
    follow: (lrs) => ticks.forEach((tick, k) => {
      const px = lrs[k] > 0 ? clamp(x.to(lrs[k]), x.from, x.end) : 0;
      set(tick, { x1: px, x2: px, visibility: lrs[k] > 0 ? null : "hidden" });
    }),
  };
}

// ---- the controls ----

/** The traits to send when group `k` gets an lr of its own; the head's is also the lr of all. */
export function withLr(lrs, k, lr) {
  const changed = lrs.map((old, i) => (i === k ? lr : old));
  return k === lrs.length - 1 ? { lrs: changed, lr } : { lrs: changed };
}

/** A group's row: its name, whether it trains, its lr. `show()` sets it to what the model holds. */
function groupRow(k, get, change, signal) {
  const { name, color, last, frozen, lr } = groupOf(get, k), n = get("names").length;
  const about = h("span", { class: "lk-soft" });
  const rate = slider({
    label: "lr", min: 0, max: LRS.length - 1, value: at(lr), signal, className: "lk-grouplr",
    text: () => groupOf(get, k).rate, oninput: (i) => change(withLr(get("lrs"), k, LRS[i])),
  });
  rate.input.setAttribute("aria-label", `lr of ${name}`);
  const train = toggle({
    label: `train ${name}`, text: "train", value: !frozen, signal,
    onchange: (on) => change({ frozen_to: on ? k : Math.min(k + 1, n - 1) }),
  });
  const head = h("span", { style: "flex:1 1 210px" }, swatch(color), h("b", { text: name }), " ", about);
  const show = () => {
    const group = groupOf(get, k);
    rate.show(at(group.lr));
    rate.input.disabled = group.frozen;
    train.input.checked = !group.frozen;
    train.input.disabled = get("busy") || last;
    about.textContent = group.about;
  };
  return { element: row(head, train.element, rate.element), show };
}

/** The sliders that spread the lrs over all groups. */
function spreaders(get, change, signal) {
  const spreadTo = (lr, factor) => change({ lr, factor, lrs: spread(lr, get("names").length, factor) });
  const head = slider({
    label: "lr of the head", min: 0, max: LRS.length - 1, value: at(get("lr")), signal,
    text: () => formatLr(get("lr")), oninput: (k) => spreadTo(LRS[k], get("factor")),
  });
  const factor = slider({
    label: "likeness", min: 1, max: 10, step: 0.5, value: get("factor"), signal, className: "lk-long",
    text: meaning, oninput: (v) => spreadTo(get("lr"), v),
  });
  return [
    { element: row(head.element), show: () => head.show(at(get("lr"))) },
    { element: row(factor.element), show: () => factor.show(get("factor")) },
  ];
}

/** What to be careful about, below the bars. */
function warningOf(get) {
  const element = h("div", { class: "lk-warning", role: "status" });
  const show = () => {
    const training = groupsOf(get).filter((g) => !g.frozen);
    element.textContent = warningFor(training.map((g) => g.lr), get("pretrained"));
  };
  return { element, show };
}

/** Spread the lrs anew where another widget has moved that of the head. */
function spreadShared(get, change) {
  const lrs = get("lrs"), n = lrs.length;
  if (lrs[n - 1] !== get("lr")) change({ lrs: spread(get("lr"), n, get("factor")) });
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name), box = root(el, "Layer groups");
  const change = (values) => { send(model, values); whole(); };
  const pull = (k, lr) => change(k < 0 ? {} : withLr(get("lrs"), k, lr)), chart = bars(pull, signal);
  const rows = [
    warningOf(get), ...spreaders(get, change, signal),
    ...get("names").map((_, k) => groupRow(k, get, change, signal)),
  ];
  let width = 640;

  function paint() {                                     // what each group learns with now, in a running fit
    const groups = groupsOf(get), now = get("now");
    chart.follow(groups.map((g, k) => (now.length === groups.length && !g.frozen ? now[k] : 0)));
  }
  function whole() {
    chart.draw(groupsOf(get), width);
    rows.forEach((one) => one.show());
    paint();
  }

  box.append(chart.element, ...rows.map((one) => one.element));
  return endAll([
    onWidth(box, (w) => { width = w; whole(); }), onChange(model, ["now"], perFrame(paint)),
    onChange(model, ["lr"], perFrame(() => spreadShared(get, change))),
    onChange(model, ["lr", "lrs", "factor", "frozen_to", "norms", "busy"], perFrame(whole)),
  ]);
}

export default { render };
