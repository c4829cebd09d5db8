// Answers questions about the page's modules: {task, ...} as JSON in, the answer as JSON out.
// The folder of the modules is the first argument.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = pathToFileURL(`${process.argv[2]}/`);
const load = (name) => import(new URL(name, folder));
const { Casing, isWord, lengthOf, splitWords } = await load("typed_text.js");
const { Lexicon } = await load("lexicon.js");
const { Personal, learnable } = await load("personal.js");
const { Keyboard, Model } = await load("session.js");
const { Follower } = await load("follow.js");
const { ShortList } = await load("short_list.js");
const { Vocabulary } = await load("vocabulary.js");

/** A model whose log probabilities after each token are given. */
function opened({ words, never, table }) {
  const engine = { step: async (token) => ({ logProbs: Float32Array.from(table[token]), state: {} }) };
  return Model.open(new Vocabulary(words, never), engine);
}

const plain = (suggestions) => suggestions.map(({ text, source, probability }) => [text, source, probability]);

const tasks = {
  split: ({ texts }) => texts.map((text) => splitWords(text).map((word) => [word, isWord(word), lengthOf(word)])),
  casing: ({ words, texts }) => texts.map((text) => [...new Casing(words).words(text)]),
  learnable: ({ words }) => words.map(learnable),
  matches({ words, prefixes }) {
    const lexicon = new Lexicon(words, words.map((_, id) => id));
    return prefixes.map((prefix) => lexicon.matches(prefix).sort((a, b) => a[0] - b[0]));
  },

  /** A keyboard that is driven by a list of [verb, ...arguments]; what it says after each. */
  async session({ model, mixture, blocked, steps }) {
    const days = { today: "2026-11-28" };
    const keyboard = new Keyboard(await opened(model), new Personal(mixture, () => days.today), blocked);
    const verbs = {
      commit: (text, prefix) => keyboard.commit(text, prefix),
      undo: () => keyboard.undo(),
      suggest: (prefix, k) => plain(keyboard.suggest(prefix, k)),
      block: (words) => keyboard.block(words),
      private: (value) => void (keyboard.private = value),
      forget: (word) => keyboard.personal.forget(word),
      day: (day) => void (days.today = day),
      forget_day: (day) => keyboard.personal.forgetDay(day),
      reset: () => keyboard.reset(),
    };
    const said = [];
    for (const [verb, ...given] of steps) {
      const answer = (await verbs[verb](...given)) ?? null;
      said.push([answer, keyboard.digest, keyboard.personal.export().words]);
    }
    return said;
  },

  /** A keyboard that follows a text: [text, pasted, private, another model]; its digest and the prefix after each. */
  async follow({ model, texts }) {
    const personal = new Personal({}), said = [];
    const keyboard = async () => new Keyboard(await opened(model), personal, []);
    let follower = new Follower(await keyboard());
    for (const [text, pasted, isPrivate, isOther] of texts) {
      if (isOther) follower = new Follower(await keyboard(), follower);
      follower.keyboard.private = Boolean(isPrivate);
      said.push([await follower.follow(text, pasted), follower.keyboard.digest]);
    }
    return { said, learnt: personal.export().words.map(([word]) => word) };
  },

  short({ list, before, blocked }) {
    return plain(new ShortList(list).suggest(before, 3, blocked).suggestions).map(([text]) => text);
  },
};

const { task, ...given } = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(await tasks[task](given)));
