// Results: what a network takes for what, lists of pictures to look at, and the pictures themselves.
import { choice, h, onChange, perFrame, root, row, send, set } from "./kit.js";
import { formatNumber } from "./numbers.js";

// ---- what draws nothing ----

/** The name of a list, as Python spells it: no folder has a slash in its name. */
export const nameOf = (chosen) => chosen.join("/");

/** How strong a cell's tint is, in percent: few mistakes can be seen, and the count can be read on all. */
export const tint = (n, total) => (n ? Math.round(10 + 42 * Math.sqrt(n / total)) : 0);

/** A probability in percent; only what is certain is 0 or 100. */
export function percent(p) {
  if (p > 0 && p < 0.005) return "<1%";
  return p < 1 && p >= 0.995 ? ">99%" : `${Math.round(100 * p)}%`;
}

/**
 * Where a key leads from place `k` of `n` in rows of `columns`; undefined for another key. `flow`: a row goes
 * on in the next one, as pictures do; a table's does not.
 */
export function moved(k, key, n, columns, flow) {
  const first = flow ? 0 : k - (k % columns), last = flow ? n - 1 : first + columns - 1;
  const to = {
    ArrowLeft: Math.max(first, k - 1), ArrowRight: Math.min(last, k + 1), Home: first, End: last,
    ArrowUp: k - columns, ArrowDown: k + columns,
  }[key];
  return to === undefined || (to >= 0 && to < n) ? to : k;
}

/** How many pictures a list has; undefined for a pair of classes of which the page was not told. */
export function countOf(chosen, { classes, table, counts, ranks }) {
  const [list, is, said] = chosen, sum = (k) => table.reduce((all, line) => all + line[k], 0);
  const [n, right] = table[classes.indexOf(is)] ?? [sum(0), sum(1)];
  if (is === said && list === "cell") return right;
  if (list !== "cell") return list === "most unsure" ? n : n - right;
  const rank = ranks.find(([other]) => nameOf(other) === nameOf(chosen));
  return rank ? rank[1] : counts[classes.indexOf(is)]?.[classes.indexOf(said)];
}

/** Of a class, how much of it was found, and how much of what was named so is right. */
function ofClass(name, [n, right, said]) {
  const found = `${name}: ${right} of ${n} were found (recall ${formatNumber(right / n)})`;
  const part = formatNumber(right / said);
  const named = `of ${said} that were named so, ${right} are (precision ${part})`;
  const end = n > right ? "Those named wrong:" : "None was named wrong.";
  return `${found}; ${said ? named : "nothing was named so"}. ${end}`;
}

/** A list in words. */
export function describe(chosen, data) {
  const [list, is, said] = chosen, { classes, table } = data, line = table[classes.indexOf(is)];
  const all = table.reduce((sum, [n]) => sum + n, 0), of = countOf(chosen, data);
  const were = of === 1 ? "was" : "were";
  if (list === "most unsure") return "The least sure first: where the two best guesses are closest.";
  if (list === "most wrong") {
    return of ? `${of} of ${all} ${were} named wrong: highest loss first.` : `All ${all} were named right.`;
  }
  if (!line[0]) return `There is no picture of ${is} to look at.`;
  if (list === "class") return ofClass(is, line);
  if (of === 0) return `No picture of ${is} was ${is === said ? "named right" : `taken for ${said}`}.`;
  const some = of === undefined ? "Some" : `${of} of ${line[0]}`;
  return `${some} pictures of ${is} ${were} ${is === said ? "named right" : `taken for ${said}`}.`;
}

/** What is not shown of a list of `of` pictures. */
export function remainder(shown, of, page) {
  if (shown === (of ?? shown)) return "";
  if (!page) return `The first ${shown} of ${of}.`;
  return shown ? `${shown} of ${of} are on this page; the others need the notebook.`
    : `To see ${of === 1 ? "it" : "them"}, run the notebook: this page holds only some of the pictures.`;
}

/** Tile `k` of a sheet, whose tiles of `size` px have lines of 2 px between them, as a background. */
export function tileOf(k, { columns, rows, size }) {
  const whole = (n) => `${(100 * (n * (size + 2) - 2)) / size}%`;
  const at = (i, n) => `${n > 1 ? (100 * i) / (n - 1) : 0}%`;
  const place = `${at(k % columns, columns)} ${at(Math.floor(k / columns), rows)}`;
  return `background:var(--lk-sheet) ${place} / ${whole(columns)} ${whole(rows)}`;
}

// ---- keys ----

const MINE = { "data-lm-suppress-shortcuts": "true" };   // arrow keys that JupyterLab leaves alone

/**
 * One element of `elements()` at a time is in the tab order, arrow keys go from one to the next. `act(k)` is
 * what Enter, Space and a click do, `go(k)` what follows a move. Returns a function that picks one.
 */
function rove(box, elements, { columns, flow, act, go = () => {} }, signal) {
  const pick = (k) => elements().forEach((e, i) => set(e, { tabindex: i === k ? "0" : "-1" }));
  box.addEventListener("keydown", (e) => {
    const all = elements(), k = all.indexOf(e.target), enter = e.key === "Enter" || e.key === " ";
    const to = enter ? k : moved(k, e.key, all.length, columns(), flow);
    if (k < 0 || to === undefined || e.ctrlKey || e.altKey || e.metaKey) return;
    e.preventDefault();
    e.stopPropagation();
    pick(to);
    all[to].focus();
    (enter ? act : go)(to);
  }, { signal });
  box.addEventListener("click", (e) => {
    const k = elements().indexOf(e.target.closest("[tabindex]"));
    if (k >= 0) { pick(k); act(k); }
  }, { signal });
  return pick;
}

// ---- what was taken for what ----

const look = (right) => (right ? "lk-right" : "lk-wrong");

/** A cell of the table: how many pictures of class `i` were taken for class `j`. */
function cellOf(data, i, j) {
  const { classes, table, counts } = data, n = counts[i][j];
  const words = describe(["cell", classes[i], classes[j]], data);
  const names = { role: "gridcell", tabindex: "-1", "aria-label": words, title: words, ...MINE };
  const style = `--lk-tint:${tint(n, table[i][0])}%`, color = n ? look(i === j) : "lk-soft";
  return h("td", { ...names, style, class: color, text: String(n) });
}

/** The table of all classes: in a row what the pictures are, in a column what was said. */
function tableOf({ classes }, cells) {
  const n = classes.length, up = { col: n > 3 ? "lk-up" : "", row: "" };
  const name = (scope, role) => (text) =>
    h("th", { role, scope, title: text }, h("span", { text, class: up[scope] }));
  const lines = classes.map(name("row", "rowheader")).map((head, i) =>
    h("tr", { role: "row" }, head, ...cells.slice(i * n, (i + 1) * n)));
  const corner = h("th", { role: "columnheader", text: "is ↓ said →" });
  const label = "How often each class, in a row, was taken for each, in a column";
  return h("table", { class: `lk-matrix ${n > 8 ? "lk-many" : ""}`, role: "grid", "aria-label": label },
    h("tr", { role: "row" }, corner, ...classes.map(name("col", "columnheader"))), ...lines);
}

/** That table, each cell opening its pictures. */
function matrixOf(data, open, signal) {
  const { classes } = data, n = classes.length, at = (k) => [Math.floor(k / n), k % n];
  const cells = Array.from({ length: n * n }, (_, k) => cellOf(data, ...at(k))), table = tableOf(data, cells);
  const act = (k) => open("cell", ...at(k).map((i) => classes[i]));
  const pick = rove(table, () => cells, { columns: () => n, act }, signal);
  pick(0);
  const show = ([list, is, said]) => {
    const chosen = list === "cell" ? classes.indexOf(is) * n + classes.indexOf(said) : -1;
    if (chosen >= 0) pick(chosen);
    cells.forEach((cell, k) => set(cell, { "aria-selected": String(k === chosen) }));
  };
  return { element: h("div", { class: "lk-scroll" }, table), show };
}

/** For too many classes for a table: the most confused pairs and the worst classes, each opening its own. */
function ranksOf({ ranks }, open, signal) {
  const buttons = ranks.map(([[, ...names], n, of]) => h("button", { type: "button", ...MINE },
    h("bdi", { text: names.join(" → ") }), h("span", { class: "lk-soft", text: `${n} of ${of}` })));
  const group = (kind, text) => h("div", { class: "lk-rank" }, h("div", { class: "lk-label", text }),
    ...buttons.filter((_, k) => ranks[k][0][0] === kind));
  const label = "confused pairs, worst classes";
  const element = h("div", { class: "lk-ranks", role: "toolbar", "aria-label": label },
    group("cell", "most often taken for another"), group("class", "least often found"));
  rove(element, () => buttons, { columns: () => 1, flow: true, act: (k) => open(...ranks[k][0]) }, signal)(0);
  const show = (chosen) => ranks.forEach(([list], k) =>
    set(buttons[k], { "aria-pressed": String(nameOf(list) === nameOf(chosen)) }));
  return { element, show };
}

/** The lists that need no cell. */
function listsOf({ classes }, open, signal) {
  const options = ["most wrong", "most unsure"].map((text) => [text, text]);
  const two = choice({ label: "pictures", options, value: "", onchange: (list) => open(list), signal });
  const one = h("select", { "aria-label": "those named wrong of one class", ...MINE },
    h("option", { value: "", text: "of one class …" }),
    ...classes.map((text, value) => h("option", { value: String(value), text })));
  one.addEventListener("keydown", (e) => e.stopPropagation(), { signal });
  one.addEventListener("change", () => { if (one.value) open("class", classes[one.value]); }, { signal });
  const show = ([list, is]) => {
    two.show(list);
    one.value = list === "class" ? String(classes.indexOf(is)) : "";
  };
  return { element: row(two.element, one), show };
}

// ---- the pictures ----

/** A small picture, with what it is and what was said below it. */
function thumb({ is, top: [[said, p]], file, tile }, classes, sheet) {
  const right = is === said, words = `${classes[said]} ${percent(p)}`;
  const label = `${classes[is]}, ${right ? "named right" : "taken for"} ${words}, ${file}`;
  const names = { role: "option", tabindex: "-1", "aria-label": label, title: file, ...MINE };
  return h("div", { class: "lk-thumb", ...names },
    h("div", { class: "lk-tile", style: tileOf(tile, sheet) }), h("div", { text: classes[is] }),
    h("div", { class: `lk-said ${look(right)}` }, h("span", { text: classes[said] }), percent(p)));
}

/** A probability as a bar: of what it is, of what was said in its place, or of another class. */
function barOf([k, p], { is, top: [[said]] }, classes) {
  const color = k === is || k === said ? look(k === is) : "lk-soft";
  const fill = h("i", { style: `width:${100 * p}%`, class: color });
  return h("div", { class: "lk-prob", role: "listitem" },
    h("span", { text: `${k === is ? "✓ " : ""}${classes[k]}`, title: classes[k] }),
    h("span", { class: "lk-bar" }, fill), percent(p));
}

/** The picture in focus, larger, and how sure the network is of what. */
function detailOf(picture, classes, sheet, large) {
  const { is, top, file, at, tile } = picture, said = classes[top[0][0]], right = is === top[0][0];
  const style = large.at === at ? `background:url(${large.url}) 0 0 / 100%` : tileOf(tile, sheet);
  const text = right ? `${said}, named right` : `${classes[is]}, taken for ${said}`;
  const bars = top.map((one) => barOf(one, picture, classes));
  return [
    h("div", { class: "lk-tile", role: "img", "aria-label": `${text}: ${file}`, style }),
    h("div", null, h("div", { class: "lk-big", text }), h("bdi", { class: "lk-soft", text: file }),
      h("div", { role: "list", "aria-label": "probabilities" }, ...bars)),
  ];
}

/** The small pictures of a list; `focus(at)` is called with the one that is gone to. */
function galleryOf(classes, focus, signal) {
  const element = h("div", { class: "lk-gallery", role: "listbox", "aria-label": "pictures" });
  let shown = [], thumbs = [];
  const columns = () => thumbs.filter((e) => e.offsetTop === thumbs[0].offsetTop).length;
  const go = (k) => focus(shown[k].at), flow = true;
  const pick = rove(element, () => thumbs, { columns, flow, act: go, go }, signal);
  const fill = (pictures, sheet) => {
    shown = pictures;
    thumbs = pictures.map((picture) => thumb(picture, classes, sheet));
    element.replaceChildren(...thumbs);
  };
  const show = (k) => {
    pick(k);
    thumbs.forEach((e, i) => set(e, { "aria-selected": String(i === k) }));
  };
  return { element, fill, show };
}

/** A list that is opened: its words, its pictures, and what is not shown of it. */
function fill({ head, note, gallery }, shown, get, data) {
  const chosen = get("chosen");
  head.textContent = describe(chosen, data);
  gallery.fill(shown, get("opened"));
  note.textContent = remainder(shown.length, countOf(chosen, data), get("page"));
}

/** The open list in its parts. It stays, pale, until Python has sent the next one: `draw(box)`. */
function partsOf(get, data, focus, signal) {
  const gallery = galleryOf(data.classes, focus, signal), note = h("div", { class: "lk-soft" });
  const head = h("div", { role: "status" }), detail = h("div", { class: "lk-detail" });
  const late = h("div", { class: "lk-late lk-soft", text: "The kernel is busy until its cell has ended." });
  let filled = null;
  const draw = (box) => {
    const opened = get("opened"), list = opened.lists[nameOf(get("chosen"))], busy = !list && !get("page");
    set(box, { "aria-busy": String(busy) });
    if (busy) return;
    const shown = (list ?? []).map((tile) => ({ ...opened.pictures[tile], tile }));
    const k = Math.max(0, shown.findIndex(({ at }) => at === get("looked"))), picture = shown[k];
    box.style.setProperty("--lk-sheet", `url(${opened.sheet})`);
    if (!list || list !== filled) fill({ head, note, gallery }, shown, get, data);
    filled = list;
    gallery.show(k);
    detail.replaceChildren(...(picture ? detailOf(picture, data.classes, opened, get("large")) : []));
  };
  return { head, late, detail, draw, pictures: h("div", { class: "lk-pictures" }, gallery.element, note) };
}

/** What was counted, which does not change. */
function countsOf(get) {
  return Object.fromEntries(["classes", "table", "counts", "ranks"].map((name) => [name, get(name)]));
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name), box = root(el, "What the network gets right and wrong");
  const data = countsOf(get), open = (...chosen) => send(model, { chosen });
  const [big, soft] = get("summary").split(": "), lists = listsOf(data, open, signal);
  const map = (data.counts.length ? matrixOf : ranksOf)(data, open, signal);
  const parts = partsOf(get, data, (looked) => send(model, { looked }), signal);
  const draw = () => {
    for (const part of [lists, map]) part.show(get("chosen"));
    parts.draw(box);
  };
  const left = h("div", { class: "lk-left" }, map.element, parts.detail);
  const top = row(h("span", { class: "lk-big", text: big }), h("span", { class: "lk-soft", text: soft }));
  box.append(top, lists.element, parts.head, parts.late,
    h("div", { class: "lk-split" }, left, parts.pictures));
  draw();
  return onChange(model, ["chosen", "opened", "looked", "large"], perFrame(draw));
}

export default { render };
