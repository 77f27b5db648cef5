// The parts of the widgets that draw nothing: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  amount, clamp, formatCount, formatLr, formatNumber, formatTime, linearTicks, logTicks, lrGrid, nearest,
  path, roundLr, scale,
} from "../../lessonkit/widgets/numbers.js";
import {
  cutTo, disagree, grid, lossLimits, valueAt, warningFor, zones,
} from "../../lessonkit/widgets/lr_picker.js";
import { apart, conclusion, ending, progress, smooth, trialLimits } from "../../lessonkit/widgets/trial.js";
import {
  bounds, cycles, dragged, drawnSteps, handleAt, lrAt, summary,
} from "../../lessonkit/widgets/schedule_explorer.js";
import { meaning, spread, warningFor as lrWarning, withLr } from "../../lessonkit/widgets/layer_groups.js";
import { key, nearestSheet } from "../../lessonkit/widgets/augment_preview.js";
import {
  bestOf, countUpTo, latest, lossTop, lrLimits, metricLimits, place, remark, upTo,
} from "../../lessonkit/widgets/run.js";
import { buttons, credentials, headline } from "../../lessonkit/widgets/train_monitor.js";
import { playedTo } from "../../lessonkit/widgets/replay.js";
import {
  countOf, describe, moved, percent, remainder, tileOf, tint,
} from "../../lessonkit/widgets/results.js";
import { verdict } from "../../lessonkit/widgets/bet.js";

test("numbers are written as people write them", () => {
  const lrs = [3.2e-4, 0.01, 1e-5, 0, 0.0012, 12, 1e-7];
  assert.deepEqual(lrs.map(formatLr), ["3.2e-4", "0.01", "1e-5", "0", "0.0012", "12", "1e-7"]);
  assert.deepEqual([0.53219, 1234.5, 2e-5].map(formatNumber), ["0.532", "1234.5", "2.0e-5"]);
  assert.deepEqual([NaN, 0].map(formatNumber), ["–", "0"]);
  assert.deepEqual([0, 999, 1000, 1234567].map(formatCount), ["0", "999", "1,000", "1,234,567"]);
  assert.deepEqual([3, 59.4, 59.6, 125].map(formatTime), ["3 s", "59 s", "1 min 00 s", "2 min 05 s"]);
  assert.deepEqual([3599, 7500, NaN].map(formatTime), ["1 h 00 min", "2 h 05 min", "–"]);
  assert.deepEqual([amount(1, "epoch"), amount(1200, "step", formatCount)], ["1 epoch", "1,200 steps"]);
});

test("ticks lie inside and are round", () => {
  assert.deepEqual(linearTicks(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(linearTicks(0.31, 0.34, 3), [0.31, 0.32, 0.33, 0.34]);
  assert.deepEqual(linearTicks(2, 2), [2]);
  assert.deepEqual(logTicks(1e-7, 1), [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1]);
  assert.deepEqual(logTicks(3e-4, 4e-3), [5e-4, 1e-3, 2e-3]);
  assert.deepEqual(logTicks(1e-8, 10, 5), [1e-8, 1e-6, 1e-4, 0.01, 1]);
});

test("a scale goes there and back", () => {
  for (const log of [false, true]) {
    const x = scale(1e-6, 10, 50, 600, log);
    for (const v of [1e-6, 3e-3, 10]) assert.ok(Math.abs(x.back(x.to(v)) / v - 1) < 1e-9);
    assert.equal(x.to(1e-6), 50);
    assert.equal(x.to(10), 600);
  }
  assert.ok(Number.isFinite(scale(1, 1, 0, 10).to(1)));
});

test("a path breaks where there is no number", () => {
  const x = scale(0, 4, 0, 4), y = scale(0, 4, 4, 0);
  for (const none of [NaN, null, undefined]) {
    assert.equal(path([0, 1, 2, 3], [0, 1, none, 3], x, y), "M0.0,4.0L1.0,3.0M3.0,1.0");
  }
});

test("the nearest by ratio", () => {
  assert.equal(nearest([1e-4, 1e-2, 1], 0.09, true), 1);
  assert.equal(nearest([1e-4, 1e-2, 1], 0.52), 2);
  assert.equal(clamp(5, 0, 3), 3);
});

test("the picker's steps have two digits, and no two are alike", () => {
  const steps = grid(1e-7, 10);
  assert.equal(new Set(steps).size, steps.length);
  assert.ok(steps.every((v) => v === roundLr(v)) && steps.includes(0.001));
  assert.deepEqual([steps[0], steps.at(-1), steps], [1e-7, 10, lrGrid(1e-7, 10)]);
  assert.equal(grid(0, 1, true).length, 201);
});

test("values between the points of a curve, and limits", () => {
  assert.equal(valueAt([0.01, 0.1, 1], [3, 1, 2], 0.1), 1);
  assert.ok(Math.abs(valueAt([0.01, 0.1, 1], [3, 1, 2], Math.sqrt(0.1)) - 1.5) < 1e-12);
  assert.equal(valueAt([0.01, 0.1], [3, 1], 5), 1);
  const [low, high] = lossLimits([2, 2, 2, 1, 50, 100]);
  assert.ok(low < 1 && high < 3);
  assert.ok(disagree({ a: 1e-4, b: 2e-3 }) && !disagree({ a: 1e-4, b: 9e-4 }) && !disagree({}));
});

test("the picker says what to be careful about", () => {
  assert.equal(warningFor({ a: 1e-4, b: 9e-4 }), "");
  assert.match(warningFor({ a: 1e-4, b: 2e-3 }), /ten times apart/);
  assert.match(warningFor({}), /no rule/);
});

test("what is cut leaves ten steps", () => {
  assert.deepEqual(cutTo([0, 20], 0, 15, 30), [15, 15]);
  assert.deepEqual(cutTo([3, 0], 1, 5, 30), [3, 5]);
});

const trial = (...ends) => ends.map((end, k) =>
  ({ lr: [1e-4, 1e-3, 0.01][k], losses: Array.from({ length: 30 }, (_, i) => 2 + ((end - 2) * i) / 29) }));

test("a trial ends with the mean of its last third, and says how sure that is", () => {
  assert.deepEqual(ending([9, 9, 9, 9, 1, 1]), { mean: 1, error: 0 });
  assert.ok(ending([9, 9, 9, 9, 0, 2]).error > 0.7);
  assert.ok(smooth([3, 3, 3]).every((v) => Math.abs(v - 3) < 1e-12));
  assert.ok(smooth([0, 1, 1]).every((v, i, all) => i === 0 || v > all[i - 1]));
  assert.equal(progress(trial(1, 1, 1).map((r) => ({ ...r, losses: r.losses.slice(10) })), 30), "60 of 90");
});

test("a trial comes to a conclusion", () => {
  assert.deepEqual(conclusion(trial(1.9, 1.7, 1.2), 30).lr, 0.01);
  assert.match(conclusion(trial(1.9, 1.7, 1.2), 30).text, /^Ten times the lr reached 1.\d+ against 1.\d+\.$/);
  assert.equal(conclusion(trial(1, 1.7, 1.9), 30).lr, 1e-4);
  const keep = conclusion(trial(1.9, 1, 1.7), 30);
  assert.ok(keep.lr === null && /keep it/.test(keep.text));
  const alike = conclusion(trial(1.5, 1.49, 1.5), 30);
  assert.ok(alike.lr === null && /too close/.test(alike.text));
  const runs = trial(1.9, 1, 1.7);
  runs[2].losses = [2, 50, null];
  assert.match(conclusion(runs, 30).text, /keep it. Ten times it breaks/);
  for (const run of runs) run.losses = [2, null];
  assert.match(conclusion(runs, 30).text, /breaks at all three/);
  runs[0].losses = trial(1.9, 1, 1)[0].losses;
  assert.match(conclusion(runs, 30).text, /against a loss that breaks/);
});

test("the losses of a trial fill its picture, but for what shoots up", () => {
  const [low, high] = trialLimits([[2, 1.8], [2, 1.5], [2, 90, NaN]]);
  assert.ok(low > 1.3 && low < 1.5 && high > 2 && high < 2.4);
  const [, top] = trialLimits([[0.4, 0.2], [0.4, 1.8], [0.4, 5]]);
  assert.ok(top > 1.8 && top < 2.6);
});

test("names stand apart", () => {
  assert.deepEqual(apart([50, 52, 10], 12), [50, 62, 10]);
  assert.deepEqual(apart([50, NaN, 49], 12), [61, NaN, 49]);
});

test("the sides of the fall", () => {
  assert.deepEqual(zones([1, 2, 3, 4, 5], [2, 2, 1.5, 1, 9]), [2, 4]);
  assert.equal(zones([1, 2, 3], [1, 2, 3]), null);
});

test("cycles say how long they take", () => {
  assert.deepEqual(cycles(3, 1, 2), [1, 2, 4]);
  assert.deepEqual(bounds([1, 2, 4], 0.5, 30), [15, 45, 105, 225]);
  const words = summary([1, 2, 4], 0, [0, 64, 192, 448], 25);
  assert.equal(words, "1+2+4 = 7 epochs, 448 updates, about 2 min 55 s");
  assert.equal(summary([1], 0, [0, 1], 0), "1 epoch, 1 update");
  assert.equal(lrAt(0, [0, 10], 1, 0), 1);
  assert.ok(lrAt(9, [0, 10], 1, 0) < 0.03);
});

test("a long schedule is drawn in few points, with both sides of each edge", () => {
  assert.deepEqual(drawnSteps([0, 3, 6]), [0, 1, 2, 3, 4, 5]);
  const steps = drawnSteps([0, 5001, 20000]);
  assert.ok(steps.length < 1210 && [0, 5000, 5001].every((k) => steps.includes(k)));
  assert.equal(steps.at(-1), 19999);
});

test("the head's own lr is the lr of all", () => {
  assert.deepEqual(withLr([1, 2, 3], 2, 9), { lrs: [1, 2, 9], lr: 9 });
  assert.deepEqual(withLr([1, 2, 3], 0, 9), { lrs: [9, 2, 3] });
});

test("a drag goes to the nearest choice of the sliders", () => {
  const x = scale(0, 10, 0, 100), y = scale(0, 0.01, 100, 0);
  const places = { top: { x: 10, y: 0 }, end: { x: 50, y: 100 } };
  assert.deepEqual(dragged("top", 0, 0, { warmup: 0 }, x, y), { lr_max: 0.01 });
  assert.deepEqual(dragged("top", 0, 500, { warmup: 0 }, x, y), { lr_max: 1e-5 });
  assert.deepEqual(dragged("end", 42, 0, { warmup: 1 }, x, y), { cycle_len: 3 });
  const found = [[12, 3], [55, 96], [30, 50]].map(([px, py]) => handleAt(places, px, py));
  assert.deepEqual(found, ["top", "end", null]);
});

test("early layers with a high lr are warned of, where there is something to lose", () => {
  assert.match(lrWarning([1, 1, 1], true), /lr of 1 in early layers/);
  assert.match(lrWarning([0.01, 0.001], true), /other way round/);
  for (const [lrs, pretrained] of [[[1, 1], false], [[1e-4, 1e-3], true], [[1], true]]) {
    assert.equal(lrWarning(lrs, pretrained), "");
  }
});

test("lrs are spread, and a factor means something", () => {
  assert.deepEqual(spread(1e-3, 3, 10), [1e-5, 1e-4, 1e-3]);
  assert.match(meaning(3), /like those/);
  assert.match(meaning(10), /unlike those/);
});

test("a sheet that is not there is replaced by the nearest of its preset", () => {
  const keys = ["side_on|0.5|64|0", "side_on|2|64|0", "none|1|64|0"];
  assert.equal(key("none", 0.25, 64, 0), "none|1|64|0");
  assert.equal(nearestSheet(keys, key("side_on", 1.75, 64, 0)), "side_on|2|64|0");
  assert.equal(nearestSheet(keys, key("top_down", 1, 64, 0)), null);
});

const run = {
  step: 4, n_steps: 8, steps_per_epoch: 2, cycle_ends: [2, 8],
  epochs: [{ step: 2 }, { step: 4 }, { step: 8 }],
  loss_steps: [2, 4, 6, 8], losses: [4, 3, 2, 1], lr_steps: [2, 4, 6, 8], lrs: [[1, 2, 3, 4], [5, 6, 7, 8]],
};

test("a run up to an update", () => {
  assert.equal(countUpTo([2, 4, 6], 4), 2);
  const part = upTo(run, 5);
  assert.deepEqual([part.losses, part.lrs, part.epochs.length], [[4, 3], [[1, 2], [5, 6]], 2]);
  assert.equal(place(part), "epoch 2.5 of 4, cycle 2 of 2, update 5 of 8");
  assert.match(place({ ...run, n_steps: 0 }), /Nothing is training/);
});

test("wild first losses leave the axis alone", () => {
  assert.ok(lossTop([90, ...Array(99).fill(1)], []) < 2);
  assert.ok(lossTop([1], [{ train_loss: 5, valid_loss: NaN }]) >= 5);
  assert.equal(lossTop([], []), 1);
});

test("the limits of the other axes", () => {
  assert.deepEqual(metricLimits([0.5, NaN, 0.9]).map((v) => v.toFixed(2)), ["0.40", "1.00"]);
  assert.deepEqual(metricLimits([]).map((v) => v.toFixed(2)), ["-0.06", "1.06"]);
  const [from, to] = metricLimits([0.9825, 0.985]);           // one picture of 400: a fortieth of the axis
  assert.ok(to - from > 0.0999 && to <= 1.005001);
  assert.deepEqual(lrLimits([[1, 2]], [[1, 4]]), [0, 4.2]);
  assert.deepEqual(lrLimits([[0, 0], [1, 2], [10, 20]], []), [0.02, 40]);
});

test("how a run goes, in words", () => {
  assert.equal(latest({ ...run, left: 90 }), "loss 1 · lr 4 / 8 · 1 min 30 s left");
  assert.equal(headline("running", run), "loss 1 · lr 4 / 8");
  assert.equal(latest({ losses: [1], lrs: [[0.001], [0.001]] }), "loss 1 · lr 0.001");
  assert.equal(headline("paused", { losses: [], lrs: [] }), "paused");
});

test("the best evaluation is by the metric, then by the loss", () => {
  const epochs = [{ valid_loss: 1, acc: 0.5 }, { valid_loss: 3, acc: 0.9 }, { valid_loss: 2, acc: 0.9 }];
  assert.equal(bestOf({ epochs, metric: "acc" }), epochs[2]);
  assert.equal(bestOf({ epochs, metric: "" }), epochs[0]);
  assert.equal(bestOf({ epochs: [{ valid_loss: null, acc: 1 }], metric: "acc" }), null);
  assert.match(remark({ epochs: [{ train_loss: 2, valid_loss: 1 }] }), /augmented/);
  assert.equal(remark({ epochs: [{ train_loss: 1, valid_loss: 2 }] }) + remark({ epochs: [] }), "");
});

test("a page of JupyterLab may interrupt its kernel", () => {
  assert.deepEqual(credentials("a=1; _xsrf=b%7C", ""), { "X-XSRFToken": "b|" });
  assert.deepEqual(credentials("", "secret"), { Authorization: "token secret" });
});

test("buttons and playing", () => {
  assert.deepEqual(buttons("done"), { stop: false, pause: false, pauseText: "pause" });
  assert.equal(buttons("paused").pauseText, "go on");
  assert.equal(playedTo(0, 6, 100), 50);
  assert.equal(playedTo(90, 99, 100), 100);
});

test("a bet is told beside what happened", () => {
  assert.equal(verdict("", "", ""), "Make your bet before you go on.");
  assert.equal(verdict("A", "", ""), "Your bet: A.");
  assert.equal(verdict("A", "A", "By far."), "Your bet: A. It is right. What happened: A. By far.");
  assert.equal(verdict("A", "B", ""), "Your bet: A. It is not. What happened: B.");
  assert.equal(verdict("", "B", ""), "You made no bet. What happened: B.");
});

const told = {
  classes: ["cat", "dog", "owl"], table: [[20, 17, 18], [10, 9, 12], [0, 0, 0]],
  counts: [[17, 3, 0], [1, 9, 0], [0, 0, 0]], ranks: [],
};

test("a list is told in words", () => {
  const words = (...chosen) => describe(chosen, told);
  assert.equal(words("most wrong"), "4 of 30 were named wrong: highest loss first.");
  assert.match(words("most unsure"), /^The least sure first/);
  assert.equal(words("cell", "cat", "dog"), "3 of 20 pictures of cat were taken for dog.");
  assert.equal(words("cell", "dog", "cat"), "1 of 10 pictures of dog was taken for cat.");
  assert.equal(words("cell", "cat", "cat"), "17 of 20 pictures of cat were named right.");
  assert.equal(words("cell", "cat", "owl"), "No picture of cat was taken for owl.");
  assert.equal(words("cell", "owl", "cat"), "There is no picture of owl to look at.");
  assert.match(words("class", "cat"), /^cat: 17 of 20 were found \(recall 0.85\); of 18 /);
  assert.match(words("class", "cat"), /, 17 are \(precision 0.944\). Those named wrong:$/);
  const never = { ...told, table: [[2, 0, 0], [2, 2, 4], [0, 0, 0]] };
  assert.match(describe(["class", "cat"], never), /nothing was named so. Those named wrong:/);
  const perfect = { ...told, table: [[2, 2, 2], [2, 2, 2], [0, 0, 0]] };
  assert.equal(describe(["most wrong"], perfect), "All 4 were named right.");
});

test("a list knows its length, of which the page may hold a part", () => {
  const many = { ...told, counts: [], ranks: [[["cell", "cat", "dog"], 3, 20], [["class", "cat"], 17, 20]] };
  for (const data of [told, many]) {
    assert.equal(countOf(["most wrong"], data), 4);
    assert.equal(countOf(["most unsure"], data), 30);
    assert.equal(countOf(["class", "cat"], data), 3);
    assert.equal(countOf(["cell", "cat", "dog"], data), 3);
    assert.equal(countOf(["cell", "dog", "dog"], data), 9);
  }
  assert.equal(countOf(["cell", "dog", "cat"], many), undefined);
  assert.match(describe(["cell", "dog", "cat"], many), /^Some pictures of dog were taken for cat/);
  assert.deepEqual([remainder(3, 3, true), remainder(3, undefined, false)], ["", ""]);
  assert.equal(remainder(24, 57, false), "The first 24 of 57.");
  assert.match(remainder(2, 57, true), /^2 of 57 are on this page; the others need the notebook/);
  assert.match(remainder(0, 1, true), /^To see it, run the notebook/);
});

test("keys in a table stay in their row, and in pictures go on in the next", () => {
  const table = (k, key) => moved(k, key, 9, 3, false), flow = (k, key) => moved(k, key, 8, 3, true);
  const keys = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];
  assert.deepEqual(keys.map((key) => table(3, key)), [3, 4, 0, 6, 3, 5]);
  assert.deepEqual(keys.map((key) => table(8, key)), [7, 8, 5, 8, 6, 8]);
  assert.deepEqual(keys.map((key) => flow(3, key)), [2, 4, 0, 6, 0, 7]);
  assert.deepEqual(keys.map((key) => flow(7, key)), [6, 7, 4, 7, 0, 7]);
  assert.equal(table(3, "a"), undefined);
});

test("only what is certain is 100 or 0 percent, and no mistake is without a tint", () => {
  const parts = [0, 0.001, 0.006, 0.5, 0.994, 0.999, 1];
  assert.deepEqual(parts.map(percent), ["0%", "<1%", "1%", "50%", "99%", ">99%", "100%"]);
  assert.ok(tint(0, 9) === 0 && tint(1, 1000) > 10 && tint(9, 9) <= 55 && tint(4, 9) > tint(3, 9));
});

test("a tile is cut out of its sheet", () => {
  const sheet = { columns: 3, rows: 2, size: 64 };
  assert.equal(tileOf(4, sheet), "background:var(--lk-sheet) 50% 100% / 306.25% 203.125%");
  assert.match(tileOf(0, { columns: 1, rows: 1, size: 64 }), /0% 0% \/ 100% 100%$/);
});
