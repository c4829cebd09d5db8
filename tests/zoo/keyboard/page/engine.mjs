// Reads tokens in the page's engine: engine.js, a wasm file, a model.rnnlm and the tokens as JSON are the arguments.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [script, code, file, tokens] = process.argv.slice(2);
const { Engine } = await import(pathToFileURL(script));
const bytes = (path) => new Uint8Array(readFileSync(path)).buffer;
const module = await WebAssembly.compile(bytes(code));
if (WebAssembly.Module.imports(module).length) throw new Error("the step must need nothing");

function read(engine) {
  const logProbs = [];
  let state = null, before = null;
  for (const token of JSON.parse(tokens)) {
    before = state;
    const found = engine.step(token, state);
    logProbs.push([...found.logProbs]);
    state = found.state;
  }
  return { logProbs, again: [...engine.step(JSON.parse(tokens).at(-1), before).logProbs] };
}

let answer;
try {
  const engine = await Engine.open(module, bytes(file));
  answer = { words: engine.words(), ...read(engine) };
} catch (error) {
  answer = { error: error.message };
}
process.stdout.write(JSON.stringify(answer));
