// LayerGroups: which layers learn, and how fast.
import { clamp, formatCount, formatLr, h, nearest, onChange, onWidth, perFrame, plot, root, s, scale, send, set, slider, toggle } from "./kit.js";

export const LRS = Array.from({ length: 193 }, (_, k) => Number((10 ** (-8 + k / 24)).toPrecision(2)));
const COLORS = ["--lk-blue", "--lk-orange", "--lk-green", "--lk-pink", "--lk-sky", "--lk-yellow"];

/** One lr a group, the last `lr`, each earlier one `factor` times lower (as spread_lrs). */
export function spread(lr, n, factor) {
  return Array.from({ length: n }, (_, k) => lr / factor ** (n - 1 - k));
}

/** What a factor is for. */
export function meaning(factor) {
  const times = `${Number(factor.toFixed(1))}x a group`;
  if (factor < 2) return `${times}: nothing to protect, as from scratch`;
  if (factor <= 4) return `${times}: pictures like those it was pretrained on`;
  return factor < 8 ? `${times}: somewhat unlike those it was pretrained on` : `${times}: pictures unlike those it was pretrained on`;
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name), n = get("names").length, all = [...Array(n).keys()];
  const box = root(el, "Layer groups"), chart = plot("Learning rate of each layer group"), note = h("div", { class: "lk-warning", role: "status" });
  const color = (k) => COLORS[(n - 1 - k) % COLORS.length];
  const at = (lr) => nearest(LRS, lr, true);
  const respread = (lr, factor) => { send(model, { lr, factor, lrs: spread(lr, n, factor) }); whole(); };
  const head = slider({ label: "lr of the head", min: 0, max: LRS.length - 1, value: at(get("lr")), signal, text: () => formatLr(get("lr")), oninput: (k) => respread(LRS[k], get("factor")) });
  const factor = slider({ label: "likeness", min: 1, max: 10, step: 0.5, value: get("factor"), signal, text: meaning, oninput: (v) => respread(get("lr"), v) });
  const rows = all.map((k) => {
    const lr = slider({
      label: "lr", min: 0, max: LRS.length - 1, value: at(get("lrs")[k]), signal, className: "lk-grouplr",
      text: () => (k < get("frozen_to") ? "frozen" : formatLr(get("lrs")[k])),
      oninput: (i) => { const lrs = [...get("lrs")]; lrs[k] = LRS[i]; send(model, k === n - 1 ? { lrs, lr: LRS[i] } : { lrs }); whole(); },
    });
    lr.input.setAttribute("aria-label", `lr of ${get("names")[k]}`);
    const train = toggle({ label: `train ${get("names")[k]}`, text: "train", value: k >= get("frozen_to"), signal,
      onchange: (on) => { send(model, { frozen_to: on ? k : Math.min(k + 1, n - 1) }); whole(); } });
    const about = h("span", { class: "lk-soft" });
    return { lr, train, about, element: h("div", { class: "lk-row" }, h("span", { style: "flex:1 1 210px" }, h("i", { class: "lk-swatch", style: `background:var(${color(k)})` }), h("b", { text: get("names")[k] }), " ", about), train.element, lr.element) };
  });
  let width = 640, x, ticks = [];

  function whole() {
    const lrs = get("lrs"), frozen = get("frozen_to"), height = 30 + 26 * n + 40;
    const low = 10 ** Math.floor(Math.log10(Math.min(...lrs)) - 0.5), high = 10 ** Math.ceil(Math.log10(Math.max(...lrs)) + 0.1);
    x = scale(low, high, 14, width - 60, true, width / 70);
    const y = { from: height - 40, end: 12, ticks: [], to: (v) => v };
    chart.draw({ width, height, x, y, xlabel: "learning rate", xtext: formatLr });
    chart.marks.replaceChildren(...all.map((k) => s("rect", { x: x.from, y: 20 + 26 * k, height: 16, rx: 2, width: k < frozen ? 0 : Math.max(2, x.to(lrs[k]) - x.from), fill: `var(${color(k)})` })));
    ticks = all.map((k) => s("line", { y1: 16 + 26 * k, y2: 40 + 26 * k, stroke: "var(--lk-fg)", "stroke-width": 2.5 }));
    chart.over.replaceChildren(...all.map((k) => s("text", { x: (k < frozen ? x.from : x.to(lrs[k])) + 6, y: 32 + 26 * k, class: "lk-title", text: k < frozen ? "frozen" : formatLr(lrs[k]) })), ...ticks);
    head.show(at(get("lr")));
    factor.show(get("factor"));
    note.textContent = get("message");
    all.forEach((k) => {
      rows[k].lr.show(at(lrs[k]));
      rows[k].lr.input.disabled = k < frozen;
      rows[k].train.input.checked = k >= frozen;
      rows[k].train.input.disabled = get("busy") || k === n - 1;
      rows[k].about.textContent = `${formatCount(get("n_params")[k])} weights${get("norms")[k] ? `, batch norm ${get("norms")[k]}` : ""}`;
    });
    set(chart.element, { "aria-label": `Learning rate of each layer group: ${all.map((k) => `${get("names")[k]} ${k < frozen ? "frozen" : formatLr(lrs[k])}`).join(", ")}` });
    paint();
  }

  function paint() {                                     // what each group learns with now, in a running fit
    const now = get("now");
    ticks.forEach((tick, k) => {
      const shown = now.length === n && now[k] > 0 && k >= get("frozen_to");
      const px = shown ? clamp(x.to(now[k]), x.from, x.end) : 0;
      set(tick, { x1: px, x2: px, visibility: shown ? null : "hidden" });
    });
  }

  box.append(chart.element, h("div", { class: "lk-row" }, head.element), h("div", { class: "lk-row" }, factor.element), ...rows.map((r) => r.element), note);
  const ends = [
    onWidth(box, (w) => { width = w - 8; whole(); }), onChange(model, ["now"], perFrame(paint)),
    onChange(model, ["lr", "lrs", "factor", "frozen_to", "norms", "busy", "message"], perFrame(whole)),
  ];
  return () => ends.forEach((end) => end());
}

export default { render };
