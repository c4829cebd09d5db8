/* The product of rnnlm_blocks.c for x86 with AVX-512 VNNI, where the compiler was not told of it. */
#include "rnnlm_private.h"

#ifdef RNNLM_OR_VNNI
#include <immintrin.h>
#define RNNLM_VNNI
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vnni"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vnni")
#endif
#include "rnnlm_product.h"

void rnnlm_multiply_blocks_vnni(const rnnlm *model, const Core *core, const float *x, float *y, float *work)
{
    product(model, core, x, y, work);
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
