// Products of one tile of a matrix with a vector, for each way numbers are stored.
//
// A matrix [M, N] lies in tiles of ROWS rows, LANES tiles side by side: [tile / LANES][step][tile % LANES][4][VEC][..].
// A step is one column of float or half, 4 columns of int8, or 8 columns of int4 with column j of the step in the low
// half of byte j and column j + 4 in its high half, each as q + 8.
// The vector lies in local memory (vector.cl).

// Products of unsigned bytes of a matrix with signed ones of a vector, 4 an int. int8 lies as q + 128, so 128 times the sum
// of the vector is taken off; the vector's 12 bits are two planes, x = 64 high + low with -32 <= high, low <= 32.
//   DOT_I8  adds the products of two steps of a matrix (w, v) with those of a vector to h and l, for 64 h + l
//   DOT_U4  adds those of two times 4 numbers of 0 to 15, the halves of bytes, with 4 signed bytes each to l and to h; at
//           most 4 times, then WIDEN gives the sums
#if SIMD == 2
INLINE intV vnni(intV acc, intV u, intV s) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
  return acc;
}
#define DOT_I8(h, l, w, v, high0, high1, low0, low1)                                                       \
  h = vnni(vnni(h, w, high0), v, high1);                                                                   \
  l = vnni(vnni(l, w, low0), v, low1)
// The upper halves stay where they are, as 16 times themselves.
#define DOT_U4(l, h, w, low, high)                                                                         \
  l = vnni(l, (w) & 0x0f0f0f0f, low);                                                                      \
  h = vnni(h, (w) & (int)0xf0f0f0f0, high)
#define WIDEN(l, h) ((l) + ((h) >> 4))
#elif SIMD == 1
// Pairs of products are summed in 16 bits: 255 * 32 * 2 twice fits, and 15 * 127 * 2 eight times.
INLINE intV maddubs(intV u, intV s) {
  intV t;
  __asm__("vpmaddubsw %2, %1, %0" : "=x"(t) : "x"(u), "x"(s));
  return t;
}
INLINE intV madd(intV t, intV factor) {
  intV w;
  __asm__("vpmaddwd %2, %1, %0" : "=x"(w) : "x"(t), "x"(factor));
  return w;
}
INLINE intV add16(intV a, intV b) {
  intV t;
  __asm__("vpaddw %2, %1, %0" : "=x"(t) : "x"(a), "x"(b));
  return t;
}
#define DOT_I8(h, l, w, v, high0, high1, low0, low1)                                                       \
  l += madd(add16(maddubs(w, high0), maddubs(v, high1)), (intV)(0x400040)) +                               \
       madd(add16(maddubs(w, low0), maddubs(v, low1)), (intV)(0x10001))
#define DOT_U4(l, h, w, low, high)                                                                         \
  l = add16(l, add16(maddubs((w) & 0x0f0f0f0f, low), maddubs(((w) >> 4) & 0x0f0f0f0f, high)))
#define WIDEN(l, h) madd(l, (intV)(0x10001))
#else
#define BYTE(v, j) (((v) << (24 - 8 * (j))) >> 24)
#define PART(w, x, j) (((w) >> 8 * (j) & 255) * BYTE(x, j))
#define DOT4(w, x) (PART(w, x, 0) + PART(w, x, 1) + PART(w, x, 2) + PART(w, x, 3))
#define DOT_I8(h, l, w, v, high0, high1, low0, low1)                                                       \
  h += DOT4(w, high0) + DOT4(v, high1);                                                                    \
  l += DOT4(w, low0) + DOT4(v, low1)
#define DOT_U4(l, h, w, low, high) l += DOT4((w) & 0x0f0f0f0f, low) + DOT4(((w) >> 4) & 0x0f0f0f0f, high)
#define WIDEN(l, h) (l)
#endif

// Where a tile's numbers of `type` begin, `per` of them a row and step, and how far the next step is.
#define FIRST(type, w, tile, steps, per)                                                                   \
  ((__global const type *)(w) + ((tile) / LANES * (steps) * LANES + (tile) % LANES) * ROWS * (per))
#define NEXT(per) (LANES * ROWS * (per))

// A vector of a table that lies in halfs or floats.
#define EITHER(is_half, halfs, floats, at) ((is_half) ? LOAD_HALF((halfs) + (at)) : LOAD((floats) + (at)))

// A number of it.
#define EITHER_ONE(is_half, table, at)                                                                     \
  ((is_half) ? vload_half(at, (__global const half *)(table)) : ((__global const float *)(table))[at])

// Adds to a tile its part of the bias, and `more` to each number; BIAS(p) as in product.cl.
#define ADD_BIAS(s, from, more)                                                                            \
  (s).a += BIAS(from) + (more);                                                                            \
  (s).b += BIAS((from) + VEC) + (more);                                                                    \
  (s).c += BIAS((from) + 2 * VEC) + (more);                                                                \
  (s).d += BIAS((from) + 3 * VEC) + (more)

INLINE Tile dot_f32(__global const uchar *w, __global const uchar *scale, __local int *v, const int tile, const int n) {
  __global const float *p = FIRST(float, w, tile, n, 1);
  Tile s = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int k = 0; k < n; k++, p += NEXT(1)) {
    const floatV x = FLOATS(v)[k];
    PREFETCH(p, 16 * VEC);
    s.a += x * LOAD(p);
    s.b += x * LOAD(p + VEC);
    s.c += x * LOAD(p + 2 * VEC);
    s.d += x * LOAD(p + 3 * VEC);
  }
  return s;
}

INLINE Tile dot_f16(__global const uchar *w, __global const uchar *scale, __local int *v, const int tile, const int n) {
  __global const half *p = FIRST(half, w, tile, n, 1);
  Tile s = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int k = 0; k < n; k++, p += NEXT(1)) {
    const floatV x = FLOATS(v)[k];
    PREFETCH(p, 8 * VEC);
    s.a += x * LOAD_HALF(p);
    s.b += x * LOAD_HALF(p + VEC);
    s.c += x * LOAD_HALF(p + 2 * VEC);
    s.d += x * LOAD_HALF(p + 3 * VEC);
  }
  return s;
}

// The scales [M] lie in halfs or floats.
INLINE Tile dot_i8(
    __global const uchar *w, __global const uchar *scale, __local int *v, const int tile, const int n,
    const int half_scales) {
  const int steps = PAD(n) / 4;
  __global const int *p = FIRST(int, w, tile, steps, 1);
  __local const int *high = INTS(v, n), *low = high + steps;
  intV ah = 0, bh = 0, ch = 0, dh = 0;
  intV a = -128 * v[1], b = a, c = a, d = a;
  for (int k = 0; k < steps; k += 2, p += 2 * NEXT(1)) {
    const intV high0 = high[k], high1 = high[k + 1], low0 = low[k], low1 = low[k + 1];
    __global const int *next = p + NEXT(1);
    PREFETCH(p, 32 * VEC);
    DOT_I8(ah, a, LOAD(p), LOAD(next), high0, high1, low0, low1);
    DOT_I8(bh, b, LOAD(p + VEC), LOAD(next + VEC), high0, high1, low0, low1);
    DOT_I8(ch, c, LOAD(p + 2 * VEC), LOAD(next + 2 * VEC), high0, high1, low0, low1);
    DOT_I8(dh, d, LOAD(p + 3 * VEC), LOAD(next + 3 * VEC), high0, high1, low0, low1);
  }
  __global const half *halfs = (__global const half *)scale + tile * ROWS;
  __global const float *floats = (__global const float *)scale + tile * ROWS;
  PREFETCH(halfs, 128);
  const floatV unit = ((__local float *)v)[0];
  Tile s = {
      TO_FLOAT((ah << 6) + a) * unit * EITHER(half_scales, halfs, floats, 0),
      TO_FLOAT((bh << 6) + b) * unit * EITHER(half_scales, halfs, floats, VEC),
      TO_FLOAT((ch << 6) + c) * unit * EITHER(half_scales, halfs, floats, 2 * VEC),
      TO_FLOAT((dh << 6) + d) * unit * EITHER(half_scales, halfs, floats, 3 * VEC)};
  return s;
}

// The scales lie as a matrix of a column per group, in halfs or floats; a group has `group_steps` steps.
INLINE Tile dot_i4(
    __global const uchar *w, __global const uchar *scale, __local int *v, const int tile, const int n, const int groups,
    const int group_steps, const int half_scales) {
  const int steps = groups * group_steps;
  __global const int *p = FIRST(int, w, tile, steps, 1);
  __global const half *halfs = FIRST(half, scale, tile, groups, 1);
  __global const float *floats = FIRST(float, scale, tile, groups, 1);
  __local const int *x = INTS(v, n), *sums = SUMS(v, n, 8 * steps);
  Tile s = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int g = 0; g < groups; g++, halfs += NEXT(1), floats += NEXT(1)) {
    intV a = -sums[g], b = a, c = a, d = a;
    for (int first = 0; first < group_steps; first += 4) {
      intV la = 0, lb = 0, lc = 0, ld = 0, ha = 0, hb = 0, hc = 0, hd = 0;
      for (int k = first; k < min(first + 4, group_steps); k++, p += NEXT(1), x += 2) {
        PREFETCH(p, 16 * VEC);
        const intV low = x[0], high = x[1];
        const intV wa = LOAD(p), wb = LOAD(p + VEC), wc = LOAD(p + 2 * VEC), wd = LOAD(p + 3 * VEC);
        DOT_U4(la, ha, wa, low, high);
        DOT_U4(lb, hb, wb, low, high);
        DOT_U4(lc, hc, wc, low, high);
        DOT_U4(ld, hd, wd, low, high);
      }
      a += WIDEN(la, ha);
      b += WIDEN(lb, hb);
      c += WIDEN(lc, hc);
      d += WIDEN(ld, hd);
    }
    s.a += TO_FLOAT(a) * EITHER(half_scales, halfs, floats, 0);
    s.b += TO_FLOAT(b) * EITHER(half_scales, halfs, floats, VEC);
    s.c += TO_FLOAT(c) * EITHER(half_scales, halfs, floats, 2 * VEC);
    s.d += TO_FLOAT(d) * EITHER(half_scales, halfs, floats, 3 * VEC);
  }
  const floatV unit = ((__local float *)v)[0];
  s.a *= unit;
  s.b *= unit;
  s.c *= unit;
  s.d *= unit;
  return s;
}

// One number of a matrix; `at` is where row and step stand among the numbers, without the columns inside a step.
#define PLACE(row, step, steps)                                                                            \
  ((((row) / ROWS / LANES * (steps) + (step)) * LANES + (row) / ROWS % LANES) * ROWS + (row) % ROWS)

INLINE float at_f32(__global const uchar *w, __global const uchar *scale, const int row, const int k, const int n) {
  return ((__global const float *)w)[PLACE(row, k, n)];
}

INLINE float at_f16(__global const uchar *w, __global const uchar *scale, const int row, const int k, const int n) {
  return vload_half(PLACE(row, k, n), (__global const half *)w);
}

INLINE float at_i8(
    __global const uchar *w, __global const uchar *scale, const int row, const int k, const int n, const float offset,
    const int half_scales) {
  const int q = w[PLACE(row, k / 4, PAD(n) / 4) * 4 + k % 4] - 128;
  return q * EITHER_ONE(half_scales, scale, row) + offset;
}

INLINE float at_i4(
    __global const uchar *w, __global const uchar *scale, const int row, const int k, const int group, const int groups,
    const int group_steps, const int half_scales) {
  const int g = k / group, j = k % group, place = PLACE(row, g, groups);
  const uchar pair = w[PLACE(row, g * group_steps + j / 8, groups * group_steps) * 4 + j % 4];
  const int q = (j % 8 < 4 ? pair & 15 : pair >> 4) - 8;
  return q * EITHER_ONE(half_scales, scale, place);
}

// Of a matrix that lies row by row, as screen.cl has it; its scales are 16 times as large.
INLINE float at_screen(
    __global const uchar *w, __global const uchar *scale, const int row, const int k, const int stride,
    const int half_scales) {
  const int q = w[row * stride + k] - 128;
  return q * EITHER_ONE(half_scales, scale, row) / 16;
}
