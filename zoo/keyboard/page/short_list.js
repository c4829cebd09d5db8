// What the bar shows until the model is there: frequent words, and what often follows one of them.

import { folded } from "./lexicon.js";
import { prefixOf } from "./follow.js";
import { LITERAL, shown } from "./ranking.js";
import { isWord, splitWords, startsAfter } from "./typed_text.js";

export class ShortList {
  /** @param {{words: string[], start: string[], after: Object<string, string[]>}} list first_words.json. */
  constructor(list) {
    this.list = list;
    this.keys = list.words.map(folded);
  }

  /** Suggestions as of a keyboard. @param {Iterable<string>} blocked words that are not suggested. */
  suggest(before, k, blocked = []) {
    const never = new Set([...blocked].map(folded));
    const prefix = prefixOf(before), { words, start, after } = this.list;
    const line = splitWords(before.slice(0, before.length - prefix.length).split("\n").at(-1));
    const starts = line.reduce((starts, word) => startsAfter(word, starts), true);
    const last = line.at(-1) ?? "";
    let found = starts ? start : (after[isWord(last) ? last.toLowerCase() : ""] ?? words);
    if (prefix) found = words.filter((_, place) => this.keys[place].startsWith(folded(prefix)));
    found = found.filter((word) => !never.has(folded(word)));
    const texts = [...new Set(found.map((word) => shown(word, prefix, starts)))].filter((text) => text !== prefix);
    const suggestions = texts.slice(0, k).map((text) => ({ text, source: "list" }));
    return { prefix, suggestions: prefix ? [...suggestions, { text: prefix, source: LITERAL }] : suggestions };
  }
}
