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
  constructor(keyboard) {
    this.keyboard = keyboard;
    this.words = []; // what the keyboard has read of this message
    this.counts = []; // words of each commit that can be undone
  }

  /** Brings the keyboard to the caret; what is typed of the word there. `pasted`: what is new was not typed. */
  async follow(before, pasted = false) {
    const prefix = prefixOf(before);
    const words = wordsOf(before.slice(0, before.length - prefix.length));
    let same = 0;
    while (same < words.length && words[same] === this.words[same]) same++;
    while (this.words.length > same && this.counts.length) {
      this.keyboard.undo();
      this.words.length -= this.counts.pop();
    }
    const isOld = this.words.length > same; // it was learnt when it was typed
    if (isOld) this.restart();
    const added = words.slice(this.words.length);
    if (added.length && (pasted || isOld || added.length > READ)) await this.paste(added);
    else for (const word of added) await this.read(word, 1);
    this.words = words;
    return prefix;
  }

  /** The message is sent: the next one starts after it, and can no longer be taken back. */
  async send(before) {
    await this.follow(`${before}\n`);
    this.words = [];
    this.counts = [];
  }

  restart() {
    this.keyboard.reset();
    this.words = [];
    this.counts = [];
  }

  /** Reads many words at once, none of which is learnt. */
  async paste(words) {
    const { private: isPrivate } = this.keyboard;
    if (words.length > READ) this.restart();
    this.keyboard.private = true;
    await this.read(words.join(" "), words.length);
    this.keyboard.private = isPrivate;
  }

  async read(text, count) {
    await this.keyboard.commit(text);
    this.counts.push(count);
    while (this.counts.length > this.keyboard.past.length) this.counts.shift();
  }
}
