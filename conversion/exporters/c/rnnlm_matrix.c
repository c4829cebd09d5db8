/* Products with matrices as they are stored, and single rows of them.
 *
 * A block of rows becomes floats at a time, in loops that are long and alike, as compilers like them: faster than
 * multiplying as they lie, whatever the compiler.
 */
#include <string.h>

#include "rnnlm_private.h"

/* A half as a float: the exponent moves to its place and is put right. Some processors are slow with those below 6e-5. */
static inline float half(uint16_t bits)
{
    union {
        uint32_t bits;
        float value;
    } moved;
    moved.bits = (uint32_t)(bits & 0x8000u) << 16 | (uint32_t)(bits & 0x7fffu) << 13;
    return moved.value * 5192296858534827628530496329220096.0f; /* 2^112 */
}

/* n numbers from `first` on, as floats; not of INT4. */
static void floats(const rnnlm *model, const Numbers *numbers, size_t first, size_t n, float *restrict out)
{
    const void *from = rnnlm_array(model, numbers);
    if (numbers->kind == F32)
        memcpy(out, (const float *)from + first, n * sizeof *out);
    else if (numbers->kind == F16)
        for (size_t i = 0; i < n; i++) out[i] = half(((const uint16_t *)from)[first + i]);
    else
        for (size_t i = 0; i < n; i++) out[i] = ((const int8_t *)from)[first + i];
}

void rnnlm_add(const rnnlm *model, const Numbers *numbers, float *restrict y)
{
    const void *from = rnnlm_array(model, numbers);
    if (numbers->kind == F16)
        for (size_t i = 0; i < numbers->count; i++) y[i] += half(((const uint16_t *)from)[i]);
    else
        for (size_t i = 0; i < numbers->count; i++) y[i] += ((const float *)from)[i];
}

/* out [rows] *= the scales of rows; not of INT4, whose scales are not those of rows. */
static void scale_rows(const rnnlm *model, const Core *core, size_t first, size_t rows, float *restrict out, float *work)
{
    size_t count = core->scale.count == 1 ? 1 : rows;
    floats(model, &core->scale, core->scale.count == 1 ? 0 : first, count, work);
    if (count == rows)
        for (size_t row = 0; row < rows; row++) out[row] *= work[row];
    else
        for (size_t row = 0; row < rows; row++) out[row] *= work[0];
}

/* Scales [rows, G] -> the scale of each byte [rows, pairs]; what a last group is too long is overwritten by the next row. */
static void repeat(const float *restrict scales, size_t rows, size_t G, size_t times, size_t pairs, float *restrict out)
{
    for (size_t row = 0; row < rows; row++, scales += G, out += pairs) {
        if (times == 8) /* the usual ones, whose loops are unrolled */
            for (size_t g = 0; g < G; g++)
                for (size_t k = 0; k < 8; k++) out[8 * g + k] = scales[g];
        else if (times == 16)
            for (size_t g = 0; g < G; g++)
                for (size_t k = 0; k < 16; k++) out[16 * g + k] = scales[g];
        else
            for (size_t g = 0; g < G; g++)
                for (size_t k = 0; k < times; k++) out[times * g + k] = scales[g];
    }
}

/* Column 2k is the low half of byte k and 2k + 1 the high one, each stored as q + 8. */
static void unpack_pairs(const uint8_t *restrict weight, const float *restrict scale, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = (float)((weight[i] & 15) - 8) * scale[i];
        out[2 * i + 1] = (float)((weight[i] >> 4) - 8) * scale[i];
    }
}

/* Rows of a core that is not sparse as floats [rows, rnnlm_stride]; all but INT4 without their scales. */
static const float *unpacked(const rnnlm *model, const Core *core, size_t first, size_t rows, float *work)
{
    size_t stride = rnnlm_stride(core), pairs = stride / 2, G;
    float *scales = work + rows * stride, *spread;
    if (core->weight.kind == F32) return (const float *)rnnlm_array(model, &core->weight) + first * stride;
    if (core->weight.kind != INT4) {
        floats(model, &core->weight, first * stride, rows * stride, work);
        return work;
    }
    G = rnnlm_groups(core);
    spread = scales + rows * G;
    floats(model, &core->scale, first * G, rows * G, scales);
    repeat(scales, rows, G, core->group / 2, pairs, spread);
    unpack_pairs((const uint8_t *)rnnlm_array(model, &core->weight) + first * pairs, spread, rows * pairs, work);
    return work;
}

static float dot(const float *restrict w, const float *restrict x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += w[i] * x[i];
    return sum;
}

/* Rows [rows, stride] times x [N] -> y [rows]; by fours, which read x once. */
static void dots(const float *restrict w, size_t rows, size_t stride, const float *restrict x, size_t N, float *restrict y)
{
    size_t row = 0;
    for (; row + 4 <= rows; row += 4, w += 4 * stride) {
        const float *w1 = w + stride, *w2 = w1 + stride, *w3 = w2 + stride;
        float sum = 0, sum1 = 0, sum2 = 0, sum3 = 0;
        for (size_t i = 0; i < N; i++) {
            sum += w[i] * x[i];
            sum1 += w1[i] * x[i];
            sum2 += w2[i] * x[i];
            sum3 += w3[i] * x[i];
        }
        y[row] = sum;
        y[row + 1] = sum1;
        y[row + 2] = sum2;
        y[row + 3] = sum3;
    }
    for (; row < rows; row++, w += stride) y[row] = dot(w, x, N);
}

/* The numbers of some rows meet the x that their columns select, then each row is summed up. */
static void multiply_sparse(const rnnlm *model, const Core *core, const float *x, float *y, float *restrict work)
{
    const uint32_t *starts = (const uint32_t *)rnnlm_array(model, &core->starts);
    const void *indices = rnnlm_array(model, &core->indices);
    const uint8_t *bytes = (const uint8_t *)indices;
    const uint16_t *narrow = (const uint16_t *)indices;
    const uint32_t *wide = (const uint32_t *)indices;
    for (size_t row = 0, end; row < core->rows; row = end) {
        size_t first = starts[row], n;
        for (end = row + 1; end < core->rows && starts[end + 1] - first <= FEW; end++) continue;
        n = starts[end] - first;
        floats(model, &core->weight, first, n, work);
        if (core->indices.kind == UINT8)
            for (size_t i = 0; i < n; i++) work[i] *= x[bytes[first + i]];
        else if (core->indices.kind == INT16)
            for (size_t i = 0; i < n; i++) work[i] *= x[narrow[first + i]];
        else
            for (size_t i = 0; i < n; i++) work[i] *= x[wide[first + i]];
        for (size_t r = row; r < end; r++) {
            float sum = 0;
            for (size_t i = starts[r] - first; i < starts[r + 1] - first; i++) sum += work[i];
            y[r] = sum;
        }
    }
}

/* x [count, N] -> y [count, M]; of sparse matrices one x. */
static void multiply_core(const rnnlm *model, const Core *core, size_t count, const float *x, float *y, float *work)
{
    size_t M = core->rows, N = core->columns, rows, most = rnnlm_block(core);
    int scaled = core->weight.kind != INT4 && core->scale.count;
    if (core->starts.count) {
        multiply_sparse(model, core, x, y, work);
        most = N;
    }
    for (size_t first = 0; first < M; first += rows) {
        rows = M - first < most ? M - first : most;
        if (!core->starts.count) {
            const float *block = unpacked(model, core, first, rows, work);
            for (size_t k = 0; k < count; k++) dots(block, rows, rnnlm_stride(core), x + k * N, N, y + k * M + first);
        }
        for (size_t k = 0; k < count && scaled; k++) scale_rows(model, core, first, rows, y + k * M + first, work);
    }
    for (size_t k = 0; k < count && core->offset != 0; k++) {
        float shift = 0;
        for (size_t i = 0; i < N; i++) shift += core->offset * x[k * N + i];
        for (size_t row = 0; row < M; row++) y[k * M + row] += shift;
    }
}

/* in [B, N, C] -> out [B, C, N]. */
static void transpose(const float *restrict in, size_t B, size_t N, size_t C, float *restrict out)
{
    for (size_t b = 0; b < B; b++, in += N * C)
        for (size_t c = 0; c < C; c++)
            for (size_t n = 0; n < N; n++) *out++ = in[n * C + c];
}

/* Of a train the last core comes first (Novikov et al. 2015, section 4). */
void rnnlm_multiply(const rnnlm *model, const Matrix *matrix, const float *x, float *y, float *work)
{
    float *rows = work + 2 * model->train, *products = rows + model->train, *leaf = products + model->train;
    size_t C = 1, count = matrix->columns; /* row modes whose columns are summed; how many numbers x has */
    for (uint32_t m = matrix->cores; m-- > 0;) {
        const Core *core = model->cores + matrix->first + m;
        size_t M = core->rows, N = core->columns, B = count / (N * C);
        float *next = m == 0 ? y : work + (m & 1) * model->train;
        if (C == 1)
            multiply_core(model, core, B, x, next, leaf);
        else {
            transpose(x, B, N, C, rows);
            multiply_core(model, core, B * C, rows, products, leaf);
            transpose(products, B, C, M, next);
        }
        count = B * M * C;
        C *= core->row_mode;
        x = next;
    }
}

/* One row of a core -> out [N]. */
static void core_row(const rnnlm *model, const Core *core, size_t row, float *restrict out, float *restrict work)
{
    size_t N = core->columns;
    if (core->starts.count) {
        const uint32_t *starts = (const uint32_t *)rnnlm_array(model, &core->starts);
        const void *indices = rnnlm_array(model, &core->indices);
        size_t first = starts[row], n = starts[row + 1] - first;
        floats(model, &core->weight, first, n, work);
        memset(out, 0, N * sizeof *out);
        for (size_t i = first; i < first + n; i++) out[rnnlm_column(core, indices, i)] = *work++;
    } else
        memcpy(out, unpacked(model, core, row, 1, work), N * sizeof *out);
    if (core->weight.kind != INT4 && core->scale.count) {
        float scale;
        floats(model, &core->scale, core->scale.count == 1 ? 0 : row, 1, &scale);
        for (size_t k = 0; k < N; k++) out[k] = out[k] * scale + core->offset;
    }
}

/* Of a train the product of the slices of the cores that the digits of the row's number select. */
void rnnlm_row(const rnnlm *model, const Matrix *matrix, size_t row, float *out, float *work)
{
    float *from = work, *to = from + model->train, *slice = to + model->train, *leaf = work + 4 * model->train;
    size_t rest = matrix->rows, J = 1; /* rows that the next digits number; column modes so far */
    if (matrix->cores == 1) {
        core_row(model, model->cores + matrix->first, row, out, leaf);
        return;
    }
    from[0] = 1;
    for (uint32_t m = 0; m < matrix->cores; m++) {
        const Core *core = model->cores + matrix->first + m;
        size_t i = core->row_mode, bond = core->rows / i, N = core->columns, digit = row / (rest /= i);
        float *next = m + 1 == matrix->cores ? out : to;
        memset(next, 0, J * N * sizeof *next);
        for (size_t a = 0; a < bond; a++) {
            core_row(model, core, a * i + digit, slice, leaf);
            for (size_t j = 0; j < J; j++)
                for (size_t k = 0; k < N; k++) next[j * N + k] += from[j * bond + a] * slice[k];
        }
        row %= rest;
        J *= core->column_mode;
        to = from;
        from = next;
    }
}
