/* The searches of llama.cpp's quantizers for sixteen groups of weights at once, one in each lane of a vector.
 *
 * For every lane the same operations in the same order as ggml-quants.c of the llama.cpp in llama-cpp-python 0.3.36 does
 * them, one group after another: so the bytes are the same. `lanes.py` proves that before it lets this be used. Compile
 * without contraction of floating-point expressions. Knows blocks of rows; nothing of tensors or files.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 16, SUPER = 256 };
enum { Q2_K = 10, Q3_K = 11, Q4_K = 12, Q5_K = 13, Q6_K = 14, IQ4_NL = 20, IQ4_XS = 23 }; /* enum ggml_type */

typedef float F __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define EVERY_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EVERY_CPU
#endif

static const float TINY = 1e-15f; /* GROUP_MAX_EPS */

/* ---------------------------------------------------------------- lanes */

INLINE F all(float value) { return value - (F){0}; }

INLINE F pick(I mask, F yes, F no) { return (F)(((I)yes & mask) | ((I)no & ~mask)); }

INLINE F magnitude(F value) { return (F)((I)value & 0x7fffffff); }

INLINE F root(F value) {
    F out;
    for (int lane = 0; lane < LANES; ++lane) out[lane] = sqrtf(value[lane]);
    return out;
}

INLINE F number(I value) { return __builtin_convertvector(value, F); }

/* nearest_int: rounded to even by an addition that pushes the fraction out */
INLINE I nearest(F value) { return ((I)(value + 12582912.f) & 0x007fffff) - 0x00400000; }

INLINE I within(I value, int least, int most) {
    I low = value < least, high = value > most;
    value = (value & ~low) | (least & low);
    return (value & ~high) | (most & high);
}

INLINE F load(const float *from) {
    F out;
    memcpy(&out, from, sizeof out);
    return out;
}

INLINE void bytes(uint8_t *to, I value) {
    for (int lane = 0; lane < LANES; ++lane) to[lane] = (uint8_t)value[lane];
}

/* Lane by lane a group of `n` weights, one after another from `first` in the lower half and from `second` in the upper. */
INLINE void turn(F *out, const float *first, const float *second, int n) {
    for (int i = 0; i < n; ++i)
        for (int lane = 0; lane < LANES / 2; ++lane) {
            out[i][lane] = first[lane * n + i];
            out[i][lane + LANES / 2] = second[lane * n + i];
        }
}

/* ---------------------------------------------------------------- single numbers */

INLINE int nearest_one(float value) {
    float pushed = value + 12582912.f;
    int32_t bits;
    memcpy(&bits, &pushed, sizeof bits);
    return (bits & 0x007fffff) - 0x00400000;
}

INLINE float bits_as_float(uint32_t bits) {
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* IEEE half precision, rounded to nearest even */
static uint16_t half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000) return sign | 0x7e00;
    if (rest >= 0x477ff000) return sign | 0x7c00;
    if (rest >= 0x38800000) return sign | (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;
    float shifted = bits_as_float(rest) + 0.5f; /* below the least normal half: the sum's fraction counts in 2^-24 */
    memcpy(&bits, &shifted, sizeof bits);
    return sign | (bits - 0x3f000000);
}

static float single(uint16_t value) {
    uint32_t sign = (uint32_t)(value & 0x8000) << 16, rest = value & 0x7fff;
    if (rest >= 0x7c00) return bits_as_float(sign | 0x7f800000 | (rest & 0x3ff) << 13);
    float size = rest < 0x400 ? (float)rest * 0x1p-24f : bits_as_float((rest << 13) + 0x38000000);
    return bits_as_float(sign) == 0 && !sign ? size : -size;
}

static void put_half(uint8_t *to, float value) {
    uint16_t bits = half(value);
    memcpy(to, &bits, sizeof bits);
}

static float get_half(const uint8_t *from) {
    uint16_t bits;
    memcpy(&bits, from, sizeof bits);
    return single(bits);
}

INLINE float sum_of_squares(const float *x) {
    float sum = 0;
    for (int i = 0; i < SUPER; ++i) sum += x[i] * x[i];
    return sum;
}

/* ---------------------------------------------------------------- scale and minimum (make_qkx2_quants, make_qkx3_quants) */

/* `start` and `inverse` are those of the grid that was best: a weight's place on it is (x - start) * inverse. */
typedef struct {
    F scale, minimum, start, inverse;
    I flat;
} Affine;

INLINE F misfit(F scale, I place, F minimum, F x, int absolute) {
    F off = scale * number(place) + minimum - x;
    return absolute ? magnitude(off) : off * off;
}

INLINE Affine affine(const F *x, const F *w, int n, int most, float first, float step, int steps, int absolute) {
    F low = x[0], high = x[0], sum_w = w[0], sum_x = w[0] * x[0];
    for (int i = 1; i < n; ++i) {
        low = pick(x[i] < low, x[i], low);
        high = pick(x[i] > high, x[i], high);
        sum_w += w[i];
        sum_x += w[i] * x[i];
    }
    low = pick(low > 0, all(0), low);
    F inverse = (float)most / (high - low), error = all(0);
    Affine best = {1 / inverse, low, low, inverse, high == low};
    for (int i = 0; i < n; ++i) {
        I place = within(nearest(inverse * (x[i] - low)), 0, most);
        error += w[i] * misfit(best.scale, place, low, x[i], absolute);
    }
    F flat_low = low;
    for (int is = 0; is <= steps; ++is) {
        inverse = (first + step * is + most) / (high - low);
        F sum_l = all(0), sum_l2 = all(0), sum_xl = all(0);
        for (int i = 0; i < n; ++i) {
            F l = number(within(nearest(inverse * (x[i] - low)), 0, most)), wl = w[i] * l;
            sum_l += wl;
            sum_l2 += wl * l;
            sum_xl += wl * x[i];
        }
        F D = sum_w * sum_l2 - sum_l * sum_l;
        F scale = (sum_w * sum_xl - sum_x * sum_l) / D, minimum = (sum_l2 * sum_x - sum_l * sum_xl) / D;
        I above = minimum > 0;
        minimum = pick(above, all(0), minimum);
        scale = pick(above, sum_xl / sum_l2, scale);
        F now = all(0);
        for (int i = 0; i < n; ++i) {
            I place = within(nearest(inverse * (x[i] - low)), 0, most);
            now += w[i] * misfit(scale, place, minimum, x[i], absolute);
        }
        I better = (D > 0) & (now < error);
        error = pick(better, now, error);
        best.scale = pick(better, scale, best.scale);
        best.start = pick(better, low, best.start);
        best.inverse = pick(better, inverse, best.inverse);
        low = pick(better, minimum, low);
    }
    best.scale = pick(best.flat, all(0), best.scale);
    best.minimum = -pick(best.flat, flat_low, low);
    return best;
}

/* Scales that are never negative, themselves on a grid of `most` steps (make_qp_quants); returns the step. */
static float grid_of_scales(int n, int most, const float *x, uint8_t *L, const float *w) {
    float max = 0;
    for (int i = 0; i < n; ++i) max = max > x[i] ? max : x[i];
    if (max < TINY) {
        memset(L, 0, n);
        return 0;
    }
    float inverse = most / max, scale = 1 / inverse, best = 0;
    for (int i = 0; i < n; ++i) {
        L[i] = nearest_one(inverse * x[i]);
        float off = x[i] - scale * L[i];
        best += w[i] * off * off;
    }
    for (int is = -4; is <= 4; ++is) {
        if (is == 0) continue;
        float other = (0.1f * is + most) / max, step = 1 / other, error = 0;
        for (int i = 0; i < n; ++i) {
            int l = nearest_one(other * x[i]);
            float off = x[i] - step * (l < most ? l : most);
            error += w[i] * off * off;
        }
        if (error < best) {
            best = error;
            inverse = other;
        }
    }
    float xl = 0, l2 = 0;
    for (int i = 0; i < n; ++i) {
        int l = nearest_one(inverse * x[i]);
        l = l < most ? l : most;
        L[i] = l;
        xl += w[i] * x[i] * l;
        l2 += w[i] * l * l;
    }
    for (int round = 0, changed = 1; round < 5 && changed; ++round) {
        changed = 0;
        for (int i = 0; i < n; ++i) {
            float other_xl = xl - w[i] * x[i] * L[i], other_l2 = l2 - w[i] * L[i] * L[i];
            if (!(other_xl > 0 && other_l2 > 0)) continue;
            int l = nearest_one(x[i] * other_l2 / other_xl);
            l = l < most ? l : most;
            if (l == L[i]) continue;
            other_xl += w[i] * x[i] * l;
            other_l2 += w[i] * l * l;
            if (other_xl * other_xl * l2 > xl * xl * other_l2) {
                L[i] = l;
                xl = other_xl;
                l2 = other_l2;
                changed = 1;
            }
        }
    }
    return l2 > 0 ? xl / l2 : 0;
}

/* The places of a group's weights on its final grid, or on the one that the search found where that has no width. */
INLINE void settle(uint8_t *L, const float *x, int n, int most, float d, float minimum, const Affine *found, int lane) {
    for (int i = 0; i < n; i += LANES) {
        F value = load(x + i);
        I place;
        if (d)
            place = nearest((value + minimum) / d);
        else
            place = found->flat[lane] ? (I){0} : nearest(found->inverse[lane] * (value - found->start[lane]));
        bytes(L + i, within(place, 0, most));
    }
}

/* ---------------------------------------------------------------- Q4_K and Q5_K: eight groups of 32, 6 bits a scale */

INLINE void pack_scales(uint8_t *to, const uint8_t *scales, const uint8_t *minima) {
    for (int j = 0; j < 8; ++j)
        if (j < 4) {
            to[j] = scales[j];
            to[j + 4] = minima[j];
        } else {
            to[j + 4] = (scales[j] & 0xF) | (minima[j] & 0xF) << 4;
            to[j - 4] |= scales[j] >> 4 << 6;
            to[j] |= minima[j] >> 4 << 6;
        }
}

INLINE void one_q45(uint8_t *to, const float *x, int bits, const Affine *found, const F *weight, int from, int weighed) {
    float scales[8], minima[8], weights[8], d, dmin;
    uint8_t ls[8], lm[8], L[SUPER];
    for (int j = 0; j < 8; ++j) {
        scales[j] = found->scale[from + j];
        minima[j] = found->minimum[from + j];
        weights[j] = (*weight)[from + j];
    }
    if (weighed) {
        d = grid_of_scales(8, 63, scales, ls, weights);
        dmin = grid_of_scales(8, 63, minima, lm, weights);
    } else {
        float top = 0, deepest = 0;
        for (int j = 0; j < 8; ++j) {
            top = scales[j] > top ? scales[j] : top;
            deepest = minima[j] > deepest ? minima[j] : deepest;
        }
        float inverse = top > 0 ? 63.f / top : 0, inverse_min = deepest > 0 ? 63.f / deepest : 0;
        for (int j = 0; j < 8; ++j) {
            uint8_t scale = nearest_one(inverse * scales[j]), minimum = nearest_one(inverse_min * minima[j]);
            ls[j] = scale < 63 ? scale : 63;
            lm[j] = minimum < 63 ? minimum : 63;
        }
        d = top / 63.f;
        dmin = deepest / 63.f;
    }
    put_half(to, d);
    put_half(to + 2, dmin);
    pack_scales(to + 4, ls, lm);
    d = get_half(to);
    dmin = get_half(to + 2);
    for (int j = 0; j < 8; ++j)
        settle(L + 32 * j, x + 32 * j, 32, (1 << bits) - 1, d * ls[j], dmin * lm[j], found, from + j);
    uint8_t *high = to + 16, *q = bits == 5 ? to + 48 : to + 16;
    if (bits == 5)
        for (int l = 0; l < 32; ++l) {
            high[l] = 0;
            for (int j = 0; j < 8; ++j) high[l] |= (L[32 * j + l] >> 4) << j;
        }
    for (int j = 0; j < SUPER; j += 64, q += 32)
        for (int l = 0; l < 32; ++l) q[l] = (L[j + l] & 0xF) | (L[j + l + 32] & 0xF) << 4;
}

/* Two super-blocks; the second may be the first once more. */
INLINE void two_q45(uint8_t *const to[2], const float *const x[2], const float *const importance[2], int bits) {
    F groups[32], weights[32], total = all(0), square = all(0);
    turn(groups, x[0], x[1], 32);
    Affine found;
    if (importance[0]) {
        F sigma2;
        float sums[2] = {2 * sum_of_squares(x[0]) / SUPER, 2 * sum_of_squares(x[1]) / SUPER};
        for (int lane = 0; lane < LANES; ++lane) sigma2[lane] = sums[lane / 8];
        turn(weights, importance[0], importance[1], 32);
        for (int i = 0; i < 32; ++i) {
            weights[i] *= root(sigma2 + groups[i] * groups[i]);
            total += weights[i];
        }
        found = affine(groups, weights, 32, (1 << bits) - 1, -0.9f, 0.05f, 36, 0);
    } else {
        for (int i = 0; i < 32; ++i) square += groups[i] * groups[i];
        F average = root(square / 32.f);
        for (int i = 0; i < 32; ++i) weights[i] = average + magnitude(groups[i]);
        found = bits == 4 ? affine(groups, weights, 32, 15, -1.f, 0.1f, 20, 0)
                          : affine(groups, weights, 32, 31, -0.5f, 0.1f, 15, 0);
    }
    one_q45(to[0], x[0], bits, &found, &total, 0, importance[0] != 0);
    if (to[1]) one_q45(to[1], x[1], bits, &found, &total, 8, importance[0] != 0);
}

/* ---------------------------------------------------------------- Q2_K: sixteen groups of 16, 4 bits a scale */

INLINE void q2(uint8_t *to, const float *x, const float *importance) {
    F groups[16], weights[16], total = all(0);
    uint8_t L[SUPER], ls[16], lm[16];
    float scales[16], minima[16], sums[16], d, dmin;
    turn(groups, x, x + SUPER / 2, 16);
    Affine found;
    if (importance) {
        float sigma2 = sum_of_squares(x) / SUPER;
        turn(weights, importance, importance + SUPER / 2, 16);
        for (int i = 0; i < 16; ++i) {
            weights[i] *= root(sigma2 + groups[i] * groups[i]);
            total += weights[i];
        }
        found = affine(groups, weights, 16, 3, -0.9f, 0.05f, 36, 0);
    } else {
        for (int i = 0; i < 16; ++i) weights[i] = magnitude(groups[i]);
        found = affine(groups, weights, 16, 3, -0.5f, 0.1f, 15, 1);
    }
    memcpy(scales, &found.scale, sizeof scales);
    memcpy(minima, &found.minimum, sizeof minima);
    memcpy(sums, &total, sizeof sums);
    if (importance) {
        d = grid_of_scales(16, 15, scales, ls, sums);
        dmin = grid_of_scales(16, 15, minima, lm, sums);
    } else {
        float top = 0, deepest = 0;
        for (int j = 0; j < 16; ++j) {
            top = scales[j] > top ? scales[j] : top;
            deepest = minima[j] > deepest ? minima[j] : deepest;
        }
        for (int j = 0; j < 16; ++j) {
            ls[j] = top > 0 ? nearest_one(15.f / top * scales[j]) : 0;
            lm[j] = deepest > 0 ? nearest_one(15.f / deepest * minima[j]) : 0;
        }
        d = top > 0 ? top / 15.f : 0;
        dmin = deepest > 0 ? deepest / 15.f : 0;
    }
    put_half(to + 80, d);
    put_half(to + 82, dmin);
    d = get_half(to + 80);
    dmin = get_half(to + 82);
    for (int j = 0; j < 16; ++j) {
        to[j] = ls[j] | lm[j] << 4;
        settle(L + 16 * j, x + 16 * j, 16, 3, d * (to[j] & 0xF), dmin * (to[j] >> 4), &found, j);
    }
    for (int j = 0; j < SUPER; j += 128)
        for (int l = 0; l < 32; ++l)
            to[16 + j / 4 + l] = L[j + l] | L[j + l + 32] << 2 | L[j + l + 64] << 4 | L[j + l + 96] << 6;
}

/* ---------------------------------------------------------------- scale alone (make_qx_quants) */

typedef struct {
    F scale, inverse;
    I flat;
} Symmetric;

INLINE Symmetric symmetric(const F *x, const F *w, int n, int most) {
    F size = all(0), max = all(0), xl = all(0), l2 = all(0);
    for (int i = 0; i < n; ++i) {
        I larger = magnitude(x[i]) > size;
        size = pick(larger, magnitude(x[i]), size);
        max = pick(larger, x[i], max);
    }
    F inverse = (float)-most / max;
    for (int i = 0; i < n; ++i) {
        F l = number(within(nearest(inverse * x[i]), -most, most - 1));
        xl += w[i] * x[i] * l;
        l2 += w[i] * l * l;
    }
    Symmetric found = {pick(l2 != 0, xl / l2, all(0)), inverse, size < TINY};
    F best = found.scale * xl;
    for (int is = -9; is <= 9; ++is) {
        if (is == 0) continue;
        inverse = -(most + 0.1f * is) / max;
        xl = l2 = all(0);
        for (int i = 0; i < n; ++i) {
            F l = number(within(nearest(inverse * x[i]), -most, most - 1));
            xl += w[i] * x[i] * l;
            l2 += w[i] * l * l;
        }
        I better = (l2 > 0) & (xl * xl > best * l2);
        found.scale = pick(better, xl / l2, found.scale);
        found.inverse = pick(better, inverse, found.inverse);
        best = pick(better, found.scale * xl, best);
    }
    found.scale = pick(found.flat, all(0), found.scale);
    return found;
}

/* As `settle`; places count from 0. A flat group's are 0, its least. */
INLINE void settle_symmetric(uint8_t *L, const float *x, int most, float d, const Symmetric *found, int lane) {
    F value = load(x);
    if (!d && found->flat[lane]) {
        memset(L, 0, LANES);
        return;
    }
    bytes(L, within(nearest(d ? value / d : found->inverse[lane] * value), -most, most - 1) + most);
}

INLINE void q6(uint8_t *to, const float *x, const float *importance) {
    F groups[16], weights[16];
    uint8_t L[SUPER], *low = to, *high = to + 128;
    int8_t *scales = (int8_t *)(to + 192);
    turn(groups, x, x + SUPER / 2, 16);
    if (importance)
        turn(weights, importance, importance + SUPER / 2, 16);
    else
        for (int i = 0; i < 16; ++i) weights[i] = groups[i] * groups[i];
    Symmetric found = symmetric(groups, weights, 16, 32);
    float size = 0, max = 0;
    for (int j = 0; j < 16; ++j)
        if (fabsf(found.scale[j]) > size) {
            size = fabsf(found.scale[j]);
            max = found.scale[j];
        }
    if (size < TINY) {
        memset(to, 0, 210);
        return;
    }
    float inverse = -128.f / max;
    put_half(to + 208, 1 / inverse);
    float d = get_half(to + 208);
    for (int j = 0; j < 16; ++j) {
        int scale = nearest_one(inverse * found.scale[j]);
        scales[j] = scale < 127 ? scale : 127;
        settle_symmetric(L + 16 * j, x + 16 * j, 32, d * scales[j], &found, j);
    }
    for (int j = 0; j < SUPER; j += 128, low += 64, high += 32)
        for (int l = 0; l < 32; ++l) {
            const uint8_t *q = L + j + l;
            low[l] = (q[0] & 0xF) | (q[64] & 0xF) << 4;
            low[l + 32] = (q[32] & 0xF) | (q[96] & 0xF) << 4;
            high[l] = q[0] >> 4 | q[32] >> 4 << 2 | q[64] >> 4 << 4 | q[96] >> 4 << 6;
        }
}

/* Q3_K with importance; without, llama.cpp searches in another way. */
INLINE void q3(uint8_t *to, const float *x, const float *importance) {
    F groups[16], weights[16], total = all(0), scales[16], sums[16];
    uint8_t L[SUPER], ls[16], *mask = to, *q = to + 32, *packed = to + 96;
    turn(groups, x, x + SUPER / 2, 16);
    turn(weights, importance, importance + SUPER / 2, 16);
    float sigma2 = 2 * sum_of_squares(x) / SUPER;
    for (int i = 0; i < 16; ++i) {
        weights[i] *= root(sigma2 + groups[i] * groups[i]);
        total += weights[i];
    }
    Symmetric found = symmetric(groups, weights, 16, 4);
    for (int j = 0; j < 16; ++j) {
        scales[j] = all(found.scale[j]);
        sums[j] = all(total[j]);
    }
    Symmetric outer = symmetric(scales, sums, 16, 32);
    float one[16];
    memcpy(one, &found.scale, sizeof one);
    settle_symmetric(ls, one, 32, 0, &outer, 0);
    memset(packed, 0, 12);
    for (int j = 0; j < 16; ++j) {
        packed[j % 8] |= (ls[j] & 0xF) << (j < 8 ? 0 : 4);
        packed[8 + j % 4] |= ls[j] >> 4 << 2 * (j / 4);
    }
    put_half(to + 108, outer.scale[0]);
    float d = get_half(to + 108);
    for (int j = 0; j < 16; ++j)
        settle_symmetric(L + 16 * j, x + 16 * j, 4, d * (ls[j] - 32), &found, j);
    for (int l = 0; l < 32; ++l) {
        mask[l] = 0;
        for (int j = 0; j < 8; ++j) mask[l] |= L[32 * j + l] >> 2 << j;
    }
    for (int j = 0; j < SUPER; j += 128)
        for (int l = 0; l < 32; ++l) {
            const uint8_t *from = L + j + l;
            q[j / 4 + l] = (from[0] & 3) | (from[32] & 3) << 2 | (from[64] & 3) << 4 | (from[96] & 3) << 6;
        }
}

/* ---------------------------------------------------------------- IQ4_XS: eight groups of 32, values from a table */

static const float VALUES[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* Where each value takes over from the one below: the least x that is not nearer to that, as floats see it. */
INLINE void borders(float *out) {
    for (int k = 0; k < 15; ++k) {
        float a = VALUES[k], b = VALUES[k + 1], x = (a + b) / 2;
        while (x - a < b - x) x = nextafterf(x, b);
        while (!(nextafterf(x, a) - a < b - nextafterf(x, a))) x = nextafterf(x, a);
        out[k] = x;
    }
}

INLINE F value_near(F x, const float *border) {
    F out = all(VALUES[0]);
    for (int k = 0; k < 15; ++k) out += pick(x < border[k], all(0), all(VALUES[k + 1] - VALUES[k]));
    return out;
}

INLINE I place_near(F x, const float *border) {
    I out = {0};
    for (int k = 0; k < 15; ++k) out += ~(x < border[k]) & 1;
    return out;
}

INLINE void one_iq4(uint8_t *to, const float *x, const F *scale, int from, const float *border) {
    uint8_t L[SUPER], *low = to + 4, *q = to + 8;
    uint16_t high = 0;
    float size = 0, max = 0;
    for (int j = 0; j < 8; ++j)
        if (fabsf((*scale)[from + j]) > size) {
            size = fabsf((*scale)[from + j]);
            max = (*scale)[from + j];
        }
    float d = -max / 32, inverse = d ? 1 / d : 0;
    put_half(to, d);
    memset(low, 0, 4);
    for (int j = 0; j < 8; ++j) {
        int l = nearest_one(inverse * (*scale)[from + j]);
        l = l < -32 ? -32 : l > 31 ? 31 : l;
        float step = d * l, one = step ? 1 / step : 0;
        for (int i = 0; i < 32; i += LANES) bytes(L + 32 * j + i, place_near(one * load(x + 32 * j + i), border));
        l += 32;
        low[j / 2] |= (l & 0xF) << 4 * (j % 2);
        high |= l >> 4 << 2 * j;
    }
    memcpy(to + 2, &high, sizeof high);
    for (int i = 0; i < 8; ++i)
        for (int l = 0; l < 16; ++l) q[16 * i + l] = L[32 * i + l] | L[32 * i + 16 + l] << 4;
}

/* The scale of each group of 32; `sigma2` is twice the mean square that importance is weighed with. */
INLINE F scale_of_values(const F *groups, const F *importance, F sigma2, const float *border) {
    F weights[32], size = all(0), max = all(0), scale = all(0), best = all(0);
    for (int i = 0; i < 32; ++i) {
        F square = groups[i] * groups[i];
        I larger = magnitude(groups[i]) > size;
        weights[i] = importance ? importance[i] * root(sigma2 + square) : square;
        size = pick(larger, magnitude(groups[i]), size);
        max = pick(larger, groups[i], max);
    }
    for (int try = -8; try <= 7; ++try) { /* the first has no rival */
        F inverse = try < -7 ? 1 / (-max / VALUES[0]) : (try + VALUES[0]) / max, xl = all(0), l2 = all(0);
        for (int i = 0; i < 32; ++i) {
            F value = value_near(inverse * groups[i], border), wl = weights[i] * value;
            xl += wl * groups[i];
            l2 += wl * value;
        }
        I better = try < -7 ? l2 > 0 : (l2 > 0) & (xl * xl > best * l2);
        scale = pick(better, xl / l2, scale);
        best = pick(try < -7 ? l2 == l2 : better, scale * xl, best);
    }
    return pick(size < TINY, all(0), scale);
}

INLINE void two_iq4(uint8_t *const to[2], const float *const x[2], const float *const importance[2], const float *border) {
    F groups[32], by[32], sigma2 = all(0);
    turn(groups, x[0], x[1], 32);
    if (importance[0]) {
        float sums[2] = {sum_of_squares(x[0]) * (2.f / SUPER), sum_of_squares(x[1]) * (2.f / SUPER)};
        for (int lane = 0; lane < LANES; ++lane) sigma2[lane] = sums[lane / 8];
        turn(by, importance[0], importance[1], 32);
    }
    F scale = scale_of_values(groups, importance[0] ? by : 0, sigma2, border);
    one_iq4(to[0], x[0], &scale, 0, border);
    if (to[1]) one_iq4(to[1], x[1], &scale, 8, border);
}

/* ---------------------------------------------------------------- IQ4_NL: groups of 32 on their own, the same values */

/* Up to sixteen groups. */
INLINE void some_iq4_nl(uint8_t *to, const float *x, const float *importance, int count, const float *border) {
    F groups[32], by[32], sigma2 = all(0);
    for (int i = 0; i < 32; ++i)
        for (int lane = 0; lane < LANES; ++lane) {
            int from = lane < count ? 32 * lane + i : i;
            groups[i][lane] = x[from];
            by[i][lane] = importance ? importance[from] : 0;
        }
    for (int i = 0; i < 32; ++i) sigma2 += groups[i] * groups[i];
    F scale = scale_of_values(groups, importance ? by : 0, sigma2 * (2.f / 32), border);
    for (int j = 0; j < count; ++j, to += 18) {
        uint8_t L[32];
        float inverse = scale[j] ? 1 / scale[j] : 0;
        put_half(to, scale[j]);
        for (int i = 0; i < 32; i += LANES) bytes(L + i, place_near(inverse * load(x + 32 * j + i), border));
        for (int l = 0; l < 16; ++l) to[2 + l] = L[l] | L[16 + l] << 4;
    }
}

/* ---------------------------------------------------------------- rows */

static int super_bytes(int kind) {
    switch (kind) {
        case Q2_K: return 84;
        case Q3_K: return 110;
        case Q4_K: return 144;
        case Q5_K: return 176;
        case Q6_K: return 210;
        case IQ4_XS: return 136;
        default: return 0;
    }
}

EVERY_CPU static void row_q45(uint8_t *to, const float *x, int64_t blocks, const float *importance, int bits) {
    int size = bits == 4 ? 144 : 176;
    for (int64_t i = 0; i < blocks; i += 2) {
        int pair = i + 1 < blocks;
        uint8_t *const out[2] = {to + i * size, pair ? to + (i + 1) * size : 0};
        const float *const from[2] = {x + i * SUPER, x + (i + pair) * SUPER};
        const float *const by[2] = {importance ? importance + i * SUPER : 0, importance ? importance + (i + pair) * SUPER : 0};
        if (bits == 4)
            two_q45(out, from, by, 4);
        else
            two_q45(out, from, by, 5);
    }
}

EVERY_CPU static void row_iq4(uint8_t *to, const float *x, int64_t blocks, const float *importance, const float *border) {
    for (int64_t i = 0; i < blocks; i += 2) {
        int pair = i + 1 < blocks;
        uint8_t *const out[2] = {to + i * 136, pair ? to + (i + 1) * 136 : 0};
        const float *const from[2] = {x + i * SUPER, x + (i + pair) * SUPER};
        const float *const by[2] = {importance ? importance + i * SUPER : 0, importance ? importance + (i + pair) * SUPER : 0};
        two_iq4(out, from, by, border);
    }
}

EVERY_CPU static void row_iq4_nl(uint8_t *to, const float *x, int64_t groups, const float *importance, const float *border) {
    for (int64_t i = 0; i < groups; i += LANES)
        some_iq4_nl(to + i * 18, x + i * 32, importance ? importance + i * 32 : 0, groups - i < LANES ? groups - i : LANES,
                    border);
}

EVERY_CPU static void row_q2(uint8_t *to, const float *x, int64_t blocks, const float *importance) {
    for (int64_t i = 0; i < blocks; ++i) q2(to + i * 84, x + i * SUPER, importance ? importance + i * SUPER : 0);
}

EVERY_CPU static void row_q3(uint8_t *to, const float *x, int64_t blocks, const float *importance) {
    for (int64_t i = 0; i < blocks; ++i) q3(to + i * 110, x + i * SUPER, importance + i * SUPER);
}

EVERY_CPU static void row_q6(uint8_t *to, const float *x, int64_t blocks, const float *importance) {
    for (int64_t i = 0; i < blocks; ++i) q6(to + i * 210, x + i * SUPER, importance ? importance + i * SUPER : 0);
}

/* Write `rows` rows of `columns` floats as `kind`; returns the bytes written, 0 where this file cannot do it. */
int64_t lqmf_quantize(int kind, const float *x, uint8_t *to, int64_t rows, int64_t columns, const float *importance) {
    int64_t blocks = columns / SUPER, size = kind == IQ4_NL ? columns / 32 * 18 : blocks * super_bytes(kind);
    float border[15];
    if (!size || columns % (kind == IQ4_NL ? 32 : SUPER) || (kind == Q3_K && !importance)) return 0;
    if (kind == IQ4_XS || kind == IQ4_NL) borders(border);
    for (int64_t row = 0; row < rows; ++row, x += columns, to += size) {
        if (kind == Q2_K) row_q2(to, x, blocks, importance);
        if (kind == Q3_K) row_q3(to, x, blocks, importance);
        if (kind == Q4_K) row_q45(to, x, blocks, importance, 4);
        if (kind == Q5_K) row_q45(to, x, blocks, importance, 5);
        if (kind == Q6_K) row_q6(to, x, blocks, importance);
        if (kind == IQ4_NL) row_iq4_nl(to, x, columns / 32, importance, border);
        if (kind == IQ4_XS) row_iq4(to, x, blocks, importance, border);
    }
    return rows * size;
}
