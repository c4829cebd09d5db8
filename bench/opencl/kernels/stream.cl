// Reads SIZE bytes and leaves their sum: how fast memory can be read. SIZE is a multiple of 4 ROWS.

INLINE void NAME(__local int *v, __global const int *data, __global int *out) {
  intV a = 0, b = 0, c = 0, d = 0;
  for (int i = GROUP * LANES + LANE; i < SIZE / 4 / ROWS; i += GROUPS * LANES) {
    __global const int *p = data + (i / LANES * LANES * 4 * VEC) + i % LANES * VEC;
    PREFETCH(p, 16 * VEC);
    a += LOAD(p);
    b += LOAD(p + LANES * VEC);
    c += LOAD(p + 2 * LANES * VEC);
    d += LOAD(p + 3 * LANES * VEC);
  }
  STORE(a + b + c + d, out + (GROUP * LANES + LANE) * VEC);
}
