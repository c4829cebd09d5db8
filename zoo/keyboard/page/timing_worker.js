// Times the steps of a model in a worker of its own, so that each time starts from nothing.

import { Engine, runtime, unpacked } from "./engine.js";
import { timeSteps } from "./timing.js";

onmessage = async ({ data: { entry } }) => {
  try {
    const [module, file] = await Promise.all([
      runtime(),
      unpacked(new URL(entry.model, new URL("./", import.meta.url))),
    ]);
    const start = performance.now();
    const engine = await Engine.open(module, file);
    const opened = Math.round(performance.now() - start);
    const found = timeSteps(engine, entry.words, (share) => postMessage({ share }));
    postMessage({ result: { open_ms: opened, ...found } });
  } catch (error) {
    postMessage({ error: String(error.message ?? error) });
  }
};
