// The benchmark on the visitor's own device; the result is a file that the visitor may save, and goes nowhere else.

import { download } from "./store.js";

/** @param {() => object} current the entry of models.json to time. @param {(name: string, ms: number) => void} tell */
export function timesPanel(content, current, tell) {
  const output = document.getElementById("times"), save = document.getElementById("save-times");
  const button = document.getElementById("time");
  let result = null, running = null;

  function show(note = "") {
    const table = document.createElement("table");
    const { mean, median, p95 } = result?.milliseconds ?? {};
    const rows = [["ms a step", "mean", "median", "95 %"], [result?.model, mean, median, p95]];
    for (const [number, row] of rows.entries()) {
      const line = table.insertRow();
      for (const cell of row) {
        const made = document.createElement(number ? "td" : "th");
        made.textContent = typeof cell === "number" ? cell.toFixed(3) : cell;
        line.append(made);
      }
    }
    output.replaceChildren(...(result ? [table] : []), note);
    save.disabled = !result;
  }

  function time() {
    if (running) return;
    const entry = current();
    running = new Worker(new URL("./timing_worker.js", import.meta.url), { type: "module" });
    const end = (note) => {
      running.terminate();
      running = null;
      button.disabled = false;
      show(note);
    };
    button.disabled = true;
    show("Loading …");
    running.onerror = (event) => end(event.message || "the worker cannot be loaded");
    running.onmessage = ({ data }) => {
      if (data.error) end(data.error);
      else if (data.share !== undefined) output.lastChild.textContent = `${Math.round(100 * data.share)} %`;
      else {
        result = { ...resultOf(content, entry), ...data.result };
        tell(entry.name, result.milliseconds.median);
        end();
      }
    };
    running.postMessage({ entry });
  }

  button.addEventListener("click", time);
  save.addEventListener("click", () => download(`keyboard-times-${result.model}.json`, result));
}

/** What a result says beside its times. */
function resultOf(content, entry) {
  const { userAgent, hardwareConcurrency, deviceMemory } = navigator;
  return {
    format: 2,
    model: entry.name,
    sha256: entry.sha256,
    step: content.step,
    device: { userAgent, hardwareConcurrency, deviceMemory },
  };
}
