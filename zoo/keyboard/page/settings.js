// Colours, words that are never suggested, and what was learnt of the person.

import { today } from "./personal.js";
import { download, keep, kept, watch } from "./store.js";

const PAUSE = 1000; // milliseconds between two savings of what was learnt
const SURE = 5000; // milliseconds in which a second tap counts
const NOTHING = { format: 1, words: [] };
const at = (id) => document.getElementById(id);

/** @param {string[]} blocked the words that are blocked by default. @param {(text: string, undo?: Function) => void} say */
export function settingsPanel(client, blocked, say) {
  let never = kept("never", []), isPrivate = false;

  function apply() {
    client.post({ kind: "settings", blocked: [...(at("block").checked ? blocked : []), ...never], isPrivate });
    keep("never", never);
    keep("block", at("block").checked);
    const items = never.map((word) => {
      const item = document.createElement("li"), button = document.createElement("button");
      button.type = "button";
      button.textContent = `${word} ×`;
      button.setAttribute("aria-label", `Suggest ${word} again`);
      button.addEventListener("click", () => allow(word));
      item.append(button);
      return item;
    });
    at("never").replaceChildren(...(items.length ? items : ["None. Hold a suggestion to add it."]));
    client.tell("settled");
  }

  function allow(word) {
    never = never.filter((one) => one !== word);
    apply();
  }

  function colour() {
    if (at("theme").value) document.documentElement.dataset.theme = at("theme").value;
    else delete document.documentElement.dataset.theme;
    keep("theme", at("theme").value);
  }

  async function forget(verb, value, told) {
    const count = await client.personal(verb, value), words = count === 1 ? "word" : "words";
    say(count ? `Forgotten: ${count.toLocaleString("en")} ${words}, ${told}` : `Nothing to forget: ${told}`);
  }

  /** What cannot be undone is done at the second tap; the first one asks, for as long as SURE. */
  function twice(button, question, act) {
    const label = button.textContent;
    let asked = 0;
    const rest = () => {
      clearTimeout(asked);
      asked = 0;
      button.textContent = label;
    };
    button.addEventListener("blur", rest);
    button.addEventListener("click", () => {
      if (asked) {
        rest();
        act();
      } else {
        button.textContent = question;
        say(question);
        asked = setTimeout(rest, SURE);
      }
    });
  }

  at("theme").value = kept("theme", "");
  at("theme").addEventListener("change", colour);
  at("block").checked = kept("block", true);
  at("block").addEventListener("change", apply);
  at("private").addEventListener("click", () => {
    isPrivate = !isPrivate;
    at("private").setAttribute("aria-pressed", String(isPrivate));
    at("text").placeholder = isPrivate ? "Private: nothing is learnt" : "Type a message";
    say(isPrivate ? "Private: nothing is learnt from now on" : "Words are learnt again");
    apply();
  });
  at("forget-day").addEventListener("click", () => forget("day", today(), "all of today"));
  twice(at("forget-all"), "Tap again to forget all", () => forget("all", null, "all that was learnt"));
  at("forget-word").addEventListener("submit", (event) => {
    event.preventDefault();
    const word = at("word").value.trim();
    if (word) forget("forget", word, `“${word}”`);
    at("word").value = "";
  });
  at("export").addEventListener("click", async () => download("my-words.json", await client.personal("export")));
  at("import").addEventListener("change", async ({ target }) => {
    const loaded = await target.files[0].text().then(JSON.parse).then((value) => client.personal("load", value), () => false);
    say(loaded ? "Your words are loaded" : "This is no file of words saved here; choose one that “Save as a file” wrote");
    target.value = "";
  });
  let saving = 0, known = "null"; // what lies in the store, as this tab knows it
  const stored = () => JSON.stringify(kept("personal", null));
  /** Takes over what another tab has learnt or forgotten; what was learnt here in the last second is lost. */
  const adopt = () => {
    if (stored() === known) return false;
    known = stored();
    client.personal("load", kept("personal", NOTHING));
    return true;
  };
  const save = async () => {
    clearTimeout(saving);
    saving = 0;
    const words = await client.personal("export");
    if (adopt()) return; // a tab that slept must not bring back what was forgotten meanwhile
    if (keep("personal", words)) known = stored();
    else say("This browser keeps nothing: your words end with the page");
  };
  client.addEventListener("changed", () => (saving ||= setTimeout(save, PAUSE)));
  document.addEventListener("visibilitychange", () => (document.hidden ? saving && save() : adopt()));
  watch("personal", adopt);
  adopt();
  colour();
  apply();

  return {
    /** Never suggests a word again, and says so. */
    block(word) {
      const lower = word.toLowerCase();
      if (!never.includes(lower)) never = [...never, lower];
      apply();
      say(`“${lower}” will never be suggested`, () => allow(lower));
    },
  };
}
