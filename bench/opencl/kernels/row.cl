// x [N] = the row of a matrix that the word selects.
//   NUMBER(w, s, m, n)  a number of the matrix

INLINE void NAME(__local int *v, const int token, __global const uchar *w, __global const uchar *scale, __global float *x) {
  for (int n = GROUP * LANES + LANE; n < N; n += GROUPS * LANES) x[n] = NUMBER(w, scale, token, n);
}
