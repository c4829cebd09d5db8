// One core on the way to a row of a Tensor Train: y [B, COLUMNS] = x [B, R] core[digit, :, :], where the digit of the
// word's number is (token / STRIDE) % MODE.
//   NUMBER(w, s, m, n)  a number of the core; IS_FIRST: x is 1

INLINE void NAME(
    __local int *v, const int token, __global const uchar *w, __global const uchar *scale, __global const float *x,
    __global float *y) {
  const int digit = token / STRIDE % MODE;
  for (int place = GROUP * LANES + LANE; place < B * COLUMNS; place += GROUPS * LANES) {
    const int column = place % COLUMNS, b = place / COLUMNS;
    float sum = 0.0f;
    for (int r = 0; r < R; r++) sum += (IS_FIRST ? 1.0f : x[b * R + r]) * NUMBER(w, scale, digit * R + r, column);
    y[place] = sum;
  }
}
