// The TOP greatest logits of those that a work-item has seen, with their ids, best first, equals by id; and the sum of all
// their exponentials, each divided by that of `level`, which follows the greatest at a distance of at most 40.

typedef struct {
  float values[TOP];
  int ids[TOP];
  float level;
  floatV sums;
} Best;

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

INLINE void begin(Best *best) {
  for (int i = 0; i < TOP; i++) {
    best->values[i] = -INFINITY;
    best->ids[i] = INT_MAX;
  }
  best->level = -INFINITY;
  best->sums = 0.0f;
}

INLINE void see_some(Best *best, const floatV z, const int first) {
  if (!any_above(z, (floatV)(best->values[TOP - 1]))) return;
#if VEC == 1
  keep(best->values, best->ids, z, first);
#else
  float each[VEC];
  STORE(z, each);
  for (int i = 0; i < VEC; i++) keep(best->values, best->ids, each[i], first + i);
#endif
}

INLINE void see_tile(Best *best, const Tile z, const int first) {
  see_some(best, z.a, first);
  see_some(best, z.b, first + VEC);
  see_some(best, z.c, first + 2 * VEC);
  see_some(best, z.d, first + 3 * VEC);
}

// Adds the exponentials of a tile's logits to the sum; -INFINITY where there is no row.
INLINE void add(Best *best, const Tile z) {
  const float level = best->level;
  best->sums += (exp_(z.a - level) + exp_(z.b - level)) + (exp_(z.c - level) + exp_(z.d - level));
}

// Moves the level up to a greatest logit that is far above it.
INLINE void lift(Best *best, const float greatest) {
  if (greatest > best->level + 40.0f) {
    best->sums *= exp_((floatV)(best->level - greatest));
    best->level = greatest;
  }
}

// The logits of a tile, whose first one is that of the id `first`; -INFINITY where there is no row.
INLINE void see(Best *best, const Tile z, const int first) {
  if (any_above(most_of(z), (floatV)(best->values[TOP - 1]))) {
    see_tile(best, z, first);
    lift(best, best->values[0]);
  }
  add(best, z);
}

// Alone in its device (IS_ALONE) a work-item writes the answer: TOP ids, then TOP log probabilities, as ints.
// Else to `out`, per work-item: TOP values, TOP ids as ints, the level, the sum of exp(value - level).
INLINE void tell(const Best *best, const int is_alone, __global int *out) {
  const float sum = total_of(best->sums);
  if (is_alone) {
    const float norm = best->level + log(sum);
    for (int i = 0; i < TOP; i++) {
      out[i] = best->ids[i];
      out[TOP + i] = as_int(best->values[i] - norm);
    }
    return;
  }
  out += (GROUP * LANES + LANE) * (2 * TOP + 2);
  for (int i = 0; i < TOP; i++) {
    out[i] = as_int(best->values[i]);
    out[TOP + i] = best->ids[i];
  }
  out[2 * TOP] = as_int(best->level);
  out[2 * TOP + 1] = as_int(sum);
}
