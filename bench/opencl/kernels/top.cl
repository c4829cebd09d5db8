// The TOP greatest of the logits [PAD] that this work-item made, and the sum of their exponentials.
//   Alone in its device (IS_ALONE) it writes the answer: TOP ids, then TOP log probabilities, as ints.
//   Else to `parts`, per work-item: TOP values, TOP ids as ints, the greatest value, the sum of exp(value - greatest).

INLINE void NAME(__local int *v, __global const float *logits, __global int *out) {
  float values[TOP];
  int ids[TOP];
  for (int i = 0; i < TOP; i++) {
    values[i] = -INFINITY;
    ids[i] = INT_MAX;
  }
  for (int tile = GROUP * LANES + LANE; tile < TILES; tile += GROUPS * LANES) {
    __global const float *z = logits + tile * ROWS;
    const floatV most = fmax(fmax(LOAD(z), LOAD(z + VEC)), fmax(LOAD(z + 2 * VEC), LOAD(z + 3 * VEC)));
    if (ANY_ABOVE(most, (floatV)(values[TOP - 1])))
      for (int i = 0; i < ROWS; i++) keep(values, ids, z[i], tile * ROWS + i);
  }
  floatV sums = 0.0f;
  const floatV greatest = values[0];
  for (int tile = GROUP * LANES + LANE; tile < TILES; tile += GROUPS * LANES) {
    __global const float *z = logits + tile * ROWS;
    sums += exp_(LOAD(z) - greatest) + exp_(LOAD(z + VEC) - greatest);
    sums += exp_(LOAD(z + 2 * VEC) - greatest) + exp_(LOAD(z + 3 * VEC) - greatest);
  }
#if VEC == 1
  const float sum = sums;
#else
  float sum = 0.0f, each[VEC];
  STORE(sums, each);
  for (int i = 0; i < VEC; i++) sum += each[i];
#endif
#if IS_ALONE
  const float norm = values[0] + log(sum);
  for (int i = 0; i < TOP; i++) {
    out[i] = ids[i];
    out[TOP + i] = as_int(values[i] - norm);
  }
#else
  out += (GROUP * LANES + LANE) * (2 * TOP + 2);
  for (int i = 0; i < TOP; i++) {
    out[i] = as_int(values[i]);
    out[TOP + i] = ids[i];
  }
  out[2 * TOP] = as_int(values[0]);
  out[2 * TOP + 1] = as_int(sum);
#endif
}
