// y [M] = W x + bias of a matrix stored as its numbers that are not zero, a row a work-item.
//   VALUE(values, i)  a number; COLUMN: type of a column's number; SCALED: whether rows have scales; M; START, AT as in product.cl

INLINE void NAME(
    __local int *v, __global const uchar *values, __global const COLUMN *columns, __global const int *starts,
    __global const float *scale, __global const float *bias, __global const float *x, __global float *y) {
  for (int row = GROUP * LANES + LANE; row < M; row += GROUPS * LANES) {
    const int end = starts[row + 1];
    int i = starts[row];
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;  // four, so that a sum need not wait for the one before
    for (; i + 4 <= end; i += 4) {
      a += VALUE(values, i) * x[columns[i]];
      b += VALUE(values, i + 1) * x[columns[i + 1]];
      c += VALUE(values, i + 2) * x[columns[i + 2]];
      d += VALUE(values, i + 3) * x[columns[i + 3]];
    }
    for (; i < end; i++) a += VALUE(values, i) * x[columns[i]];
    float sum = (a + b) + (c + d);
    if (SCALED) sum *= scale[row];
    if (START == 1) sum += bias[row];
    if (START == 2) sum += y[AT + row];
    y[AT + row] = sum;
  }
}
