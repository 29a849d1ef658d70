// Beam search in an HNSW graph (Malkov & Yashunin 2018, algorithms 2 and 5) that hnswlib built, over vectors of four bits a number.
//
// A search of a large graph waits for memory more than it computes. Here a vector of 128 numbers is one line of the processor's
// cache instead of eight, several nodes are expanded at once so that their lines arrive together, and the queue is an array of
// buckets instead of a heap. Scores are approximate (to about 0.01): whoever asks scores the rows that come back exactly. The graph
// is read from the file that hnswlib saves and never changes; every number of the file that is used as a place is checked.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "beam.h"

#define FS_PUBLIC extern "C" __attribute__((visibility("default")))

namespace facesearch_beam {

extern const Kernel kBaseline;
#ifdef FS_WITH_X86
extern const Kernel kAvx2;
extern const Kernel kAvx512;
#endif

namespace {

constexpr int kBuckets = 4096;            // places of the queue
constexpr int kAtOnce = 4;                // nodes expanded together
constexpr float kScoresFrom = -0.5f;      // of the first bucket; lower ones share it
constexpr float kBucketsPerScore = 2048;
constexpr float kStepsPerDeviation = 2.5f;  // codes reach 3 standard deviations of a unit vector's numbers, which loses least
constexpr size_t kHugePage = size_t{1} << 21;
constexpr int64_t kReadAtOnce = 4096;     // nodes

struct FreeDeleter {
    void operator()(void* memory) const { std::free(memory); }
};
template <typename T>
using Memory = std::unique_ptr<T, FreeDeleter>;

// Zeroed memory, in pages of 2 MB where it is large and the system has them.
template <typename T>
Memory<T> allocated(size_t count) {
    const size_t bytes = (std::max<size_t>(count * sizeof(T), 1) + kHugePage - 1) / kHugePage * kHugePage;
    void* memory = nullptr;
    if (posix_memalign(&memory, kHugePage, bytes) != 0) throw std::bad_alloc();
#if defined(__linux__)
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    std::memset(memory, 0, bytes);
    return Memory<T>(static_cast<T*>(memory));
}

// An HNSW graph with its vectors in codes.
struct Graph {
    Shape shape{};
    int64_t n_nodes = 0;
    int64_t n_links = 0;  // room for links of a node on the lowest layer
    int64_t n_upper = 0;  // the same on the others
    int32_t top_layer = 0;
    uint32_t entry = 0;
    Memory<uint8_t> codes;
    Memory<uint32_t> links;
    Memory<uint8_t> counts;  // links of a node in use
    Memory<uint32_t> labels;  // the row that each node stands for
    std::vector<int64_t> upper_start;  // for each node its place in `upper`, or -1
    std::vector<int32_t> upper_layers;
    std::vector<uint32_t> upper;  // layer by layer: how many links, then room for n_upper
};

struct Entry {
    uint32_t node;
    int32_t next;  // in the same bucket, or -1
    int32_t dot;
};

// One search's working memory.
struct Desk {
    std::vector<uint64_t> seen;     // one bit a node; all zero between searches
    std::vector<uint32_t> touched;  // words of `seen` that are not zero
    std::vector<Entry> entries;
    std::vector<int8_t> probe;
    std::vector<uint32_t> fresh;
    std::vector<int32_t> dots;
    int32_t heads[kBuckets];
    int32_t sizes[kBuckets];
};

inline void fetch(const void* from) { __builtin_prefetch(from); }

// One search: the probe in bytes, and the queue of what was seen.
class Search {
  public:
    Search(const Graph& graph, const Kernel& kernel, const float* probe, int32_t ef, Desk* desk)
        : graph_(graph), kernel_(kernel), ef_(ef), desk_(*desk) {
        float largest = 0;
        for (int i = 0; i < graph.shape.dim; ++i) largest = std::max(largest, std::fabs(probe[i]));
        const float unit = largest > 0 ? largest / 127 : 1;
        desk_.probe.assign(static_cast<size_t>(graph.shape.n_blocks) * kBlockDims, 0);
        for (int i = 0; i < graph.shape.dim; ++i) desk_.probe[i] = static_cast<int8_t>(std::nearbyint(probe[i] / unit));
        int32_t sum = 0;
        for (int8_t value : desk_.probe) sum += value;
        offset_ = kMiddle * sum;
        score_of_dot_ = unit * graph.shape.step;
        desk_.seen.resize(static_cast<size_t>((graph.n_nodes + 63) / 64), 0);
        desk_.fresh.resize(static_cast<size_t>(kAtOnce) * graph.n_links);
        desk_.dots.resize(desk_.fresh.size());
        desk_.entries.clear();
        desk_.touched.clear();
        std::fill(std::begin(desk_.heads), std::end(desk_.heads), -1);
        std::fill(std::begin(desk_.sizes), std::end(desk_.sizes), 0);
    }

    void run() {
        const uint32_t start = descended();
        mark(start);
        push(dot(start), start);
        uint32_t nodes[kAtOnce];
        for (int n = take(nodes); n > 0; n = take(nodes)) {
            int n_fresh = 0;
            for (int i = 0; i < n; ++i) {
                const uint32_t* links = graph_.links.get() + static_cast<size_t>(nodes[i]) * graph_.n_links;
                for (int link = 0; link < graph_.counts.get()[nodes[i]]; ++link) {
                    if (!mark(links[link])) continue;
                    desk_.fresh[n_fresh++] = links[link];
                    fetch_codes(links[link]);
                }
            }
            kernel_.products(graph_.shape, graph_.codes.get(), desk_.fresh.data(), n_fresh, desk_.probe.data(), desk_.dots.data());
            for (int i = 0; i < n_fresh; ++i) push(desk_.dots[i] - offset_, desk_.fresh[i]);
        }
        for (uint32_t word : desk_.touched) desk_.seen[word] = 0;
    }

    int64_t best(int64_t wanted, int64_t* rows, float* scores) {
        auto& found = desk_.entries;
        const int64_t n = std::min<int64_t>(wanted, static_cast<int64_t>(found.size()));
        std::partial_sort(found.begin(), found.begin() + n, found.end(), [](const Entry& a, const Entry& b) {
            return a.dot != b.dot ? a.dot > b.dot : a.node < b.node;
        });
        for (int64_t i = 0; i < n; ++i) {
            rows[i] = graph_.labels.get()[found[i].node];
            scores[i] = static_cast<float>(found[i].dot) * score_of_dot_;
        }
        return n;
    }

  private:
    const uint8_t* codes_of(uint32_t node) const { return graph_.codes.get() + static_cast<size_t>(node) * graph_.shape.n_blocks * kBlockBytes; }

    void fetch_codes(uint32_t node) const {
        for (int block = 0; block < graph_.shape.n_blocks; ++block) fetch(codes_of(node) + block * kBlockBytes);
    }

    int32_t dot(uint32_t node) const {
        int32_t found = 0;
        kernel_.products(graph_.shape, graph_.codes.get(), &node, 1, desk_.probe.data(), &found);
        return found - offset_;
    }

    bool mark(uint32_t node) {
        uint64_t& word = desk_.seen[node >> 6];
        const uint64_t bit = uint64_t{1} << (node & 63);
        if (word & bit) return false;
        if (word == 0) desk_.touched.push_back(node >> 6);
        word |= bit;
        return true;
    }

    // The node of the lowest layer to begin with: greedily down the layers above.
    uint32_t descended() const {
        uint32_t at = graph_.entry;
        int32_t best = dot(at);
        for (int layer = graph_.top_layer; layer > 0; --layer) {
            for (bool moved = true; moved;) {
                moved = false;
                const uint32_t* links = graph_.upper.data() + graph_.upper_start[at] + static_cast<int64_t>(layer - 1) * (graph_.n_upper + 1);
                for (uint32_t i = 1; i <= links[0]; ++i) fetch_codes(links[i]);
                for (uint32_t i = 1; i <= links[0]; ++i) {
                    const int32_t other = dot(links[i]);
                    if (other > best) {
                        best = other;
                        at = links[i];
                        moved = true;
                    }
                }
            }
        }
        return at;
    }

    // Keeps a node unless `ef` better ones are known.
    void push(int32_t dot, uint32_t node) {
        const float place = (static_cast<float>(dot) * score_of_dot_ - kScoresFrom) * kBucketsPerScore;
        const int bucket = static_cast<int>(std::min<float>(kBuckets - 1, std::max(0.0f, place)));
        if (bucket < worst_) return;
        desk_.entries.push_back({node, desk_.heads[bucket], dot});
        desk_.heads[bucket] = static_cast<int32_t>(desk_.entries.size()) - 1;
        ++desk_.sizes[bucket];
        ++n_kept_;
        best_ = std::max(best_, bucket);
        while (n_kept_ - desk_.sizes[worst_] >= ef_) n_kept_ -= desk_.sizes[worst_++];
    }

    // The best nodes that were not expanded yet, a few at once; none when all that is left is worse than what is kept.
    int take(uint32_t* nodes) {
        int n = 0;
        for (; n < kAtOnce; ++n) {
            while (best_ >= worst_ && desk_.heads[best_] < 0) --best_;
            if (best_ < worst_) break;
            const Entry& entry = desk_.entries[desk_.heads[best_]];
            desk_.heads[best_] = entry.next;
            nodes[n] = entry.node;
            const uint32_t* links = graph_.links.get() + static_cast<size_t>(entry.node) * graph_.n_links;
            for (int i = 0; i < graph_.n_links; i += 16) fetch(links + i);
            fetch(graph_.counts.get() + entry.node);
        }
        return n;
    }

    const Graph& graph_;
    const Kernel& kernel_;
    const int32_t ef_;
    Desk& desk_;
    int32_t offset_ = 0;
    float score_of_dot_ = 0;
    int64_t n_kept_ = 0;
    int worst_ = 0;
    int best_ = 0;
};

struct Damaged {};

void require(bool is_sound) {
    if (!is_sound) throw Damaged();
}

struct FileDeleter {
    void operator()(std::FILE* file) const { std::fclose(file); }
};

class Reader {
  public:
    explicit Reader(const char* path) : file_(std::fopen(path, "rb")) { require(file_ != nullptr); }

    void read(void* to, size_t bytes) { require(std::fread(to, 1, bytes, file_.get()) == bytes); }

    template <typename T>
    T number() {
        T value;
        read(&value, sizeof value);
        return value;
    }

  private:
    std::unique_ptr<std::FILE, FileDeleter> file_;
};

template <typename T>
T at(const uint8_t* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

// One node of the file: how many links, the links, the vector, the row.
void take_node(Graph* graph, const Kernel& kernel, int64_t node, const uint8_t* record, float* vector) {
    const int count = at<uint16_t>(record);
    require(count <= graph->n_links);
    graph->counts.get()[node] = static_cast<uint8_t>(count);
    uint32_t* links = graph->links.get() + node * graph->n_links;
    std::memcpy(links, record + 4, sizeof(uint32_t) * count);
    for (int i = 0; i < count; ++i) require(links[i] < graph->n_nodes);
    const uint8_t* data = record + 4 + sizeof(uint32_t) * graph->n_links;
    std::memcpy(vector, data, sizeof(float) * graph->shape.dim);
    kernel.encode(graph->shape, vector, graph->codes.get() + node * graph->shape.n_blocks * kBlockBytes);
    const uint64_t row = at<uint64_t>(data + sizeof(float) * graph->shape.dim);
    require(row < static_cast<uint64_t>(graph->n_nodes));
    graph->labels.get()[node] = static_cast<uint32_t>(row);
}

void take_upper(Graph* graph, Reader* reader) {
    const int64_t room = graph->n_upper + 1;
    for (int64_t node = 0; node < graph->n_nodes; ++node) {
        const uint32_t bytes = reader->number<uint32_t>();
        require(bytes % (room * sizeof(uint32_t)) == 0);
        const int32_t layers = static_cast<int32_t>(bytes / (room * sizeof(uint32_t)));
        require(layers <= graph->top_layer);
        graph->upper_layers[node] = layers;
        graph->upper_start[node] = static_cast<int64_t>(graph->upper.size());
        graph->upper.resize(graph->upper.size() + layers * room);
        uint32_t* lists = graph->upper.data() + graph->upper_start[node];
        reader->read(lists, bytes);
        for (int32_t layer = 0; layer < layers; ++layer, lists += room) {
            lists[0] &= 0xFFFF;  // the other half holds hnswlib's marks
            require(lists[0] <= graph->n_upper);
            for (uint32_t i = 1; i <= lists[0]; ++i) require(lists[i] < graph->n_nodes);
        }
    }
    require(graph->upper_layers[graph->entry] == graph->top_layer);
    // A link on a layer leads to nodes that have the layer: the search reads their lists.
    for (int64_t node = 0; node < graph->n_nodes; ++node)
        for (int32_t layer = 0; layer < graph->upper_layers[node]; ++layer) {
            const uint32_t* list = graph->upper.data() + graph->upper_start[node] + layer * room;
            for (uint32_t i = 1; i <= list[0]; ++i) require(graph->upper_layers[list[i]] > layer);
        }
}

std::unique_ptr<Graph> opened(const char* path, int32_t dim, const Kernel& kernel) {
    Reader reader(path);
    auto graph = std::make_unique<Graph>();
    reader.number<uint64_t>();  // where the links begin
    reader.number<uint64_t>();  // nodes there is room for
    graph->n_nodes = static_cast<int64_t>(reader.number<uint64_t>());
    const uint64_t record = reader.number<uint64_t>();
    const uint64_t row_at = reader.number<uint64_t>();
    const uint64_t vector_at = reader.number<uint64_t>();
    graph->top_layer = reader.number<int32_t>();
    graph->entry = reader.number<uint32_t>();
    graph->n_upper = static_cast<int64_t>(reader.number<uint64_t>());
    graph->n_links = static_cast<int64_t>(reader.number<uint64_t>());
    reader.number<uint64_t>();  // M
    reader.number<double>();    // what layers are drawn with
    reader.number<uint64_t>();  // ef while building
    require(dim > 0 && graph->n_nodes > 0 && graph->n_nodes < (int64_t{1} << 31) && graph->entry < graph->n_nodes);
    require(graph->n_links > 0 && graph->n_links < 256 && graph->n_upper > 0 && graph->n_upper <= graph->n_links);
    require(graph->top_layer >= 0 && graph->top_layer < 64);
    require(vector_at == 4 + sizeof(uint32_t) * graph->n_links && row_at == vector_at + sizeof(float) * dim && record == row_at + 8);
    graph->shape = {dim, (dim + kBlockDims - 1) / kBlockDims, 1.0f / (kStepsPerDeviation * std::sqrt(static_cast<float>(dim)))};
    graph->codes = allocated<uint8_t>(static_cast<size_t>(graph->n_nodes) * graph->shape.n_blocks * kBlockBytes);
    graph->links = allocated<uint32_t>(static_cast<size_t>(graph->n_nodes) * graph->n_links);
    graph->counts = allocated<uint8_t>(static_cast<size_t>(graph->n_nodes));
    graph->labels = allocated<uint32_t>(static_cast<size_t>(graph->n_nodes));
    graph->upper_start.assign(graph->n_nodes, -1);
    graph->upper_layers.assign(graph->n_nodes, 0);
    std::vector<uint8_t> records(record * kReadAtOnce);
    std::vector<float> vector(dim);
    for (int64_t first = 0; first < graph->n_nodes; first += kReadAtOnce) {
        const int64_t n = std::min(kReadAtOnce, graph->n_nodes - first);
        reader.read(records.data(), record * n);
        for (int64_t i = 0; i < n; ++i) take_node(graph.get(), kernel, first + i, records.data() + i * record, vector.data());
    }
    take_upper(graph.get(), &reader);
    return graph;
}

const Kernel& best_kernel() {
#ifdef FS_WITH_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni")) return kAvx512;
    if (__builtin_cpu_supports("avx2")) return kAvx2;
#endif
    return kBaseline;
}

const Kernel* kernel_named(const char* name) {
    std::vector<const Kernel*> all = {&kBaseline};
#ifdef FS_WITH_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) all.push_back(&kAvx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni"))
        all.push_back(&kAvx512);
#endif
    for (const Kernel* kernel : all)
        if (std::strcmp(kernel->name, name) == 0) return kernel;
    return nullptr;
}

// A graph and the desks of the searches that go on in it.
struct Beam {
    std::unique_ptr<Graph> graph;
    const Kernel* kernel;
    std::mutex lock;
    std::vector<std::unique_ptr<Desk>> idle;

    std::unique_ptr<Desk> desk() {
        const std::lock_guard<std::mutex> held(lock);
        if (idle.empty()) return std::make_unique<Desk>();
        auto one = std::move(idle.back());
        idle.pop_back();
        return one;
    }

    void give_back(std::unique_ptr<Desk> desk) {
        const std::lock_guard<std::mutex> held(lock);
        idle.push_back(std::move(desk));
    }
};

}  // namespace
}  // namespace facesearch_beam

using facesearch_beam::Beam;

// Number of this interface: Python refuses a library with another one.
FS_PUBLIC int facesearch_beam_version() { return 2; }

// Cosines of vectors of bytes with a unit probe, computed with the named instruction set (null: the best there is). Returns 0, or -1
// when the processor lacks it or nothing was written for it.
FS_PUBLIC int facesearch_byte_cosines(const int8_t* vectors, int64_t n, int32_t dim, const float* probe, float* out,
                                      const char* instructions) {
    const auto* kernel = instructions == nullptr ? &facesearch_beam::best_kernel() : facesearch_beam::kernel_named(instructions);
    if (kernel == nullptr || kernel->cosines == nullptr) return -1;
    kernel->cosines(vectors, n, dim, probe, out);
    return 0;
}

// The graph of a file that hnswlib saved, searched with the named instruction set (null: the best there is). Null when the file is
// damaged or of another dimension, when the processor lacks the instruction set, or when memory ran out.
FS_PUBLIC Beam* facesearch_beam_open(const char* path, int32_t dim, const char* instructions) {
    try {
        const auto* kernel = instructions == nullptr ? &facesearch_beam::best_kernel() : facesearch_beam::kernel_named(instructions);
        if (kernel == nullptr) return nullptr;
        auto graph = facesearch_beam::opened(path, dim, *kernel);
        auto beam = std::make_unique<Beam>();
        beam->graph = std::move(graph);
        beam->kernel = kernel;
        return beam.release();
    } catch (const facesearch_beam::Damaged&) {
        return nullptr;
    } catch (const std::exception&) {
        return nullptr;
    }
}

FS_PUBLIC void facesearch_beam_free(Beam* beam) { delete beam; }

FS_PUBLIC int64_t facesearch_beam_size(const Beam* beam) { return beam->graph->n_nodes; }

// Rows near each of some probes by falling approximate score, `wanted` places a probe: `rows` is filled up with -1. Returns 0, or -1
// when memory ran out.
FS_PUBLIC int facesearch_beam_search(Beam* beam, const float* probes, int64_t n_probes, int32_t ef, int64_t wanted, int n_threads,
                                     int64_t* rows, float* scores) {
    std::atomic<int64_t> next{0};
    std::atomic<bool> failed{false};
    const auto work = [&] {
        try {
            auto desk = beam->desk();
            for (int64_t i = next++; i < n_probes && !failed; i = next++) {
                facesearch_beam::Search one(*beam->graph, *beam->kernel, probes + i * beam->graph->shape.dim, ef, desk.get());
                one.run();
                const int64_t n = one.best(wanted, rows + i * wanted, scores + i * wanted);
                std::fill(rows + i * wanted + n, rows + (i + 1) * wanted, int64_t{-1});
            }
            beam->give_back(std::move(desk));
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    };
    std::vector<std::thread> others;
    try {
        for (int64_t thread = 1; thread < std::min<int64_t>(n_threads, n_probes); ++thread) others.emplace_back(work);
    } catch (const std::system_error&) {
        // No more threads to be had: those there are do the work.
    }
    work();
    for (std::thread& other : others) other.join();
    return failed ? -1 : 0;
}
