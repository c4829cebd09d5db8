// Puts the page together: text field, bar, keys, worker, panels.

import { Bar } from "./bar.js";
import { Client } from "./client.js";
import { Keys } from "./keys.js";
import { drawPicker } from "./picker.js";
import { settingsPanel } from "./settings.js";
import { keep, kept } from "./store.js";
import { summary } from "./timing.js";
import { timesPanel } from "./times_panel.js";
import { Typing } from "./typing.js";

const SLOTS = 3, TIMES = 200, TOAST = 6000;
const at = (id) => document.getElementById(id);
const json = async (path) => (await fetch(path)).json();

const client = new Client();
const typing = new Typing(at("text"));
const bar = new Bar(at("bar"), at("voice"));
const keys = new Keys(at("keys"));
const content = await json("models.json");
const rules = await json("rules.json");
client.post({ kind: "start", list: await json("first_words.json"), mixture: rules.mixture });
const panel = settingsPanel(client, rules.blocked, say);
const here = kept("times", {}); // model -> measured milliseconds of a step
const steps = [], toBar = [];
const counted = { keys: 0, saved: 0 };
let changed = 0, asked = null, digest = "", learnt = 0;
let current = content.models.find(({ name }) => name === kept("model", "")) ?? content.models[0];

/** A line above the keys, with a way back where there is one. */
function say(text, undo) {
  const [line, button] = at("toast").children;
  line.textContent = text;
  button.hidden = !undo;
  button.onclick = () => {
    at("toast").hidden = true;
    undo();
  };
  (document.querySelector("dialog[open]") ?? at("keyboard")).append(at("toast")); // nothing else lies above a dialog
  at("toast").hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (at("toast").hidden = true), TOAST);
}

function ask() {
  asked = typing.before;
  client.bar(typing.before, SLOTS, typing.pasted);
}

function open(entry) {
  current = entry;
  at("status").textContent = `Loading ${entry.name} … until then a short list suggests`;
  at("progress").hidden = false;
  keys.script(entry.script);
  client.post({ kind: "open", entry });
  keep("model", entry.name);
}

function showStatus() {
  const parts = [current.name, `${(current.bytes / 1e6).toFixed(1)} MB`];
  if (steps.length) parts.push(`${summary(steps).median.toFixed(1)} ms a step`);
  at("status").textContent = parts.join(" · ");
}

/** The panel of facts, drawn when it is opened. */
function showFacts() {
  const told = (times) => {
    const { median, p95 } = summary(times);
    return times.length ? `${median.toFixed(1)} ms, 95 % within ${p95.toFixed(1)} ms` : "not yet";
  };
  const rows = {
    Model: current.name,
    Step: told(steps),
    "Key to bar": told(toBar),
    Keys: `${counted.keys} pressed, ${counted.saved} saved`,
    Digest: digest,
  };
  const cells = Object.entries(rows).flatMap(([name, value]) => {
    const term = document.createElement("dt"), fact = document.createElement("dd");
    term.textContent = name;
    fact.textContent = value;
    return [term, fact];
  });
  at("facts").replaceChildren(...cells);
  at("learnt").textContent = learnt.toLocaleString("en");
}

function showModels() {
  const choose = (name) => {
    open(content.models.find((entry) => entry.name === name));
    showModels();
  };
  drawPicker(at("plot"), at("choice"), content.models, current.name, here, choose);
}

function send() {
  const text = typing.area.value.trim();
  if (!text) return;
  const item = document.createElement("li");
  item.textContent = text;
  at("messages").append(item);
  at("help").hidden = true;
  item.scrollIntoView();
  client.post({ kind: "send", before: typing.area.value });
  typing.clear();
}

client.addEventListener("progress", ({ detail }) => (at("progress").value = detail.share));
client.addEventListener("ready", () => {
  at("progress").hidden = true;
  at("voice").textContent = `${current.name} is ready`;
  showStatus();
  ask();
});
client.addEventListener("settled", ask);
client.addEventListener("personal", ({ detail }) => {
  learnt = detail.learnt;
  showFacts();
  if (detail.verb !== "export") ask(); // what was forgotten must not stay in the bar
});
client.addEventListener("error", ({ detail }) => {
  at("voice").textContent = at("status").textContent = `${detail.text}. What suggested before goes on.`;
  at("progress").hidden = true;
});
client.addEventListener("bar", ({ detail }) => {
  if (detail.before !== typing.before) return; // a newer one is under way
  bar.paint(detail.before, detail.suggestions);
  steps.push(...detail.times);
  steps.splice(0, steps.length - TIMES);
  if (detail.digest) digest = detail.digest;
  learnt = detail.learnt;
  if (!changed) return;
  toBar.push(performance.now() - changed);
  toBar.splice(0, toBar.length - TIMES);
  changed = 0;
  if (at("progress").hidden) showStatus();
});

typing.addEventListener("text", () => {
  if (asked === typing.before) return; // only told once more
  changed ||= performance.now();
  keys.starts(typing.starts);
  ask();
});
typing.addEventListener("undone", ({ detail }) => say(`Taken back: “${detail.text}”`));
keys.addEventListener("type", ({ detail }) => {
  counted.keys++;
  typing.type(detail);
});
keys.addEventListener("delete", () => typing.backspace());
bar.addEventListener("take", ({ detail }) => {
  const before = typing.before.length;
  counted.keys++;
  typing.take(detail.text);
  counted.saved += Math.max(0, typing.before.length - before - 1);
});
bar.addEventListener("hold", ({ detail }) => panel.block(detail.text));
// Buttons around the field leave the caret where it is.
for (const one of document.querySelectorAll(".board, #private, #send"))
  for (const kind of ["pointerdown", "mousedown"]) one.addEventListener(kind, (event) => event.preventDefault());
at("send").addEventListener("click", send);
at("open-models").addEventListener("click", () => {
  showModels();
  at("models").showModal();
});
at("open-settings").addEventListener("click", () => {
  showFacts();
  at("settings").showModal();
});
for (const panel of document.querySelectorAll("dialog")) panel.addEventListener("close", () => typing.area.focus());
at("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
addEventListener("keydown", (event) => {
  const place = ["Digit1", "Digit2", "Digit3"].indexOf(event.code);
  if (event.altKey && place >= 0) {
    event.preventDefault();
    bar.takeSlot(place);
  } else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) counted.keys++;
});

timesPanel(content, () => current, (name, milliseconds) => {
  here[name] = milliseconds;
  keep("times", here);
  showModels();
});
keys.starts(true);
ask();
open(current);
typing.area.focus();
if ("serviceWorker" in navigator) navigator.serviceWorker.register("sw.js");
