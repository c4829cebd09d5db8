// One step of a model in ONNX Runtime: wasm on one thread, on more where the page is isolated, or WebGPU.

const RUNTIMES = {
  wasm: { module: "ort.wasm.min.mjs", wasm: "ort-wasm-simd-threaded.wasm.gz" },
  webgpu: { module: "ort.webgpu.min.mjs", wasm: "ort-wasm-simd-threaded.asyncify.wasm.gz" },
};
const FOLDER = new URL("./ort/", import.meta.url);

/** The bytes of a file that lies packed in the page's folder; `tell` gets the bytes loaded so far. */
export async function unpacked(url, tell = () => {}) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}; make the page's folder again with zoo demo`);
  let loaded = 0;
  const counted = new TransformStream({
    transform(chunk, controller) {
      tell((loaded += chunk.byteLength));
      controller.enqueue(chunk);
    },
  });
  return new Response(answer.body.pipeThrough(counted).pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** ONNX Runtime for a backend; its wasm is loaded by us, because it lies packed. */
export async function runtime(backend, tell) {
  const { module, wasm } = RUNTIMES[backend];
  const [ort, binary] = await Promise.all([import(new URL(module, FOLDER)), unpacked(new URL(wasm, FOLDER), tell)]);
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.wasmPaths = FOLDER.href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  return ort;
}

export class Engine {
  /** @param {ArrayBuffer} model the ONNX file of one step. */
  static async open(ort, model, backend = "wasm") {
    const engine = new Engine();
    engine.ort = ort;
    engine.session = await ort.InferenceSession.create(model, { executionProviders: [backend], logSeverityLevel: 3 });
    engine.shapes = engine.session.inputMetadata.filter(({ name }) => name.startsWith("past."));
    return engine;
  }

  /** A token and the state before it (null: the beginning) -> logits and the state after it. */
  async logits(token, state) {
    const { Tensor } = this.ort;
    const feeds = { input_ids: new Tensor("int64", BigInt64Array.of(BigInt(token)), [1, 1]) };
    for (const { name, shape } of this.shapes) {
      const width = shape.at(-1);
      feeds[name] = new Tensor("float32", state?.[name] ?? new Float32Array(width), [1, width]);
    }
    const found = await this.session.run(feeds), after = {};
    for (const { name } of this.shapes) after[name] = found[name.replace("past", "present")].data;
    return { logits: found.logits.data, state: after };
  }

  /** As `logits`, but with log probabilities. */
  async step(token, state) {
    const { logits, state: after } = await this.logits(token, state);
    return { logProbs: logSoftmax(logits), state: after };
  }
}

/** Log probabilities in the precision and order of operations of the Python engines. */
export function logSoftmax(logits) {
  let top = -Infinity, sum = 0;
  for (const value of logits) if (value > top) top = value;
  for (const value of logits) sum += Math.exp(value - top);
  const norm = Math.fround(top + Math.log(sum));
  if (!Number.isFinite(norm)) throw new Error("the model gives no finite probabilities; make the page's folder again");
  return logits.map((value) => value - norm);
}
