/* The step, and the best of what it says. Equations: Grachev et al. 2019. */
#include <math.h>
#include <string.h>

#include "rnnlm_private.h"

/* e^x within 2e-7 of it for x near 0, without a branch, so that loops over it become vectors (Cephes, exp2f). */
static inline float exponential(float x)
{
    float t = x * 1.442695041f, fraction;
    union {
        uint32_t bits;
        float value;
    } power;
    t = t > -126 ? t : -126; /* also what is no number */
    t = t < 127 ? t : 127;
    power.bits = (uint32_t)(int32_t)(t + 127.5f);
    fraction = t - (float)((int32_t)power.bits - 127); /* -1/2 to 1/2 */
    power.bits <<= 23;
    return power.value * (1 + fraction * (0.6931472028f + fraction * (0.2402264791f + fraction * (0.05550332471f + fraction
           * (0.009618437357f + fraction * (0.001339887440f + fraction * 0.0001535336188f))))));
}

static inline float sigmoid(float x)
{
    return 1 / (1 + exponential(-x));
}

static inline float hyperbolic(float x)
{
    return 2 / (1 + exponential(-2 * x)) - 1;
}

/* Sums of the gates [4H] and c [H] -> c, and out [H] (eq. 11-15). */
static void lstm(size_t H, const float *restrict sums, float *restrict c, float *restrict out)
{
    const float *i = sums, *f = i + H, *g = f + H, *o = g + H;
    for (size_t k = 0; k < H; k++) {
        c[k] = sigmoid(f[k]) * c[k] + sigmoid(i[k]) * hyperbolic(g[k]);
        out[k] = sigmoid(o[k]) * hyperbolic(c[k]);
    }
}

/* Sums of the gates [3H] and c [H] -> c, and out [H]; f = 1 - i (Greff et al. 2015). */
static void cifg(size_t H, const float *restrict sums, float *restrict c, float *restrict out)
{
    const float *i = sums, *g = i + H, *o = g + H;
    for (size_t k = 0; k < H; k++) {
        c[k] += sigmoid(i[k]) * (hyperbolic(g[k]) - c[k]);
        out[k] = sigmoid(o[k]) * hyperbolic(c[k]);
    }
}

/* xw [2O + H], hu and h [O] -> h (eq. 16-19); unprojected it resets after the product, as cuDNN does. */
static void gru(const rnnlm *model, const Matrix *candidate, const Matrix *projection, const Numbers *bias, float *xw,
                float *hu, float *h, float *out, float *work)
{
    size_t O = model->output, H = model->header->hidden;
    float *r = xw, *z = xw + O, *n = xw + 2 * O;
    for (size_t k = 0; k < 2 * O; k++) xw[k] = sigmoid(xw[k] + hu[k]);
    if (candidate) {
        for (size_t k = 0; k < O; k++) hu[k] = r[k] * h[k];
        rnnlm_multiply(model, candidate, hu, out, work); /* eq. 21 */
        for (size_t k = 0; k < H; k++) out[k] = hyperbolic(n[k] + out[k]);
        rnnlm_multiply(model, projection, out, n, work);
    } else {
        hu += 2 * O;
        rnnlm_add(model, bias, hu);
        for (size_t k = 0; k < H; k++) n[k] = hyperbolic(n[k] + r[k] * hu[k]);
    }
    for (size_t k = 0; k < O; k++) h[k] = n[k] + z[k] * (h[k] - n[k]);
}

int rnnlm_step(const rnnlm *model, int token, float *state, float *logits, float *scratch)
{
    const Header *header = model->header;
    const Matrix *next = model->matrices;
    size_t H = header->hidden, O = model->output, R = model->gates;
    float *sums = scratch + model->width, *more = sums + R, *out = more + R, *work = out + H;
    const float *x = scratch;
    if (token < 0 || (uint32_t)token >= header->vocabulary) return RNNLM_TOKEN;
    rnnlm_row(model, next++, (size_t)token, scratch, work);
    for (uint32_t layer = 0; layer < header->layers; layer++) {
        const Numbers *bias = model->biases + 2 * layer;
        float *h = state, *c = h + O;
        rnnlm_multiply(model, next++, x, sums, work);
        rnnlm_add(model, bias, sums);
        rnnlm_multiply(model, next++, h, more, work);
        if (header->cell == GRU) {
            const Matrix *candidate = header->projection ? next++ : NULL;
            gru(model, candidate, header->projection ? next++ : NULL, bias + 1, sums, more, h, out, work);
        } else {
            for (size_t k = 0; k < R; k++) sums[k] += more[k];
            if (header->cell == LSTM)
                lstm(H, sums, c, out);
            else if (header->cell == CIFG)
                cifg(H, sums, c, out);
            else
                for (size_t k = 0; k < H; k++) out[k] = hyperbolic(sums[k]);
            if (header->projection)
                rnnlm_multiply(model, next++, out, h, work);
            else
                memcpy(h, out, H * sizeof *h);
        }
        x = h;
        state += O + model->cell;
    }
    if (!logits) return RNNLM_OK;
    if (header->features) {
        rnnlm_multiply(model, next++, x, scratch, work);
        x = scratch;
    }
    rnnlm_multiply(model, header->untied ? next : model->matrices, x, logits, work);
    rnnlm_add(model, &header->bias, logits);
    return RNNLM_OK;
}

/* Whether any of n logits is greater than a bar. */
static int any_above(const float *logits, int n, float bar)
{
    int above = 0;
    for (int i = 0; i < n; i++) above |= logits[i] > bar;
    return above;
}

int rnnlm_best(const float *logits, int n, int k, int *ids, float *log_probs)
{
    enum { SOME = 128 }; /* most of which hold none of the best, which is told at once */
    int found = 0;
    for (int first = 0, end; first < n && k > 0; first = end) {
        end = n - first < SOME ? n : first + SOME;
        if (found == k && !any_above(logits + first, end - first, logits[ids[k - 1]])) continue;
        for (int id = first; id < end; id++) {
            int place = found < k ? found++ : k;
            if (place == k && !(logits[id] > logits[ids[--place]])) continue;
            for (; place > 0 && logits[id] > logits[ids[place - 1]]; place--) ids[place] = ids[place - 1];
            ids[place] = id;
        }
    }
    if (log_probs && found) {
        float top = logits[ids[0]];
        double sum = 0; /* of parts, as a float would lose what is small beside the rest */
        for (int first = 0; first < n; first += 64) {
            float part = 0;
            int end = n - first < 64 ? n : first + 64;
            for (int id = first; id < end; id++) part += exponential(logits[id] - top);
            sum += part;
        }
        for (int place = 0; place < found; place++) log_probs[place] = logits[ids[place]] - top - (float)log(sum);
    }
    return found;
}

