/* Sums of products with bytes, by what the processor has for them: chosen by the compiler's flags, or by rnnlm_blocks_*.c.
 *
 * A vector of weights holds BYTES bytes, four columns of a row side by side. `four` repeats four numbers of x for every row, as
 * digits of BITS bits; `accumulate` adds their products, to SPLIT lanes per row that have to be added up. Of int8 the sums are
 * of w + SHIFT. AT_ONCE vectors are summed at a time, as there are registers for. `spread` repeats a float of each row in its lanes.
 */
#ifndef RNNLM_LANES_H
#define RNNLM_LANES_H

#include "rnnlm_private.h"

#include <string.h>

#if RNNLM_SIMD && (defined(RNNLM_VNNI) || defined(__AVX512VNNI__))
#include <immintrin.h>
enum { BYTES = 64, SPLIT = 1, AT_ONCE = 2, SHIFT = 128, DIGITS = 3, BITS = 8 }; /* the first factor has no sign */
typedef int8_t digit;
typedef __m512i weights, fours, sums;

static inline weights load(const void *from) { return _mm512_loadu_si512(from); }
static inline weights of_int8(const void *from) { return _mm512_xor_si512(load(from), _mm512_set1_epi8(-128)); }
static inline weights low_halves(const void *from) { return _mm512_and_si512(load(from), _mm512_set1_epi8(15)); }
static inline weights high_halves(const void *from)
{
    return _mm512_and_si512(_mm512_srli_epi32(load(from), 4), _mm512_set1_epi8(15));
}
static inline fours four(const digit *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}
static inline sums all(int32_t each) { return _mm512_set1_epi32(each); }
static inline sums accumulate(sums to, weights w, fours x) { return _mm512_dpbusd_epi32(to, w, x); }
static inline __m512 spread(const float *from) { return _mm512_loadu_ps(from); }

#elif RNNLM_SIMD && (defined(RNNLM_AVX2) || defined(__AVX2__))
#include <immintrin.h>
enum { BYTES = 16, SPLIT = 2, AT_ONCE = 4, SHIFT = 0, DIGITS = 2, BITS = 12 };
typedef int16_t digit;
typedef __m256i weights, fours, sums;

static inline __m128i load(const void *from) { return _mm_loadu_si128((const __m128i *)from); }
static inline weights of_int8(const void *from) { return _mm256_cvtepi8_epi16(load(from)); }
static inline weights low_halves(const void *from) { return _mm256_and_si256(of_int8(from), _mm256_set1_epi16(15)); }
static inline weights high_halves(const void *from)
{
    return _mm256_and_si256(_mm256_srli_epi16(of_int8(from), 4), _mm256_set1_epi16(15));
}
static inline fours four(const digit *x) { return _mm256_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)x)); }
static inline sums all(int32_t each) { return _mm256_set1_epi32(each); }
static inline sums accumulate(sums to, weights w, fours x) { return _mm256_add_epi32(to, _mm256_madd_epi16(w, x)); }
static inline __m256 spread(const float *from)
{
    __m128 four = _mm_loadu_ps(from);
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_unpacklo_ps(four, four)), _mm_unpackhi_ps(four, four), 1);
}

#elif RNNLM_SIMD && defined(__SSE2__)
#include <emmintrin.h>
enum { BYTES = 8, SPLIT = 2, AT_ONCE = 4, SHIFT = 0, DIGITS = 2, BITS = 12 };
typedef int16_t digit;
typedef __m128i weights, fours, sums;

static inline weights of_int8(const void *from)
{
    __m128i bytes = _mm_loadl_epi64((const __m128i *)from);
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}
static inline weights low_halves(const void *from) { return _mm_and_si128(of_int8(from), _mm_set1_epi16(15)); }
static inline weights high_halves(const void *from)
{
    return _mm_and_si128(_mm_srli_epi16(of_int8(from), 4), _mm_set1_epi16(15));
}
static inline fours four(const digit *x)
{
    __m128i four = _mm_loadl_epi64((const __m128i *)x);
    return _mm_unpacklo_epi64(four, four);
}
static inline sums all(int32_t each) { return _mm_set1_epi32(each); }
static inline sums accumulate(sums to, weights w, fours x) { return _mm_add_epi32(to, _mm_madd_epi16(w, x)); }
static inline __m128 spread(const float *from)
{
    __m128 two = _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)from));
    return _mm_unpacklo_ps(two, two);
}

#elif RNNLM_SIMD && (defined(RNNLM_DOTPROD) || defined(__ARM_FEATURE_DOTPROD))
#include <arm_neon.h>
enum { BYTES = 16, SPLIT = 1, AT_ONCE = 4, SHIFT = 0, DIGITS = 3, BITS = 8 };
typedef int8_t digit;
typedef int8x16_t weights, fours;
typedef int32x4_t sums;

static inline weights of_int8(const void *from) { return vld1q_s8((const int8_t *)from); }
static inline weights low_halves(const void *from) { return vandq_s8(of_int8(from), vdupq_n_s8(15)); }
static inline weights high_halves(const void *from)
{
    return vreinterpretq_s8_u8(vshrq_n_u8(vld1q_u8((const uint8_t *)from), 4));
}
static inline fours four(const digit *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
static inline sums all(int32_t each) { return vdupq_n_s32(each); }
static inline sums accumulate(sums to, weights w, fours x) { return vdotq_s32(to, w, x); }
static inline float32x4_t spread(const float *from) { return vld1q_f32(from); }

#elif RNNLM_SIMD && defined(__ARM_NEON)
#include <arm_neon.h>
enum { BYTES = 8, SPLIT = 2, AT_ONCE = 4, SHIFT = 0, DIGITS = 3, BITS = 8 };
typedef int8_t digit;
typedef int8x8_t weights, fours;
typedef int32x4_t sums;

static inline weights of_int8(const void *from) { return vld1_s8((const int8_t *)from); }
static inline weights low_halves(const void *from) { return vand_s8(of_int8(from), vdup_n_s8(15)); }
static inline weights high_halves(const void *from)
{
    return vreinterpret_s8_u8(vshr_n_u8(vld1_u8((const uint8_t *)from), 4));
}
static inline fours four(const digit *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpret_s8_s32(vdup_n_s32(four));
}
static inline sums all(int32_t each) { return vdupq_n_s32(each); }
static inline sums accumulate(sums to, weights w, fours x) { return vpadalq_s16(to, vmull_s8(w, x)); }
static inline float32x4_t spread(const float *from) { return vcombine_f32(vdup_n_f32(from[0]), vdup_n_f32(from[1])); }

#elif RNNLM_SIMD && defined(__wasm_simd128__)
#include <wasm_simd128.h>
enum { BYTES = 8, SPLIT = 2, AT_ONCE = 4, SHIFT = 0, DIGITS = 2, BITS = 12 };
typedef int16_t digit;
typedef v128_t weights, fours, sums;

static inline weights of_int8(const void *from) { return wasm_i16x8_load8x8(from); }
static inline weights low_halves(const void *from) { return wasm_v128_and(of_int8(from), wasm_i16x8_const_splat(15)); }
static inline weights high_halves(const void *from)
{
    return wasm_v128_and(wasm_u16x8_shr(of_int8(from), 4), wasm_i16x8_const_splat(15));
}
static inline fours four(const digit *x) { return wasm_v128_load64_splat(x); }
static inline sums all(int32_t each) { return wasm_i32x4_splat(each); }
static inline sums accumulate(sums to, weights w, fours x) { return wasm_i32x4_add(to, wasm_i32x4_dot_i16x8(w, x)); }
static inline v128_t spread(const float *from)
{
    v128_t two = wasm_v128_load64_zero(from);
    return wasm_i32x4_shuffle(two, two, 0, 0, 1, 1);
}

#else
#define ONE_BY_ONE
enum { BYTES = 4, SPLIT = 1, AT_ONCE = 4, SHIFT = 0, DIGITS = 3, BITS = 8 };
typedef int8_t digit;
typedef struct {
    int8_t column[4];
} weights, fours;
typedef int32_t sums;

static inline weights of_int8(const void *from)
{
    weights loaded;
    memcpy(&loaded, from, sizeof loaded);
    return loaded;
}
static inline weights low_halves(const void *from)
{
    weights found = of_int8(from);
    for (int c = 0; c < 4; c++) found.column[c] &= 15;
    return found;
}
static inline weights high_halves(const void *from)
{
    weights found = of_int8(from);
    for (int c = 0; c < 4; c++) found.column[c] = (int8_t)((uint8_t)found.column[c] >> 4);
    return found;
}
static inline fours four(const digit *x) { return of_int8(x); }
static inline sums all(int32_t each) { return each; }
static inline sums accumulate(sums to, weights w, fours x)
{
    for (int c = 0; c < 4; c++) to += w.column[c] * x.column[c];
    return to;
}
static inline float spread(const float *from) { return *from; }
#endif

/* Sums as floats, lane by lane. */
#ifdef ONE_BY_ONE
typedef float floats;
#define FLOATS(sums) ((float)(sums))
#else
typedef float floats __attribute__((vector_size(sizeof(sums))));
typedef int32_t integers __attribute__((vector_size(sizeof(sums))));
#define FLOATS(sums) __builtin_convertvector((integers)(sums), floats)
#endif

#endif
