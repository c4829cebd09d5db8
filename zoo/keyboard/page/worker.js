// Model, vocabulary and personal words live here; the page asks for a bar at a time and paints it.

import { Engine, runtime, unpacked } from "./engine.js";
import { Follower } from "./follow.js";
import { Personal } from "./personal.js";
import { Keyboard, Model } from "./session.js";
import { ShortList } from "./short_list.js";
import { Vocabulary } from "./vocabulary.js";

const TIMES = 200; // latest steps whose time is told
const WARM_UP = 20; // steps until the browser has compiled them well
let personal = null, shortList = null, follower = null, former = null, code = null, loads = 0;
let settings = { blocked: [], private: false };
let times = [];

/** Counts the steps of an engine by the clock. */
function timed(engine) {
  return {
    step(token, state) {
      const start = performance.now(), found = engine.step(token, state);
      times = [...times, performance.now() - start].slice(-TIMES);
      return found;
    },
  };
}

function apply() {
  if (!follower) return;
  follower.keyboard.private = settings.private;
  follower.keyboard.block(settings.blocked);
}

const jobs = {
  start({ list, mixture }) {
    shortList = new ShortList(list);
    personal = new Personal(mixture);
  },

  async bar({ id, before, k, pasted }) {
    const { version } = personal;
    let found;
    if (follower) {
      const prefix = await follower.follow(before, pasted);
      found = { prefix, suggestions: follower.keyboard.suggest(prefix, k), digest: follower.keyboard.digest };
    } else found = shortList.suggest(before, k, settings.blocked);
    postMessage({ kind: "bar", id, before, ...found, times: times.slice(-1), learnt: personal.events.length });
    if (personal.version !== version) postMessage({ kind: "changed" });
  },

  async send({ before }) {
    await follower?.send(before);
    if (follower) postMessage({ kind: "changed" });
  },

  settings({ blocked, isPrivate }) {
    settings = { blocked, private: isPrivate };
    apply();
  },

  /** What is known of a person: exported, replaced, or forgotten in part. */
  personal({ id, verb, value }) {
    const verbs = {
      export: () => personal.export(),
      load: () => personal.load(value),
      forget: () => personal.forget(value),
      day: () => personal.forgetDay(value),
      all: () => personal.forgetAll(),
    };
    const answer = verbs[verb]();
    postMessage({ kind: "personal", id, verb, answer, learnt: personal.events.length });
    if (verb !== "export") postMessage({ kind: "changed" });
  },
};

// One after the other: a step is awaited, and two must not be under way in one text.
let last = Promise.resolve();
const queue = (job) => (last = last.then(job));
const tellError = (of, id) => (error) => postMessage({ kind: "error", of, id, text: String(error.message ?? error) });

/** Loads a model while the one before, or the short list, goes on. */
async function load({ entry }) {
  const mine = ++loads;
  const tell = (bytes) => {
    if (mine === loads) postMessage({ kind: "progress", share: Math.min(1, bytes / entry.packed) });
  };
  code ??= runtime();
  const [module, file] = await Promise.all([
    code,
    unpacked(new URL(entry.model, new URL("./", import.meta.url)), tell),
  ]).catch((error) => {
    code = null; // the next try loads it anew
    throw error;
  });
  const engine = await Engine.open(module, file);
  const opened = await Model.open(new Vocabulary(engine.words(), entry.never), timed(engine));
  for (let step = 0; step < WARM_UP; step++) opened.engine.step(opened.vocabulary.eos, null);
  await queue(() => {
    if (mine !== loads) return; // another one was chosen meanwhile
    times = [];
    follower = former = new Follower(new Keyboard(opened, personal, []), former);
    apply();
    postMessage({ kind: "ready", name: entry.name });
  });
}

onmessage = ({ data }) => {
  const { kind, id } = data;
  if (kind === "open") {
    load(data).catch(tellError(kind, id));
    return;
  }
  queue(async () => {
    try {
      await jobs[kind](data);
    } catch (error) {
      tellError(kind, id)(error);
      if (kind === "bar" && follower) {
        follower = null; // the short list goes on
        await jobs.bar(data);
      }
    }
  });
};
