// x [N] = the row of a sparse matrix that the word selects; one work-item, as a row has few numbers.
//   VALUE, COLUMN, SCALED and how the matrix lies: as in sparse.cl; places[row]: where a row stands among the others

INLINE void NAME(
    __local int *v, const int token, __global const uchar *values, __global const COLUMN *columns,
    __global const int *starts, __global const int *places, __global const float *scale, __global float *x) {
  if (GROUP == 0 && LANE == 0) {
    const int place = places[token], slice = place / (LANES * VEC);
    for (int n = 0; n < N; n++) x[n] = 0.0f;
    for (int i = starts[slice] + place % (LANES * VEC); i < starts[slice + 1]; i += LANES * VEC)
      x[columns[i]] += VALUE(values, i) * (SCALED ? scale[place] : 1.0f);
  }
}
