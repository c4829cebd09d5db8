// The output layer: logits = W x + bias and the best of them, while the next tile comes from memory.
//   STAGE, DOT, OFFSET, TILES, BIAS, NUMBERS as in product.cl; the bias of rows that are not there is -INFINITY
//   IS_ALONE and what is written to `out`: see best.cl

INLINE void NAME(
    __local int *v, __global const uchar *w, __global const uchar *scale, __global const NUMBERS *bias,
    __global const float *x, __global float *logits, __global int *out) {
  STAGE(v, x);
  const floatV more = OFFSET == 0.0f ? 0.0f : OFFSET * ((__local float *)v)[0] * v[1];
  Best best;
  begin(&best);
  for (int tile = GROUP * LANES + LANE; tile < TILES; tile += GROUPS * LANES) {
    Tile s = DOT(w, scale, v, tile);
    __global const NUMBERS *from = bias + tile * ROWS;
    PREFETCH(from, 128);
    ADD_BIAS(s, from, more);
    store_tile(s, logits + tile * ROWS);
    see(&best, s, tile * ROWS);
  }
  tell(&best, IS_ALONE, out);
}
