// The words of a checkpoint as a keyboard uses them: zoo/keyboard/vocabulary.py in JavaScript.

import { Casing, ENDS, isWord } from "./typed_text.js";

const EOS = "<eos>", UNK = "<unk>";
const PENN = /^(.+?)(n't|'s|'re|'ve|'m|'ll|'d)$/u;
const CASED = 0.01;

export class Vocabulary {
  /**
   * @param {string[]} words in the order of their ids, by falling frequency.
   * @param {number[]} never ids of words that are never suggested.
   */
  constructor(words, never) {
    this.words = words;
    this.ids = new Map(words.map((word, id) => [word, id]));
    this.eos = this.ids.get(EOS);
    this.unk = this.ids.get(UNK);
    const ordinary = words.filter((word) => word !== EOS && word !== UNK);
    this.hasCase = ordinary.filter((word) => word !== word.toLowerCase()).length >= CASED * ordinary.length;
    this.hasSigns = this.ids.has(".");
    this.isPenn = this.ids.has("n't");
    this.casing = new Casing(ordinary);
    this.suggestible = words.map(isWord);
    for (const id of never) this.suggestible[id] = false;
  }

  /** A typed word or sign in the case in which it is read and learnt. */
  form(typed, starts) {
    if (!isWord(typed)) return typed;
    if (this.hasCase) return this.casing.word(typed, starts);
    const lower = typed.toLowerCase();
    return this.casing.usual.get(lower) ?? lower;
  }

  /** The ids that the model reads for a word or sign; most have one, some none. */
  tokens(form) {
    const id = this.ids.get(form);
    if (!this.hasSigns && !isWord(form)) return ENDS.has(form) ? [this.eos] : id === undefined ? [] : [id];
    if (id !== undefined) return [id];
    if (this.isPenn) {
      if (/^\p{Nd}/u.test(form)) return [this.ids.get("N") ?? this.unk];
      const match = PENN.exec(form);
      if (match) return match.slice(1).flatMap((part) => this.tokens(part));
    }
    return this.unk === undefined ? [] : [this.unk];
  }
}
