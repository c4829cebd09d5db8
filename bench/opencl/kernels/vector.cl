// The vector of a product, in local memory: every work-group brings it there first (`bring`) and, for integers, rounds it:
// to 12 bits for int8, its greatest magnitude as 2047; to 8 bits for int4, as 127. There, as ints: [0] its scale, a float;
// [1] the sum of its integers; one a work-item of each for the reductions; the floats [N]; the integers, 4 an int (of 12
// bits all high planes, then all low ones); for int4, 8 times the sum of each group.

#if LANES == 1
#define SYNC
#else
#define SYNC barrier(CLK_LOCAL_MEM_FENCE)
#endif

#define PAD(n) (((n) + 15) / 16 * 16)
#define HEAD PAD(2 + 2 * LANES)
#define FLOATS(v) ((__local float *)((v) + HEAD))
#define INTS(v, n) ((v) + HEAD + PAD(n))
#define SUMS(v, n, nq) (INTS(v, n) + (nq) / 4)

// x [n] -> local memory, with zeros up to PAD(n).
INLINE void bring(__local int *v, __global const float *x, const int n) {
  SYNC;
  for (int i = LANE * VEC; i < PAD(n); i += LANES * VEC) STORE(load_some(x + i, n - i), FLOATS(v) + i);
  SYNC;
}

// The greatest magnitude of the floats [n].
INLINE float magnitude(__local int *v, const int n) {
  floatV most = 0.0f;
  for (int i = LANE * VEC; i < PAD(n); i += LANES * VEC) {
    const floatV some = fabs(LOAD(FLOATS(v) + i));
    most = MAX(most, some);
  }
  float greatest = greatest_of(most);
#if LANES > 1
  __local float *all = (__local float *)(v + 2);
  all[LANE] = greatest;
  SYNC;
  for (int i = 0; i < LANES; i++) greatest = fmax(greatest, all[i]);
#endif
  return greatest;
}

// Keeps the scale, and the sum of what each work-item summed.
INLINE void keep_sum(__local int *v, const float scale, int sum) {
#if LANES > 1
  v[2 + LANES + LANE] = sum;
  SYNC;
  sum = 0;
  for (int i = 0; i < LANES; i++) sum += v[2 + LANES + i];
#endif
  if (LANE == 0) {
    ((__local float *)v)[0] = scale;
    v[1] = sum;
  }
  SYNC;
}

// The floats [n] -> two planes of PAD(n) bytes each.
INLINE void quantise12(__local int *v, const int n) {
  const float greatest = magnitude(v, n);
  const float inverse = greatest > 0.0f ? 2047.0f / greatest : 0.0f;
  __local char *high = (__local char *)INTS(v, n), *low = high + PAD(n);
  intV sums = 0;
  for (int i = LANE * VEC; i < PAD(n); i += LANES * VEC) {
    const intV x = NEAREST(LOAD(FLOATS(v) + i) * inverse), up = (x + 32) >> 6;
    sums += x;
    STORE(TO_CHAR(up), high + i);
    STORE(TO_CHAR(x - (up << 6)), low + i);
  }
  keep_sum(v, greatest / 2047.0f, sum_of(sums));
}

// The floats [n] -> integers [nq], a multiple of 8, where each group of `group` columns begins at a multiple of `step`.
INLINE void quantise8(__local int *v, const int n, const int nq, const int group, const int step) {
  const float greatest = magnitude(v, n);
  const float inverse = greatest > 0.0f ? 127.0f / greatest : 0.0f;
  __local float *x = FLOATS(v);
  __local char *q = (__local char *)INTS(v, n);
  if (group == step) {
    for (int i = LANE * VEC; i < nq; i += LANES * VEC)  // beyond PAD(n) there is nothing to read
      STORE(TO_CHAR(i < PAD(n) ? NEAREST(LOAD(x + i) * inverse) : (intV)(0)), q + i);
  } else {
    for (int i = LANE; i < nq; i += LANES) {
      const int from = i / step * group + i % step;
      q[i] = i % step < group && from < n ? (char)convert_int_rte(x[from] * inverse) : (char)0;
    }
  }
  SYNC;
  int sum = 0;
  for (int g = LANE; g < nq / step; g += LANES) {
    int part = 0;
    for (int i = g * step; i < (g + 1) * step; i++) part += q[i];
    SUMS(v, n, nq)[g] = 8 * part;
    sum += part;
  }
  keep_sum(v, greatest / 127.0f, sum);
}

// The floats [n] -> whole numbers of 12 bits for sparse.cl: floats in their place or, with SIMD 2, the two planes of 6 bits
// of x + 2048, a multiple of 128 bytes each.
INLINE void table12(__local int *v, const int n) {
  const float greatest = magnitude(v, n);
  const float inverse = greatest > 0.0f ? 2047.0f / greatest : 0.0f;
  for (int i = LANE * VEC; i < PAD(n); i += LANES * VEC) {
    const intV x = NEAREST(LOAD(FLOATS(v) + i) * inverse);
#if SIMD == 2
    __local char *high = (__local char *)INTS(v, n), *low = high + (n + 127) / 128 * 128;
    STORE(TO_CHAR((x + 2048) >> 6), high + i);
    STORE(TO_CHAR((x + 2048) & 63), low + i);
#else
    STORE(TO_FLOAT(x), FLOATS(v) + i);
#endif
  }
  keep_sum(v, greatest / 2047.0f, 0);
}
