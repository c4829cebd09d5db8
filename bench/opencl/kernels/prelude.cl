// Types and functions that every operation uses. The macros come from programs.py:
//   VEC    floats of a vector: 1, 4, 8 or 16. A tile is 4 vectors of rows, or VEC units of an LSTM with their 4 gates.
//   LANES  work-items of a work-group; each takes tiles of its own, so no sum is shared between work-items.
//   SIMD   0: plain OpenCL C; 1: x86 with AVX2; 2: x86 with AVX-512 VNNI, VBMI (compilers for the host's processor only)

#pragma OPENCL FP_CONTRACT ON

// Functions with barriers must be inlined for PoCL, and the compiler may think a tile too long for that.
#ifndef INLINE
#ifdef __clang__
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif
#endif

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#if VEC == 1
typedef float floatV;
typedef int intV;
#define LOAD(p) (*(p))
#define STORE(v, p) (*(p) = (v))
#define LOAD_HALF(p) vload_half(0, p)
#define AS_FLOAT as_float
#define TO_FLOAT convert_float
#define AS_INT as_int
#define TO_CHAR convert_char
#define TO_INT convert_int
#else
typedef PASTE(float, VEC) floatV;
typedef PASTE(int, VEC) intV;
#define LOAD(p) PASTE(vload, VEC)(0, p)
#define STORE(v, p) PASTE(vstore, VEC)(v, 0, p)
#define LOAD_HALF(p) PASTE(vload_half, VEC)(0, p)
#define AS_FLOAT PASTE(as_float, VEC)
#define TO_FLOAT PASTE(convert_float, VEC)
#define AS_INT PASTE(as_int, VEC)
#define TO_CHAR PASTE(convert_char, VEC)
#define TO_INT PASTE(convert_int, VEC)
#endif

#if SIMD && VEC == 8
#undef LOAD_HALF
INLINE floatV half8(__global const half *p) {
  floatV v;
  __asm__("vcvtph2ps %1, %0" : "=x"(v) : "m"(*(__global const short8 *)p));
  return v;
}
#define LOAD_HALF(p) half8(p)
#elif SIMD && VEC == 16
#undef LOAD_HALF
INLINE floatV half16_(__global const half *p) {
  floatV v;
  __asm__("vcvtph2ps %1, %0" : "=v"(v) : "m"(*(__global const short16 *)p));
  return v;
}
#define LOAD_HALF(p) half16_(p)
#endif

// Asks for the `bytes` that come AHEAD bytes after p: the processor's own guesses end at a page and begin late.
#ifndef AHEAD
#define AHEAD 1024
#endif
#if SIMD
#define PREFETCH(p, bytes)                                                                                 \
  _Pragma("unroll") for (int line = 0; line < (bytes); line += 64)                                         \
  __asm__ volatile("prefetcht0 %0" ::"m"(((__global const char *)(p))[AHEAD + line]))
#else
#define PREFETCH(p, bytes)
#endif

// Whether a number of a is greater than that of b; compilers take any() apart.
#if SIMD == 2
INLINE int any_above(const floatV a, const floatV b) {
  int found;
  __asm__("vcmpltps %1, %2, %%k1\n\tkmovw %%k1, %0" : "=r"(found) : "v"(a), "v"(b) : "k1");
  return found;
}
#elif SIMD == 1
INLINE int any_above(const floatV a, const floatV b) {
  floatV above;
  int found;
  __asm__("vcmpltps %1, %2, %0" : "=x"(above) : "x"(a), "x"(b));
  __asm__("vmovmskps %1, %0" : "=r"(found) : "x"(above));
  return found;
}
#elif VEC == 1
#define any_above(a, b) ((a) > (b))
#else
#define any_above(a, b) any((a) > (b))
#endif

// x[at], number by number.
#if SIMD == 2
INLINE floatV gather(__local const float *x, const intV at) {
  floatV found;
  __asm__("kxnorw %%k1, %%k1, %%k1\n\tvgatherdps (%1,%2,4), %0 %{%%k1%}" : "=&v"(found) : "r"(x), "v"(at) : "k1", "memory");
  return found;
}
// Of 128 bytes, 64 in each of two vectors, those at the 64 bytes of `at`.
INLINE intV choose64(intV at, const intV first, const intV second) {
  __asm__("vpermi2b %2, %1, %0" : "+v"(at) : "v"(first), "v"(second));
  return at;
}
#elif SIMD == 1
INLINE floatV gather(__local const float *x, const intV at) {
  floatV found;
  intV all = -1;
  __asm__("vgatherdps %1, (%2,%3,4), %0" : "=&x"(found), "+&x"(all) : "r"(x), "x"(at) : "memory");
  return found;
}
#elif VEC == 1
#define gather(x, at) ((x)[at])
#else
INLINE floatV gather(__local const float *x, const intV at) {
  int places[VEC];
  float found[VEC];
  STORE(at, places);
  for (int i = 0; i < VEC; i++) found[i] = x[places[i]];
  return LOAD(found);
}
#endif

// One instruction each, which fmax and fmin are not: they must look for NaN.
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define MIN(a, b) ((a) < (b) ? (a) : (b))

#define ROWS (4 * VEC)
#define LANE get_local_id(0)
#define GROUP get_group_id(0)
#define GROUPS get_num_groups(0)

// A tile of 4 vectors; names instead of an array, which some phones' compilers would put in memory.
typedef struct {
  floatV a, b, c, d;
} Tile;

// The four vectors' greatest numbers.
INLINE floatV most_of(const Tile z) {
  const floatV ab = MAX(z.a, z.b), cd = MAX(z.c, z.d);
  return MAX(ab, cd);
}

INLINE void store_tile(const Tile z, __global float *p) {
  STORE(z.a, p);
  STORE(z.b, p + VEC);
  STORE(z.c, p + 2 * VEC);
  STORE(z.d, p + 3 * VEC);
}

// Added to a float of less than 2 ** 22, it leaves the nearest whole number in the lowest bits: quicker than a conversion.
#define MAGIC 12582912.0f
#define NEAREST(x) (AS_INT((x) + MAGIC) - AS_INT((floatV)(MAGIC)))

// exp(x), exact to 2 units in the last place and that of x; at least 2 ** -125 and at most 2 ** 127. In the compiler's
// vectors, where a library's exp is often called element by element: 2 to the part behind the point, then the exponent.
INLINE floatV exp_(floatV x) {
  x *= 1.44269504f;
  x = MAX(x, (floatV)(-125.0f));
  x = MIN(x, (floatV)(127.0f));
  const floatV t = x + MAGIC, r = x - (t - MAGIC);
  floatV p = r * 1.327647129e-3f + 9.675541893e-3f;
  p = p * r + 5.550713465e-2f;
  p = p * r + 2.402212024e-1f;
  p = p * r + 6.931469440e-1f;
  p = p * r + 1.000000119f;
  return AS_FLOAT(AS_INT(p) + (AS_INT(t) << 23));
}

INLINE floatV sigmoid_(floatV x) { return 1.0f / (1.0f + exp_(-x)); }

INLINE floatV tanh_(floatV x) { return 1.0f - 2.0f / (1.0f + exp_(2.0f * x)); }

// The first `left` floats of a vector, the rest zero.
INLINE floatV load_some(__global const float *p, const int left) {
  if (left >= VEC) return LOAD(p);
#if VEC == 1
  return 0.0f;
#else
  float some[VEC];
  for (int i = 0; i < VEC; i++) some[i] = i < left ? p[i] : 0.0f;
  return LOAD(some);
#endif
}

INLINE void store_some(const floatV v, __global float *p, const int left) {
  if (left >= VEC) {
    STORE(v, p);
    return;
  }
#if VEC > 1
  float some[VEC];
  STORE(v, some);
  for (int i = 0; i < left; i++) p[i] = some[i];
#endif
}

// The sum of a vector.
INLINE int sum_of(const intV v) {
#if VEC == 1
  return v;
#else
  int sum = 0, each[VEC];
  STORE(v, each);
  for (int i = 0; i < VEC; i++) sum += each[i];
  return sum;
#endif
}

// The greatest of a vector.
INLINE float greatest_of(const floatV v) {
#if VEC == 1
  return v;
#else
  float each[VEC];
  STORE(v, each);
  float greatest = each[0];
  for (int i = 1; i < VEC; i++) greatest = fmax(greatest, each[i]);
  return greatest;
#endif
}

// The sum of a vector of floats.
INLINE float total_of(const floatV v) {
#if VEC == 1
  return v;
#else
  float sum = 0.0f, each[VEC];
  STORE(v, each);
  for (int i = 0; i < VEC; i++) sum += each[i];
  return sum;
#endif
}
