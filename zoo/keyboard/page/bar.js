// The three slots: the best suggestion in the middle, what is typed always reachable on the left.

const HOLD = 500; // milliseconds of a long press
const SPEAK = 1000; // milliseconds of silence after which a screen reader is told

/** Suggestions, best first, what is typed the last -> those of the left, middle and right slot. */
export function placed(suggestions) {
  const literal = suggestions.find(({ source }) => source === "literal");
  const [best, second, third] = suggestions.filter((one) => one !== literal);
  if (!literal) return [second, best, third];
  return best ? [literal, best, second] : [null, literal, null];
}

/** Fires `take` with a suggestion, and `hold` with one that is pressed long. */
export class Bar extends EventTarget {
  /** @param {HTMLElement} element with three buttons. @param {HTMLElement} voice a polite live region. */
  constructor(element, voice) {
    super();
    this.element = element;
    this.voice = voice;
    this.buttons = [...element.querySelectorAll("button")];
    this.slots = [null, null, null];
    this.waiting = null;
    this.buttons.forEach((button, place) => this.listen(button, place));
  }

  listen(button, place) {
    let timer = 0, held = false;
    button.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the field keeps the focus
      button.setPointerCapture(event.pointerId);
      held = false;
      this.pressed = this.slots[place]; // what was under the finger, whatever is painted meanwhile
      timer = setTimeout(() => {
        held = true;
        this.hold(place);
      }, HOLD);
    });
    button.addEventListener("pointerup", () => {
      clearTimeout(timer);
      const { pressed } = this;
      this.release();
      if (!held && pressed) this.fire("take", pressed);
    });
    button.addEventListener("pointercancel", () => {
      clearTimeout(timer);
      this.release();
    });
    button.addEventListener("click", (event) => {
      if (event.detail === 0 && this.slots[place]) this.fire("take", this.slots[place]); // a key or a screen reader
    });
    button.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      clearTimeout(timer);
      if (!held) this.hold(place);
      held = true;
    });
  }

  hold(place) {
    const slot = this.slots[place];
    if (slot && slot.source !== "literal") this.fire("hold", slot);
  }

  /** The finger is up: what came meanwhile is painted. */
  release() {
    const { waiting } = this;
    this.pressed = undefined;
    this.waiting = null;
    if (waiting) this.paint(...waiting);
  }

  /** Paints the bar of a text; under a finger nothing moves. */
  paint(before, suggestions) {
    if (this.pressed !== undefined) {
      this.waiting = [before, suggestions];
      return;
    }
    this.slots = placed(suggestions).map((slot) => slot ?? null);
    this.before = before;
    this.buttons.forEach((button, place) => {
      const slot = this.slots[place], isLiteral = slot?.source === "literal";
      button.textContent = !slot ? "" : isLiteral ? `“${slot.text}”` : slot.text;
      button.disabled = !slot;
      button.classList.toggle("personal", slot?.source === "personal");
      const told = isLiteral ? `Keep ${slot.text}` : `${slot?.text}, suggestion`;
      button.setAttribute("aria-label", slot ? told : "No suggestion");
    });
    // For whoever measures the page from outside.
    this.element.dispatchEvent(new CustomEvent("painted", { detail: before, bubbles: true }));
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => this.speak(), SPEAK);
  }

  speak() {
    const texts = [this.slots[1], this.slots[0], this.slots[2]].filter(Boolean).map(({ text }) => text);
    this.voice.textContent = texts.length ? `Suggestions: ${texts.join(", ")}` : "";
  }

  /** Takes a slot, 0 to 2 from the left. */
  takeSlot(place) {
    if (this.slots[place]) this.fire("take", this.slots[place]);
  }

  fire(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
