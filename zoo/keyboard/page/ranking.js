// From a distribution and what is typed of a word to a few words, best first: zoo/keyboard/ranking.py in JavaScript.

import { bestIds } from "./digest.js";
import { folded, isPartial } from "./lexicon.js";
import { capitalised } from "./typed_text.js";

export const TWIN = 1.4; // nats that a word in another case may be less likely
export const MODEL = "model", PERSONAL = "personal", LEXICON = "lexicon", LITERAL = "literal";

/** A word in the case that the person follows; `starts`: whether a sentence starts where nothing is typed. */
export function shown(word, prefix, starts) {
  const letters = [...prefix].filter((letter) => letter.toLowerCase() !== letter.toUpperCase());
  if (letters.length > 1 && letters.every((letter) => letter === letter.toUpperCase())) return word.toUpperCase();
  const [first = ""] = prefix;
  return first !== first.toLowerCase() || (!prefix && starts) ? capitalised(word) : word;
}

/**
 * Words that may be meant, best first: {word, score, source}.
 * @param {boolean[]} allowed of every id, whether the word may be suggested; a person's own come in any case.
 */
export function candidates(model, mixed, prefix, allowed, k) {
  let own = mixed.own, found;
  if (prefix) {
    found = model.lexicon.matches(prefix).filter(([id]) => allowed[id]);
    const start = folded(prefix);
    own = isPartial(start) ? own.filter(([word]) => folded(word).startsWith(start)) : [];
  } else {
    const scores = mixed.logProbs.map((value, id) => (allowed[id] ? value : -Infinity));
    found = bestIds(scores, Math.min(k * model.lexicon.twins, scores.length)).map((id) => [id, 0]);
  }
  const words = found.map(([id, cost]) => ({
    word: model.vocabulary.words[id],
    score: allowed[id] ? mixed.logProbs[id] - cost : -Infinity,
    source: cost > 0 ? LEXICON : mixed.personal.has(id) ? PERSONAL : MODEL,
    id,
  }));
  // Words outside the vocabulary come last among equals, by alphabet, which is their order already.
  for (const [word, score] of own) words.push({ word, score, source: PERSONAL, id: Infinity });
  return words
    .filter(({ score }) => score > -Infinity)
    .sort((a, b) => b.score - a.score || (a.id === b.id ? 0 : a.id - b.id));
}
