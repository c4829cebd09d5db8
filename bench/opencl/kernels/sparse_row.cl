// x [N] = the row of a sparse matrix that the word selects; one work-item, as a row has few numbers.
//   How the matrix lies: as in sparse.cl; places[row]: where a row stands among the others

INLINE void NAME(
    __local int *v, const int token, __global const uchar *values, __global const uchar *columns,
    __global const int *starts, __global const int *places, __global const float *scale, __global float *x) {
  if (GROUP == 0 && LANE == 0) {
    const int place = places[token], aside = place % (LANES * VEC);
    __global const int *ends = starts + place / (LANES * VEC) * BLOCKS;
    for (int n = 0; n < N; n++) x[n] = 0.0f;
    for (int block = 0; block < BLOCKS; block++)
      for (int i = ends[block] * 4; i < ends[block + 1] * 4; i++) {
        const int byte = (i / 4 * LANES * VEC + aside) * 4 + i % 4, number = i * LANES * VEC + aside;
#if KIND == 2
        const float found = ((__global const char *)values)[byte] * scale[place];
#elif KIND == 1
        const float found = vload_half(number, (__global const half *)values);
#else
        const float found = ((__global const float *)values)[number];
#endif
        x[block * 128 + columns[byte]] += found;
      }
  }
}
