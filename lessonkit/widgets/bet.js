// Bet: a question with a few answers. What the reader bets on is kept, and shown beside what happened.
import { choice, h, onChange, root, send } from "./kit.js";

/** What is said below the answers. @param {string} chosen @param {string} outcome @param {string} why */
export function verdict(chosen, outcome, why) {
  if (!outcome) return chosen ? `Your bet: ${chosen}.` : "Make your bet before you go on.";
  const right = chosen === outcome ? "It is right." : "It is not.";
  const start = chosen ? `Your bet: ${chosen}. ${right}` : "You made no bet.";
  return `${start} What happened: ${outcome}.${why ? ` ${why}` : ""}`;
}

// on a page without a kernel the question and its outcome are two widgets: they tell each other through this
const kept = (globalThis.lessonkitBets ??= { chosen: {}, on: [] });

function tell(question, chosen) {
  kept.chosen[question] = chosen;
  kept.on.forEach((hear) => hear());
}

/** The question's answers as radio buttons, without its label: it stands above them, in full size. */
function answersOf(get, onchange, signal) {
  const options = get("options").map((o) => [o, o]);
  const answers = choice({ label: get("question"), options, value: get("chosen"), onchange, signal });
  answers.element.querySelector(".lk-label").remove();
  return answers;
}

function render({ model, el, signal }) {
  const get = (name) => model.get(name), box = root(el, "Bet", "lk-bet"), alone = get("page");
  const said = h("div", { role: "status" });
  const answers = answersOf(get, (chosen) => {
    send(model, { chosen });
    draw();
    if (alone) tell(get("question"), chosen);
  }, signal);
  box.append(h("div", { class: "lk-big", text: get("question") }), answers.element, said);

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
