// c and out [UNITS] from the sums of the gates a = (i, f, g, o) [4 UNITS] (Grachev et al. 2019, eq. 11-15).
//   COUPLED  a = (i, g, o) [3 UNITS], f = 1 - i (Greff et al. 2015)

INLINE void NAME(__local int *v, __global const float *a, __global float *c, __global float *out) {
  for (int k = (GROUP * LANES + LANE) * VEC; k < UNITS; k += GROUPS * LANES * VEC) {
    const int left = UNITS - k;
    const floatV i = sigmoid_(load_some(a + k, left));
    const floatV f = COUPLED ? 1.0f - i : sigmoid_(load_some(a + UNITS + k, left));
    const floatV g = tanh_(load_some(a + (2 - COUPLED) * UNITS + k, left));
    const floatV o = sigmoid_(load_some(a + (3 - COUPLED) * UNITS + k, left));
    const floatV cell = f * load_some(c + k, left) + i * g;
    store_some(cell, c + k, left);
    store_some(o * tanh_(cell), out + k, left);
  }
}
