// One LSTM layer up to its projection (Grachev et al. 2019, eq. 11-15), VEC units with their four gates a work-item:
// c and out [H] from x [N] and h [O]. The rows of both matrices are tiles of i, f, g, o of VEC units.
//   STAGE_X, DOT_X, OFFSET_X of the input matrix; STAGE_H, DOT_H, OFFSET_H of the recurrent one; AT_H: where the local
//   memory of h begins; TILES; BIAS(p): a vector of the bias, which has NUMBERS
//   COUPLED  f = 1 - i (Greff et al. 2015); the rows of i stand in the place of f too
// One matrix after the other, into `sums`: a stream that a processor can run ahead on, and products to do while an exp
// waits.

INLINE void NAME(
    __local int *v, __global const uchar *wx, __global const uchar *sx, __global const uchar *wh,
    __global const uchar *sh, __global const NUMBERS *bias, __global const float *x, __global const float *h,
    __global float *sums, __global float *c, __global float *out) {
  __local int *u = v + AT_H;
  STAGE_X(v, x);
  STAGE_H(u, h);
  const floatV more = (OFFSET_X == 0.0f ? 0.0f : OFFSET_X * ((__local float *)v)[0] * v[1]) +
                      (OFFSET_H == 0.0f ? 0.0f : OFFSET_H * ((__local float *)u)[0] * u[1]);
  for (int tile = GROUP * LANES + LANE; tile < TILES; tile += GROUPS * LANES) {
    const Tile a = DOT_X(wx, sx, v, tile);
    __global const NUMBERS *from = bias + tile * ROWS;
    __global float *to = sums + tile * ROWS;
    STORE(a.a + BIAS(from) + more, to);
    STORE(a.b + BIAS(from + VEC) + more, to + VEC);
    STORE(a.c + BIAS(from + 2 * VEC) + more, to + 2 * VEC);
    STORE(a.d + BIAS(from + 3 * VEC) + more, to + 3 * VEC);
  }
  for (int tile = GROUP * LANES + LANE; tile < TILES; tile += GROUPS * LANES) {
    const Tile a = DOT_H(wh, sh, u, tile);
    __global float *to = sums + tile * ROWS;
    STORE(a.a + LOAD(to), to);
    STORE(a.b + LOAD(to + VEC), to + VEC);
    STORE(a.c + LOAD(to + 2 * VEC), to + 2 * VEC);
    STORE(a.d + LOAD(to + 3 * VEC), to + 3 * VEC);
  }
  for (int tile = GROUP * LANES + LANE; tile < TILES; tile += GROUPS * LANES) {
    __global const float *from = sums + tile * ROWS;
    const floatV i = sigmoid_(LOAD(from)), f = COUPLED ? 1.0f - i : sigmoid_(LOAD(from + VEC));
    const floatV g = tanh_(LOAD(from + 2 * VEC)), o = sigmoid_(LOAD(from + 3 * VEC));
    const int first = tile * VEC;
    const floatV cell = f * LOAD(c + first) + i * g;
    STORE(cell, c + first);
    store_some(o * tanh_(cell), out + first, UNITS - first);
  }
}
