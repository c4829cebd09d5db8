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

/* RNNLM_SIMD: more than plain C, which RNNLM_PLAIN asks for. RNNLM_OR_*: kinds of processors that the compiler was not told of,
 * for which products of integers are compiled too, and which are looked for when they run; RNNLM_ONLY: none. */
#if defined(RNNLM_PLAIN) || !(defined(__clang__) || __GNUC__ >= 9)
#define RNNLM_SIMD 0
#else
#define RNNLM_SIMD 1
#ifndef RNNLM_ONLY
#if defined(__x86_64__) && !defined(__AVX512VNNI__)
#define RNNLM_OR_VNNI
#endif
#if defined(__x86_64__) && !defined(__AVX2__)
#define RNNLM_OR_AVX2
#endif
#if defined(__aarch64__) && defined(__linux__) && !defined(__ARM_FEATURE_DOTPROD) && (!defined(__clang__) || __clang_major__ >= 17)
#define RNNLM_OR_DOTPROD
#endif
#endif
#endif

enum { F32, F16, INT8, INT4, INT16, INT32, KINDS, UINT8 = INT4 }; /* bytes: as weights two numbers in each */
enum { FEW = 2048 }; /* numbers that are floats at once, if a row is not longer: the nearest cache holds them */
enum { ROWS = 32 }; /* of a block of integers */
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
    Numbers weight, scale, indices, starts; /* scales: one for all, one per row, of INT4 below; the last two: sparse rows */
} Core;

/* Integers that are not sparse lie in blocks of ROWS rows, the last one filled up, and in each by fours of columns: INT8
 * [block][four][row][column]. Of INT4, whose groups are filled up to eights, a byte is the column of one four in its low half
 * and that of the next four in its high one, each as q + 8; scales are [block][group][row]. */

typedef struct rnnlm_header {
    char magic[8];
    uint32_t version, bytes, plan;
    uint32_t arrays, checksum; /* Adler-32 of all after the plan; FNV-1a of the plan, the bytes before the arrays */
    uint32_t cell, layers, vocabulary, embedding, hidden, projection, features, untied, matrices, cores;
    int32_t unknown;                    /* id of <unk>, or -1 */
    Numbers words, starts, order, bias; /* UTF-8, each ended by 0; where they start [V + 1]; ids by strcmp [V] */
} Header;

static inline const void *rnnlm_array(const rnnlm *model, const Numbers *numbers)
{
    return model->file + numbers->at;
}

/* A half as a float: the exponent moves to its place and is put right. Some processors are slow with those below 6e-5. */
static inline float rnnlm_half(uint16_t bits)
{
    union {
        uint32_t bits;
        float value;
    } moved;
    moved.bits = (uint32_t)(bits & 0x8000u) << 16 | (uint32_t)(bits & 0x7fffu) << 13;
    return moved.value * 5192296858534827628530496329220096.0f; /* 2^112 */
}

/* The column of a number of sparse rows. */
static inline uint32_t rnnlm_column(const Core *core, const void *indices, size_t k)
{
    if (core->indices.kind == UINT8) return ((const uint8_t *)indices)[k];
    return core->indices.kind == INT16 ? ((const uint16_t *)indices)[k] : ((const uint32_t *)indices)[k];
}

/* Scales of a row of INT4; 1 of other kinds. */
static inline size_t rnnlm_groups(const Core *core)
{
    return core->weight.kind == INT4 ? (core->columns + core->group - 1) / core->group : 1;
}

/* Columns that share a scale, in the group that begins at a column. */
static inline size_t rnnlm_width(const Core *core, size_t column)
{
    size_t most = core->weight.kind == INT4 ? core->group : core->columns, left = core->columns - column;
    return left < most ? left : most;
}

/* A group of n columns of integers, filled up. */
static inline size_t rnnlm_padded(const Core *core, size_t n)
{
    size_t times = core->weight.kind == INT4 ? 8 : 4;
    return (n + times - 1) / times * times;
}

/* All groups, filled up. */
static inline size_t rnnlm_plane(const Core *core)
{
    size_t n = core->weight.kind == INT4 ? core->group : core->columns;
    return core->columns / n * rnnlm_padded(core, n) + rnnlm_padded(core, core->columns % n);
}

static inline int rnnlm_is_blocks(const Core *core)
{
    return !core->starts.count && (core->weight.kind == INT8 || core->weight.kind == INT4);
}

/* Rows that become floats at once, by fours. */
static inline size_t rnnlm_block(const Core *core)
{
    return core->columns < FEW / 4 ? FEW / core->columns / 4 * 4 : 4;
}

/* x [N] -> y [M]; work as long as rnnlm_open makes it. x and y do not overlap. */
void rnnlm_multiply(const rnnlm *model, const Matrix *matrix, const float *x, float *y, float *work);

/* One row of a matrix -> out [N]. */
void rnnlm_row(const rnnlm *model, const Matrix *matrix, size_t row, float *out, float *work);

/* x [N] -> y [M], of blocks; all but INT4 without scales and offset. */
void rnnlm_multiply_blocks(const rnnlm *model, const Core *core, const float *x, float *y, float *work);

/* x [N] as integers of 24 bits; what 1 is worth. */
float rnnlm_integers(const float *x, size_t N, int32_t *out);

void rnnlm_multiply_blocks_vnni(const rnnlm *model, const Core *core, const float *x, float *y, float *work);
void rnnlm_multiply_blocks_avx2(const rnnlm *model, const Core *core, const float *x, float *y, float *work);
void rnnlm_multiply_blocks_dotprod(const rnnlm *model, const Core *core, const float *x, float *y, float *work);

/* One row of blocks -> out [N]; all but INT4 without scale and offset. */
void rnnlm_block_row(const rnnlm *model, const Core *core, size_t row, float *out);

/* Floats that rnnlm_multiply_blocks works with: x as integers and in digits, their sums in each group, scales of a block. */
static inline uint64_t rnnlm_block_work(const Core *core)
{
    return core->columns + rnnlm_plane(core) + (3 + ROWS) * (uint64_t)rnnlm_groups(core);
}

/* n numbers from `first` on, as floats; not of INT4. */
void rnnlm_floats(const rnnlm *model, const Numbers *numbers, size_t first, size_t n, float *out);

/* y += some floats. */
void rnnlm_add(const rnnlm *model, const Numbers *numbers, float *y);

#endif
