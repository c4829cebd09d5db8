// The TOP greatest values so far with their ids, best first; equals by id.

INLINE int is_before(const float value, const int id, const float than, const int other) {
  return value > than || (value == than && id < other);
}

INLINE void keep(float *values, int *ids, const float value, const int id) {
  if (!is_before(value, id, values[TOP - 1], ids[TOP - 1])) return;
  int i = TOP - 1;
  for (; i > 0 && is_before(value, id, values[i - 1], ids[i - 1]); i--) {
    values[i] = values[i - 1];
    ids[i] = ids[i - 1];
  }
  values[i] = value;
  ids[i] = id;
}
