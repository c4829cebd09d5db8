// A hash of what a model said while a text was read: zoo/keyboard/digest.py in JavaScript.

export const START = 0xcbf29ce484222325n; // FNV-1a, 64 bits
const PRIME = 0x100000001b3n, MASK = 0xffffffffffffffffn;
const TOP = 3, NONE = 0xffffffff;

/** Ids of the k greatest of scores, best first, equals by id. */
export function bestIds(scores, k) {
  const ids = [];
  k = Math.min(k, scores.length);
  for (let id = 0; id < scores.length; id++) {
    if (ids.length === k && !(scores[id] > scores[ids[k - 1]])) continue;
    if (ids.length === k) ids.pop();
    let place = ids.length;
    while (place > 0 && scores[id] > scores[ids[place - 1]]) place--;
    ids.splice(place, 0, id);
  }
  return ids;
}

/** The digest after one more token: its id and the three best ids of the whole vocabulary, 4 bytes each. */
export function absorbed(digest, token, logProbs) {
  const best = bestIds(logProbs, TOP);
  while (best.length < TOP) best.push(NONE);
  for (const id of [token, ...best])
    for (let shift = 0; shift < 32; shift += 8) digest = ((digest ^ BigInt((id >>> shift) & 255)) * PRIME) & MASK;
  return digest;
}
