/* The product of rnnlm_blocks.c for x86 with AVX2, where the compiler was not told of it. */
#include "rnnlm_private.h"

#ifdef RNNLM_OR_AVX2
#include <immintrin.h>
#define RNNLM_AVX2
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "rnnlm_product.h"

void rnnlm_multiply_blocks_avx2(const rnnlm *model, const Core *core, const float *x, float *y, float *work)
{
    product(model, core, x, y, work);
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
