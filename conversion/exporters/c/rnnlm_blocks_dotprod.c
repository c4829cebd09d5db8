/* The product of rnnlm_blocks.c for ARM with dot products of bytes, where the compiler was not told of it. */
#include "rnnlm_private.h"

#ifdef RNNLM_OR_DOTPROD
#include <arm_neon.h>
#define RNNLM_DOTPROD
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#include "rnnlm_product.h"

void rnnlm_multiply_blocks_dotprod(const rnnlm *model, const Core *core, const float *x, float *y, float *work)
{
    product(model, core, x, y, work);
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
