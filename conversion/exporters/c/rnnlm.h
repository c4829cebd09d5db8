/* The step of a recurrent language model: a word in, a score for every word that may follow out.
 *
 * C99 and libm only. Nothing is allocated, nothing is global, nothing is read but the file: map model.rnnlm into memory,
 * open it, and step. A model is never written to, so that any number of threads may share it, each with a state and a
 * scratch of its own. For little-endian machines, which all phones are.
 */
#ifndef RNNLM_H
#define RNNLM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    RNNLM_OK,
    RNNLM_NOT_A_MODEL,  /* another file, or one of a big-endian machine */
    RNNLM_VERSION,      /* of another version of this code */
    RNNLM_CUT_OFF,      /* the file is longer than what was given */
    RNNLM_DAMAGED,      /* its numbers contradict each other, or its checksums */
    RNNLM_ALIGNMENT,    /* it does not begin at a multiple of 4 bytes */
    RNNLM_TOKEN         /* an id outside the vocabulary */
};

/* An opened file. The fields belong to rnnlm.c; copy it as you like. */
typedef struct {
    const unsigned char *file;
    const struct rnnlm_header *header;
    const struct rnnlm_numbers *biases;
    const struct rnnlm_matrix *matrices;
    const struct rnnlm_core *cores;
    size_t output, cell, gates, width, train, leaf;
} rnnlm;

/* Looks over everything that says where something is, and opens the file. It stays yours, and has to stay where it is.
 *
 * The weights are not read: of a mapped file only what a step needs comes into memory.
 */
int rnnlm_open(rnnlm *model, const void *file, size_t bytes);

/* Whether the weights and words of an opened file are those that were written: reads all of it, e.g. after a download. */
int rnnlm_verify(const rnnlm *model);

/* What an error code means. */
const char *rnnlm_error(int code);

/* How many words there are; how many floats a state has, of zeros before a text; how many floats `scratch` needs. */
int rnnlm_vocabulary(const rnnlm *model);
size_t rnnlm_state_floats(const rnnlm *model);
size_t rnnlm_scratch_floats(const rnnlm *model);

/* Reads a word: the state moves on, and logits [vocabulary] says what may follow. RNNLM_TOKEN leaves both as they are.
 *
 * logits may be NULL, where nobody asks what follows: most of the work is saved. scratch holds nothing between steps.
 */
int rnnlm_step(const rnnlm *model, int token, float *state, float *logits, float *scratch);

/* The k best of n logits, best first, equals by id; how many there are: k, or n if that is less.
 *
 * log_probs [k], of the natural logarithm; NULL saves the sum over all words.
 */
int rnnlm_best(const float *logits, int n, int k, int *ids, float *log_probs);

/* A word of the vocabulary in UTF-8, NULL for an id outside of it. */
const char *rnnlm_word(const rnnlm *model, int id);

/* The id of a word; of <unk> for one that is not known, -1 where the vocabulary has no <unk>.
 *
 * A text begins with rnnlm_id(model, "<eos>"), which also stands for every end of a line.
 */
int rnnlm_id(const rnnlm *model, const char *word);

#ifdef __cplusplus
}
#endif

#endif
