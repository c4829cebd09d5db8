// x [N] = the row of a sparse matrix that the word selects; one work-item, as a row has few numbers.
//   VALUE(values, i)  a number; COLUMN: type of a column's number; SCALED: whether rows have scales

INLINE void NAME(
    __local int *v, const int token, __global const uchar *values, __global const COLUMN *columns,
    __global const int *starts, __global const float *scale, __global float *x) {
  if (GROUP == 0 && LANE == 0) {
    for (int n = 0; n < N; n++) x[n] = 0.0f;
    for (int i = starts[token]; i < starts[token + 1]; i++)
      x[columns[i]] = VALUE(values, i) * (SCALED ? scale[token] : 1.0f);
  }
}
