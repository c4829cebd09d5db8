/* What the files of rnnlm share: how a model lies in its file, and products of its matrices.
 *
 * Letters as in the checkpoint's own code: V vocabulary, D embedding, H hidden, P projection, O layer output (P if
 * projected, else H), F features of the head (0: it reads the last layer); M rows and N columns of a matrix, G groups.
 */
#ifndef RNNLM_PRIVATE_H
#define RNNLM_PRIVATE_H

#include "rnnlm.h"

/* Sums may be added up in any order, products added unrounded: that lets a compiler make vectors of them, from -O2 on. */
#if defined(__clang__)
#if __clang_major__ >= 13
#pragma clang fp reassociate(on)
#endif
#elif defined(__GNUC__)
#pragma GCC optimize("O3", "associative-math", "no-signed-zeros", "no-trapping-math", "fp-contract=fast")
#endif

enum { F32, F16, INT8, INT4, INT16, INT32, KINDS, UINT8 = INT4 }; /* bytes: as weights two numbers in each */
enum { FEW = 2048 }; /* numbers that are floats at once, if a row is not longer: the nearest cache holds them */
enum { LSTM, CIFG, GRU, RNN, CELLS };

/* The file is a Header, Numbers for the two biases of each layer, Matrix for each matrix, Core for each core; then the
 * arrays, each at a multiple of 64 bytes. */
typedef struct rnnlm_numbers {
    uint32_t kind, count, at; /* at: bytes from the beginning of the file; the count of INT4 is that of its bytes */
} Numbers;

/* A matrix of one core is that core. Of several it is a Tensor Train of G[a, i, j, b], each stored as a matrix
 * [a i, j b]; a product of two factors is the train with row modes M, 1 and column modes 1, N. */
typedef struct rnnlm_matrix {
    uint32_t rows, columns, first, cores;
} Matrix;

typedef struct rnnlm_core {
    uint32_t rows, columns, row_mode, column_mode;
    uint32_t group;                         /* INT4: columns that share a scale */
    float offset;                           /* added to every number after the scale */
    Numbers weight, scale, indices, starts; /* scales: one for all, one per row, [M, G]; the last two: sparse rows */
} Core;

typedef struct rnnlm_header {
    char magic[8];
    uint32_t version, bytes, plan, checksum; /* plan: bytes before the arrays, of which the checksum is */
    uint32_t cell, layers, vocabulary, embedding, hidden, projection, features, untied, matrices, cores;
    int32_t unknown;                    /* id of <unk>, or -1 */
    Numbers words, starts, order, bias; /* UTF-8, each ended by 0; where they start [V + 1]; ids by strcmp [V] */
} Header;

static inline const void *rnnlm_array(const rnnlm *model, const Numbers *numbers)
{
    return model->file + numbers->at;
}

/* The column of a number of sparse rows. */
static inline uint32_t rnnlm_column(const Core *core, const void *indices, size_t k)
{
    if (core->indices.kind == UINT8) return ((const uint8_t *)indices)[k];
    return core->indices.kind == INT16 ? ((const uint16_t *)indices)[k] : ((const uint32_t *)indices)[k];
}

/* Scales of a row of INT4. */
static inline size_t rnnlm_groups(const Core *core)
{
    return (core->columns + core->group - 1) / core->group;
}

/* Floats from one unpacked row to the next: INT4 comes in pairs. */
static inline size_t rnnlm_stride(const Core *core)
{
    return core->columns + (core->weight.kind == INT4 ? core->columns % 2 : 0);
}

/* Rows that are unpacked at once, by fours. */
static inline size_t rnnlm_block(const Core *core)
{
    return core->columns < FEW / 4 ? FEW / core->columns / 4 * 4 : 4;
}

/* x [N] -> y [M]; work as long as rnnlm_open makes it. x and y do not overlap. */
void rnnlm_multiply(const rnnlm *model, const Matrix *matrix, const float *x, float *y, float *work);

/* One row of a matrix -> out [N]. */
void rnnlm_row(const rnnlm *model, const Matrix *matrix, size_t row, float *out, float *work);

/* y += some floats. */
void rnnlm_add(const rnnlm *model, const Numbers *numbers, float *y);

#endif
