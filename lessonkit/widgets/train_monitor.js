// TrainMonitor: a run as it happens, with Stop and Pause that work while the cell runs.
import { button, endAll, h, onChange, onWidth, perFrame, root, row, send, set } from "./kit.js";
import { bar, drawTable, latest, place, remark, runPlots, tableBox } from "./run.js";

const PATIENCE = 300;                                    // ms until a kernel that works is taken to be deaf

const working = (state) => state === "running" || state === "paused";

/** What the buttons may do in a state. */
export function buttons(state) {
  return { stop: working(state), pause: working(state), pauseText: state === "paused" ? "go on" : "pause" };
}

/** The state, where it says something, and how the run goes. */
export function headline(state, run) {
  return [["running", "idle"].includes(state) ? "" : state, latest(run)].filter(Boolean).join(" · ");
}

/** The headers by which JupyterLab's server knows its own page. */
export function credentials(cookie, token) {
  const xsrf = cookie.match(/(?:^|; )_xsrf=([^;]*)/)?.[1];
  return {
    ...(xsrf ? { "X-XSRFToken": decodeURIComponent(xsrf) } : {}),
    ...(token ? { Authorization: `token ${token}` } : {}),
  };
}

/** Interrupt a kernel through the server's own interface, as its menu does. */
async function interrupt(kernel) {
  const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "{}");
  const answer = await fetch(`${config.baseUrl ?? "/"}api/kernels/${kernel}/interrupt`,
    { method: "POST", headers: credentials(document.cookie, config.token) });
  if (!answer.ok) throw new Error(`the server says ${answer.status}`);
}

/** What is left to do where the kernel hears nothing while a cell runs; gives what to say, if anything. */
async function withoutHearing(command, kernel) {
  if (command !== "stop") {
    return "This kernel hears nothing while a cell runs, so there is no pause; stop works.";
  }
  if (!kernel) return "Stop did not reach the kernel: interrupt it (the ■ above).";
  try {
    await interrupt(kernel);
    return null;
  } catch (e) {
    return `Stop did not reach the kernel (${e.message}): use the menu Kernel, Interrupt.`;
  }
}

/** Sends commands, and does without the kernel's ear if it has not heard one after PATIENCE. */
function commander(model, note) {
  const get = (name) => model.get(name);
  let waiting = null;
  const ask = (what) => {
    const id = Math.random().toString(36).slice(2);
    send(model, { command: { what, id } });
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      if (get("heard") === id || !working(get("state"))) return;
      const words = await withoutHearing(what, get("kernel"));
      if (words !== null) note.textContent = words;
    }, PATIENCE);
  };
  return { ask, end: () => clearTimeout(waiting) };
}

/** Stop and Pause; `show()` says what they may do. */
function stopAndPause(get, ask, signal) {
  const can = () => buttons(get("state"));                // a button that is disabled would lose the focus
  const stop = button("stop", () => can().stop && ask("stop"), signal);
  const go = () => ask(get("state") === "paused" ? "go" : "pause");
  const pause = button("pause", () => can().pause && go(), signal);
  const show = () => {
    set(stop, { "aria-disabled": String(!can().stop) });
    set(pause, { "aria-disabled": String(!can().pause), text: can().pauseText });
  };
  return { elements: [stop, pause], show };
}

/** The bar, the plots and the table of a run: hidden before its first update. */
function screen(signal) {
  const table = tableBox(), plots = runPlots(signal), progress = bar();
  const about = h("div", { class: "lk-soft" });
  const all = [progress.element, table, about, ...plots.elements];
  return {
    progress: progress.element, below: [...plots.elements, table, about],
    draw(run, width) {
      progress.show(run);
      for (const element of all) set(element, { hidden: !run.step });
      if (!run.step) return;
      plots.draw(run, width);
      drawTable(table, run);
      about.textContent = remark(run);
    },
  };
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name), box = root(el, "Training monitor");
  const head = h("div", { class: "lk-big" }), values = h("div", { class: "lk-soft" });
  const note = h("div", { class: "lk-warning", role: "status" }), shown = screen(signal);
  const commands = commander(model, note), controls = stopAndPause(get, commands.ask, signal);
  let width = 640;

  function draw() {
    const run = get("run"), state = get("state"), message = get("message");
    head.textContent = place(run);
    values.textContent = headline(state, run);
    controls.show();
    if (message || state !== "running") note.textContent = message;
    shown.draw(run, width);
  }

  const line = row(...(get("static") ? [] : controls.elements), values);
  box.append(head, shown.progress, line, note, ...shown.below);
  return endAll([
    onWidth(box, (w) => { width = w; draw(); }), commands.end,
    onChange(model, ["run", "state", "message"], perFrame(draw)),
  ]);
}

export default { render };
