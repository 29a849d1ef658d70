// The arithmetic for one instruction set: four-bit codes and their products with a probe of bytes (the beam search), and cosines of
// vectors held as bytes (the scan).
//
// Compiled several times, each time with other machine flags and FS_TABLE naming the table to fill. Everything is in an unnamed
// namespace and no template of the standard library is used: code compiled for one instruction set must not be shared with another's.

#include "beam.h"

#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace facesearch_beam {
namespace {

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)

inline int32_t product(const uint8_t* codes, const int8_t* probe, int n_blocks) {
    const __m512i low = _mm512_set1_epi8(15);
    __m512i sum = _mm512_setzero_si512();
    for (int block = 0; block < n_blocks; ++block, codes += kBlockBytes, probe += kBlockDims) {
        const __m512i packed = _mm512_loadu_si512(codes);
        sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(packed, low), _mm512_loadu_si512(probe));
        sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(packed, 4), low), _mm512_loadu_si512(probe + kBlockBytes));
    }
    return _mm512_reduce_add_epi32(sum);
}

#elif defined(__AVX2__)

inline int32_t product(const uint8_t* codes, const int8_t* probe, int n_blocks) {
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    for (int block = 0; block < n_blocks; ++block, codes += kBlockBytes, probe += kBlockDims) {
        for (int half = 0; half < kBlockBytes; half += 32) {
            const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + half));
            const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(probe + half));
            const __m256i second = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(probe + kBlockBytes + half));
            // 2 * 2 * 15 * 127 stays within 16 bits.
            const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(packed, low), first),
                                                   _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(packed, 4), low), second));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
}

#else

inline int32_t product(const uint8_t* codes, const int8_t* probe, int n_blocks) {
    int32_t sum = 0;
    for (int block = 0; block < n_blocks; ++block, codes += kBlockBytes, probe += kBlockDims)
        for (int i = 0; i < kBlockBytes; ++i) sum += (codes[i] & 15) * probe[i] + (codes[i] >> 4) * probe[kBlockBytes + i];
    return sum;
}

#endif

void encode(const Shape& shape, const float* vector, uint8_t* codes) {
    memset(codes, 0, static_cast<size_t>(shape.n_blocks) * kBlockBytes);
    for (int i = 0; i < shape.n_blocks * kBlockDims; ++i) {
        const float scaled = i < shape.dim ? __builtin_nearbyintf(vector[i] / shape.step) : 0.0f;
        const int code = static_cast<int>(scaled < -8.0f ? -8.0f : scaled > 7.0f ? 7.0f : scaled) + kMiddle;
        const int place = i % kBlockDims;
        codes[i / kBlockDims * kBlockBytes + place % kBlockBytes] |= static_cast<uint8_t>(place < kBlockBytes ? code : code << 4);
    }
}

void products(const Shape& shape, const uint8_t* codes, const uint32_t* nodes, int n, const int8_t* probe, int32_t* out) {
    for (int i = 0; i < n; ++i)
        out[i] = product(codes + static_cast<size_t>(nodes[i]) * shape.n_blocks * kBlockBytes, probe, shape.n_blocks);
}

#if defined(__AVX2__)

#if defined(__AVX512F__)

typedef __m512 Floats;

inline Floats loaded(const int8_t* bytes) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))));
}

inline float summed(Floats lanes) { return _mm512_reduce_add_ps(lanes); }

#else

typedef __m256 Floats;

inline Floats loaded(const int8_t* bytes) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes))));
}

inline float summed(Floats lanes) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

#endif

void cosines_of_bytes(const int8_t* vectors, int64_t n, int32_t dim, const float* probe, float* out) {
    for (int64_t row = 0; row < n; ++row, vectors += dim) {
        Floats products = {}, squares = {};
        int32_t i = 0;
        for (; i + FS_LANES <= dim; i += FS_LANES) {
            Floats wanted;
            memcpy(&wanted, probe + i, sizeof wanted);
            const Floats values = loaded(vectors + i);
            products += values * wanted;
            squares += values * values;
        }
        float product = summed(products), square = summed(squares);
        for (; i < dim; ++i) {
            const float value = vectors[i];
            product += value * probe[i];
            square += value * value;
        }
        out[row] = square > 0 ? product / __builtin_sqrtf(square) : 0.0f;
    }
}

constexpr auto cosines = cosines_of_bytes;

#else

// Without instructions that widen bytes, NumPy's conversion and BLAS are faster than anything written here.
constexpr decltype(Kernel::cosines) cosines = nullptr;

#endif

}  // namespace

extern const Kernel FS_TABLE;
const Kernel FS_TABLE = {FS_NAME, encode, products, cosines};

}  // namespace facesearch_beam
