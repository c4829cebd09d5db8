// Text as people type it -> words and signs, in the case in which a vocabulary has them: zoo/typed_text.py in JavaScript.

// Python's classes: JavaScript's \w and \d know ASCII only, and its \s has a byte order mark and lacks the separators.
export const LETTER = "[\\p{L}\\p{N}_]";
const DIGIT = "\\p{Nd}";
export const BLANK = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const WORD = new RegExp(
  `${DIGIT}+(?:[.,:]${DIGIT}+)+|${LETTER}+(?:'${LETTER}+)*|\\.{2,}|[^\\p{L}\\p{N}_${BLANK}]`,
  "gu",
);
const STARTS_WORD = new RegExp(`^${LETTER}`, "u");
const CURLY = /[\u2018\u2019`\u201c\u201d\u2026]/g;
const STRAIGHT = { "\u2018": "'", "\u2019": "'", "`": "'", "\u201c": '"', "\u201d": '"', "\u2026": "..." };
export const ENDS = new Set([".", "!", "?", "...", ".."]);

/** With quotes straight and dots apart, in the composed form of Unicode. */
export const straight = (text) => text.normalize("NFC").replace(CURLY, (sign) => STRAIGHT[sign]);

/** The words and signs of a text, as typed but for quotes and dots. */
export const splitWords = (text) => straight(text).match(WORD) ?? [];

/** Whether it is a word or a number, not a sign. */
export const isWord = (word) => STARTS_WORD.test(word);

/** The word with a capital at its beginning; the rest as it is. */
export function capitalised(word) {
  const [first = ""] = word;
  return first.toUpperCase() + word.slice(first.length);
}

/** Whether a sentence starts after `word`; `starts`: whether one started before it. */
export const startsAfter = (word, starts) => ENDS.has(word) || (starts && !isWord(word));

/** Number of code points, which is what Python counts. */
export const lengthOf = (text) => [...text].length;

/** Order by code points, as Python sorts; JavaScript's own order differs beyond U+FFFF. */
export function byCodePoint(a, b) {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i), y = b.charCodeAt(i);
    if (x !== y) {
      const isHigh = (code) => code >= 0xd800 && code <= 0xdfff;
      return isHigh(x) === isHigh(y) ? x - y : isHigh(x) ? 1 : -1;
    }
  }
  return a.length - b.length;
}

/** The case of words: as typed inside a sentence if that form is known, else, and at a start, the usual one. */
export class Casing {
  /** @param {string[]} words by falling frequency. */
  constructor(words) {
    this.known = new Set(words);
    this.usual = new Map();
    for (const word of words) {
      const lower = word.toLowerCase();
      if (!this.usual.has(lower)) this.usual.set(lower, word);
    }
  }

  /** A typed word in its case. */
  word(typed, starts) {
    const lower = typed.toLowerCase();
    const plain =
      typed === lower ||
      (starts && typed === capitalised(lower)) ||
      (lengthOf(typed) > 1 && typed === typed.toUpperCase());
    if (!plain && this.known.has(typed)) return typed;
    return this.usual.get(lower) ?? (plain && starts ? lower : typed);
  }

  /** The words and signs of a text in their case. */
  *words(text, starts = true) {
    for (const typed of splitWords(text)) {
      yield isWord(typed) ? this.word(typed, starts) : typed;
      starts = startsAfter(typed, starts);
    }
  }
}
