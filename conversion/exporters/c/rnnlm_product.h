/* The product of stored integers with the lanes of one kind of processor; a file that is to have it includes this. */
#ifndef RNNLM_PRODUCT_H
#define RNNLM_PRODUCT_H

#include "rnnlm_lanes.h"

enum { PART = AT_ONCE * BYTES / 4, BASE = 1 << BITS, HALF = BASE / 2 }; /* rows at once; digits are from -HALF to HALF - 1 */

/* Integers [N] -> their digits [DIGITS, plane], each group filled up with zeros, and the sums that each group's begin with. */
static void digits_of(const Core *core, int32_t *restrict value, digit *restrict digits, float *restrict totals)
{
    size_t plane = rnnlm_plane(core), n;
    int32_t shift = core->weight.kind == INT4 ? -8 : -SHIFT, low;
    for (size_t column = 0; column < core->columns; column += n, value += n) {
        size_t padded = rnnlm_padded(core, n = rnnlm_width(core, column));
        for (size_t d = 0; d < DIGITS; d++) {
            digit *out = digits + d * plane;
            int32_t sum = 0;
            for (size_t k = 0; k < n; k++) {
                low = ((value[k] + HALF) & (BASE - 1)) - HALF;
                value[k] = (value[k] - low) >> BITS;
                out[k] = (digit)low;
                sum += low;
            }
            for (size_t k = n; k < padded; k++) out[k] = 0;
            *totals++ = (float)(sum * shift / SPLIT);
        }
        digits += padded;
    }
}

/* Some of a block's rows times x: the sums of each row's lanes -> out. */
static inline void some_rows(const Core *core, int is_int4, const unsigned char *w, const float *scales, const digit *x,
                             const float *totals, float *out)
{
    size_t N = core->columns, plane = rnnlm_plane(core), n;
    floats sum[AT_ONCE], found;
    for (int v = 0; v < AT_ONCE; v++) sum[v] = FLOATS(all(0));
    for (size_t column = 0; column < N; column += n, totals += DIGITS) {
        size_t padded = rnnlm_padded(core, n = rnnlm_width(core, column));
        sums s[DIGITS][AT_ONCE];
        for (int d = 0; d < DIGITS; d++)
            for (int v = 0; v < AT_ONCE; v++) s[d][v] = all((int32_t)totals[d]);
        for (const digit *end = x + padded; x < end; x += is_int4 ? 8 : 4, w += 4 * ROWS)
            for (int v = 0; v < AT_ONCE; v++) {
                weights first = is_int4 ? low_halves(w + v * BYTES) : of_int8(w + v * BYTES);
                for (size_t d = 0; d < DIGITS; d++) s[d][v] = accumulate(s[d][v], first, four(x + d * plane));
                if (is_int4) {
                    weights second = high_halves(w + v * BYTES);
                    for (size_t d = 0; d < DIGITS; d++) s[d][v] = accumulate(s[d][v], second, four(x + d * plane + 4));
                }
            }
        for (int v = 0; v < AT_ONCE; v++) {
            found = FLOATS(s[DIGITS - 1][v]);
            for (int d = DIGITS - 2; d >= 0; d--) found = found * (1 << BITS) + FLOATS(s[d][v]);
            sum[v] += is_int4 ? found * (floats)spread(scales + v * BYTES / 4) : found;
        }
        if (is_int4) scales += ROWS;
    }
    for (int v = 0; v < AT_ONCE; v++) memcpy(out + v * (BYTES / 4 * SPLIT), &sum[v], sizeof sum[v]);
}

/* x [N] -> y [M]; see rnnlm_multiply_blocks. */
static void product(const rnnlm *model, const Core *core, const float *x, float *y, float *work)
{
    size_t M = core->rows, plane = rnnlm_plane(core);
    int32_t *values = (int32_t *)(void *)work;
    digit *digits = (digit *)(void *)(values + core->columns);
    float *totals = work + core->columns + plane, *scales = totals + DIGITS * rnnlm_groups(core), lanes[PART * SPLIT];
    float worth = rnnlm_integers(x, core->columns, values);
    int is_int4 = core->weight.kind == INT4;
    const unsigned char *w = (const unsigned char *)rnnlm_array(model, &core->weight);
    digits_of(core, values, digits, totals);
    for (size_t row = 0; row < M; row += PART) {
        size_t count = M - row < PART ? M - row : PART, part = row % ROWS;
        const unsigned char *from = w + row / ROWS * plane * (is_int4 ? ROWS / 2 : ROWS) + part * 4;
        if (is_int4) {
            if (part == 0) rnnlm_floats(model, &core->scale, row * rnnlm_groups(core), rnnlm_groups(core) * ROWS, scales);
            some_rows(core, 1, from, scales + part, digits, totals, lanes);
        } else
            some_rows(core, 0, from, NULL, digits, totals, lanes);
        for (size_t k = 0; k < count; k++) y[row + k] = (SPLIT == 1 ? lanes[k] : lanes[SPLIT * k] + lanes[SPLIT * k + 1]) * worth;
    }
}

#endif
