// The choice of a model: size against perplexity, the time of a step, once measured, as the size of the dot, and a list.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 340, HEIGHT = 170, LEFT = 34, RIGHT = 20, TOP = 26, BOTTOM = 34;

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Places of values along an axis, with room at both ends. */
function scale(values, from, to) {
  const low = Math.min(...values), high = Math.max(...values), room = (high - low || high || 1) * 0.35;
  return (value) => from + ((value - low + room) / (high - low + 2 * room)) * (to - from);
}

/** What is known of a model, in a few words. */
export function described(entry, here) {
  const parts = [megabytes(entry.bytes), `${entry.words.toLocaleString("en")} words`];
  if (entry.perplexity) parts.push(`perplexity ${entry.perplexity.toFixed(1)}`);
  if (entry.top3) parts.push(`next word or sign among three ${(100 * entry.top3).toFixed(1)} %`);
  if (here) parts.push(`${here.toFixed(2)} ms a step here`);
  return parts.join(" · ");
}

/**
 * Draws the plot and the list.
 * @param {object[]} entries of models.json. @param {string} chosen name. @param {Object<string, number>} here measured ms.
 * @param {(name: string) => void} choose
 */
export function drawPicker(plot, list, entries, chosen, here, choose) {
  const placed = entries.filter(({ perplexity }) => perplexity);
  plot.replaceChildren(...(placed.length > 1 ? [drawn(placed, chosen, here, choose)] : []));
  for (const label of list.querySelectorAll("label")) label.remove();
  for (const entry of entries) {
    const label = document.createElement("label"), radio = document.createElement("input");
    const facts = document.createElement("small");
    Object.assign(radio, { type: "radio", name: "model", value: entry.name, checked: entry.name === chosen });
    radio.addEventListener("change", () => choose(entry.name));
    facts.textContent = described(entry, here[entry.name]);
    label.append(radio, entry.name, facts);
    list.append(label);
  }
}

function drawn(entries, chosen, here, choose) {
  const picture = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  picture.setAttribute("aria-label", "Size against perplexity of the models; the list below says the same");
  const x = scale(entries.map(({ bytes }) => Math.log(bytes)), LEFT, WIDTH - RIGHT);
  const y = scale(entries.map(({ perplexity }) => perplexity), HEIGHT - BOTTOM, TOP);
  const axis = `M${LEFT} ${TOP - 12}V${HEIGHT - BOTTOM}H${WIDTH - 4}`;
  picture.append(
    element("path", { d: axis, class: "axis", fill: "none" }),
    element("text", { x: LEFT, y: 10 }, "perplexity (lower is better); larger dot: slower here"),
    element("text", { x: WIDTH - 4, y: HEIGHT - 4, "text-anchor": "end" }, "size"),
  );
  for (const entry of entries) {
    const at = [x(Math.log(entry.bytes)), y(entry.perplexity)], time = here[entry.name] ?? 0.1;
    const group = element("g", { class: entry.name === chosen ? "chosen" : "" });
    const radius = Math.min(16, Math.max(5, 5 + 3 * Math.log2(1 + 4 * time)));
    group.append(
      element("circle", { cx: at[0], cy: at[1], r: radius }),
      element("text", { x: at[0], y: at[1] - radius - 3, "text-anchor": "middle" }, entry.name),
      element("text", { x: at[0], y: HEIGHT - BOTTOM + 14, "text-anchor": "middle" }, megabytes(entry.bytes)),
      element("text", { x: LEFT - 4, y: at[1] + 4, "text-anchor": "end" }, entry.perplexity.toFixed(0)),
    );
    group.addEventListener("click", () => choose(entry.name));
    picture.append(group);
  }
  return picture;
}
