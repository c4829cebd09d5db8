// The output layer of an 8-bit matrix, read by half: the upper four bits of all rows (an int4 matrix, UPPER), and whole
// only the rows that those leave a chance to be among the TOP best.
//   STAGE, DOT, TILES, BIAS, NUMBERS  of the upper halves, as in product.cl; ONE_BIAS(p): a single bias
//   COLUMNS  of the matrix; STRIDE: bytes of a row of `rows`, which lie one after the other as q + 128
//   SECOND  where in local memory the vector in 12 bits lies; MOSTS: where behind that the most of each tile does
//   HALF_SCALES, HALF_REACH  whether `scale` and `reach` are halfs
//   RATIO   see screen.py: a logit is within reach [row] * (|x8| + RATIO * |x12 - x8|) of that of the upper halves
// Only for a work-item that is alone.

// A row's product with the vector in 12 bits, as dot_i8 gives it.
INLINE float PASTE(NAME, _row)(__global const uchar *rows, __local int *u, const int row) {
  __global const int *p = (__global const int *)(rows + (size_t)row * STRIDE);
  __local const int *high = INTS(u, STRIDE), *low = high + STRIDE / 4;
  intV h = 0, l = 0;
  for (int k = 0; k < STRIDE / 4; k += 2 * VEC) {
    const intV high0 = LOAD(high + k), high1 = LOAD(high + k + VEC), low0 = LOAD(low + k), low1 = LOAD(low + k + VEC);
    DOT_I8(h, l, LOAD(p + k), LOAD(p + k + VEC), high0, high1, low0, low1);
  }
  return (float)(sum_of((h << 6) + l) - 128 * u[1]) * ((__local float *)u)[0];
}

// How far the rounding of the upper halves' vector and what they leave out can move a logit, in units of `reach`.
INLINE float PASTE(NAME, _distance)(__local int *v, __local int *u) {
  const float greatest = magnitude(u, STRIDE), unit8 = ((__local float *)v)[0], unit12 = ((__local float *)u)[0];
  const float inverse8 = greatest > 0.0f ? 127.0f / greatest : 0.0f;
  const float inverse12 = greatest > 0.0f ? 2047.0f / greatest : 0.0f;
  floatV squares = 0.0f, differences = 0.0f;
  for (int i = 0; i < STRIDE; i += VEC) {
    const floatV x = LOAD(FLOATS(u) + i);
    const floatV x8 = TO_FLOAT(NEAREST(x * inverse8)) * unit8, d = TO_FLOAT(NEAREST(x * inverse12)) * unit12 - x8;
    squares += x8 * x8;
    differences += d * d;
  }
  return sqrt(total_of(squares)) + RATIO * sqrt(total_of(differences));
}

// How far from z the true logits can be; the second term is what sums of floats are off by, and 0 * z of rows that are not
// there must stay a number.
#define AROUND(z, at)                                                                                      \
  (EITHER(HALF_REACH, (__global const half *)reach, (__global const float *)reach, at) * distance +        \
   MIN(fabs(z) * 1e-6f, (floatV)(1e30f)))

INLINE void NAME(
    __local int *v, __global const uchar *w, __global const uchar *scale, __global const NUMBERS *bias,
    __global const uchar *rows, __global const uchar *reach, __global const float *x, __global float *logits,
    __global int *out) {
  STAGE(v, x);
  __local int *u = v + SECOND;
  bring(u, x, COLUMNS);
  for (int i = PAD(COLUMNS); i < STRIDE; i++) FLOATS(u)[i] = 0.0f;
  quantise12(u, STRIDE);
  __local float *mosts = (__local float *)(u + MOSTS);  // per tile, the most that its logits can be
  const float distance = PASTE(NAME, _distance)(v, u) * 1.001f;

  Best least;  // by the least that a logit can be
  begin(&least);
  float highest = -INFINITY;
  for (int tile = 0; tile < TILES; tile++) {
    Tile s = DOT(w, scale, v, tile);
    const int at = tile * ROWS;
    PREFETCH(bias + at, 128);
    PREFETCH(reach + 2 * at, 128);
    ADD_BIAS(s, bias + at, 0.0f);
    store_tile(s, logits + at);
    const floatV a = AROUND(s.a, at), b = AROUND(s.b, at + VEC), c = AROUND(s.c, at + 2 * VEC), d = AROUND(s.d, at + 3 * VEC);
    const Tile above = {s.a + a, s.b + b, s.c + c, s.d + d}, below = {s.a - a, s.b - b, s.c - c, s.d - d};
    const floatV most = most_of(above);
    STORE(most, mosts + tile * VEC);
    if (any_above(most, (floatV)(highest))) {
      highest = greatest_of(most);
      lift(&least, highest);
    }
    if (any_above(most, (floatV)(least.values[TOP - 1]))) see_tile(&least, below, at);
    add(&least, s);
  }

  const float chance = least.values[TOP - 1] - fabs(least.values[TOP - 1]) * 1e-6f - 1e-30f;
  Best best;
  begin(&best);
  best.level = least.level;
  floatV more = 0.0f;
  int found[4 * ROWS], count = 0;  // rows on their way from memory
  for (int tile = 0; tile < TILES; tile++) {
    if (any_above(LOAD(mosts + tile * VEC), (floatV)(chance))) {
      for (int at = tile * ROWS; at < (tile + 1) * ROWS; at += VEC) {
        const floatV z = LOAD(logits + at), most = z + AROUND(z, at);
        if (!any_above(most, (floatV)(chance))) continue;
        float every[VEC];
        STORE(most, every);
        for (int i = 0; i < VEC; i++) {
          if (!(every[i] > chance)) continue;
          PREFETCH(rows + (at + i) * STRIDE - AHEAD, STRIDE);
          found[count++] = at + i;
        }
      }
    }
    if (count <= 3 * ROWS && tile < TILES - 1) continue;
    for (int i = 0; i < count; i++) {
      const int row = found[i];
      const float unit = EITHER_ONE(HALF_SCALES, scale, row) / 16;
      const float value = PASTE(NAME, _row)(rows, u, row) * unit + ONE_BIAS(bias + row);
      more += exp_((floatV)(value - best.level)) - exp_((floatV)(logits[row] - best.level));
      logits[row] = value;
      keep(best.values, best.ids, value, row);
    }
    count = 0;
  }
  best.sums = least.sums + more / VEC;
  tell(&best, 1, out);
}
#undef AROUND
