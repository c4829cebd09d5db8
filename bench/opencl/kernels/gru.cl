// A GRU without projection (Grachev et al. 2019, eq. 16-19), which resets after the product, as cuDNN does:
// out [UNITS] from x's part a and h's part b of (r, z, n), each [3 UNITS].

INLINE void NAME(
    __local int *v, __global const float *a, __global const float *b, __global const float *bias,
    __global const float *h, __global float *out) {
  for (int k = (GROUP * LANES + LANE) * VEC; k < UNITS; k += GROUPS * LANES * VEC) {
    const int left = UNITS - k;
    const floatV r = sigmoid_(load_some(a + k, left) + load_some(b + k, left));
    const floatV z = sigmoid_(load_some(a + UNITS + k, left) + load_some(b + UNITS + k, left));
    const floatV n =
        tanh_(load_some(a + 2 * UNITS + k, left) + r * (load_some(b + 2 * UNITS + k, left) + load_some(bias + k, left)));
    store_some(n + z * (load_some(h + k, left) - n), out + k, left);
  }
}
