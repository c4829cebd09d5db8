// One core of a Tensor Train: y [B, M, C] = core [M, N] x [B, N, C] (Novikov et al. 2015, section 4).
//   NUMBER(w, s, m, n)  a number of the core; START, AT as in product.cl, for the last core

INLINE void NAME(
    __local int *v, __global const uchar *w, __global const uchar *scale, __global const float *bias,
    __global const float *x, __global float *y) {
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
}
