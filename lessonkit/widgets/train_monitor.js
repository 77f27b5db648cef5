// TrainMonitor: a run as it happens, with Stop and Pause that work while the cell runs.
import { button, h, onChange, onWidth, perFrame, root, send } from "./kit.js";
import { bar, drawTable, latest, place, runPlots } from "./run.js";

const PATIENCE = 300;                                    // ms until the kernel is taken to be deaf while it works

/** What the buttons may do in a state. */
export function buttons(state) {
  return { stop: state === "running" || state === "paused", pause: state === "running" || state === "paused", pauseText: state === "paused" ? "go on" : "pause" };
}

/** Interrupt a kernel through the server's own interface, as its menu does. */
async function interrupt(kernel) {
  const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "{}");
  const xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)?.[1];
  const headers = { ...(xsrf ? { "X-XSRFToken": decodeURIComponent(xsrf) } : {}), ...(config.token ? { Authorization: `token ${config.token}` } : {}) };
  const answer = await fetch(`${config.baseUrl ?? "/"}api/kernels/${kernel}/interrupt`, { method: "POST", headers });
  if (!answer.ok) throw new Error(`the server says ${answer.status}`);
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name);
  const box = root(el, "Training monitor"), head = h("div", { class: "lk-big" }), values = h("div", { class: "lk-soft" });
  const note = h("div", { class: "lk-warning", role: "status" }), table = h("table"), plots = runPlots(), progress = bar();
  const stop = button("stop", () => ask("stop"), signal), pause = button("pause", () => ask(get("state") === "paused" ? "go" : "pause"), signal);
  let width = 640, waiting = null;

  function ask(command) {
    send(model, { command: { what: command, id: Math.random().toString(36).slice(2) } });
    const { id } = get("command");
    clearTimeout(waiting);
    waiting = setTimeout(async () => {                   // no answer: this kernel hears nothing while a cell runs
      if (get("heard") === id || !["running", "paused"].includes(get("state"))) return;
      if (command === "stop" && get("kernel")) {
        try { await interrupt(get("kernel")); } catch (e) { note.textContent = `Stop did not reach the kernel (${e.message}): use the menu Kernel, Interrupt.`; }
      } else note.textContent = command === "stop" ? "Stop did not reach the kernel: interrupt it (the ■ above)."
        : "This kernel hears nothing while a cell runs, so there is no pause; stop works.";
    }, PATIENCE);
  }

  function draw() {
    const run = get("run"), can = buttons(get("state"));
    head.textContent = place(run);
    values.textContent = [["running", "idle"].includes(get("state")) ? "" : get("state"), latest(run)].filter(Boolean).join(" · ");
    stop.disabled = !can.stop;
    pause.disabled = !can.pause;
    pause.textContent = can.pauseText;
    if (get("message")) note.textContent = get("message"); else if (get("state") !== "running") note.textContent = "";
    progress.show(run);
    for (const element of [progress.element, table, ...plots.elements]) element.hidden = !run.step;
    if (!run.step) return;
    plots.draw(run, width);
    drawTable(table, run);
  }

  const row = h("div", { class: "lk-row" }, stop, pause, values);
  if (get("static")) row.replaceChildren(values);
  box.append(head, progress.element, row, note, ...plots.elements, table);
  const ends = [onWidth(box, (w) => { width = w - 8; draw(); }), onChange(model, ["run", "state", "message"], perFrame(draw))];
  return () => { clearTimeout(waiting); ends.forEach((end) => end()); };
}

export default { render };
