// out [UNITS] = n + z (h - n) (Grachev et al. 2019, eq. 19).

INLINE void NAME(
    __local int *v, __global const float *n, __global const float *z, __global const float *h, __global float *out) {
  for (int k = (GROUP * LANES + LANE) * VEC; k < UNITS; k += GROUPS * LANES * VEC) {
    const int left = UNITS - k;
    const floatV new = load_some(n + k, left);
    store_some(new + load_some(z + k, left) * (load_some(h + k, left) - new), out + k, left);
  }
}
