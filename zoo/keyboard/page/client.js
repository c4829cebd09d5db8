// The page's side of the worker: one bar is asked for at a time, and of those that wait only the newest.

export class Client extends EventTarget {
  constructor() {
    super();
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = (event) => this.tell("error", { text: event.message || "the worker cannot be loaded" });
    this.asked = null; // the bar under way
    this.next = null; // the newest text that waits
    this.calls = new Map();
    this.ids = 0;
  }

  /** Asks for the bar of a text before the caret; the answer is the event `bar`. `pasted`: it was not all typed. */
  bar(before, k, pasted) {
    const request = { kind: "bar", id: ++this.ids, before, k, pasted: pasted || Boolean(this.next?.pasted) };
    if (this.asked) this.next = request;
    else this.post((this.asked = request));
  }

  post(message) {
    this.worker.postMessage(message);
  }

  /** A question about the personal words. */
  personal(verb, value) {
    return new Promise((resolve) => {
      this.calls.set(++this.ids, resolve);
      this.post({ kind: "personal", id: this.ids, verb, value });
    });
  }

  hear(data) {
    if (data.id !== undefined && data.id === this.asked?.id) {
      this.asked = this.next;
      this.next = null;
      if (this.asked) this.post(this.asked);
    }
    this.calls.get(data.id)?.(data.answer);
    this.calls.delete(data.id);
    this.tell(data.kind, data);
  }

  tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
