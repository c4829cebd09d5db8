// One core of a Tensor Train: y [B, M, C] = core [M, N] x [B, N, C] (Novikov et al. 2015, section 4).
//   NUMBER(w, s, m, n)  a number of the core; START, AT as in product.cl, for the last core
//   IS_HALF             whether the numbers are halfs
//   TOGETHER            the most of B that are summed side by side

INLINE void NAME(
    __local int *v, __global const uchar *w, __global const uchar *scale, __global const float *bias,
    __global const float *x, __global float *y) {
#if C == 1 && B <= TOGETHER
  // VEC rows of the core lie side by side, and are read once for all of B.
  for (int part = GROUP * LANES + LANE; part < (M + VEC - 1) / VEC; part += GROUPS * LANES) {
    const int m = part * VEC, left = M - m;
    floatV sums[B];
    for (int b = 0; b < B; b++) sums[b] = 0.0f;
    for (int n = 0; n < N; n++) {
      const floatV numbers = EITHER(IS_HALF, (__global const half *)w, (__global const float *)w, PLACE(m, n, N));
      for (int b = 0; b < B; b++) sums[b] += numbers * x[b * N + n];
    }
    for (int b = 0; b < B; b++) {
      const int to = b * M + m;
      floatV sum = sums[b];
      if (START == 1) sum += load_some(bias + to, left);
      if (START == 2) sum += load_some(y + AT + to, left);
      store_some(sum, y + AT + to, left);
    }
  }
#else
#if C >= VEC
  const int across = (C + VEC - 1) / VEC;
#else
  const int across = C;
#endif
  for (int place = GROUP * LANES + LANE; place < B * M * across; place += GROUPS * LANES) {
    const int part = place % across, m = place / across % M, b = place / across / M;
#if C >= VEC
    const int c = part * VEC, left = C - c;
    floatV sum = 0.0f;
    for (int n = 0; n < N; n++) sum += NUMBER(w, scale, m, n) * load_some(x + (b * N + n) * C + c, left);
    const int to = (b * M + m) * C + c;
    if (START == 1) sum += load_some(bias + to, left);
    if (START == 2) sum += load_some(y + AT + to, left);
    store_some(sum, y + AT + to, left);
#else
    float sum = 0.0f;
    for (int n = 0; n < N; n++) sum += NUMBER(w, scale, m, n) * x[(b * N + n) * C + part];
    const int to = (b * M + m) * C + part;
    if (START == 1) sum += bias[to];
    if (START == 2) sum += y[AT + to];
    y[AT + to] = sum;
#endif
  }
#endif
}
