// One core of a Tensor Train (Novikov et al. 2015, section 4): its products with the VECTORS vectors [N] of x. A work-item
// takes two vectors of rows and SIDE vectors of x at once, so that what is read of either is used several times.
//   KIND  how the core's numbers lie (dot.cl): 0 floats, 1 halfs, 2 int8, with scales in halfs or floats (HALF_SCALES)
//   I, R  rows are numbered (i, r); J, C  vectors are numbered (b, j, c); START, AT as in product.cl
//
// What row (i, r) gives with vector (b, j, c) goes to [b][i][c][j][r]: the next core, whose columns are (j, r), finds its
// vectors whole. Of the first core J = R = 1, and [i][c] are the rows of the matrix.

#define BIASED(at, y) (START == 1 ? bias[at] : START == 2 ? (y) : 0.0f)

INLINE void PASTE(NAME, put)(const floatV sums, const int row, __global const float *bias, __global float *y) {
#if R % VEC == 0
  if (row < M) {
    const int at = row / R * (C * J * R) + row % R;
    STORE(sums + BIASED(at, y[at]), y + at);
  }
#else
  float each[VEC];
  STORE(sums, each);
  for (int i = 0; i < min(VEC, M - row); i++) {
    const int at = (row + i) / R * (C * J * R) + (row + i) % R;
    y[at] = each[i] + BIASED(at, y[at]);
  }
#endif
}

INLINE void NAME(
    __local int *v, __global const uchar *w, __global const uchar *scale, __global const float *bias,
    __global const float *x, __global float *y) {
  const int parts = (M + 2 * VEC - 1) / (2 * VEC), sides = (VECTORS + SIDE - 1) / SIDE;
  for (int place = GROUP * LANES + LANE; place < parts * sides; place += GROUPS * LANES) {
    const int m = place % parts * 2 * VEC, first = place / parts * SIDE;
#define BEGIN(u)                                                                                           \
  __global const float *x##u = x + min(first + u, VECTORS - 1) * N;                                        \
  floatV a##u = 0.0f, b##u = 0.0f;
#define ADD(u)                                                                                             \
  a##u += a * x##u[at];                                                                                    \
  b##u += b * x##u[at];
#define SCALE(u)                                                                                           \
  a##u *= a;                                                                                               \
  b##u *= b;
#define PUT(u)                                                                                             \
  if (first + u < VECTORS) {                                                                               \
    const int c = (first + u) % C, j = (first + u) / C % J;                                                \
    const int to = (((first + u) / C / J * I * C + c) * J + j) * R;                                        \
    PASTE(NAME, put)(a##u, m, bias + to, y + AT + to);                                                     \
    PASTE(NAME, put)(b##u, m + VEC, bias + to, y + AT + to);                                               \
  }
// f(0) f(1) .. for each of SIDE vectors, by name instead of by place in an array.
#define EACH_4(f) f(0) f(1) f(2) f(3)
#define EACH_8(f) EACH_4(f) f(4) f(5) f(6) f(7)
#define EACH PASTE(EACH_, SIDE)
    EACH(BEGIN)
#if KIND == 2
    __global const int *p = FIRST(int, w, m / ROWS, PAD(N) / 4, 1) + m % ROWS;
    for (int k = 0; k < N; k += 4, p += NEXT(1)) {  // behind the last column are zeros
      const intV wa = LOAD(p) ^ (intV)(0x80808080), wb = LOAD(p + VEC) ^ (intV)(0x80808080);
#define COLUMN(column, left)                                                                               \
  {                                                                                                        \
    const floatV a = TO_FLOAT((wa << left) >> 24), b = TO_FLOAT((wb << left) >> 24);                       \
    const int at = k + column;                                                                             \
    EACH(ADD)                                                                                              \
  }
      COLUMN(0, 24)
      COLUMN(1, 16)
      COLUMN(2, 8)
      COLUMN(3, 0)
#undef COLUMN
    }
    {
      __global const half *halfs = (__global const half *)scale + m;
      __global const float *floats = (__global const float *)scale + m;
      const floatV a = EITHER(HALF_SCALES, halfs, floats, 0), b = EITHER(HALF_SCALES, halfs, floats, VEC);
      EACH(SCALE)
    }
#else
#define AS_KIND(p) EITHER(KIND, (__global const half *)w + (p), (__global const float *)w + (p), 0)
    const int from = PLACE(m, 0, N);
    for (int at = 0; at < N; at++) {
      const floatV a = AS_KIND(from + at * NEXT(1)), b = AS_KIND(from + at * NEXT(1) + VEC);
      EACH(ADD)
    }
#undef AS_KIND
#endif
    EACH(PUT)
  }
}
#undef BIASED
#undef BEGIN
#undef ADD
#undef SCALE
#undef PUT
#undef EACH
#undef EACH_4
#undef EACH_8
