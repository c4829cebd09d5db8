// The answer from the PARTS parts that top.cl left, by one work-group.

INLINE void NAME(__local int *v, __global const int *parts, __global int *out) {
  float values[TOP], greatest = -INFINITY, sum = 0.0f;
  int ids[TOP];
  for (int i = 0; i < TOP; i++) {
    values[i] = -INFINITY;
    ids[i] = INT_MAX;
  }
  for (int part = LANE; part < PARTS; part += LANES) {
    __global const int *from = parts + part * (2 * TOP + 2);
    for (int i = 0; i < TOP; i++) keep(values, ids, as_float(from[i]), from[TOP + i]);
    const float most = as_float(from[2 * TOP]), old = greatest;
    if (most == -INFINITY) continue;  // a work-item that had no rows
    greatest = fmax(old, most);
    sum = sum * exp(old - greatest) + as_float(from[2 * TOP + 1]) * exp(most - greatest);
  }
  // Each work-item's part of the answer goes to local memory, and the first one puts them together.
  __local int *mine = v + LANE * (2 * TOP + 2);
  for (int i = 0; i < TOP; i++) {
    mine[i] = as_int(values[i]);
    mine[TOP + i] = ids[i];
  }
  mine[2 * TOP] = as_int(greatest);
  mine[2 * TOP + 1] = as_int(sum);
  SYNC;
  if (LANE == 0) {
    for (int lane = 1; lane < LANES; lane++) {
      __local const int *from = v + lane * (2 * TOP + 2);
      for (int i = 0; i < TOP; i++) keep(values, ids, as_float(from[i]), from[TOP + i]);
      const float most = as_float(from[2 * TOP]), old = greatest;
      if (most == -INFINITY) continue;
      greatest = fmax(old, most);
      sum = sum * exp(old - greatest) + as_float(from[2 * TOP + 1]) * exp(most - greatest);
    }
    const float norm = greatest + log(sum);
    for (int i = 0; i < TOP; i++) {
      out[i] = ids[i];
      out[TOP + i] = as_int(values[i] - norm);
    }
  }
}
