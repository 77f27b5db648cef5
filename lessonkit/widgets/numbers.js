// Numbers: as text, on a grid, on a scale. Nothing here draws.

// ---- as text ----

/** An lr as people write it: 3.2e-4, 0.01, 1e-5 (as lessonkit.plot.format_lr). @param {number} lr */
export function formatLr(lr) {
  if (lr === 0 || (Math.abs(lr) >= 0.001 && Math.abs(lr) < 1000)) return String(roundLr(lr));
  const [digits, exponent] = lr.toExponential(1).split("e");
  return `${digits.replace(/\.0$/, "")}e${Number(exponent)}`;
}

/** A number to about three digits. @param {number} v */
export function formatNumber(v) {
  if (!Number.isFinite(v)) return "–";
  if (v !== 0 && (Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3)) return v.toExponential(1).replace("e+", "e");
  return String(Number(v.toPrecision(Math.abs(v) >= 1000 ? 5 : 3)));
}

/** Whole numbers with commas. @param {number} n */
export function formatCount(n) {
  return Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Seconds as people say them: 45 s, 3 min, 2 h 05 min. @param {number} s */
export function formatTime(s) {
  const two = (n) => String(n).padStart(2, "0");
  if (!Number.isFinite(s)) return "–";
  if (s < 59.5) return `${Math.max(0, Math.round(s))} s`;
  if (s < 600) return `${Math.floor(Math.round(s) / 60)} min ${two(Math.round(s) % 60)} s`;
  const minutes = Math.round(s / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** How many of something: 1 epoch, 2 epochs. */
export function amount(n, unit, text = String) {
  return `${text(n)} ${unit}${n === 1 ? "" : "s"}`;
}

// ---- on a grid ----

/** To two significant digits, as a chosen lr is shown. @param {number} v */
export function roundLr(v) {
  return Number(v.toPrecision(2));
}

const PER_DECADE = 24;

/** The lrs that a slider goes through: 24 a decade on two digits, then no two are alike. */
export function lrGrid(low, high) {
  const first = Math.ceil(Math.log10(low) * PER_DECADE - 1e-6);
  const last = Math.floor(Math.log10(high) * PER_DECADE + 1e-6);
  return Array.from({ length: last - first + 1 }, (_, k) => roundLr(10 ** ((first + k) / PER_DECADE)));
}

export function clamp(v, low, high) {
  return Math.min(high, Math.max(low, v));
}

/** The position of the number nearest to `v` in rising `xs`, by ratio if `log`. */
export function nearest(xs, v, log = false) {
  const far = log ? (x) => Math.abs(Math.log(x / v)) : (x) => Math.abs(x - v);
  let best = 0;
  for (let i = 1; i < xs.length; i++) if (far(xs[i]) < far(xs[best])) best = i;
  return best;
}

// ---- on a scale ----

/** Steps of 1, 2 or 5 times a power of ten that part [low, high] in about `n`. */
export function linearTicks(low, high, n = 5) {
  if (!(high > low)) return [low];
  const raw = (high - low) / n, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-12) + 1e-300; k++) {
    ticks.push(Number((k * step).toPrecision(12)));
  }
  return ticks;
}

/** The powers of ten in [low, high]: with their 2 and 5 where they are fewer than two, every k-th of many. */
export function logTicks(low, high, n = 10) {
  const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
  const every = Math.max(1, Math.ceil((last - first + 1) / n));
  const ticks = [];
  for (let k = first; k <= last; k += every) ticks.push(Number(`1e${k}`));
  if (ticks.length >= 2) return ticks;
  for (let k = first - 1; k <= last + 1; k++) for (const m of [2, 5]) ticks.push(Number(`${m}e${k}`));
  return ticks.filter((t) => t >= low * 0.999 && t <= high * 1.001).sort((a, b) => a - b);
}

/** A scale from [low, high] to pixels [from, end]: `to(v)`, `back(px)`, `ticks`. */
export function scale(low, high, from, end, log = false, n = 5) {
  const f = log ? Math.log : (v) => v, g = log ? Math.exp : (v) => v;
  const a = f(low), b = f(high) === f(low) ? f(low) + 1 : f(high);
  return {
    low, high, from, end,
    to: (v) => from + ((f(v) - a) / (b - a)) * (end - from),
    back: (px) => g(a + ((px - from) / (end - from)) * (b - a)),
    ticks: log ? logTicks(low, high, n) : linearTicks(low, high, n),
  };
}

/** The `d` of an SVG path through points; a value that is no number breaks the line. */
export function path(xs, ys, x, y) {
  let d = "", pen = "M";
  for (let i = 0; i < xs.length; i++) {
    const px = x.to(xs[i]), py = ys[i] === null ? NaN : y.to(ys[i]);   // JSON has null for what is no number
    if (!Number.isFinite(px) || !Number.isFinite(py)) { pen = "M"; continue; }
    d += `${pen}${px.toFixed(1)},${clamp(py, -1e4, 1e4).toFixed(1)}`;
    pen = "L";
  }
  return d;
}
