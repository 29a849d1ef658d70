// The arithmetic of the cascade for one instruction set: area sampling, the fused P-Net, and the steps of the R- and the O-Net.
//
// Compiled several times, each time with other machine flags and FS_TABLE naming the table to fill; FS_LANES floats make a vector.
// Vectors are the compiler's own (GCC and Clang), so the same text serves every processor. Everything is in an unnamed namespace
// and no template of the standard library is used: code compiled for one instruction set must not be shared with another's.
// All sums are made in one fixed order, whatever the number of threads, so that results are the same from run to run.

#include "kernels.h"

#include <cmath>
#include <cstring>

namespace facesearch {
namespace {

constexpr int kLanes = FS_LANES;
constexpr bool kManyRegisters = FS_REGISTERS >= 32;

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t Mask __attribute__((vector_size(kLanes * 4)));
typedef float LooseVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t Four __attribute__((vector_size(16)));
typedef uint32_t FourSums __attribute__((vector_size(16)));  // unsigned, since they may wrap around
typedef float FourFloats __attribute__((vector_size(16)));
typedef float LooseFour __attribute__((vector_size(16), aligned(4), may_alias));

#define FS_INLINE static inline __attribute__((always_inline))

FS_INLINE Vec load(const float* from) { return *reinterpret_cast<const LooseVec*>(from); }
FS_INLINE void store(float* to, Vec value) { *reinterpret_cast<LooseVec*>(to) = value; }
FS_INLINE Vec spread(float value) { return value - Vec{}; }
FS_INLINE Vec larger(Vec a, Vec b) { return a > b ? a : b; }
FS_INLINE Vec prelu(Vec x, float slope) { return x > 0.0f ? x : x * slope; }
FS_INLINE int padded(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

// ---- area sampling: every output pixel is the mean of the input pixels it touches (see sampling.py) ----

struct Bin {
    int32_t start;
    int32_t end;
    float share;
};

FS_INLINE Bin bin_of(int place, int n_from, int n_to) {
    const int32_t start = static_cast<int32_t>(static_cast<int64_t>(place) * n_from / n_to);
    const int32_t end = static_cast<int32_t>((static_cast<int64_t>(place + 1) * n_from + n_to - 1) / n_to);
    return {start, end, 1.0f / static_cast<float>(end - start)};
}

// Column sums of some rows of bytes, exact in T.
template <typename T>
void add_rows(const uint8_t* rows, int64_t row_bytes, int n_rows, int n, T* sums) {
    if (n_rows == 1) {
        for (int i = 0; i < n; ++i) sums[i] = rows[i];
        return;
    }
    const uint8_t* second = rows + row_bytes;
    if (n_rows == 2) {
        for (int i = 0; i < n; ++i) sums[i] = static_cast<T>(rows[i] + second[i]);
        return;
    }
    const uint8_t* third = second + row_bytes;
    for (int i = 0; i < n; ++i) sums[i] = static_cast<T>(rows[i] + second[i] + third[i]);
    int row = 3;
    for (; row + 2 <= n_rows; row += 2) {
        const uint8_t* a = rows + row * row_bytes;
        const uint8_t* b = a + row_bytes;
        for (int i = 0; i < n; ++i) sums[i] = static_cast<T>(sums[i] + a[i] + b[i]);
    }
    if (row < n_rows) {
        const uint8_t* a = rows + row * row_bytes;
        for (int i = 0; i < n; ++i) sums[i] = static_cast<T>(sums[i] + a[i]);
    }
}

// Running sums over the pixels of a row of column sums: out[x] holds the first x pixels', three colours and a lane of no meaning.
// The sums may wrap around; their differences are right as long as one output pixel averages fewer than 8 million pixels.
template <typename T>
void run_sums(const T* sums, int width, FourSums* out) {
    FourSums total{};
    out[0] = total;
    for (int x = 0; x < width; ++x) {
        total += FourSums{sums[3 * x], sums[3 * x + 1], sums[3 * x + 2], 0};
        out[x + 1] = total;
    }
}

// Running sums of the input rows of one output row. `sums` has room for 3 * width + 1 numbers of 32 bits.
void row_sums(const uint8_t* first, int64_t row_bytes, int n_rows, int width, uint32_t* sums, FourSums* out) {
    if (n_rows <= 257) {  // 257 * 255 = 65535
        uint16_t* narrow = reinterpret_cast<uint16_t*>(sums);
        add_rows(first, row_bytes, n_rows, 3 * width, narrow);
        run_sums(narrow, width, out);
    } else {
        add_rows(first, row_bytes, n_rows, 3 * width, sums);
        run_sums(sums, width, out);
    }
}

// The mean of one output pixel, as the weights were trained: (value - 127.5) / 128.
FS_INLINE FourFloats mean_of(const FourSums* running, const Bin& bin, float row_share) {
    const FourFloats sum = __builtin_convertvector(reinterpret_cast<Four>(running[bin.end] - running[bin.start]), FourFloats);
    return (sum * (row_share * bin.share) - 127.5f) * 0.0078125f;
}

// ---- the P-Net ----

constexpr int kC1 = 10, kC2 = 16, kC3 = 32;       // channels of the three convolutions
constexpr int kBlock1 = kManyRegisters ? 5 : 2;   // channels computed at once: 4 sums each (the pooling window)
constexpr int kBlock2 = kManyRegisters ? 8 : 4;   // channels computed at once, each for up to kWide vectors of a row
constexpr int kWide = 3;

struct Packed {
    float w1[kC1 * 27], b1[kC1], s1[kC1];
    float w2[kC2 * kC1 * 9], b2[kC2], s2[kC2];
    float w3[kC3 * kC2 * 9], b3[kC3], s3[kC3];
    float face[kC3], box[4 * kC3];
    float face_bias, box_bias[4];
};

// Weights [out][in][3][3] to [block of out][in][3][3][out within the block].
void pack_convolution(const float* weights, int n_out, int n_in, int block, float* packed) {
    for (int first = 0; first < n_out; first += block)
        for (int k = 0; k < n_in * 9; ++k)
            for (int out = first; out < first + block; ++out) *packed++ = weights[out * n_in * 9 + k];
}

void pnet_pack(const PNetWeights& weights, float* packed) {
    Packed& to = *reinterpret_cast<Packed*>(packed);
    pack_convolution(weights.w1, kC1, 3, kBlock1, to.w1);
    pack_convolution(weights.w2, kC2, kC1, kBlock2, to.w2);
    pack_convolution(weights.w3, kC3, kC2, kBlock2, to.w3);
    memcpy(to.b1, weights.b1, sizeof to.b1);
    memcpy(to.s1, weights.s1, sizeof to.s1);
    memcpy(to.b2, weights.b2, sizeof to.b2);
    memcpy(to.s2, weights.s2, sizeof to.s2);
    memcpy(to.b3, weights.b3, sizeof to.b3);
    memcpy(to.s3, weights.s3, sizeof to.s3);
    memcpy(to.face, weights.face, sizeof to.face);
    memcpy(to.box, weights.box, sizeof to.box);
    memcpy(&to.face_bias, weights.face_bias, sizeof to.face_bias);
    memcpy(to.box_bias, weights.box_bias, sizeof to.box_bias);
}

// Sizes of one level on its way through the P-Net. Rows of maps lie `stride` floats apart; lanes beyond a row's end hold numbers
// without meaning that reach no result.
struct Plan {
    int height, width, pooled_height, pooled_width, cell_rows, cell_cols, stride;

    explicit Plan(const Level& level)
        : height(level.height),
          width(level.width),
          pooled_height((level.height - 1) / 2),
          pooled_width((level.width - 1) / 2),
          cell_rows(pooled_height - 4),
          cell_cols(pooled_width - 4),
          stride(padded(pooled_width) + kLanes) {}
};

// Where a band of rows keeps what it works on.
struct Work {
    float* input[4];   // the last four rows of the level: colour by colour, its even columns and then its odd ones
    float* pooled[3];  // the last three rows after the first convolution and pooling
    float* second[3];  // the last three rows after the second convolution
    float* third;      // kWide vectors of all channels after the third
    Bin* cols;
    FourSums* running;
    uint32_t* sums;

    static size_t floats(const Plan& plan) {
        return static_cast<size_t>(plan.stride) * (4 * 6 + 3 * kC1 + 3 * kC2) + kC3 * kWide * kLanes;
    }

    static size_t bytes(const Photo& photo, const Plan& plan) {
        return floats(plan) * sizeof(float) + (photo.width + 1) * sizeof(FourSums) + (3 * static_cast<size_t>(photo.width) + 16) * 4 +
               (plan.width + 16) * sizeof(Bin);
    }

    Work(const Photo& photo, const Plan& plan, void* memory) {
        float* next = static_cast<float*>(memory);
        memset(next, 0, floats(plan) * sizeof(float));
        for (float*& row : input) row = next, next += 6 * plan.stride;
        for (float*& row : pooled) row = next, next += kC1 * plan.stride;
        for (float*& row : second) row = next, next += kC2 * plan.stride;
        third = next, next += kC3 * kWide * kLanes;
        running = reinterpret_cast<FourSums*>(next);
        sums = reinterpret_cast<uint32_t*>(running + photo.width + 1);
        cols = reinterpret_cast<Bin*>(sums + 3 * static_cast<size_t>(photo.width) + 16);
        for (int col = 0; col < plan.width; ++col) cols[col] = bin_of(col, photo.width, plan.width);
    }
};

// Four of two vectors' eight numbers, by place.
#if defined(__clang__) || __GNUC__ >= 12
#define FS_PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FS_PICK(a, b, ...) __builtin_shuffle(a, b, Four{__VA_ARGS__})
#endif

// Rows and columns of 4 by 4 numbers exchanged.
FS_INLINE void transpose(FourFloats& a, FourFloats& b, FourFloats& c, FourFloats& d) {
    const FourFloats ab = FS_PICK(a, b, 0, 4, 1, 5), cd = FS_PICK(c, d, 0, 4, 1, 5);
    const FourFloats ba = FS_PICK(a, b, 2, 6, 3, 7), dc = FS_PICK(c, d, 2, 6, 3, 7);
    a = FS_PICK(ab, cd, 0, 1, 4, 5);
    b = FS_PICK(ab, cd, 2, 3, 6, 7);
    c = FS_PICK(ba, dc, 0, 1, 4, 5);
    d = FS_PICK(ba, dc, 2, 3, 6, 7);
}

void sample_row(const Photo& photo, const Plan& plan, int row, const Work& work, float* to) {
    const Bin bin = bin_of(row, photo.height, plan.height);
    row_sums(photo.pixels + bin.start * photo.row_bytes, photo.row_bytes, bin.end - bin.start, photo.width, work.sums, work.running);
    const int stride = plan.stride;
    int col = 0;
    for (; col + 8 <= plan.width; col += 8) {
        const Bin* bins = work.cols + col;
        for (int odd = 0; odd < 2; ++odd) {
            FourFloats a = mean_of(work.running, bins[odd], bin.share), b = mean_of(work.running, bins[odd + 2], bin.share);
            FourFloats c = mean_of(work.running, bins[odd + 4], bin.share), d = mean_of(work.running, bins[odd + 6], bin.share);
            transpose(a, b, c, d);
            float* place = to + odd * stride + col / 2;
            *reinterpret_cast<LooseFour*>(place) = a;
            *reinterpret_cast<LooseFour*>(place + 2 * stride) = b;
            *reinterpret_cast<LooseFour*>(place + 4 * stride) = c;
        }
    }
    for (; col < plan.width; ++col) {
        const FourFloats mean = mean_of(work.running, work.cols[col], bin.share);
        for (int colour = 0; colour < 3; ++colour) to[(2 * colour + col % 2) * stride + col / 2] = mean[colour];
    }
}

// The first convolution, its PReLU and 2 by 2 pooling: one row. `upper` and `lower` are the three input rows of the pooling
// window's two rows; they are the same where the level's border cuts the window.
void first_layer(const Packed& net, const Plan& plan, const float* const upper[3], const float* const lower[3], float* to) {
    const int stride = plan.stride;
    for (int x = 0; x < plan.pooled_width; x += kLanes) {
        Mask has_odd;  // whether the window's second column is inside the level
        for (int lane = 0; lane < kLanes; ++lane) has_odd[lane] = 2 * (x + lane) + 1 < plan.width - 2 ? -1 : 0;
        const float* weights = net.w1;
        for (int first = 0; first < kC1; first += kBlock1) {
            Vec sums[kBlock1][4];
            for (int c = 0; c < kBlock1; ++c)
                for (int part = 0; part < 4; ++part) sums[c][part] = spread(net.b1[first + c]);
            for (int colour = 0; colour < 3; ++colour) {
                for (int ky = 0; ky < 3; ++ky) {
                    const float* above = upper[ky] + 2 * colour * stride + x;
                    const float* below = lower[ky] + 2 * colour * stride + x;
                    // Columns 2x, 2x+1, 2x+2 and 2x+3 of the level.
                    const Vec a[4] = {load(above), load(above + stride), load(above + 1), load(above + stride + 1)};
                    const Vec b[4] = {load(below), load(below + stride), load(below + 1), load(below + stride + 1)};
#pragma GCC unroll 3
                    for (int kx = 0; kx < 3; ++kx) {
#pragma GCC unroll 8
                        for (int c = 0; c < kBlock1; ++c) {
                            const Vec weight = spread(weights[c]);
                            sums[c][0] += a[kx] * weight;
                            sums[c][1] += a[kx + 1] * weight;
                            sums[c][2] += b[kx] * weight;
                            sums[c][3] += b[kx + 1] * weight;
                        }
                        weights += kBlock1;
                    }
                }
            }
            for (int c = 0; c < kBlock1; ++c) {
                const float slope = net.s1[first + c];
                const Vec even = larger(prelu(sums[c][0], slope), prelu(sums[c][2], slope));
                const Vec odd = larger(prelu(sums[c][1], slope), prelu(sums[c][3], slope));
                store(to + (first + c) * stride + x, has_odd ? larger(even, odd) : even);
            }
        }
    }
}

// kBlock2 channels of a 3 by 3 convolution and its PReLU for kVecs vectors of a row; `weights` are this block's.
template <int kIn, int kVecs>
FS_INLINE void convolve(const float* const rows[3], int stride, int x, const float* weights, const float* bias,
                        const float* slopes, Vec out[kBlock2][kVecs]) {
    Vec sums[kBlock2][kVecs];
#pragma GCC unroll 8
    for (int c = 0; c < kBlock2; ++c)
#pragma GCC unroll 3
        for (int v = 0; v < kVecs; ++v) sums[c][v] = spread(bias[c]);
    for (int channel = 0; channel < kIn; ++channel) {
#pragma GCC unroll 3
        for (int ky = 0; ky < 3; ++ky) {
            const float* row = rows[ky] + channel * stride + x;
#pragma GCC unroll 3
            for (int kx = 0; kx < 3; ++kx) {
                Vec in[kVecs];
#pragma GCC unroll 3
                for (int v = 0; v < kVecs; ++v) in[v] = load(row + kx + v * kLanes);
#pragma GCC unroll 8
                for (int c = 0; c < kBlock2; ++c) {
                    const Vec weight = spread(weights[c]);
#pragma GCC unroll 3
                    for (int v = 0; v < kVecs; ++v) sums[c][v] += in[v] * weight;
                }
                weights += kBlock2;
            }
        }
    }
#pragma GCC unroll 8
    for (int c = 0; c < kBlock2; ++c)
#pragma GCC unroll 3
        for (int v = 0; v < kVecs; ++v) out[c][v] = prelu(sums[c][v], slopes[c]);
}

template <int kVecs>
void second_layer(const Packed& net, const float* const rows[3], int stride, int x, float* to) {
    for (int first = 0; first < kC2; first += kBlock2) {
        Vec out[kBlock2][kVecs];
        convolve<kC1, kVecs>(rows, stride, x, net.w2 + first * kC1 * 9, net.b2 + first, net.s2 + first, out);
        for (int c = 0; c < kBlock2; ++c)
            for (int v = 0; v < kVecs; ++v) store(to + (first + c) * stride + x + v * kLanes, out[c][v]);
    }
}

// The third convolution and the face layer. Leaves the channels in `third` and the logits' differences in `faces`.
template <int kVecs>
void third_layer(const Packed& net, const float* const rows[3], int stride, int x, float* third, float* faces) {
    Vec face[kVecs];
    for (int v = 0; v < kVecs; ++v) face[v] = spread(net.face_bias);
    for (int first = 0; first < kC3; first += kBlock2) {
        Vec out[kBlock2][kVecs];
        convolve<kC2, kVecs>(rows, stride, x, net.w3 + first * kC2 * 9, net.b3 + first, net.s3 + first, out);
        for (int c = 0; c < kBlock2; ++c)
            for (int v = 0; v < kVecs; ++v) {
                face[v] += out[c][v] * net.face[first + c];
                store(third + ((first + c) * kWide + v) * kLanes, out[c][v]);
            }
    }
    for (int v = 0; v < kVecs; ++v) store(faces + v * kLanes, face[v]);
}

struct Passing {
    float threshold;   // smallest score
    float difference;  // a little below the logits' difference that gives it
};

bool append_hits(const Packed& net, const Level& level, int row, int x, int n, const Passing& passing, const float* third,
                 const float* faces, HitList* found) {
    for (int lane = 0; lane < n; ++lane) {
        if (!(faces[lane] >= passing.difference)) continue;
        const float score = softmax_share(faces[lane]);
        if (!(score >= passing.threshold)) continue;
        if (found->count == found->room && !found->grow(found)) return false;
        Hit& hit = found->hits[found->count++];
        hit = {level.photo, level.index, row, x + lane, score, {}};
        for (int side = 0; side < 4; ++side) {
            float sum = net.box_bias[side];
            for (int c = 0; c < kC3; ++c) sum += net.box[side * kC3 + c] * third[c * kWide * kLanes + lane];
            hit.correction[side] = sum;
        }
    }
    return true;
}

template <typename Act>
FS_INLINE void for_columns(int n, Act act) {
    int x = 0;
    for (; x + (kWide - 1) * kLanes < n; x += kWide * kLanes) act(x, kWide);
    if (x < n) act(x, n - x > kLanes ? 2 : 1);
}

size_t pnet_bytes(const Photo& photo, const Level& level) { return Work::bytes(photo, Plan(level)); }

bool pnet_band(const float* packed, const Photo& photo, const Level& level, int first, int last, float threshold, void* memory,
               HitList* found) {
    const Packed& net = *reinterpret_cast<const Packed*>(packed);
    const Plan plan(level);
    const Work work(photo, plan, memory);
    const int stride = plan.stride;
    Passing passing{threshold, -INFINITY};
    if (threshold > 0) passing.difference = logf(threshold / (1.0f - fminf(threshold, 0.9999f))) - 0.01f;
    bool has_room = true;
    int sampled = 2 * first;  // rows of the level up to here are in `input`
    for (int pooled = first; pooled < last + 4; ++pooled) {
        const int wanted = 2 * pooled + 4 < plan.height ? 2 * pooled + 4 : plan.height;
        for (; sampled < wanted; ++sampled) sample_row(photo, plan, sampled, work, work.input[sampled % 4]);
        const float* upper[3];
        const float* lower[3];
        const int below = 2 * pooled + 3 < plan.height ? 1 : 0;
        for (int ky = 0; ky < 3; ++ky) {
            upper[ky] = work.input[(2 * pooled + ky) % 4];
            lower[ky] = work.input[(2 * pooled + ky + below) % 4];
        }
        first_layer(net, plan, upper, lower, work.pooled[pooled % 3]);
        if (pooled < first + 2) continue;
        const float* maps[3] = {work.pooled[(pooled - 2) % 3], work.pooled[(pooled - 1) % 3], work.pooled[pooled % 3]};
        float* made = work.second[(pooled - 2) % 3];
        for_columns(plan.pooled_width - 2, [&](int x, int n_vecs) {
            if (n_vecs == 3) second_layer<3>(net, maps, stride, x, made);
            if (n_vecs == 2) second_layer<2>(net, maps, stride, x, made);
            if (n_vecs == 1) second_layer<1>(net, maps, stride, x, made);
        });
        if (pooled < first + 4) continue;
        const int row = pooled - 4;
        const float* deep[3] = {work.second[row % 3], work.second[(row + 1) % 3], work.second[(row + 2) % 3]};
        for_columns(plan.cell_cols, [&](int x, int n_vecs) {
            float faces[kWide * kLanes];
            if (n_vecs == 3) third_layer<3>(net, deep, stride, x, work.third, faces);
            if (n_vecs == 2) third_layer<2>(net, deep, stride, x, work.third, faces);
            if (n_vecs == 1) third_layer<1>(net, deep, stride, x, work.third, faces);
            const int n = plan.cell_cols - x < n_vecs * kLanes ? plan.cell_cols - x : n_vecs * kLanes;
            has_room = has_room && append_hits(net, level, row, x, n, passing, work.third, faces, found);
        });
        if (!has_room) return false;
    }
    return true;
}

// ---- the R- and the O-Net: maps are [row][column][channel], vectors run over output channels ----

constexpr int kChannels = 16;  // output channels are filled up to a multiple of this

struct Shape {
    int vecs;    // vectors of channels computed at once
    int pixels;  // pixels computed at once
};

constexpr Shape shape_for(int n_out) {
    if (!kManyRegisters) return {2, 6};
    return n_out > 48 ? Shape{4, 6} : n_out > 32 ? Shape{3, 8} : n_out > 16 ? Shape{2, 8} : Shape{1, 8};
}

int channels_of(int n_out) {
    const int unit = shape_for(n_out).vecs * kLanes;
    const int step = unit > kChannels ? unit : kChannels;
    return (n_out + step - 1) / step * step;
}

size_t step_packed_floats(const Step& step) {
    if (step.weights == nullptr) return 0;
    return static_cast<size_t>(step.side * step.side * step.n_in + 2) * channels_of(step.n_out);
}

// Weights [row][column][in][out] to [block of out][row][column][in][out within the block], then biases, then slopes.
void step_pack(const Step& step, float* packed) {
    if (step.weights == nullptr) return;
    const int unit = shape_for(step.n_out).vecs * kLanes, n_all = channels_of(step.n_out), n_k = step.side * step.side * step.n_in;
    for (int first = 0; first < n_all; first += unit)
        for (int k = 0; k < n_k; ++k)
            for (int out = first; out < first + unit; ++out) *packed++ = out < step.n_out ? step.weights[k * step.n_out + out] : 0.0f;
    for (int out = 0; out < n_all; ++out) *packed++ = out < step.n_out ? step.bias[out] : 0.0f;
    for (int out = 0; out < n_all; ++out) *packed++ = step.slopes != nullptr && out < step.n_out ? step.slopes[out] : 1.0f;
}

// kVecs vectors of output channels for kPixels pixels. A pixel's inputs are `side` runs of `n_run` floats, `pitch` floats apart.
template <int kVecs, int kPixels>
FS_INLINE void convolve_pixels(const float* const* from, int64_t pitch, int side, int n_run, const float* weights,
                               const float* bias, const float* slopes, float* const* to, int n_real, int n_pixels) {
    Vec sums[kPixels][kVecs];
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) sums[p][v] = load(bias + v * kLanes);
    for (int ky = 0; ky < side; ++ky) {
        const float* in[kPixels];
#pragma GCC unroll 8
        for (int p = 0; p < kPixels; ++p) in[p] = from[p] + ky * pitch;
        for (int k = 0; k < n_run; ++k) {
            Vec weight[kVecs];
#pragma GCC unroll 4
            for (int v = 0; v < kVecs; ++v) weight[v] = load(weights + v * kLanes);
#pragma GCC unroll 8
            for (int p = 0; p < kPixels; ++p) {
                const Vec value = spread(in[p][k]);
#pragma GCC unroll 4
                for (int v = 0; v < kVecs; ++v) sums[p][v] += weight[v] * value;
            }
            weights += kVecs * kLanes;
        }
    }
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) {
        if (p >= n_pixels) break;
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) {
            const Vec x = sums[p][v];
            const Vec out = x > 0.0f ? x : x * load(slopes + v * kLanes);
            if ((v + 1) * kLanes <= n_real) {
                store(to[p] + v * kLanes, out);
            } else {
                for (int lane = 0; lane < n_real - v * kLanes; ++lane) to[p][v * kLanes + lane] = out[lane];
            }
        }
    }
}

template <int kVecs, int kPixels>
void convolve_maps(const Step& step, const float* packed, const float* from, int n_maps, int map_side, float* to) {
    const int out_side = map_side - step.side + 1, n_px = out_side * out_side, n_k = step.side * step.side * step.n_in;
    const int n_all = channels_of(step.n_out), unit = kVecs * kLanes;
    const float* biases = packed + static_cast<size_t>(n_k) * n_all;
    const int64_t total = static_cast<int64_t>(n_maps) * n_px, pitch = static_cast<int64_t>(map_side) * step.n_in;
    for (int64_t pixel = 0; pixel < total; pixel += kPixels) {
        const float* in[kPixels];
        float* out[kPixels];
        const int n_pixels = static_cast<int>(total - pixel < kPixels ? total - pixel : kPixels);
        for (int p = 0; p < kPixels; ++p) {
            const int64_t place = pixel + (p < n_pixels ? p : 0);
            const int64_t map = place / n_px, within = place % n_px;
            in[p] = from + (map * map_side * map_side + within / out_side * map_side + within % out_side) * step.n_in;
            out[p] = to + place * step.n_out;
        }
        for (int first = 0; first < step.n_out; first += unit) {
            convolve_pixels<kVecs, kPixels>(in, pitch, step.side, step.side * step.n_in, packed + static_cast<size_t>(n_k) * first,
                                            biases + first, biases + n_all + first, out, step.n_out - first, n_pixels);
            for (int p = 0; p < kPixels; ++p) out[p] += unit;
        }
    }
}

int pool_maps(const Step& step, const float* from, int n_maps, int map_side, float* to) {
    const int n = step.n_in, out_side = (map_side - step.side + 1) / 2 + 1;
    for (int map = 0; map < n_maps; ++map, from += map_side * map_side * n) {
        for (int row = 0; row < out_side; ++row) {
            for (int col = 0; col < out_side; ++col, to += n) {
                const int bottom = 2 * row + step.side < map_side ? 2 * row + step.side : map_side;
                const int right = 2 * col + step.side < map_side ? 2 * col + step.side : map_side;
                memcpy(to, from + (2 * row * map_side + 2 * col) * n, n * sizeof(float));
                for (int y = 2 * row; y < bottom; ++y) {
                    for (int x = 2 * col; x < right; ++x) {
                        const float* pixel = from + (y * map_side + x) * n;
                        for (int c = 0; c < n; ++c) to[c] = to[c] > pixel[c] ? to[c] : pixel[c];
                    }
                }
            }
        }
    }
    return out_side;
}

int step_run(const Step& step, const float* packed, const float* from, int n_maps, int map_side, float* to) {
    if (step.weights == nullptr) return pool_maps(step, from, n_maps, map_side, to);
    if constexpr (kManyRegisters) {
        switch (shape_for(step.n_out).vecs) {
            case 4: convolve_maps<4, 6>(step, packed, from, n_maps, map_side, to); break;
            case 3: convolve_maps<3, 8>(step, packed, from, n_maps, map_side, to); break;
            case 2: convolve_maps<2, 8>(step, packed, from, n_maps, map_side, to); break;
            default: convolve_maps<1, 8>(step, packed, from, n_maps, map_side, to);
        }
    } else {
        convolve_maps<2, 6>(step, packed, from, n_maps, map_side, to);
    }
    return map_side - step.side + 1;
}

size_t sample_bytes(int width_px) { return (width_px + 1) * sizeof(FourSums) + (3 * static_cast<size_t>(width_px) + 16) * 4; }

void sample_crop(const Photo& photo, const Crop& crop, int crop_px, float* to, void* memory) {
    const int height = crop.bottom - crop.top, width = crop.right - crop.left;
    FourSums* running = static_cast<FourSums*>(memory);
    uint32_t* sums = reinterpret_cast<uint32_t*>(running + width + 1);
    const uint8_t* corner = photo.pixels + crop.top * photo.row_bytes + 3 * static_cast<int64_t>(crop.left);
    Bin cols[64];
    for (int col = 0; col < crop_px; ++col) cols[col] = bin_of(col, width, crop_px);
    int start = -1, end = -1;
    for (int row = 0; row < crop_px; ++row) {
        const Bin bin = bin_of(row, height, crop_px);
        if (bin.start != start || bin.end != end)  // a small rectangle gives several rows alike
            row_sums(corner + bin.start * photo.row_bytes, photo.row_bytes, bin.end - bin.start, width, sums, running);
        start = bin.start, end = bin.end;
        for (int col = 0; col < crop_px; ++col) {
            const FourFloats mean = mean_of(running, cols[col], bin.share);
            *to++ = mean[0];
            *to++ = mean[1];
            *to++ = mean[2];
        }
    }
}

}  // namespace

extern const Kernels FS_TABLE;
const Kernels FS_TABLE = {
    FS_NAME,      (sizeof(Packed) + 3) / 4, pnet_pack, pnet_bytes,  pnet_band,   step_packed_floats,
    step_pack,    step_run,                 sample_crop, sample_bytes,
};

}  // namespace facesearch
