/* Reads lines of words and says what may follow each: cc -O3 suggest.c rnnlm*.c -lm -o suggest; ./suggest model.rnnlm
 *
 * Words stand between blanks, as in the text that the model was trained on: "it 's", not "it's", where that was so.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rnnlm.h"

enum { LINE = 1 << 16, BEST = 3 };

/* A whole file, from malloc; on a phone map it instead, and only what is read comes into memory. */
static void *contents(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    void *found = NULL;
    long size;
    if (file && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0 &&
        (found = malloc((size_t)size)) != NULL)
        *bytes = fread(found, 1, (size_t)size, file);
    if (file) fclose(file);
    return found;
}

int main(int count, char **arguments)
{
    static char line[LINE];
    const char *path = count > 1 ? arguments[1] : "model.rnnlm", *blanks = " \t\r\n";
    rnnlm model;
    size_t bytes = 0;
    void *file = contents(path, &bytes);
    int code = file ? rnnlm_open(&model, file, bytes) : RNNLM_OK, ids[BEST];
    if (file && code == RNNLM_OK) code = rnnlm_verify(&model);
    float *state, *scratch, *logits, log_probs[BEST];
    if (!file || code != RNNLM_OK) {
        fprintf(stderr, "error: %s: %s\n", path, file ? rnnlm_error(code) : "cannot be read; name a file: suggest FILE");
        return 2;
    }
    state = malloc(rnnlm_state_floats(&model) * sizeof *state);
    scratch = malloc(rnnlm_scratch_floats(&model) * sizeof *scratch);
    logits = malloc((size_t)rnnlm_vocabulary(&model) * sizeof *logits);
    if (!state || !scratch || !logits) return 2;

    while (fgets(line, sizeof line, stdin)) {
        int id = rnnlm_id(&model, "<eos>"); /* a text begins so; what follows is asked after its last word only */
        memset(state, 0, rnnlm_state_floats(&model) * sizeof *state);
        for (char *word = strtok(line, blanks); word; word = strtok(NULL, blanks)) {
            rnnlm_step(&model, id, state, NULL, scratch);
            id = rnnlm_id(&model, word);
        }
        if ((code = rnnlm_step(&model, id, state, logits, scratch)) != RNNLM_OK) {
            fprintf(stderr, "error: %s\n", rnnlm_error(code));
            return 2;
        }
        code = rnnlm_best(logits, rnnlm_vocabulary(&model), BEST, ids, log_probs);
        for (int place = 0; place < code; place++)
            printf("%s%s %.4f", place ? "  " : "", rnnlm_word(&model, ids[place]), exp(log_probs[place]));
        printf("\n");
    }
    free(logits);
    free(scratch);
    free(state);
    free(file);
    return 0;
}
