// out [UNITS] = tanh(a[AT ..]), the cell of an RNN (Grachev et al. 2019, eq. 2) and a GRU's candidate (eq. 18).

INLINE void NAME(__local int *v, __global const float *a, __global float *out) {
  for (int k = (GROUP * LANES + LANE) * VEC; k < UNITS; k += GROUPS * LANES * VEC)
    store_some(tanh_(load_some(a + AT + k, UNITS - k)), out + k, UNITS - k);
}
