// What the sources share: the shape of the beam search's codes, and one instruction set's functions.

#pragma once

#include <cstddef>
#include <cstdint>

namespace facesearch_beam {

constexpr int kBlockDims = 128;  // numbers of a vector that share a block: two to a byte
constexpr int kBlockBytes = 64;  // bytes of a block, a line of the processor's cache
constexpr int kMiddle = 8;       // the code, 0 to 15, that stands for 0

struct Shape {
    int32_t dim;
    int32_t n_blocks;  // of a vector
    float step;        // what a code less kMiddle is multiplied with
};

struct Kernel {
    const char* name;
    // The codes of one vector: n_blocks * kBlockBytes bytes.
    void (*encode)(const Shape& shape, const float* vector, uint8_t* codes);
    // Products of a probe (n_blocks * kBlockDims bytes, as codes are laid out) with the codes of some nodes.
    void (*products)(const Shape& shape, const uint8_t* codes, const uint32_t* nodes, int n, const int8_t* probe, int32_t* out);
    // Cosines of n vectors of a byte a number, dim bytes each, with a unit probe; 0 for a vector of zeros. May be
    // null: then there is nothing to gain.
    void (*cosines)(const int8_t* vectors, int64_t n, int32_t dim, const float* probe, float* out);
};

}  // namespace facesearch_beam
