/* What the page asks of the step: one model in the memory of one instance, so that JavaScript has no C structure to fill. */
#include "../c/rnnlm.h"

#define EXPORT(name) __attribute__((export_name(#name)))

static rnnlm model;

EXPORT(open) int page_open(const void *file, size_t bytes)
{
    return rnnlm_open(&model, file, bytes);
}

EXPORT(error) const char *page_error(int code)
{
    return rnnlm_error(code);
}

EXPORT(vocabulary) int page_vocabulary(void)
{
    return rnnlm_vocabulary(&model);
}

EXPORT(state_floats) size_t page_state_floats(void)
{
    return rnnlm_state_floats(&model);
}

EXPORT(scratch_floats) size_t page_scratch_floats(void)
{
    return rnnlm_scratch_floats(&model);
}

EXPORT(word) const char *page_word(int id)
{
    return rnnlm_word(&model, id);
}

EXPORT(step) int page_step(int token, float *state, float *logits, float *scratch)
{
    return rnnlm_step(&model, token, state, logits, scratch);
}
