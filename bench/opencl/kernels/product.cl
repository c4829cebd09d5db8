// y [M] = W x + bias, a tile of rows a work-item.
//   STAGE(v, x)  brings x; DOT(w, s, v, tile)  rows of a tile; OFFSET, TILES, M of W; AT: where y begins
//   START  0: nothing, 1: the bias, 2: what stands in y already; BIAS(p): a vector of the bias, which has NUMBERS

INLINE void NAME(
    __local int *v, __global const uchar *w, __global const uchar *scale, __global const NUMBERS *bias,
    __global const float *x, __global float *y) {
  STAGE(v, x);
  const floatV more = OFFSET == 0.0f ? 0.0f : OFFSET * ((__local float *)v)[0] * v[1];
  for (int tile = GROUP * LANES + LANE; tile < TILES; tile += GROUPS * LANES) {
    const Tile s = DOT(w, scale, v, tile);
    __global float *to = y + AT + tile * ROWS;
    const int left = M - tile * ROWS;
#if START == 0
    store_some(s.a + more, to, left);
    store_some(s.b + more, to + VEC, left - VEC);
    store_some(s.c + more, to + 2 * VEC, left - 2 * VEC);
    store_some(s.d + more, to + 3 * VEC, left - 3 * VEC);
#else
#if START == 1
#define OLD(at) BIAS(bias + tile * ROWS + (at))
#else
#define OLD(at) LOAD(to + (at))
#endif
    store_some(OLD(0) + s.a + more, to, left);
    store_some(OLD(VEC) + s.b + more, to + VEC, left - VEC);
    store_some(OLD(2 * VEC) + s.c + more, to + 2 * VEC, left - 2 * VEC);
    store_some(OLD(3 * VEC) + s.d + more, to + 3 * VEC, left - 3 * VEC);
#undef OLD
#endif
  }
}
