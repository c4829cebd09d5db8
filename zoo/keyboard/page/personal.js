// What a person has typed, beside the weights: zoo/keyboard/personal.py in JavaScript.

import { folded } from "./lexicon.js";
import { byCodePoint, isWord, lengthOf, splitWords } from "./typed_text.js";

const MOST = 10000, LONGEST = 40, DIGITS = 4, FORMAT = 1;
// Python's str.isdigit: decimal digits and those of superscripts, circles and the like.
const DIGIT =
  /[\p{Nd}\xb2\xb3\xb9\u1369-\u1371\u19da\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c\u2488-\u2490\u24ea\u24f5-\u24fd\u24ff\u2776-\u277e\u2780-\u2788\u278a-\u2792\u{10a40}-\u{10a43}\u{10e60}-\u{10e68}\u{11052}-\u{1105a}\u{1f100}-\u{1f10a}]/gu;

/** The day as in 2026-11-28, where the person is. */
export const today = () => new Date().toLocaleDateString("sv");

/** Whether a word is remembered: not signs, long numbers or very long words. */
export const learnable = (word) =>
  isWord(word) && lengthOf(word) <= LONGEST && (word.match(DIGIT) ?? []).length < DIGITS;

/** The words of one person, at most 10,000; an event is {word, previous, day, serial}. */
export class Personal {
  /** @param {Object<string, number>} mixture how much the words weigh: `Mixture` of personal.py, from rules.json. */
  constructor(mixture, day = today) {
    this.mixture = mixture;
    this.day = day;
    this.events = [];
    this.version = 0; // another one after every change
    this.forgettings = 0;
    this.last = 0; // serial of the latest event
  }

  /** Adds a word: what `unlearn` needs; null: such a word is not learnt. */
  learn(word, previous) {
    if (!learnable(word)) return null;
    const added = { word, previous, day: this.day(), serial: ++this.last };
    this.events.push(added);
    this.version++;
    return { serial: added.serial, gone: this.events.length > MOST ? this.events.shift() : null, forgettings: this.forgettings };
  }

  /** Takes a word back that was learnt; nothing happens if it was forgotten meanwhile. */
  unlearn({ serial, gone, forgettings }) {
    const place = this.events.findLastIndex((event) => event.serial === serial);
    if (place < 0) return;
    this.events.splice(place, 1);
    if (gone && forgettings === this.forgettings) this.events.unshift(gone);
    this.version++;
  }

  /** Forgets a word in every case of its letters, with any apostrophe; how many occurrences there were. */
  forget(word) {
    const key = folded(word), isAfter = ({ previous }) => previous !== null && folded(previous) === key;
    const kept = this.events.filter((event) => folded(event.word) !== key);
    return this.keep(kept.map((event) => (isAfter(event) ? { ...event, previous: null } : event)));
  }

  /** Forgets all words of a day, written as in 2026-11-28; how many there were. */
  forgetDay(day) {
    return this.keep(this.events.filter((event) => event.day !== day));
  }

  /** Forgets everything; how many words there were. */
  forgetAll() {
    return this.keep([]);
  }

  keep(events) {
    const gone = this.events.length - events.length;
    this.events = events;
    this.version++;
    this.forgettings++;
    return gone;
  }

  /** Everything that is known, as JSON that the Python package reads too. */
  export() {
    return { format: FORMAT, words: this.events.map(({ word, previous, day }) => [word, previous, day]) };
  }

  /** Replaces everything by what `export` gave; false: it is no such export. */
  load(exported) {
    const isText = (value) => typeof value === "string" && value !== "";
    const isOne = (word) => learnable(word) && splitWords(word).join("\n") === word;
    const isRow = (row) =>
      Array.isArray(row) && row.length === 3 && isText(row[0]) && isOne(row[0]) && isText(row[2]) &&
      (row[1] === null || typeof row[1] === "string");
    const rows = exported?.words;
    if (exported?.format !== FORMAT || !Array.isArray(rows) || rows.length > MOST || !rows.every(isRow)) return false;
    this.keep(rows.map(([word, previous, day]) => ({ word, previous, day, serial: ++this.last })));
    return true;
  }

  /**
   * A model's log probabilities with this person's words.
   * @returns {{logProbs: Float32Array, personal: Set<number>, own: [string, number][]}} `personal`: ids that are mostly
   *   the person's; `own`: words outside the vocabulary with their log probabilities, by alphabet.
   */
  mixed(logProbs, previous, ids) {
    const personal = new Set(), own = [];
    if (!this.events.length) return { logProbs, personal, own };
    const rates = this.mixture, [single, pairs] = counts(this.events, previous, rates.half_life);
    const u = sum(single.values()), v = sum(pairs.values());
    const a = (rates.single * u) / (u + rates.single_half), b = (rates.pair * v) / (v + rates.pair_half);
    const aEach = a / u, bEach = v ? b / v : 0;
    const shift = Math.fround(Math.log1p(-a - b));
    const out = logProbs.map((value) => value + shift);
    for (const [word, weight] of single) {
      const share = aEach * weight + bEach * (pairs.get(word) ?? 0);
      const id = ids.get(word);
      if (id === undefined) {
        own.push([word, Math.log(share)]);
        continue;
      }
      const general = (1 - a - b) * Math.exp(logProbs[id]);
      out[id] = Math.log(general + share);
      if (share > general) personal.add(id);
    }
    own.sort((x, y) => byCodePoint(x[0], y[0]));
    return { logProbs: out, personal, own };
  }
}

function sum(values) {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** Weight of every word, and of those that followed `previous`; the latest word weighs 1. */
function counts(events, previous, halfLife) {
  const single = new Map(), pairs = new Map();
  const decay = 0.5 ** (1 / halfLife);
  let weight = 1;
  for (let place = events.length - 1; place >= 0; place--) {
    const event = events[place];
    single.set(event.word, (single.get(event.word) ?? 0) + weight);
    if (previous !== null && event.previous === previous) pairs.set(event.word, (pairs.get(event.word) ?? 0) + weight);
    weight *= decay;
  }
  return [single, pairs];
}
