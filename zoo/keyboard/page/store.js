// What a device remembers of its person: choices, words never to suggest, learnt words. It stays in the browser.

const PREFIX = "rnnlm-keyboard.";

/** A value that was kept, or the given one; also where the browser keeps nothing. */
export function kept(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** What another tab of the page keeps from now on, told by its name. */
export function watch(name, tell) {
  addEventListener("storage", ({ key }) => key === PREFIX + name && tell());
}

/** Keeps a value; false: the browser does not keep it. */
export function keep(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** Offers a value as a file. */
export function download(name, value) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(value, null, 1)], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
