// Keeps a keyboard at the caret of a text that a person edits freely: only what differs is undone and read.

import { splitWords } from "./typed_text.js";
import { READ } from "./session.js";

const LOOK = 200; // characters in which the beginning of the last word is looked for
const LAST = /[\p{L}\p{N}_][\p{L}\p{M}\p{N}_'\u2018\u2019`]*$/u;

/** What is typed of the word before the caret. */
export const prefixOf = (before) => LAST.exec(before.slice(-LOOK))?.[0] ?? "";

/** The words, signs and line ends of a text. */
function wordsOf(text) {
  return text.split("\n").flatMap((line, number) => (number ? ["\n"] : []).concat(splitWords(line)));
}

export class Follower {
  /** @param {Follower} [former] one that has read this text with another model: its words are learnt already. */
  constructor(keyboard, former) {
    this.keyboard = keyboard;
    this.words = []; // what the keyboard has read of this message
    this.reads = []; // {count, isSilent} of each commit that can be undone
    this.flags = new Map(); // word -> isSilent of those that were undone: it may stand behind the caret
    for (const [word, flags] of former?.flags ?? []) this.flags.set(word, [...flags]);
    for (const word of former?.words ?? []) this.flag(word, true);
  }

  /** Brings the keyboard to the caret; what is typed of the word there. `pasted`: what is new was not typed. */
  async follow(before, pasted = false) {
    const prefix = prefixOf(before);
    const words = wordsOf(before.slice(0, before.length - prefix.length));
    let same = 0;
    while (same < words.length && words[same] === this.words[same]) same++;
    while (this.words.length > same && this.reads.length) {
      const { count, isSilent } = this.reads.pop();
      this.keyboard.undo();
      for (const word of this.words.splice(-count)) this.flag(word, isSilent);
    }
    const isOld = this.words.length > same; // it was learnt when it was typed
    if (isOld) this.restart();
    const added = words.slice(this.words.length);
    if (added.length && (pasted || isOld || added.length > READ)) await this.paste(added);
    else for (const word of added) await this.read(word, 1, this.flags.get(word)?.pop() ?? this.keyboard.private);
    this.words = words;
    return prefix;
  }

  /** The message is sent: the next one starts after it, and can no longer be taken back. */
  async send(before) {
    await this.follow(`${before}\n`);
    this.words = [];
    this.reads = [];
    this.flags.clear();
  }

  restart() {
    this.keyboard.reset();
    this.words = [];
    this.reads = [];
  }

  /** Reads many words at once, none of which is learnt. */
  async paste(words) {
    if (words.length > READ) this.restart();
    await this.read(words.join(" "), words.length, true);
  }

  /** One commit. @param {boolean} isSilent whether its words are not learnt. */
  async read(text, count, isSilent) {
    const { private: isPrivate } = this.keyboard;
    this.keyboard.private = isSilent;
    await this.keyboard.commit(text);
    this.keyboard.private = isPrivate;
    this.reads.push({ count, isSilent });
    while (this.reads.length > this.keyboard.past.length) this.reads.shift();
  }

  /** Notes of a word whether it was read silently, for when it is read again. */
  flag(word, isSilent) {
    if (!this.flags.has(word)) this.flags.set(word, []);
    this.flags.get(word).push(isSilent);
  }
}
