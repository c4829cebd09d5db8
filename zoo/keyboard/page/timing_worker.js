// Times one backend in a worker of its own, so that each starts from nothing.

import { Engine, runtime, unpacked } from "./engine.js";
import { timeSteps } from "./timing.js";

/** What the browser says of the graphics device. */
async function adapterInfo() {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("this browser has no WebGPU here");
  const { vendor, architecture, device, description } = adapter.info ?? {};
  return { vendor, architecture, device, description };
}

onmessage = async ({ data: { backend, entry } }) => {
  try {
    const adapter = backend === "webgpu" ? await adapterInfo() : undefined;
    const model = await unpacked(new URL(entry.model, new URL("./", import.meta.url)));
    const ort = await runtime(backend);
    const start = performance.now();
    const engine = await Engine.open(ort, model, backend);
    const session = Math.round(performance.now() - start);
    const found = await timeSteps(engine, entry.words, (share) => postMessage({ share }));
    postMessage({ result: { threads: ort.env.wasm.numThreads, adapter, session_ms: session, ...found } });
  } catch (error) {
    postMessage({ error: String(error.message ?? error) });
  }
};
