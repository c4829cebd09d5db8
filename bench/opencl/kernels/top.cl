// The best of the logits, for output layers that are no single matrix; IS_ALONE and what is written: see best.cl.

INLINE void NAME(__local int *v, __global const float *logits, __global int *out) {
  Best best;
  begin(&best);
  for (int tile = GROUP * LANES + LANE; tile < TILES; tile += GROUPS * LANES) {
    __global const float *z = logits + tile * ROWS;
    const Tile some = {LOAD(z), LOAD(z + VEC), LOAD(z + 2 * VEC), LOAD(z + 3 * VEC)};
    see(&best, some, tile * ROWS);
  }
  tell(&best, IS_ALONE, out);
}
