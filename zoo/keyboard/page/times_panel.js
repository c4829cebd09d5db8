// The benchmark on the visitor's own device; the result is a file that the visitor may save, and goes nowhere else.

import { download } from "./store.js";

const NAMES = { wasm: "wasm", webgpu: "WebGPU" };

/** @param {() => object} current the entry of models.json to time. @param {(name: string, ms: number) => void} tell */
export function timesPanel(content, current, tell) {
  const output = document.getElementById("times"), save = document.getElementById("save-times");
  const buttons = Object.keys(NAMES).map((backend) => [backend, document.getElementById(`time-${backend}`)]);
  let result = null, running = null;

  function show(note = "") {
    const table = document.createElement("table");
    const rows = [["ms a step", "mean", "median", "95 %"]];
    for (const [backend, { milliseconds: ms, threads }] of Object.entries(result?.backends ?? {}))
      rows.push([`${NAMES[backend]}${threads > 1 ? `, ${threads} threads` : ""}`, ms.mean, ms.median, ms.p95]);
    for (const [number, row] of rows.entries()) {
      const line = table.insertRow();
      for (const cell of row) {
        const made = document.createElement(number ? "td" : "th");
        made.textContent = typeof cell === "number" ? cell.toFixed(3) : cell;
        line.append(made);
      }
    }
    output.replaceChildren(...(rows.length > 1 ? [table] : []), note);
    save.disabled = !result;
  }

  function time(backend) {
    if (running) return;
    const entry = current();
    running = new Worker(new URL("./timing_worker.js", import.meta.url), { type: "module" });
    const end = (note) => {
      running.terminate();
      running = null;
      for (const [, button] of buttons) button.disabled = false;
      show(note);
    };
    for (const [, button] of buttons) button.disabled = true;
    show(`${NAMES[backend]}: loading …`);
    running.onerror = (event) => end(`${NAMES[backend]}: ${event.message || "the worker cannot be loaded"}`);
    running.onmessage = ({ data }) => {
      if (data.error) end(`${NAMES[backend]}: ${data.error}`);
      else if (data.share !== undefined) output.lastChild.textContent = `${NAMES[backend]}: ${Math.round(100 * data.share)} %`;
      else {
        if (result?.model !== entry.name) result = resultOf(content, entry);
        result.backends[backend] = data.result;
        if (backend === "wasm") tell(entry.name, data.result.milliseconds.median);
        end();
      }
    };
    running.postMessage({ backend, entry });
  }

  for (const [backend, button] of buttons) button.addEventListener("click", () => time(backend));
  save.addEventListener("click", () => download(`keyboard-times-${result.model}.json`, result));
}

/** What a result says beside its times. */
function resultOf(content, entry) {
  const { userAgent, hardwareConcurrency, deviceMemory } = navigator;
  return {
    format: 1,
    model: entry.name,
    sha256: entry.sha256,
    runtime: content.runtime,
    device: { userAgent, hardwareConcurrency, deviceMemory, isolated: crossOriginIsolated },
    backends: {},
  };
}
