// Spaces and signs around what is committed: zoo/keyboard/spacing.py in JavaScript.

import { isWord, straight } from "./typed_text.js";

const EATS = new Set(".,!?;:)]}%-/_'\\~=+*");
const OPENING = "\u201c", CLOSING = "\u201d";
const JOINS = new Set("([{-/_'#@$£€&\\~=+*<^");

/** What the characters before the caret mean for the next word. */
export class Spacing {
  /**
   * @param {boolean} space whether the last character is a space that the keyboard itself put there.
   * @param {boolean} quote whether a double quote is open.
   */
  constructor(space = false, quote = false) {
    this.space = space;
    this.quote = quote;
  }

  /** A word or a sign that stands by itself: eaten, inserted, spacing after it. */
  word(text) {
    return ["", `${text} `, new Spacing(true, this.quote)];
  }

  /** A closing sign eats the keyboard's own space; an opening or joining one has none after it. */
  sign(text) {
    const plain = straight(text);
    if (plain === '"') {
      if (text === OPENING || (text !== CLOSING && !this.quote)) return ["", text, new Spacing(false, true)];
      return [this.space ? " " : "", `${text} `, new Spacing(true, false)];
    }
    const eaten = (EATS.has(plain) || plain.startsWith("..")) && this.space ? " " : "";
    if (JOINS.has(plain)) return [eaten, text, new Spacing(false, this.quote)];
    return [eaten, `${text} `, new Spacing(true, this.quote)];
  }

  /** The end of a message. */
  newline() {
    return [this.space ? " " : "", "\n", new Spacing()];
  }

  /** Several words at once, as they are; a space after them if they end in none. */
  verbatim(text) {
    if (text.trimEnd() !== text) return ["", text, new Spacing(false, this.quote)];
    return ["", `${text} `, new Spacing(true, this.quote)];
  }

  /** One word or sign, by the rule for it. */
  put(text) {
    return isWord(text) ? this.word(text) : this.sign(text);
  }
}
