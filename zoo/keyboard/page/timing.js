// Times of steps by the paper's protocol: 100 to warm up, 1000 timed, token in to the best three words out.

import { bestIds } from "./digest.js";

const WARM_UP = 100, TIMED = 1000, TOP = 3;
const LIMIT = 60000; // milliseconds after which fewer steps must do; how many is told
const MULTIPLIER = 48271, MODULUS = 2 ** 31 - 1; // Lehmer's generator: the same tokens everywhere

/** mean, median and 95th percentile of times, in milliseconds. */
export function summary(times) {
  const sorted = Float64Array.from(times).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  const round = (value) => Math.round(value * 1e4) / 1e4;
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  return { mean: round(mean), median: round(at(0.5)), p95: round(at(0.95)) };
}

/** The smallest difference that the clock shows, in milliseconds. */
export function clockTick() {
  let least = Infinity, last = performance.now();
  for (let ticks = 0; ticks < 20; ) {
    const now = performance.now();
    if (now === last) continue;
    least = Math.min(least, now - last);
    last = now;
    ticks++;
  }
  return Math.round(least * 1e4) / 1e4;
}

/** Times steps of an engine; `tell` gets the share that is done. */
export function timeSteps(engine, words, tell) {
  const times = [];
  const began = performance.now();
  let seed = 1, state = null;
  for (let step = 0; step < WARM_UP + TIMED; step++) {
    seed = (seed * MULTIPLIER) % MODULUS;
    const start = performance.now();
    const found = engine.logits(seed % words, state);
    bestIds(found.logits, TOP);
    if (step >= WARM_UP) times.push(performance.now() - start);
    state = found.state;
    if (step % 50 === 0) tell(step / (WARM_UP + TIMED));
    if (times.length && performance.now() - began > LIMIT) break;
  }
  return { warm_up: WARM_UP, timed: times.length, top: TOP, clock_tick_ms: clockTick(), milliseconds: summary(times) };
}
