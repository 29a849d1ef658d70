// What the compiled detector is made of: plain data, and the table of functions that each instruction set provides.
//
// kernels.cpp is compiled once for each instruction set and fills one such table; cascade.cpp chooses a table, shares the work
// among threads and offers it to Python through C functions. Nothing here is seen outside the library.

#pragma once

#include <cstddef>
#include <cstdint>

namespace facesearch {

// Raised with every change of what Python fills in or calls; native_library.py has the same number and takes no other library.
constexpr int kInterface = 1;

// RGB bytes; rows may lie further apart than 3 * width (a region of a larger photograph).
struct Photo {
    const uint8_t* pixels;
    int64_t row_bytes;
    int32_t height;
    int32_t width;
};

// A photograph at one scale.
struct Level {
    int32_t photo;
    int32_t index;
    int32_t height;
    int32_t width;
};

// A cell of the P-Net that sees a face. Its layout is that of the NumPy dtype in stages.py.
struct Hit {
    int32_t photo;
    int32_t level;
    int32_t row;
    int32_t col;
    float score;
    float correction[4];
};

// A rectangle of a photograph, right and bottom excluded.
struct Crop {
    int32_t photo;
    int32_t left;
    int32_t top;
    int32_t right;
    int32_t bottom;
};

// Hits as they come; grow() makes room when there is none.
struct HitList {
    Hit* hits;
    size_t count;
    size_t room;
    bool (*grow)(HitList*);
};

// The P-Net's weights: convolutions as [out][in][row][column], the face layer as one row of differences (face minus not).
struct PNetWeights {
    const float *w1, *b1, *s1;
    const float *w2, *b2, *s2;
    const float *w3, *b3, *s3;
    const float *face, *face_bias;
    const float *box, *box_bias;
};

// One step of the R- or the O-Net: a square convolution followed by PReLU (slopes may be null), or max pooling of stride 2 that
// keeps a last, partly covered window (weights are null). Weights are [row][column][in][out].
struct Step {
    int32_t side;
    int32_t n_in;
    int32_t n_out;
    int32_t n_per_crop;  // 1: run crop by crop, to stay in the cache; 0: all crops of a group at once
    const float* weights;
    const float* bias;
    const float* slopes;
};

// The first of two logits' share in their softmax, given first minus second. Defined once, for the baseline processor.
float softmax_share(float difference);

struct Kernels {
    const char* name;
    size_t pnet_packed_floats;
    void (*pnet_pack)(const PNetWeights&, float* packed);
    // Bytes that a band of rows of this level works in; 64-byte alignment is the caller's business.
    size_t (*pnet_bytes)(const Photo&, const Level&);
    // Appends the hits of the cell rows [first, last) whose score reaches the threshold; false when memory ran out.
    bool (*pnet_band)(const float* packed, const Photo&, const Level&, int first, int last, float threshold, void* work, HitList*);
    size_t (*step_packed_floats)(const Step&);
    void (*step_pack)(const Step&, float* packed);
    // One step on n maps of side*side*n_in floats, compact; returns the side of the outputs (n maps, compact).
    int (*step_run)(const Step&, const float* packed, const float* from, int n_maps, int map_side, float* to);
    // A rectangle averaged down or up to crop_px * crop_px * 3 floats, values as the networks want them.
    void (*sample_crop)(const Photo&, const Crop&, int crop_px, float* to, void* work);
    size_t (*sample_bytes)(int width_px);
};

}  // namespace facesearch
