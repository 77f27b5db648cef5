// Bet: a question with a few answers. What the reader bets on is kept, and shown beside what happened.
import { choice, h, onChange, root, send } from "./kit.js";

/** What is said below the answers. @param {string} chosen @param {string} outcome @param {string} why */
export function verdict(chosen, outcome, why) {
  if (!outcome) return chosen ? `Your bet: ${chosen}.` : "Make your bet before you go on.";
  const start = !chosen ? "You made no bet." : chosen === outcome ? `Your bet: ${chosen}. It is right.`
    : `Your bet: ${chosen}. It is not.`;
  return `${start} What happened: ${outcome}.${why ? ` ${why}` : ""}`;
}

// on a page without a kernel the question and its outcome are two widgets: they tell each other through this
const kept = (globalThis.lessonkitBets ??= { chosen: {}, on: [] });

function render({ model, el, signal }) {
  const get = (name) => model.get(name), box = root(el, "Bet", "lk-bet"), alone = get("page");
  const said = h("div", { role: "status" });
  const answers = choice({ label: get("question"), options: get("options").map((o) => [o, o]), value: get("chosen"), signal,
    onchange: (v) => { send(model, { chosen: v }); draw(); tell(v); } });
  answers.element.querySelector(".lk-label").remove();             // the question stands above, in full size
  box.append(h("div", { class: "lk-big", text: get("question") }), answers.element, said);

  function tell(v) {
    if (!alone) return;
    kept.chosen[get("question")] = v;
    kept.on.forEach((hear) => hear());
  }

  function draw() {
    const chosen = (alone && kept.chosen[get("question")]) || get("chosen"), outcome = get("outcome");
    answers.show(chosen);
    for (const input of answers.element.querySelectorAll("input")) input.disabled = Boolean(outcome);
    box.dataset.right = outcome && chosen ? String(chosen === outcome) : "";
    said.textContent = verdict(chosen, outcome, get("why"));
  }

  draw();
  if (alone) kept.on.push(draw);
  return onChange(model, ["chosen", "outcome", "why"], draw);
}

export default { render };
