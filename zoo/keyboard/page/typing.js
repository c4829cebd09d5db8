// The text field: what keys and suggestions do to the text before the caret.

import { prefixOf } from "./follow.js";
import { Spacing } from "./spacing.js";
import { isWord, splitWords, startsAfter } from "./typed_text.js";

const LOOK = 300; // characters before the caret that tell whether a sentence starts
const TYPED = new Set(["insertText", "insertCompositionText", "insertLineBreak", "deleteContentBackward"]);
const REST = /^[\p{L}\p{M}\p{N}_']*/u;
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Fires `text` after every change of text or caret, `undone` when a suggestion is taken back. */
export class Typing extends EventTarget {
  /** @param {HTMLTextAreaElement} area */
  constructor(area) {
    super();
    this.area = area;
    this.space = null; // where the keyboard's own space ends
    this.pasted = false; // whether the latest change was not typed
    this.taken = null; // the suggestion taken last: {start, end, typed}
    area.addEventListener("beforeinput", (event) => this.intercept(event));
    area.addEventListener("input", (event) => {
      this.pasted = !TYPED.has(event.inputType);
      this.changed();
    });
    document.addEventListener("selectionchange", () => document.activeElement === area && this.changed());
  }

  get before() {
    return this.area.value.slice(0, this.area.selectionStart);
  }

  get caret() {
    return this.area.selectionStart === this.area.selectionEnd ? this.area.selectionStart : null;
  }

  /** Whether the next letter starts a sentence. */
  get starts() {
    const line = this.before.slice(-LOOK).split("\n").at(-1);
    return !prefixOf(line) && splitWords(line).reduce((starts, word) => startsAfter(word, starts), true);
  }

  /** A key of the page, or of the keyboard of the machine where the rules ask for more than that letter. */
  type(text) {
    const hasOwnSpace = this.space !== null && this.space === this.caret;
    if (hasOwnSpace && text === " ") {
      this.space = null; // it is there already; from now on it is the person's
    } else if (hasOwnSpace && text !== "\n" && !isWord(text)) {
      const isOpen = (this.before.split("\n").at(-1).split('"').length - 1) % 2 === 1;
      const [eaten, insert, spacing] = new Spacing(true, isOpen).sign(text);
      this.replace(this.caret - eaten.length, this.caret, insert);
      this.space = spacing.space ? this.caret : null;
    } else {
      this.replace(this.area.selectionStart, this.area.selectionEnd, text);
    }
    this.changed();
  }

  /** Puts a suggestion in the place of what is typed of the word, with a space after it. */
  take(text) {
    const { selectionStart, selectionEnd, value } = this.area, prefix = prefixOf(this.before);
    const rest = REST.exec(value.slice(selectionEnd))[0]; // of a word in which the caret stands
    const start = selectionStart - prefix.length, end = selectionEnd + rest.length, typed = prefix + rest;
    const isFollowed = /^\s/.test(value.slice(end));
    this.replace(start, end, isFollowed ? text : `${text} `);
    if (isFollowed) this.area.setSelectionRange(this.caret + 1, this.caret + 1);
    this.space = isFollowed ? null : this.caret;
    this.taken = isFollowed ? null : { start, end: this.caret, typed, text };
    this.changed();
  }

  /** Right after a suggestion was taken, takes it back; else deletes what stands before the caret. */
  backspace() {
    const { area, taken } = this;
    if (taken && taken.end === this.caret) {
      this.replace(taken.start, taken.end, taken.typed);
      this.taken = null;
      this.dispatchEvent(new CustomEvent("undone", { detail: taken }));
    } else if (this.caret === null) {
      this.replace(area.selectionStart, area.selectionEnd, "");
    } else if (this.caret > 0) {
      const last = [...graphemes.segment(this.before.slice(-64))].at(-1).segment;
      this.replace(this.caret - last.length, this.caret, "");
    }
    this.changed();
  }

  clear() {
    this.replace(0, this.area.value.length, "");
    this.changed();
  }

  /** Keys of a machine's keyboard write into the field themselves but where our rules apply. */
  intercept(event) {
    const isSign = event.inputType === "insertText" && event.data?.length === 1 && this.space === this.caret;
    const isUndo = event.inputType === "deleteContentBackward" && this.taken && this.taken.end === this.caret;
    if (event.isComposing || !(isUndo || (isSign && this.caret !== null && !isWord(event.data)))) return;
    event.preventDefault();
    if (isUndo) this.backspace();
    else this.type(event.data);
  }

  replace(start, end, text) {
    this.area.setRangeText(text, start, end, "end");
    if (this.caret === this.area.value.length) this.area.scrollTop = this.area.scrollHeight;
  }

  changed() {
    if (this.taken && this.taken.end !== this.caret) this.taken = null;
    if (this.space !== this.caret) this.space = null;
    this.dispatchEvent(new Event("text"));
    this.pasted = false;
  }
}
