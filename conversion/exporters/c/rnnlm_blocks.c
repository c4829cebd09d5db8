/* Products with matrices of stored integers, and single rows of them.
 *
 * x becomes integers of 24 bits, no rounder than a float beside the greatest of them, in digits of one or two bytes: small enough
 * for the products that processors are quickest at, and for sums that are exact in any order.
 */
#include <string.h>

#include "rnnlm_product.h"

#ifdef RNNLM_OR_DOTPROD
#include <sys/auxv.h>
#endif

static const float GREATEST = 8355711; /* 127 of three digits of 8 bits; two of 12 bits could be a little greater */

float rnnlm_integers(const float *restrict x, size_t N, int32_t *restrict out)
{
    int32_t bits = 0; /* without a sign they are in the order of the floats, and quicker to compare */
    float most, up;
    for (size_t k = 0; k < N; k++) {
        int32_t size;
        memcpy(&size, x + k, sizeof size);
        size &= 0x7fffffff;
        bits = size > bits ? size : bits;
    }
    memcpy(&most, &bits, sizeof most);
    up = most > 1e-30f ? GREATEST / most : 0;
    for (size_t k = 0; k < N; k++) {
        float t = x[k] * up;
        t = t > -GREATEST ? t : -GREATEST; /* also what is no number */
        t = t < GREATEST ? t : GREATEST;
        out[k] = (int32_t)(t + (t < 0 ? -.5f : .5f));
    }
    return most / GREATEST;
}

void rnnlm_multiply_blocks(const rnnlm *model, const Core *core, const float *x, float *y, float *work)
{
#ifdef RNNLM_OR_VNNI
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni")) {
        rnnlm_multiply_blocks_vnni(model, core, x, y, work);
        return;
    }
#endif
#ifdef RNNLM_OR_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        rnnlm_multiply_blocks_avx2(model, core, x, y, work);
        return;
    }
#endif
#ifdef RNNLM_OR_DOTPROD
    if (getauxval(AT_HWCAP) & 1 << 20) { /* HWCAP_ASIMDDP */
        rnnlm_multiply_blocks_dotprod(model, core, x, y, work);
        return;
    }
#endif
    product(model, core, x, y, work);
}

void rnnlm_block_row(const rnnlm *model, const Core *core, size_t row, float *out)
{
    size_t N = core->columns, plane = rnnlm_plane(core), n, g = 0, G = rnnlm_groups(core);
    size_t first = row / ROWS * ROWS;
    const unsigned char *w = (const unsigned char *)rnnlm_array(model, &core->weight);
    row -= first;
    if (core->weight.kind == INT8) {
        w += first * plane + row * 4;
        for (size_t k = 0; k < N; k++) out[k] = (int8_t)w[k / 4 * 4 * ROWS + k % 4];
        return;
    }
    w += first * plane / 2 + row * 4;
    for (size_t column = 0; column < N; column += n, g++) {
        float scale;
        n = rnnlm_width(core, column);
        rnnlm_floats(model, &core->scale, first * G + g * ROWS + row, 1, &scale);
        for (size_t k = 0; k < n; k++)
            out[column + k] = (float)((w[k / 8 * 4 * ROWS + k % 4] >> (k & 4) & 15) - 8) * scale;
        w += rnnlm_padded(core, n) * ROWS / 2;
    }
}
