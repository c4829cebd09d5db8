// The keys of the page: letters and signs, shift, deletion with repetition.

const LETTERS = {
  Latn: ["q w e r t y u i o p", "a s d f g h j k l", "shift z x c v b n m delete", "signs , space . enter"],
  Cyrl: ["й ц у к е н г ш щ з х ъ", "ф ы в а п р о л д ж э", "shift я ч с м и т ь б ю ё delete", "signs , space . enter"],
};
const SIGNS = ["1 2 3 4 5 6 7 8 9 0", "@ # $ & - + ( ) /", "* \" ' : ; ! ? % delete", "letters , space . enter"];
const NAMES = {
  shift: "Shift", delete: "Delete", space: "Space", enter: "New line", signs: "Numbers and signs", letters: "Letters",
  ",": "Comma", ".": "Full stop", "'": "Apostrophe", '"': "Quote", "-": "Hyphen", "!": "Exclamation mark",
  "?": "Question mark", ":": "Colon", ";": "Semicolon", "/": "Slash", "*": "Star", "(": "Open bracket",
  ")": "Close bracket", "@": "At", "#": "Hash", "&": "And", "+": "Plus", "%": "Percent", $: "Dollar",
}; // prettier-ignore
const CAPS = { signs: "123", space: "space" };
const FIRST = { Latn: "ABC", Cyrl: "АБВ" };
const ICONS = new Set(["shift", "delete", "enter"]);
const WAIT = 400, AGAIN = 60; // milliseconds until deletion repeats, and between two

/** Fires `type` with a text, and `delete`. */
export class Keys extends EventTarget {
  constructor(element) {
    super();
    this.element = element;
    this.isUpper = false; // the next letter
    this.isLocked = false; // all of them
    this.isPressed = false; // whether the person asked for it
    this.script("Latn");
    element.addEventListener("pointerdown", (event) => this.down(event));
    for (const kind of ["pointerup", "pointercancel", "pointerleave"])
      element.addEventListener(kind, () => clearTimeout(this.repeating));
    element.addEventListener("click", (event) => {
      const key = event.target.closest("button")?.dataset.key;
      if (event.detail === 0 && key) this.press(key);
    });
    element.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** Letters of a script: `Latn` or `Cyrl`. */
  script(name) {
    const known = name in LETTERS ? name : "Latn";
    this.letters = LETTERS[known];
    this.first = FIRST[known];
    this.show(this.letters);
  }

  show(rows) {
    const focused = this.placeOf(document.activeElement);
    this.element.replaceChildren(
      ...rows.map((row) => {
        const line = document.createElement("div");
        line.className = "row";
        line.append(...row.split(" ").map((key) => this.button(key)));
        return line;
      }),
    );
    this.label();
    if (focused) this.element.children[focused[0]]?.children[focused[1]]?.focus(); // not lost with the key it was on
  }

  /** Row and column of a key; null: it is none. */
  placeOf(button) {
    const row = button?.parentElement;
    return row?.parentElement === this.element
      ? [[...this.element.children].indexOf(row), [...row.children].indexOf(button)]
      : null;
  }

  button(key) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.key = key;
    if (ICONS.has(key)) button.innerHTML = `<svg aria-hidden="true"><use href="#icon-${key}"></use></svg>`;
    else button.textContent = key === "letters" ? this.first : CAPS[key] ?? key;
    button.setAttribute("aria-label", NAMES[key] ?? key);
    return button;
  }

  /** Letters as they will be typed. */
  label() {
    const isUpper = this.isUpper || this.isLocked;
    for (const button of this.element.querySelectorAll("button")) {
      const { key } = button.dataset;
      if (/^\p{Ll}$/u.test(key)) {
        button.textContent = isUpper ? key.toUpperCase() : key;
        button.setAttribute("aria-label", button.textContent);
      }
      if (key === "shift") {
        button.setAttribute("aria-pressed", String(isUpper));
        button.classList.toggle("locked", this.isLocked);
      }
    }
  }

  /** Whether a sentence starts here, so that the next letter is a capital. */
  starts(isStart) {
    if (this.isUpper === isStart) return;
    this.isUpper = isStart;
    this.isPressed = false;
    this.label();
  }

  down(event) {
    const button = event.target.closest("button");
    if (!button) return;
    event.preventDefault(); // the field keeps the focus
    button.classList.add("down");
    setTimeout(() => button.classList.remove("down"), 120);
    this.press(button.dataset.key);
    if (button.dataset.key === "delete") {
      const again = () => {
        this.press("delete");
        this.repeating = setTimeout(again, AGAIN);
      };
      this.repeating = setTimeout(again, WAIT);
    }
  }

  press(key) {
    if (key === "shift") this.shift();
    else if (key === "signs") this.show(SIGNS);
    else if (key === "letters") this.show(this.letters);
    else if (key === "delete") this.dispatchEvent(new Event("delete"));
    else {
      const isUpper = (this.isUpper || this.isLocked) && /^\p{Ll}$/u.test(key);
      const text = { space: " ", enter: "\n" }[key] ?? (isUpper ? key.toUpperCase() : key);
      this.dispatchEvent(new CustomEvent("type", { detail: text }));
      if (text === " " && this.element.querySelector("[data-key=letters]")) this.show(this.letters);
    }
  }

  /** Once: the next letter; twice: all; again: none. */
  shift() {
    if (this.isLocked) this.isLocked = this.isUpper = false;
    else if (this.isUpper && this.isPressed) this.isLocked = true;
    else this.isUpper = !this.isUpper;
    this.isPressed = this.isUpper && !this.isLocked;
    this.label();
  }
}
