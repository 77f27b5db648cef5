// AugmentPreview: the same pictures under each preset, strength and size. Would you still label this?
import { button, choice, h, onChange, perFrame, root, send, slider } from "./kit.js";

/** The name of a sheet of pictures. */
export const key = (preset, strength, size, seed) => [preset, preset === "none" ? 1 : strength, size, seed].join("|");

/** The sheet to show where the one asked for is not there: the same preset, the nearest strength. */
export function nearestSheet(keys, wanted) {
  if (keys.includes(wanted)) return wanted;
  const [preset, strength] = wanted.split("|");
  const same = keys.filter((k) => k.split("|")[0] === preset);
  const far = (k) => Math.abs(Number(k.split("|")[1]) - Number(strength));
  return same.sort((a, b) => far(a) - far(b))[0] ?? null;
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name);
  const box = root(el, "Augmentation preview"), sheet = h("img", { class: "lk-sheet" }), about = h("div", { class: "lk-soft", role: "status" });
  const change = (values) => { send(model, values); draw(); };
  const preset = choice({ label: "augmentation", options: get("presets").map((p) => [p, p]), value: get("preset"), onchange: (v) => change({ preset: v }), signal });
  const strength = slider({ label: "strength", min: 0, max: 2, step: 0.25, value: get("strength"), signal, text: (v) => `${v} times`, oninput: (v) => change({ strength: v }) });
  const size = slider({ label: "size", min: 0, max: get("sizes").length - 1, value: get("sizes").indexOf(get("size")), signal,
    text: (k) => `${get("sizes")[k]} px`, oninput: (k) => change({ size: get("sizes")[k] }) });
  const again = button("draw anew", () => change({ seed: get("seed") + 1 }), signal);

  function draw() {
    const wanted = key(get("preset"), get("strength"), get("size"), get("seed")), shown = nearestSheet(Object.keys(get("sheets")), wanted);
    if (shown && sheet.dataset.key !== shown) { sheet.src = get("sheets")[shown]; sheet.dataset.key = shown; }
    sheet.alt = `Pictures of ${get("labels").join(", ")}: first as they are, below them augmented by ${get("preset")}, strength ${get("strength")}, at ${get("size")} px`;
    sheet.style.opacity = shown === wanted || get("page") ? 1 : 0.5;
    about.textContent = get("preset") === "none" ? "" : `${get("words")[get("preset")] ?? ""} Would you still label each of them?`;
  }

  const names = h("div", { style: `display:grid;grid-template-columns:repeat(${get("labels").length},1fr);gap:2px;text-align:center` },
    ...get("labels").map((text) => h("span", { class: "lk-soft", text })));
  box.append(...[preset.element, get("page") ? null : h("div", { class: "lk-row" }, strength.element, size.element), names, sheet, h("div", { class: "lk-row" }, get("page") ? null : again, about)].filter(Boolean));
  draw();
  const ends = [onChange(model, ["preset", "strength", "size", "seed", "sheets"], perFrame(() => {
    preset.show(get("preset"));
    strength.show(get("strength"));
    size.show(get("sizes").indexOf(get("size")));
    draw();
  }))];
  return () => ends.forEach((end) => end());
}

export default { render };
