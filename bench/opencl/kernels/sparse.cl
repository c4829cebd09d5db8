// y [M] = W x + bias of a matrix stored as its numbers that are not zero, VEC rows a work-item.
//   KIND  of the numbers: 0 floats, 1 halfs, 2 int8 with scales; START, AT as in product.cl
//
// LANES VEC rows of like length are a slice; `rows` says which stands where, and `bias` is in that order. Columns lie in
// BLOCKS blocks of 128, so that a byte is enough for one: [slice][block][step][LANES][VEC][4], as many steps as the
// longest row needs, with zeros in column 0 behind shorter ones. int8 lies in the same way, floats as [..][4][LANES][VEC].
//
// For int8 the vector is rounded to 12 bits. With SIMD 2 these are two planes of 6 bits, looked up 64 at a time; as they
// must not be negative, 2048 is added to each, and `level`, what that makes of a row, taken off again.

#if KIND == 2
#define STAGED bring(v, x, N), table12(v, N)
#else
#define STAGED bring(v, x, N)
#endif

INLINE void NAME(
    __local int *v, __global const uchar *values, __global const uchar *columns, __global const int *starts,
    __global const int *rows, __global const float *scale, __global const int *level, __global const float *bias,
    __global const float *x, __global float *y) {
  STAGED;
  for (int part = GROUP * LANES + LANE; part < SLICES * LANES; part += GROUPS * LANES) {
    __global const int *ends = starts + part / LANES * BLOCKS;
    const int first = part * VEC, aside = part % LANES * VEC;
    if (first >= M) continue;
#if KIND == 2 && SIMD == 2
    intV high = 0, low = 0;
    for (int block = 0; block < BLOCKS; block++) {
      __local const int *planes = INTS(v, N) + block * 32;
      const intV high0 = LOAD(planes), high1 = LOAD(planes + 16);
      const intV low0 = LOAD(planes + BLOCKS * 32), low1 = LOAD(planes + BLOCKS * 32 + 16);
      for (int step = ends[block]; step < ends[block + 1]; step++) {
        const intV at = LOAD((__global const int *)columns + step * VEC), w = LOAD((__global const int *)values + step * VEC);
        PREFETCH((__global const int *)columns + step * VEC, 64);
        PREFETCH((__global const int *)values + step * VEC, 64);
        high = vnni(high, choose64(at, high0, high1), w);
        low = vnni(low, choose64(at, low0, low1), w);
      }
    }
    floatV sums = TO_FLOAT((high << 6) + low - LOAD(level + first)) * ((__local float *)v)[0] * LOAD(scale + first);
#else
    floatV sums = 0.0f;
    for (int block = 0; block < BLOCKS; block++) {
      __local const float *table = FLOATS(v) + block * 128;
      for (int step = ends[block]; step < ends[block + 1]; step++) {
        const intV at = LOAD((__global const int *)columns + step * LANES * VEC + aside);
#if KIND == 2
        const intV w = LOAD((__global const int *)values + step * LANES * VEC + aside);
#define NUMBER_AT(j) TO_FLOAT((w << (24 - 8 * j)) >> 24)
#else
        const int from = step * 4 * LANES * VEC + aside;
#define NUMBER_AT(j)                                                                                       \
  EITHER(KIND, (__global const half *)values, (__global const float *)values, from + j * LANES * VEC)
#endif
        sums += NUMBER_AT(0) * gather(table, at & 255);
        sums += NUMBER_AT(1) * gather(table, (at >> 8) & 255);
        sums += NUMBER_AT(2) * gather(table, (at >> 16) & 255);
        sums += NUMBER_AT(3) * gather(table, (at >> 24) & 255);
#undef NUMBER_AT
      }
    }
    if (KIND == 2) sums *= ((__local float *)v)[0] * LOAD(scale + first);
#endif
    if (START == 1) sums += LOAD(bias + first);
    float each[VEC];
    STORE(sums, each);
    for (int i = 0; i < min(VEC, M - first); i++) {
      const int to = AT + rows[first + i];
      y[to] = START == 2 ? y[to] + each[i] : each[i];
    }
  }
}
#undef STAGED
