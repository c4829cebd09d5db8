// y [M] = W x + bias of a matrix stored as its numbers that are not zero, VEC rows a work-item.
//   VALUE(w, i), VALUES(w, i)  a number, and a vector of them; COLUMN: type of a column's number, LOAD_COLUMNS(p) a vector
//   SCALED: whether rows have scales; SLICES; START, AT as in product.cl
//
// The rows with the most numbers come first: `rows` says which stands where, -1: none. LANES VEC of them are a slice, as
// wide as its first row has numbers, with zeros in column 0 behind shorter ones: [slice][width][LANES][VEC].

INLINE void NAME(
    __local int *v, __global const uchar *values, __global const COLUMN *columns, __global const int *starts,
    __global const int *rows, __global const float *scale, __global const float *bias, __global const float *x,
    __global float *y) {
  for (int part = GROUP * LANES + LANE; part < SLICES * LANES; part += GROUPS * LANES) {
    const int end = starts[part / LANES + 1], first = part * VEC;
    floatV sums = 0.0f;
    for (int i = starts[part / LANES] + part % LANES * VEC; i < end; i += LANES * VEC)
      sums += VALUES(values, i) * gather(x, LOAD_COLUMNS(columns + i));
    if (SCALED) sums *= LOAD(scale + first);
    float each[VEC];
    STORE(sums, each);
    for (int i = 0; i < VEC; i++) {
      const int row = rows[first + i];
      if (row < 0) break;
      float sum = each[i];
      if (START == 1) sum += bias[row];
      if (START == 2) sum += y[AT + row];
      y[AT + row] = sum;
    }
  }
}
