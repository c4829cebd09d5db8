/* Products with matrices as they are stored, and single rows of them; rnnlm_blocks.c has those of integers.
 *
 * Some rows of 16-bit floats become longer ones at a time, in loops that are long and alike, as compilers like them.
 */
#include <string.h>

#include "rnnlm_private.h"

void rnnlm_floats(const rnnlm *model, const Numbers *numbers, size_t first, size_t n, float *restrict out)
{
    const void *from = rnnlm_array(model, numbers);
    if (numbers->kind == F32)
        memcpy(out, (const float *)from + first, n * sizeof *out);
    else if (numbers->kind == F16)
        for (size_t i = 0; i < n; i++) out[i] = rnnlm_half(((const uint16_t *)from)[first + i]);
    else
        for (size_t i = 0; i < n; i++) out[i] = ((const int8_t *)from)[first + i];
}

void rnnlm_add(const rnnlm *model, const Numbers *numbers, float *restrict y)
{
    const void *from = rnnlm_array(model, numbers);
    if (numbers->kind == F16)
        for (size_t i = 0; i < numbers->count; i++) y[i] += rnnlm_half(((const uint16_t *)from)[i]);
    else
        for (size_t i = 0; i < numbers->count; i++) y[i] += ((const float *)from)[i];
}

/* y [M] *= the scales of rows, or the one of all; not of INT4, whose scales are not those of rows. */
static void scale_rows(const rnnlm *model, const Core *core, float *restrict y, float *restrict work)
{
    size_t M = core->rows, n;
    if (core->scale.count == 1) {
        rnnlm_floats(model, &core->scale, 0, 1, work);
        for (size_t row = 0; row < M; row++) y[row] *= work[0];
        return;
    }
    for (size_t first = 0; first < M; first += n) {
        n = M - first < FEW ? M - first : FEW;
        rnnlm_floats(model, &core->scale, first, n, work);
        for (size_t row = 0; row < n; row++) y[first + row] *= work[row];
    }
}

/* Rows of floats [rows, N] as floats of 32 bits. */
static const float *unpacked(const rnnlm *model, const Core *core, size_t first, size_t rows, float *work)
{
    size_t N = core->columns;
    if (core->weight.kind == F32) return (const float *)rnnlm_array(model, &core->weight) + first * N;
    rnnlm_floats(model, &core->weight, first * N, rows * N, work);
    return work;
}

static float dot(const float *restrict w, const float *restrict x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += w[i] * x[i];
    return sum;
}

/* Rows [rows, N] times x [N] -> y [rows]; by fours, which read x once. */
static void dots(const float *restrict w, size_t rows, const float *restrict x, size_t N, float *restrict y)
{
    size_t row = 0;
    for (; row + 4 <= rows; row += 4, w += 4 * N) {
        const float *w1 = w + N, *w2 = w1 + N, *w3 = w2 + N;
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
    for (; row < rows; row++, w += N) y[row] = dot(w, x, N);
}

/* totals[i + 1] = totals[i] + the i-th product, of n: a sum of all, so that rows, which are short, need no loop of their own. */
static void add_up(const int8_t *w, const void *indices, uint32_t kind, size_t n, const int32_t *x, int64_t *restrict totals)
{
    const uint8_t *bytes = (const uint8_t *)indices;
    const uint16_t *narrow = (const uint16_t *)indices;
    const uint32_t *wide = (const uint32_t *)indices;
    int64_t total = totals[0];
    if (kind == UINT8)
        for (size_t i = 0; i < n; i++) totals[i + 1] = total += (int64_t)w[i] * x[bytes[i]];
    else if (kind == INT16)
        for (size_t i = 0; i < n; i++) totals[i + 1] = total += (int64_t)w[i] * x[narrow[i]];
    else
        for (size_t i = 0; i < n; i++) totals[i + 1] = total += (int64_t)w[i] * x[wide[i]];
}

/* Rows of INT8: x becomes integers, whose sums are exact; a row's is the difference of two totals. */
static void multiply_sparse_integers(const rnnlm *model, const Core *core, const float *x, float *y, float *work)
{
    enum { SOME = 512 };
    const uint32_t *ends = (const uint32_t *)rnnlm_array(model, &core->starts) + 1;
    const int8_t *w = (const int8_t *)rnnlm_array(model, &core->weight);
    const unsigned char *indices = (const unsigned char *)rnnlm_array(model, &core->indices);
    size_t K = core->weight.count, bytes = core->indices.kind == UINT8 ? 1 : core->indices.kind == INT16 ? 2 : 4;
    int32_t *values = (int32_t *)(void *)work;
    float worth = rnnlm_integers(x, core->columns, values);
    int64_t totals[SOME + 1] = {0}, before = 0;
    size_t row = 0, n;
    for (size_t first = 0; row < core->rows; first += n) {
        n = K - first < SOME ? K - first : SOME;
        add_up(w + first, indices + first * bytes, core->indices.kind, n, values, totals);
        for (; row < core->rows && ends[row] <= first + n; row++) {
            int64_t after = totals[ends[row] - first];
            y[row] = (float)(after - before) * worth;
            before = after;
        }
        totals[0] = totals[n];
    }
}

/* Rows of floats: the numbers of some rows meet the x that their columns select, then each row is summed up. */
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
        rnnlm_floats(model, &core->weight, first, n, work);
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
    if (core->starts.count && core->weight.kind == INT8)
        multiply_sparse_integers(model, core, x, y, work);
    else if (core->starts.count)
        multiply_sparse(model, core, x, y, work);
    else if (rnnlm_is_blocks(core))
        for (size_t k = 0; k < count; k++) rnnlm_multiply_blocks(model, core, x + k * N, y + k * M, work);
    else
        for (size_t first = 0; first < M; first += rows) {
            const float *some = unpacked(model, core, first, rows = M - first < most ? M - first : most, work);
            for (size_t k = 0; k < count; k++) dots(some, rows, x + k * N, N, y + k * M + first);
        }
    if (core->weight.kind != INT4 && core->scale.count)
        for (size_t k = 0; k < count; k++) scale_rows(model, core, y + k * M, work);
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
        rnnlm_floats(model, &core->weight, first, n, work);
        memset(out, 0, N * sizeof *out);
        for (size_t i = first; i < first + n; i++) out[rnnlm_column(core, indices, i)] = *work++;
    } else if (rnnlm_is_blocks(core))
        rnnlm_block_row(model, core, row, out);
    else
        memcpy(out, unpacked(model, core, row, 1, work), N * sizeof *out);
    if (core->weight.kind != INT4 && core->scale.count) {
        float scale;
        rnnlm_floats(model, &core->scale, core->scale.count == 1 ? 0 : row, 1, &scale);
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
