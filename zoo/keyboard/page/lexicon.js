// Words that begin as a person has typed, exactly or with one slip: zoo/keyboard/lexicon.py in JavaScript.

import { byCodePoint, LETTER, lengthOf, straight } from "./typed_text.js";

const TYPO = 7, APOSTROPHE = 1; // nats that a slip and a missing apostrophe cost
const SHORTEST = 3, LONGEST = 20, MOST = 40;
const WIDTH = LONGEST + 1;
const PARTIAL = new RegExp(`^${LETTER}(?:${LETTER}|')*$`, "u");

/** A word as it is compared. */
export const folded = (text) => straight(text).toLowerCase();

/** Whether it can be the beginning of a word: letters, digits and apostrophes, at most 40. */
export const isPartial = (prefix) => lengthOf(prefix) <= MOST && PARTIAL.test(prefix);

export class Lexicon {
  /** @param {string[]} words @param {number[]} ids of the words. */
  constructor(words, ids) {
    const pairs = words.map((word, place) => [folded(word), ids[place]]);
    pairs.sort((a, b) => byCodePoint(a[0], b[0]) || a[1] - b[1]);
    this.keys = pairs.map(([key]) => key);
    this.ids = pairs.map(([, id]) => id);
    this.twins = 1; // the most words that differ in case only
    for (let row = 0, run = 0; row < pairs.length; row++) {
      run = this.keys[row] === this.keys[row - 1] ? run + 1 : 1;
      this.twins = Math.max(this.twins, run);
    }
    this.letters = new Uint32Array(pairs.length * WIDTH); // zeros after the end of a word
    this.keys.forEach((key, row) => {
      [...key].slice(0, WIDTH).forEach((letter, column) => {
        this.letters[row * WIDTH + column] = letter.codePointAt(0);
      });
    });
  }

  /** [id, cost] of the words that begin with a prefix, or would but for one slip. */
  matches(prefix) {
    prefix = folded(prefix);
    if (!isPartial(prefix)) return [];
    const found = [];
    for (let row = this.bisect(prefix); row < this.keys.length && this.keys[row].startsWith(prefix); row++)
      found.push([this.ids[row], 0]);
    const typed = Uint32Array.from(prefix, (letter) => letter.codePointAt(0));
    if (typed.length < SHORTEST - 1 || typed.length > LONGEST) return found;
    for (let row = 0; row < this.ids.length; row++) {
      const cost = this.slip(typed, row * WIDTH);
      if (cost > 0) found.push([this.ids[row], cost]);
    }
    return found;
  }

  /** The first row whose key is not before a text. */
  bisect(text) {
    let low = 0, high = this.keys.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (byCodePoint(this.keys[middle], text) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** What it costs that exactly one letter is wrong, missing, too many, or two are swapped; 0: it is not so. */
  slip(typed, start) {
    const n = typed.length, letters = this.letters;
    let at = 0;
    while (at < n && letters[start + at] === typed[at]) at++;
    if (at === n) return 0;
    // Whether the letters of the word from `from` on are those typed from `from + shift` on.
    const rest = (from, shift) => {
      for (let i = from; i + shift < n; i++) if (letters[start + i] !== typed[i + shift]) return false;
      return true;
    };
    const missing = rest(at + 1, -1);
    if (missing && letters[start + at] === 39) return APOSTROPHE;
    if (n < SHORTEST) return 0;
    const swapped = () =>
      at + 1 < n && letters[start + at] === typed[at + 1] && letters[start + at + 1] === typed[at] && rest(at + 2, 0);
    return missing || rest(at + 1, 0) || rest(at, 1) || swapped() ? TYPO : 0;
  }
}
