// AugmentPreview: the same pictures under each preset, strength and size. Would you still label this?
import { button, choice, h, onChange, perFrame, root, row, send, slider } from "./kit.js";

/** The name of a sheet of pictures. */
export const key = (preset, strength, size, seed) =>
  [preset, preset === "none" ? 1 : strength, size, seed].join("|");

/** The sheet to show where the one asked for is not there: the same preset, the nearest strength. */
export function nearestSheet(keys, wanted) {
  if (keys.includes(wanted)) return wanted;
  const [preset, strength] = wanted.split("|");
  const same = keys.filter((k) => k.split("|")[0] === preset);
  const far = (k) => Math.abs(Number(k.split("|")[1]) - Number(strength));
  return same.sort((a, b) => far(a) - far(b))[0] ?? null;
}

/** The controls, each with a `show` that sets it to what the model holds. */
function controls(get, change, signal) {
  const sizes = get("sizes"), options = get("presets").map((p) => [p, p]);
  const preset = choice({
    label: "augmentation", options, value: get("preset"), onchange: (v) => change({ preset: v }), signal,
  });
  const strength = slider({
    label: "strength", min: 0, max: 2, step: 0.25, value: get("strength"), signal,
    text: (v) => (v === 1 ? "as it is" : `${v} times that`), oninput: (v) => change({ strength: v }),
  });
  const size = slider({
    label: "size", min: 0, max: sizes.length - 1, value: sizes.indexOf(get("size")), signal,
    text: (k) => `${sizes[k]} px`, oninput: (k) => change({ size: sizes[k] }),
  });
  const show = () => {
    preset.show(get("preset"));
    strength.show(get("strength"));
    size.show(sizes.indexOf(get("size")));
  };
  return { preset: preset.element, sliders: row(strength.element, size.element), show };
}

/** Show the sheet that is asked for, or the nearest; grey while the kernel still draws it. */
function showSheet(sheet, get) {
  const [preset, strength, size, sheets] = ["preset", "strength", "size", "sheets"].map(get);
  const wanted = key(preset, strength, size, get("seed")), shown = nearestSheet(Object.keys(sheets), wanted);
  if (shown && sheet.dataset.key !== shown) {
    sheet.dataset.key = shown;
    sheet.src = sheets[shown];
  }
  const how = `augmented by ${preset}, strength ${strength}, at ${size} px`;
  sheet.alt = `Pictures of ${get("labels").join(", ")}: first as they are, below them ${how}`;
  sheet.style.opacity = shown === wanted || get("page") ? 1 : 0.5;
}

/** The sheet with a word at the first row, which is as it is, and at the second, which is not. */
function withWords(sheet, n) {
  const [first, second] = ["as it is", "augmented"].map((text) => h("span", { text, "aria-hidden": "true" }));
  sheet.addEventListener("load", () => {
    const rows = Math.round((n * sheet.naturalHeight) / sheet.naturalWidth);
    second.style.top = `${100 / rows}%`;
    second.hidden = sheet.dataset.key.startsWith("none|");
  });
  first.style.top = 0;
  return h("div", { class: "lk-sheets" }, sheet, first, second);
}

/** The label of each column. */
function labelsOf(labels) {
  const columns = `grid-template-columns:repeat(${labels.length},1fr)`;
  return h("div", { style: `display:grid;${columns};gap:2px;text-align:center` },
    ...labels.map((text) => h("span", { class: "lk-soft", text })));
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name), box = root(el, "Augmentation preview");
  const sheet = h("img", { class: "lk-sheet" }), about = h("div", { class: "lk-soft", role: "status" });
  const change = (values) => { send(model, values); draw(); };
  const { preset, sliders, show } = controls(get, change, signal);
  const again = button("draw anew", () => change({ seed: get("seed") + 1 }), signal);

  function draw() {
    const words = get("words")[get("preset")] ?? "";
    showSheet(sheet, get);
    about.textContent = get("preset") === "none" ? "" : `${words} Would you still label each of them?`;
  }

  const names = labelsOf(get("labels")), alone = get("page");   // a page has no kernel that could draw
  const below = alone ? row(about) : row(again, about);
  box.append(preset, ...(alone ? [] : [sliders]), names, withWords(sheet, get("labels").length), below);
  draw();
  const traits = ["preset", "strength", "size", "seed", "sheets"];
  return onChange(model, traits, perFrame(() => { show(); draw(); }));
}

export default { render };
