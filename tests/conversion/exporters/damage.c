/* Opens and steps damaged copies of a file, each in memory of exactly its size: damage FILE SEED COUNT.
 *
 * Of bytes changed in the header and the plan: refused by the checksum, or with the checksum put right opened or not, but
 * nothing outside the file or the scratch is touched; the sanitizers end the program if it is. Likewise bytes anywhere,
 * and every length that a file can be cut off at.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rnnlm_private.h"

static unsigned long long seed;

static size_t chance(size_t below)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (size_t)(seed >> 33) % below;
}

static void correct(unsigned char *file, size_t bytes)
{
    Header *header = (Header *)(void *)file;
    uint32_t sum = 2166136261u;
    size_t plan = bytes < sizeof *header ? 0 : header->plan;
    if (plan < sizeof *header || plan > bytes) return;
    for (size_t i = 0; i < plan; i++)
        if (i < offsetof(Header, checksum) || i >= offsetof(Header, cell)) sum = (sum ^ file[i]) * 16777619u;
    header->checksum = sum;
}

/* The code, after some steps if it is RNNLM_OK. */
static int try_it(const unsigned char *file, size_t bytes)
{
    unsigned char *copy = malloc(bytes ? bytes : 1);
    rnnlm model;
    int code, ids[3];
    memcpy(copy, file, bytes);
    code = rnnlm_open(&model, copy, bytes);
    if (code == RNNLM_OK) {
        int V = rnnlm_vocabulary(&model);
        float *state = calloc(rnnlm_state_floats(&model), sizeof *state), log_probs[3];
        float *scratch = malloc(rnnlm_scratch_floats(&model) * sizeof *scratch);
        float *logits = malloc((size_t)V * sizeof *logits);
        for (int id = -1; id <= V; id += V > 9 ? V / 9 : 1) {
            rnnlm_step(&model, id, state, logits, scratch);
            rnnlm_best(logits, id < 0 ? 0 : V, 3, ids, log_probs);
            if (rnnlm_word(&model, id)) rnnlm_id(&model, rnnlm_word(&model, id));
        }
        rnnlm_id(&model, "no such word");
        free(state);
        free(scratch);
        free(logits);
    }
    free(copy);
    return code;
}

int main(int count, char **arguments)
{
    static unsigned char file[1 << 20];
    FILE *stream = fopen(arguments[1], "rb");
    size_t bytes = fread(file, 1, sizeof file, stream), plan = ((Header *)(void *)file)->plan, opened = 0;
    fclose(stream);
    seed = count > 2 ? (unsigned long long)atoi(arguments[2]) : 0;
    if (try_it(file, bytes) != RNNLM_OK) return 3;
    for (size_t length = 0; length < bytes; length++)
        if (try_it(file, length) == RNNLM_OK) return 4;
    for (int round = atoi(arguments[3]); round > 0; round--) {
        size_t at[2] = {chance(plan), chance(bytes)};
        for (int place = 0; place < 2; place++) {
            unsigned char before = file[at[place]];
            file[at[place]] ^= (unsigned char)(round % 3 ? 1u << chance(8) : 1 + chance(255));
            if (place == 0 && try_it(file, bytes) == RNNLM_OK) return 5;
            correct(file, bytes);
            opened += try_it(file, bytes) == RNNLM_OK;
            file[at[place]] = before;
            correct(file, bytes);
        }
    }
    printf("%zu opened\n", opened);
    return 0;
}
