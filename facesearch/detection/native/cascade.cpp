// The compiled detector's C functions: which instruction set is used, and how the work is shared among threads.
//
// It decides nothing about faces: what is suppressed when, corrections and thresholds of the later stages are Python's (cascade.py).
// Threads are started for each call and joined before it returns: nothing runs, and nothing is held, between calls.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels.h"

#define FS_PUBLIC extern "C" __attribute__((visibility("default")))

namespace facesearch {

extern const Kernels kBaseline;
#ifdef FS_WITH_X86
extern const Kernels kAvx2;
extern const Kernels kAvx512;
#endif

float softmax_share(float difference) {
    if (difference >= 0) return 1.0f / (1.0f + std::exp(-difference));
    const float e = std::exp(difference);
    return e / (1.0f + e);
}

namespace {

constexpr int kGroup = 16;            // crops that go through the later steps of the R- and the O-Net together
constexpr int kBandsPerThread = 8;    // about so many pieces of P-Net work for each thread
constexpr int kLeastBandRows = 24;    // a band computes a few rows of its neighbours anew, so it should not be thin
constexpr double kThreadWorth = 2e6;  // multiplications below which starting a thread takes longer than it saves
constexpr double kCellWork = 7300;    // multiplications a P-Net cell

struct FreeDeleter {
    void operator()(void* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<void, FreeDeleter>;

Memory allocated(size_t bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, std::max<size_t>(bytes, 64)) != 0) throw std::bad_alloc();
    return Memory(memory);
}

// The instruction sets that this processor has, best first.
std::vector<const Kernels*> supported() {
    std::vector<const Kernels*> found;
#ifdef FS_WITH_X86
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        found.push_back(&kAvx512);
    if (has_avx2) found.push_back(&kAvx2);
#endif
    found.push_back(&kBaseline);
    return found;
}

// Calls act(job, thread) for each job, in no particular order, on at most so many threads, this one included.
template <typename Act>
void share(size_t n_jobs, int n_threads, Act act) {
    std::atomic<size_t> next{0};
    std::atomic<bool> failed{false};
    const auto work = [&](int thread) {
        try {
            for (size_t job = next++; job < n_jobs && !failed; job = next++) act(job, thread);
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    };
    std::vector<std::thread> others;
    try {
        for (int thread = 1; thread < std::min<int64_t>(n_threads, static_cast<int64_t>(n_jobs)); ++thread)
            others.emplace_back(work, thread);
    } catch (const std::exception&) {
        // No more threads, or no memory for one, to be had: those there are do the work. Left unjoined they would end the process.
    }
    work(0);
    for (std::thread& other : others) other.join();
    if (failed) throw std::bad_alloc();
}

bool grow(HitList* list) {
    const size_t room = std::max<size_t>(256, 2 * list->room);
    void* memory = std::realloc(list->hits, room * sizeof(Hit));
    if (memory == nullptr) return false;
    list->hits = static_cast<Hit*>(memory);
    list->room = room;
    return true;
}

struct PNet {
    const Kernels* kernels;
    Memory packed;
};

// A piece of P-Net work: cell rows [first, last) of a level.
struct Band {
    const Level* level;
    int first;
    int last;
    double work;
};

std::vector<Band> bands_of(const Level* levels, int n_levels, int n_threads) {
    const auto rows = [](const Level& level) { return (level.height - 1) / 2 - 4; };
    const auto cells = [&](const Level& level) { return static_cast<double>(rows(level)) * ((level.width - 1) / 2 - 4); };
    double total = 0;
    for (int i = 0; i < n_levels; ++i) total += cells(levels[i]);
    const double piece = total / kBandsPerThread / n_threads;
    std::vector<Band> bands;
    for (int i = 0; i < n_levels; ++i) {
        const int n_rows = rows(levels[i]);
        if (n_rows < 1 || cells(levels[i]) < 1) continue;
        int n = std::min(n_rows / kLeastBandRows, static_cast<int>(std::ceil(cells(levels[i]) / piece)));
        if (n_threads == 1 || n < 1) n = 1;
        for (int part = 0; part < n; ++part) {
            const int first = static_cast<int>(static_cast<int64_t>(n_rows) * part / n);
            const int last = static_cast<int>(static_cast<int64_t>(n_rows) * (part + 1) / n);
            bands.push_back({&levels[i], first, last, (last - first + 1.4) * cells(levels[i]) / n_rows});
        }
    }
    return bands;
}

int64_t propose(const PNet& net, const Photo* photos, const std::vector<Band>& bands, float threshold, int n_threads, Hit** out) {
    std::vector<size_t> order(bands.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return bands[a].work > bands[b].work; });
    size_t bytes = 0;
    for (const Band& band : bands) bytes = std::max(bytes, net.kernels->pnet_bytes(photos[band.level->photo], *band.level));
    std::vector<HitList> found(bands.size(), HitList{nullptr, 0, 0, grow});
    std::vector<Memory> owners(bands.size());
    std::vector<Memory> memory(n_threads);
    share(bands.size(), n_threads, [&](size_t job, int thread) {
        if (!memory[thread]) memory[thread] = allocated(bytes);
        const size_t place = order[job];
        const Band& band = bands[place];
        const bool done = net.kernels->pnet_band(static_cast<const float*>(net.packed.get()), photos[band.level->photo], *band.level,
                                                 band.first, band.last, threshold, memory[thread].get(), &found[place]);
        owners[place].reset(found[place].hits);
        if (!done) throw std::bad_alloc();
    });
    size_t total = 0;
    for (const HitList& list : found) total += list.count;
    Memory all = allocated(total * sizeof(Hit));
    Hit* next = static_cast<Hit*>(all.get());
    for (const HitList& list : found) next = std::copy(list.hits, list.hits + list.count, next);
    *out = static_cast<Hit*>(all.release());
    return static_cast<int64_t>(total);
}

struct Judge {
    const Kernels* kernels;
    int crop_px;
    std::vector<Step> steps;
    std::vector<Memory> packed;

    size_t floats_after(size_t step, int side) const { return static_cast<size_t>(side) * side * steps[step].n_out; }
};

int side_after(const Step& step, int side) { return step.weights != nullptr ? side - step.side + 1 : (side - step.side + 1) / 2 + 1; }

// The floats of the largest map between the steps, and the multiplications of a crop.
void measure(const Judge& judge, size_t* largest, double* work) {
    int side = judge.crop_px;
    *largest = static_cast<size_t>(side) * side * 3;
    *work = 0;
    for (size_t i = 0; i < judge.steps.size(); ++i) {
        const Step& step = judge.steps[i];
        side = side_after(step, side);
        *largest = std::max(*largest, judge.floats_after(i, side));
        if (step.weights != nullptr) *work += static_cast<double>(step.side) * step.side * step.n_in * judge.floats_after(i, side);
    }
}

// One thread's working memory.
struct Desk {
    Memory one[2];    // maps of one crop, in turns
    Memory group[2];  // maps of a group of crops
    Memory sampling;
};

Desk desk_of(const Judge& judge, int group, int widest_px) {
    size_t largest = 0;
    double work = 0;
    measure(judge, &largest, &work);
    Desk desk;
    for (Memory& memory : desk.one) memory = allocated(largest * sizeof(float));
    int side = judge.crop_px;
    size_t grouped = 0;
    for (size_t i = 0; i < judge.steps.size(); ++i) {
        side = side_after(judge.steps[i], side);
        const bool is_grouped = i + 1 == judge.steps.size() || judge.steps[i + 1].n_per_crop == 0;
        if (is_grouped) grouped = std::max(grouped, judge.floats_after(i, side));
    }
    for (Memory& memory : desk.group) memory = allocated(grouped * group * sizeof(float));
    desk.sampling = allocated(judge.kernels->sample_bytes(widest_px));
    return desk;
}

void judge_group(const Judge& judge, const Photo* photos, const Crop* crops, int n_crops, const Desk& desk, float* out) {
    float* group[2] = {static_cast<float*>(desk.group[0].get()), static_cast<float*>(desk.group[1].get())};
    size_t n_single = 0;
    while (n_single < judge.steps.size() && judge.steps[n_single].n_per_crop != 0) ++n_single;
    int side = judge.crop_px;
    size_t floats = 0;
    for (int crop = 0; crop < n_crops; ++crop) {
        float* from = static_cast<float*>(desk.one[0].get());
        float* to = static_cast<float*>(desk.one[1].get());
        judge.kernels->sample_crop(photos[crops[crop].photo], crops[crop], judge.crop_px, from, desk.sampling.get());
        side = judge.crop_px;
        for (size_t i = 0; i < n_single; ++i) {
            side = judge.kernels->step_run(judge.steps[i], static_cast<const float*>(judge.packed[i].get()), from, 1, side, to);
            std::swap(from, to);
        }
        floats = judge.floats_after(n_single - 1, side);
        std::copy(from, from + floats, group[0] + crop * floats);
    }
    for (size_t i = n_single; i < judge.steps.size(); ++i) {
        side = judge.kernels->step_run(judge.steps[i], static_cast<const float*>(judge.packed[i].get()), group[0], n_crops, side,
                                       group[1]);
        std::swap(group[0], group[1]);
    }
    const int n_out = judge.steps.back().n_out;
    for (const float* said = group[0]; said < group[0] + static_cast<size_t>(n_crops) * n_out; said += n_out) {
        *out++ = softmax_share(said[1] - said[0]);
        out = std::copy(said + 2, said + n_out, out);
    }
}

// Boxes of one photograph or level, by falling score, as columns.
struct Ranked {
    std::vector<float> x1, y1, x2, y2, area;
    std::vector<int64_t> places;
    std::vector<char> gone;

    void resize(size_t n) {
        for (std::vector<float>* column : {&x1, &y1, &x2, &y2, &area}) column->resize(n);
        places.resize(n);
        gone.assign(n, 0);
    }
};

struct Rule {
    float threshold;
    float extra_px;
    bool is_over_smaller;
    bool is_last_of_equals;
};

// Greedy suppression within one group. The sums are boxes.py's, step by step, so that both keep the same boxes.
int64_t* suppress_group(const float* boxes, const float* scores, int64_t first, int64_t after, const Rule& rule, Ranked& ranked,
                        int64_t* kept) {
    const size_t n = static_cast<size_t>(after - first);
    ranked.resize(n);
    std::iota(ranked.places.begin(), ranked.places.end(), first);
    if (rule.is_last_of_equals) std::reverse(ranked.places.begin(), ranked.places.end());
    std::stable_sort(ranked.places.begin(), ranked.places.end(), [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
    const float extra = rule.extra_px;
    for (size_t i = 0; i < n; ++i) {
        const float* box = boxes + 4 * ranked.places[i];
        ranked.x1[i] = box[0], ranked.y1[i] = box[1], ranked.x2[i] = box[2], ranked.y2[i] = box[3];
        ranked.area[i] = (box[2] - box[0] + extra) * (box[3] - box[1] + extra);
    }
    for (size_t i = 0; i < n; ++i) {
        if (ranked.gone[i]) continue;
        *kept++ = ranked.places[i];
        const float x1 = ranked.x1[i], y1 = ranked.y1[i], x2 = ranked.x2[i], y2 = ranked.y2[i], area = ranked.area[i];
        for (size_t j = i + 1; j < n; ++j) {
            const float width = std::max(std::min(x2, ranked.x2[j]) - std::max(x1, ranked.x1[j]) + extra, 0.0f);
            if (width <= 0.0f) continue;  // most pairs: a division less
            const float height = std::max(std::min(y2, ranked.y2[j]) - std::max(y1, ranked.y1[j]) + extra, 0.0f);
            if (height <= 0.0f) continue;
            const float shared = width * height;
            const float total = rule.is_over_smaller ? std::min(area, ranked.area[j]) : area + ranked.area[j] - shared;
            ranked.gone[j] |= static_cast<char>(total > 0.0f && shared / total > rule.threshold);
        }
    }
    return kept;
}

}  // namespace
}  // namespace facesearch

using facesearch::Crop;
using facesearch::Hit;
using facesearch::Judge;
using facesearch::Level;
using facesearch::Photo;
using facesearch::PNet;
using facesearch::PNetWeights;
using facesearch::Step;

// The number of this library's interface; see kInterface.
FS_PUBLIC int facesearch_interface() { return facesearch::kInterface; }

// Name of the place-th best instruction set that this processor has; null beyond the last.
FS_PUBLIC const char* facesearch_instructions(int place) {
    const auto found = facesearch::supported();
    return place >= 0 && place < static_cast<int>(found.size()) ? found[place]->name : nullptr;
}

// The P-Net for one instruction set, or null when memory ran out. The weights are copied.
FS_PUBLIC PNet* facesearch_pnet_new(int instructions, const PNetWeights* weights) {
    try {
        const facesearch::Kernels* kernels = facesearch::supported().at(instructions);
        auto net = std::make_unique<PNet>(PNet{kernels, facesearch::allocated(kernels->pnet_packed_floats * sizeof(float))});
        kernels->pnet_pack(*weights, static_cast<float*>(net->packed.get()));
        return net.release();
    } catch (const std::exception&) {
        return nullptr;
    }
}

FS_PUBLIC void facesearch_pnet_free(PNet* net) { delete net; }

// All cells of some levels that reach a score, by place in `levels`, row and column. Returns their number and an array to be freed
// with facesearch_hits_free, or -1 when memory ran out.
FS_PUBLIC int64_t facesearch_pnet_run(const PNet* net, const Photo* photos, const Level* levels, int n_levels, float threshold,
                                      int n_threads, Hit** hits) {
    try {
        const auto bands = facesearch::bands_of(levels, n_levels, n_threads);
        double work = 0;
        for (const auto& band : bands) work += band.work * facesearch::kCellWork;
        return facesearch::propose(*net, photos, bands, threshold, work < facesearch::kThreadWorth ? 1 : n_threads, hits);
    } catch (const std::exception&) {
        return -1;
    }
}

FS_PUBLIC void facesearch_hits_free(Hit* hits) { std::free(hits); }

// The R- or the O-Net for one instruction set, or null when memory ran out. The weights are copied.
FS_PUBLIC Judge* facesearch_judge_new(int instructions, const Step* steps, int n_steps, int crop_px) {
    try {
        auto judge = std::make_unique<Judge>(Judge{facesearch::supported().at(instructions), crop_px, {steps, steps + n_steps}, {}});
        for (const Step& step : judge->steps) {
            judge->packed.push_back(facesearch::allocated(judge->kernels->step_packed_floats(step) * sizeof(float)));
            judge->kernels->step_pack(step, static_cast<float*>(judge->packed.back().get()));
        }
        return judge.release();
    } catch (const std::exception&) {
        return nullptr;
    }
}

FS_PUBLIC void facesearch_judge_free(Judge* judge) { delete judge; }

// What a network says of some crops: of each its last step's outputs, the first two, logits, as the second one's share of them.
// Returns 0, or -1 when memory ran out.
FS_PUBLIC int facesearch_judge_run(const Judge* judge, const Photo* photos, const Crop* crops, int64_t n_crops, int n_threads,
                                   float* out) {
    try {
        size_t largest = 0;
        double work = 0;
        facesearch::measure(*judge, &largest, &work);
        if (work * static_cast<double>(n_crops) < facesearch::kThreadWorth) n_threads = 1;
        const int64_t even = (n_crops + n_threads - 1) / n_threads;
        const int group = static_cast<int>(std::clamp<int64_t>(even, 1, facesearch::kGroup));
        const int64_t n_groups = (n_crops + group - 1) / group;
        int widest = 1;
        for (int64_t i = 0; i < n_crops; ++i) widest = std::max(widest, crops[i].right - crops[i].left);
        std::vector<std::unique_ptr<facesearch::Desk>> desks(n_threads);
        facesearch::share(static_cast<size_t>(n_groups), n_threads, [&](size_t job, int thread) {
            if (!desks[thread]) desks[thread] = std::make_unique<facesearch::Desk>(facesearch::desk_of(*judge, group, widest));
            const int64_t first = static_cast<int64_t>(job) * group;
            facesearch::judge_group(*judge, photos, crops + first, static_cast<int>(std::min<int64_t>(group, n_crops - first)),
                                    *desks[thread], out + first * (judge->steps.back().n_out - 1));
        });
        return 0;
    } catch (const std::exception&) {
        return -1;
    }
}

// Greedy non-maximum suppression among boxes of equal keys, which stand together. Writes the places of the kept boxes, by key and
// then by falling score, and returns their number, or -1 when memory ran out. `kept` has room for n.
FS_PUBLIC int64_t facesearch_suppress(const int64_t* keys, const float* boxes, const float* scores, int64_t n, float threshold,
                                      float extra_px, int is_over_smaller, int is_last_of_equals, int64_t* kept) {
    try {
        const facesearch::Rule rule{threshold, extra_px, is_over_smaller != 0, is_last_of_equals != 0};
        facesearch::Ranked ranked;
        int64_t* next = kept;
        for (int64_t first = 0, after = 0; first < n; first = after) {
            for (after = first + 1; after < n && keys[after] == keys[first]; ++after) {
            }
            next = facesearch::suppress_group(boxes, scores, first, after, rule, ranked, next);
        }
        return next - kept;
    } catch (const std::exception&) {
        return -1;
    }
}
