// The keyboard of one text: zoo/keyboard/session.py and model.py in JavaScript, with a step that is awaited.

import { absorbed, START } from "./digest.js";
import { folded, Lexicon } from "./lexicon.js";
import { learnable } from "./personal.js";
import { candidates, LITERAL, shown, TWIN } from "./ranking.js";
import { Spacing } from "./spacing.js";
import { isWord, lengthOf, splitWords, startsAfter, straight } from "./typed_text.js";

export const UNDO = 64; // commits that can be undone
export const READ = 200; // words and signs of one commit that the model reads; of a longer paste only the last ones

/** What texts share: vocabulary, lexicon, and an engine {step(token, state) -> {logProbs, state}}. */
export class Model {
  static async open(vocabulary, engine) {
    const model = new Model();
    const ids = vocabulary.words.map((_, id) => id).filter((id) => vocabulary.suggestible[id]);
    model.vocabulary = vocabulary;
    model.engine = engine;
    model.lexicon = new Lexicon(ids.map((id) => vocabulary.words[id]), ids);
    const { logProbs, state } = await engine.step(vocabulary.eos, null);
    if (logProbs.length !== vocabulary.words.length)
      throw new Error("model and vocabulary are of different checkpoints; make the page's folder again with zoo demo");
    const digest = absorbed(START, vocabulary.eos, logProbs);
    const point = { token: vocabulary.eos, logProbs, state, previous: "", linked: true, starts: true, digest };
    model.start = Object.freeze({ ...point, spacing: new Spacing() });
    return model;
  }
}

/** Suggestions for one text. */
export class Keyboard {
  /** @param {Iterable<string>} blocked words that are not suggested. */
  constructor(model, personal, blocked) {
    this.model = model;
    this.personal = personal;
    this.private = false;
    this.block(blocked);
    this.reset();
  }

  /** Hash of every token read since `reset` and the three best words after each, 16 hexadecimal digits. */
  get digest() {
    return this.point.digest.toString(16).padStart(16, "0");
  }

  /** Sets the words that are not suggested, in any case of their letters; typing one is always allowed. */
  block(words) {
    this.blocked = new Set([...words].map(folded));
    const { words: all, suggestible } = this.model.vocabulary;
    this.allowed = all.map((word, id) => suggestible[id] && !this.blocked.has(folded(word)));
  }

  /** An empty text: nothing before the caret, nothing to undo. */
  reset() {
    this.point = this.model.start;
    this.past = [];
    this.known = null;
  }

  /** A word, sign, line end or several of them were typed or taken: {remove, insert} before the caret. */
  async commit(text, prefix = "") {
    const before = this.point, forms = [...this.forms(text)], learnt = [];
    const isLong = forms.length > READ;
    let point = isLong ? { ...this.model.start, linked: false, digest: before.digest } : before;
    for (const [form] of forms.slice(-READ)) point = await this.read(point, form, isLong ? null : learnt);
    const [eaten, insert, spacing] = this.change(text, forms);
    const starts = forms.length ? forms.at(-1)[1] : point.starts;
    this.past.push({ point: before, back: { remove: lengthOf(insert), insert: eaten + prefix }, learnt });
    if (this.past.length > UNDO) this.past.shift();
    this.point = { ...point, spacing, starts };
    return { remove: lengthOf(eaten) + lengthOf(prefix), insert };
  }

  /** Takes back the last commit, and what was learnt by it, without a model step. */
  undo() {
    const step = this.past.pop();
    if (!step) return { remove: 0, insert: "" };
    this.point = step.point;
    for (const learnt of step.learnt.reverse()) this.personal.unlearn(learnt);
    return step.back;
  }

  /** The words that may be meant, best first, at most k; where something is typed, that too, the last. */
  suggest(prefix = "", k = 3) {
    const mixed = this.mixture(), found = [];
    const texts = new Set([straight(prefix)]), best = new Map(); // best: score of a word in its likeliest case
    for (const { word, score, source } of candidates(this.model, mixed, prefix, this.allowed, k)) {
      const key = folded(word), text = shown(word, prefix, this.point.starts);
      if (this.blocked.has(key)) continue; // a person's own word
      if (!best.has(key)) best.set(key, score);
      if (texts.has(text) || best.get(key) - score > TWIN) continue;
      texts.add(text);
      found.push({ text, probability: Math.exp(score), source });
      if (found.length === k) break;
    }
    return prefix ? [...found, this.literal(prefix, mixed)] : found;
  }

  /** What is typed, as a suggestion. */
  literal(prefix, mixed) {
    const forms = [...this.forms(prefix)], ids = this.model.vocabulary.ids;
    let score = -Infinity;
    if (forms.length === 1) {
      const [[form]] = forms;
      score = ids.has(form) ? mixed.logProbs[ids.get(form)] : (new Map(mixed.own).get(form) ?? -Infinity);
    }
    return { text: prefix, probability: Math.exp(score), source: LITERAL };
  }

  /** The distribution of the next word with the personal words in it, computed once for a place. */
  mixture() {
    const { point, personal } = this;
    if (this.known?.point !== point || this.known.version !== personal.version) {
      const mixed = personal.mixed(point.logProbs, point.previous, this.model.vocabulary.ids);
      this.known = { point, version: personal.version, mixed };
    }
    return this.known.mixed;
  }

  /** [form, whether a sentence starts after it] of the words and signs of a text. */
  *forms(text) {
    let starts = this.point.starts;
    for (const [number, line] of text.split("\n").entries()) {
      if (number) yield ["\n", (starts = true)];
      for (const typed of splitWords(line)) {
        const form = this.model.vocabulary.form(typed, starts);
        starts = startsAfter(typed, starts);
        yield [form, starts];
      }
    }
  }

  /** The place after one more word, sign or line end; what was learnt is added to `learnt`. */
  async read(point, form, learnt) {
    const { eos } = this.model.vocabulary;
    const ended = point.token === eos ? [] : [eos]; // an empty line is none
    for (const token of form === "\n" ? ended : this.model.vocabulary.tokens(form)) {
      const { logProbs, state } = await this.model.engine.step(token, point.state);
      point = { ...point, token, logProbs, state, digest: absorbed(point.digest, token, logProbs) };
    }
    if (form === "\n") return { ...point, previous: "", linked: true };
    let linked = !isWord(form);
    if (learnt && !this.private && learnable(form)) {
      const made = this.personal.learn(form, point.linked ? point.previous : null);
      linked = made !== null;
      if (made) learnt.push(made);
    }
    return { ...point, previous: form, linked };
  }

  /** What committing a text eats and inserts, and the spacing after it. */
  change(text, forms) {
    const { spacing } = this.point;
    if (text === "\n") return spacing.newline();
    if (forms.length === 1 && text === text.trim()) return spacing.put(text);
    return text ? spacing.verbatim(text) : ["", "", spacing];
  }
}
