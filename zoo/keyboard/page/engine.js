// One step of a model: conversion/exporters/c in WebAssembly, over a model.rnnlm as it is stored.

const BINARY = new URL("./rnnlm.wasm", import.meta.url);
const AGAIN = "make the page's folder again with zoo demo";
const PAGE = 65536, LINE = 64; // bytes of a page of memory, and of what arrays begin at multiples of

async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}; ${AGAIN}`);
  return answer;
}

/** The bytes of a file that lies packed in the page's folder; `tell` gets the bytes loaded so far. */
export async function unpacked(url, tell = () => {}) {
  const answer = await fetched(url);
  let loaded = 0;
  const counted = new TransformStream({
    transform(chunk, controller) {
      tell((loaded += chunk.byteLength));
      controller.enqueue(chunk);
    },
  });
  const packed = answer.body.pipeThrough(counted);
  try {
    return await new Response(packed.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  } catch (error) {
    throw new Error(`${url} is damaged or cut off (${error.message}); load the page again, or ${AGAIN}`);
  }
}

/** The code of the step, which every model has an instance of. */
export async function runtime() {
  const code = await (await fetched(BINARY)).arrayBuffer();
  if (!globalThis.WebAssembly?.validate(code))
    throw new Error("this browser cannot compute: WebAssembly with SIMD is missing, as in those before 2023; update it");
  return WebAssembly.compile(code);
}

export class Engine {
  /** @param {WebAssembly.Module} module from `runtime`. @param {ArrayBuffer} file a model.rnnlm. */
  static async open(module, file) {
    const engine = new Engine();
    const { exports: step } = await WebAssembly.instantiate(module);
    engine.code = step;
    engine.end = step.__heap_base.value;
    const place = engine.allot(file.byteLength);
    new Uint8Array(step.memory.buffer).set(new Uint8Array(file), place);
    engine.check(step.open(place, file.byteLength));
    engine.size = step.vocabulary();
    const lengths = [step.state_floats(), engine.size, step.scratch_floats()];
    engine.places = lengths.map((floats) => engine.allot(4 * floats));
    // The memory stays as it is from here on, so that views of it stay what they are.
    [engine.state, engine.scores] = lengths.map((n, i) => new Float32Array(step.memory.buffer, engine.places[i], n));
    return engine;
  }

  /** Room for so many bytes, never given back. */
  allot(bytes) {
    const { memory } = this.code, place = Math.ceil(this.end / LINE) * LINE;
    this.end = place + bytes;
    const missing = Math.ceil((this.end - memory.buffer.byteLength) / PAGE);
    if (missing > 0) memory.grow(missing);
    return place;
  }

  /** Throws what an error code of the step means. */
  check(code) {
    if (code) throw new Error(`the model cannot be used: ${this.text(this.code.error(code))}, or ${AGAIN}`);
  }

  /** UTF-8 up to a zero, or up to the zero after another place. */
  text(from, last = from) {
    const bytes = new Uint8Array(this.code.memory.buffer);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(from, bytes.indexOf(0, last)));
  }

  /** The vocabulary, in the order of the ids. */
  words() {
    return this.text(this.code.word(0), this.code.word(this.size - 1)).split("\0");
  }

  /** A token and the state before it (null: the beginning) -> logits, which the next step overwrites, and the state. */
  logits(token, state) {
    if (state) this.state.set(state);
    else this.state.fill(0);
    this.check(this.code.step(token, ...this.places));
    return { logits: this.scores, state: this.state.slice() };
  }

  /** As `logits`, but with log probabilities, which stay. */
  step(token, state) {
    const { logits, state: after } = this.logits(token, state);
    return { logProbs: logSoftmax(logits), state: after };
  }
}

/** Log probabilities in the precision and order of operations of the Python engines. */
export function logSoftmax(logits) {
  let top = -Infinity, sum = 0;
  for (const value of logits) if (value > top) top = value;
  for (const value of logits) sum += Math.exp(value - top);
  const norm = Math.fround(top + Math.log(sum));
  if (!Number.isFinite(norm)) throw new Error(`the model gives no finite probabilities; ${AGAIN}`);
  return logits.map((value) => value - norm);
}
