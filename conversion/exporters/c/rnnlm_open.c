/* Opening a file: every number that says where something is, is looked at once, here; and the words. */
#include <string.h>

#include "rnnlm_private.h"

enum { VERSION = 3, LARGEST = 1 << 24, LAYERS = 1 << 10, FLOATS = 1 << F32 | 1 << F16 };
enum { WIDEST = 1 << 14 }; /* columns whose products with integers are summed in 32 bits */

static const char MAGIC[8] = "rnnlm-c";

/* Whether an array is one of the allowed kinds, as long as it should be, and inside the file. */
static int fits(const rnnlm *model, const Numbers *numbers, unsigned kinds, uint64_t count)
{
    static const unsigned sizes[KINDS] = {4, 2, 1, 1, 2, 4};
    return numbers->kind < KINDS && (kinds >> numbers->kind & 1) && numbers->count == count && numbers->at % 64 == 0 &&
           numbers->at + count * sizes[numbers->kind] <= model->header->bytes;
}

/* Whether numbers rise from 0 to `last` by no more than `most` each. */
static int rises(const uint32_t *starts, size_t count, uint32_t last, uint32_t most)
{
    for (size_t i = 1; i < count; i++)
        if (starts[i] < starts[i - 1] || starts[i] - starts[i - 1] > most) return 0;
    return starts[0] == 0 && starts[count - 1] == last;
}

static int core_fits(const rnnlm *model, const Core *core)
{
    uint64_t M = core->rows, N = core->columns, K = core->weight.count, blocks = (M + ROWS - 1) / ROWS * ROWS;
    if (M < 1 || N < 1 || M > LARGEST || N > LARGEST) return 0;
    if (core->weight.kind == INT4)
        return core->group >= 1 && core->group <= N && core->group <= WIDEST && !core->starts.count &&
               fits(model, &core->weight, 1 << INT4, blocks * rnnlm_plane(core) / 2) &&
               fits(model, &core->scale, FLOATS, blocks * rnnlm_groups(core));
    if (core->scale.count && !fits(model, &core->scale, FLOATS, core->scale.count == 1 ? 1 : M)) return 0;
    if (rnnlm_is_blocks(core)) return N <= WIDEST && fits(model, &core->weight, 1 << INT8, blocks * rnnlm_plane(core));
    if (!core->starts.count) return fits(model, &core->weight, FLOATS, M * N);
    if (!fits(model, &core->weight, FLOATS | 1 << INT8, K) || !fits(model, &core->starts, 1 << INT32, M + 1) ||
        !fits(model, &core->indices, 1 << UINT8 | 1 << INT16 | 1 << INT32, K) ||
        !rises((const uint32_t *)rnnlm_array(model, &core->starts), M + 1, core->weight.count, core->columns))
        return 0;
    for (size_t k = 0; k < K; k++)
        if (rnnlm_column(core, rnnlm_array(model, &core->indices), k) >= N) return 0;
    return 1;
}

static void grow(size_t *size, uint64_t needed)
{
    if (*size < needed) *size = (size_t)needed;
}

/* Whether a matrix is [M, N], and its cores fit each other; makes room for what its products need. */
static int matrix_fits(rnnlm *model, const Matrix *matrix, uint32_t M, uint32_t N)
{
    uint64_t rows = 1, columns = 1, bond = 1, limit = 1 << 26, size;
    uint32_t last = matrix->first + matrix->cores;
    if (matrix->rows != M || matrix->columns != N) return 0;
    if (matrix->cores < 1 || matrix->first > model->header->cores || last > model->header->cores || last < matrix->first)
        return 0;
    for (const Core *core = model->cores + matrix->first; core < model->cores + last; core++) {
        uint64_t i = core->row_mode, j = core->column_mode;
        if (!core_fits(model, core) || i < 1 || j < 1 || core->rows != bond * i || core->columns % j) return 0;
        rows *= i;
        if (rows > M || columns * j > N) return 0;
        size = columns * core->rows; /* of a product after this core; below, of a row */
        if (size > limit || (size *= M / rows) > limit) return 0;
        if (matrix->cores > 1) grow(&model->train, size);
        if ((size = columns * core->columns) > limit) return 0;
        if (matrix->cores > 1) grow(&model->train, size);
        size = rnnlm_is_blocks(core) ? rnnlm_block_work(core) : rnnlm_block(core) * (uint64_t)core->columns;
        if (core->starts.count) size = FEW + (uint64_t)core->columns;
        if (size > limit) return 0;
        grow(&model->leaf, size < FEW ? FEW : size); /* FEW: for scales */
        columns *= j;
        bond = core->columns / j;
    }
    return rows == M && columns == N && bond == 1;
}

static int words_fit(const rnnlm *model)
{
    const Header *header = model->header;
    const uint32_t *starts = (const uint32_t *)rnnlm_array(model, &header->starts);
    const uint32_t *order = (const uint32_t *)rnnlm_array(model, &header->order);
    const char *words = (const char *)rnnlm_array(model, &header->words);
    uint32_t V = header->vocabulary;
    if (!fits(model, &header->words, 1 << INT8, header->words.count) || !fits(model, &header->order, 1 << INT32, V) ||
        !fits(model, &header->starts, 1 << INT32, V + 1) || !rises(starts, V + 1, header->words.count, LARGEST))
        return 0;
    for (uint32_t i = 0; i < V; i++)
        if (order[i] >= V || starts[i + 1] == starts[i] || words[starts[i + 1] - 1]) return 0;
    return header->unknown >= -1 && header->unknown < (int32_t)V;
}

/* Whether the sizes of the header are possible, and all that comes after it is what they ask for. */
static int plan_fits(rnnlm *model)
{
    const Header *header = model->header;
    uint32_t H = header->hidden, P = header->projection, D = header->embedding, F = header->features;
    uint32_t V = header->vocabulary, O = P ? P : H, projected_gru = header->cell == GRU && P;
    uint32_t R = header->cell == LSTM ? 4 * H : header->cell == RNN ? H : projected_gru ? 2 * O + H : 3 * H;
    uint32_t per_layer = 2 + projected_gru + (P > 0), layers = header->layers;
    const Matrix *next;
    if (header->cell >= CELLS || layers < 1 || layers > LAYERS || V < 1 || V > LARGEST || D < 1 || D > LARGEST || H < 1 ||
        H > LARGEST / 4 || P > LARGEST / 4 || F > LARGEST || header->cores > LARGEST || header->untied > 1)
        return 0;
    if (header->matrices != 1 + layers * per_layer + (F > 0) + header->untied) return 0;
    model->biases = (const Numbers *)(const void *)(header + 1);
    model->matrices = next = (const Matrix *)(const void *)(model->biases + 2 * layers);
    model->cores = (const Core *)(const void *)(model->matrices + header->matrices);
    if (header->plan != sizeof *header + 2 * layers * sizeof *model->biases + header->matrices * sizeof *model->matrices +
                            header->cores * (uint64_t)sizeof *model->cores)
        return 0;
    model->output = O;
    model->cell = header->cell == LSTM || header->cell == CIFG ? H : 0;
    model->gates = R;
    model->width = D > F ? D : F;
    if (!matrix_fits(model, next++, V, D)) return 0;
    for (uint32_t layer = 0; layer < layers; layer++) {
        const Numbers *bias = model->biases + 2 * layer;
        if (!fits(model, bias, FLOATS, R) || !fits(model, bias + 1, FLOATS, header->cell == GRU && !P ? H : 0)) return 0;
        if (!matrix_fits(model, next++, R, layer ? O : D)) return 0;
        if (!matrix_fits(model, next++, projected_gru ? 2 * O : R, O)) return 0;
        if (projected_gru && !matrix_fits(model, next++, H, O)) return 0;
        if (P && !matrix_fits(model, next++, P, H)) return 0;
    }
    if (F && !matrix_fits(model, next++, F, O)) return 0;
    if (header->untied ? !matrix_fits(model, next, V, F ? F : O) : (F ? F : O) != D) return 0;
    return fits(model, &header->bias, FLOATS, header->bias.count ? V : 0) && words_fit(model);
}

int rnnlm_open(rnnlm *model, const void *file, size_t bytes)
{
    const Header *found = (const Header *)file;
    const unsigned char *byte = (const unsigned char *)file;
    uint32_t sum = 2166136261u; /* FNV-1a */
    memset(model, 0, sizeof *model);
    if ((uintptr_t)file % 4) return RNNLM_ALIGNMENT;
    if (bytes < 1) return RNNLM_CUT_OFF;
    if (memcmp(file, MAGIC, bytes < sizeof MAGIC ? bytes : sizeof MAGIC)) return RNNLM_NOT_A_MODEL;
    if (bytes < sizeof *found) return RNNLM_CUT_OFF;
    if (found->version != VERSION) return RNNLM_VERSION;
    if (found->bytes > bytes) return RNNLM_CUT_OFF;
    if (found->plan < sizeof *found || found->plan > found->bytes) return RNNLM_DAMAGED;
    for (size_t i = 0; i < found->plan; i++)
        if (i < offsetof(Header, checksum) || i >= offsetof(Header, cell)) sum = (sum ^ byte[i]) * 16777619u;
    if (sum != found->checksum) return RNNLM_DAMAGED;
    model->file = byte;
    model->header = found;
    return plan_fits(model) ? RNNLM_OK : RNNLM_DAMAGED;
}

int rnnlm_verify(const rnnlm *model)
{
    enum { PRIME = 65521, SAFE = 5552 }; /* bytes whose sums stay below 2^32 */
    uint32_t one = 1, two = 0;
    for (size_t i = model->header->plan; i < model->header->bytes;) {
        size_t left = model->header->bytes - i, end = i + (left < SAFE ? left : SAFE);
        for (; i < end; i++) two += one += model->file[i];
        one %= PRIME;
        two %= PRIME;
    }
    return (two << 16 | one) == model->header->arrays ? RNNLM_OK : RNNLM_DAMAGED;
}

const char *rnnlm_error(int code)
{
    static const char *const meanings[] = {
        "no error",
        "this is no file of zoo export --to c",
        "the file is of another version than this code, or the machine is big-endian; export it again, or use the code beside it",
        "the file is cut off; get it again",
        "the file is damaged; get it again",
        "the file must begin at a multiple of 4 bytes in memory; map it, or copy it into memory from malloc",
        "the id is outside the vocabulary; use rnnlm_id",
    };
    return code >= 0 && code <= RNNLM_TOKEN ? meanings[code] : "no such error code";
}

int rnnlm_vocabulary(const rnnlm *model)
{
    return (int)model->header->vocabulary;
}

size_t rnnlm_state_floats(const rnnlm *model)
{
    return model->header->layers * (model->output + model->cell);
}

size_t rnnlm_scratch_floats(const rnnlm *model)
{
    return model->width + 2 * model->gates + model->header->hidden + 4 * model->train + model->leaf;
}

const char *rnnlm_word(const rnnlm *model, int id)
{
    const uint32_t *starts = (const uint32_t *)rnnlm_array(model, &model->header->starts);
    if (id < 0 || (uint32_t)id >= model->header->vocabulary) return NULL;
    return (const char *)rnnlm_array(model, &model->header->words) + starts[id];
}

int rnnlm_id(const rnnlm *model, const char *word)
{
    const uint32_t *order = (const uint32_t *)rnnlm_array(model, &model->header->order);
    size_t low = 0, high = model->header->vocabulary;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int id = (int)order[middle], side = strcmp(word, rnnlm_word(model, id));
        if (side == 0) return id;
        if (side < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return model->header->unknown;
}
