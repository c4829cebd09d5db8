// Gates of a projected GRU (Grachev et al. 2019, eq. 16, 17, 21): a = (r, z, ..) summed; z and r h, each [UNITS].

INLINE void NAME(
    __local int *v, __global const float *a, __global const float *h, __global float *z, __global float *rh) {
  for (int k = (GROUP * LANES + LANE) * VEC; k < UNITS; k += GROUPS * LANES * VEC) {
    const int left = UNITS - k;
    store_some(sigmoid_(load_some(a + k, left)) * load_some(h + k, left), rh + k, left);
    store_some(sigmoid_(load_some(a + UNITS + k, left)), z + k, left);
  }
}
