// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/neighborhood.h"

#include <algorithm>
#include <map>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kScoresMax = std::int64_t{1} << 25;  // of a tile
constexpr std::int64_t kSliceMax = std::int64_t{1} << 25;   // of a slice before attention
constexpr std::int64_t kTokensTogether = 65536;             // of other slices
constexpr std::int64_t kMlpRatio = 4;
constexpr std::int64_t kMaskOps = 3;  // made, turned round, filled

using Axes = std::array<std::int64_t, 3>;

Axes axes_of(const Extent3& e) {
    return {e.frames, e.rows, e.columns};
}

// Halves the longest side, in windows, until the scores of a tile are few enough.
Axes tile_of(const Axes& dims, const Axes& window) {
    Axes tile = dims;
    const auto scores = [&] {
        double n = 1;
        for (std::size_t a = 0; a < 3; ++a)
            n *= static_cast<double>(tile[a]) *
                 static_cast<double>(std::min(dims[a], tile[a] + window[a] - 1));
        return n;
    };
    while (scores() > static_cast<double>(kScoresMax)) {
        std::size_t longest = 0;
        for (std::size_t a = 1; a < 3; ++a)
            if (tile[a] * window[longest] > tile[longest] * window[a]) longest = a;
        if (tile[longest] <= 1) break;
        tile[longest] = (tile[longest] + 1) / 2;
    }
    return tile;
}

// Tiles of one axis by their geometry: where the windows of their first queries start.
struct Stretch {
    std::int64_t count = 0;
    std::int64_t queries = 0;
    std::int64_t keys = 0;
};
std::vector<Stretch> stretches(std::int64_t length, std::int64_t window, std::int64_t tile) {
    const auto start = [&](std::int64_t i) {
        return std::clamp<std::int64_t>(i - window / 2, 0, length - window);
    };
    std::map<std::vector<std::int64_t>, Stretch> by_shape;
    for (std::int64_t first = 0; first < length; first += tile) {
        const std::int64_t last = std::min(first + tile, length) - 1;
        std::vector<std::int64_t> shape;
        shape.reserve(static_cast<std::size_t>(last - first + 1));
        for (std::int64_t i = first; i <= last; ++i) shape.push_back(start(i) - start(first));
        Stretch& s = by_shape[std::move(shape)];
        ++s.count;
        s.queries = last - first + 1;
        s.keys = start(last) + window - start(first);
    }
    std::vector<Stretch> out;
    out.reserve(by_shape.size());
    for (const auto& [shape, stretch] : by_shape) out.push_back(stretch);
    return out;
}

// A block that nothing is written to yet.
Tensor empty(Tape& tape, Module module, const Shape& shape, ElementType type) {
    return tape.make(shape, type, "empty", module);
}

}  // namespace

std::vector<NeighborhoodGroup> neighborhood_groups(const Extent3& grid, const Extent3& window) {
    const Axes dims = axes_of(grid);
    Axes seen = axes_of(window);
    for (std::size_t a = 0; a < 3; ++a) seen[a] = std::min(seen[a], dims[a]);
    const Axes tile = tile_of(dims, seen);
    std::array<std::vector<Stretch>, 3> sides;
    for (std::size_t a = 0; a < 3; ++a) sides[a] = stretches(dims[a], seen[a], tile[a]);
    std::vector<NeighborhoodGroup> groups;
    groups.reserve(sides[0].size() * sides[1].size() * sides[2].size());
    for (const Stretch& t : sides[0])
        for (const Stretch& h : sides[1])
            for (const Stretch& w : sides[2])
                groups.push_back({t.count * h.count * w.count, t.queries * h.queries * w.queries,
                                  t.keys * h.keys * w.keys});
    return groups;
}

Tensor cell_frames(const Tensor& x, std::int64_t frames) {
    return x.view(x.shape().with(1, frames));
}

std::int64_t frames_together(const Tensor& x) {
    return std::max<std::int64_t>(1, kTokensTogether / (x.shape()[2] * x.shape()[3]));
}

void add_to_slice(Tape& tape, Module module, const Tensor& x, const Tensor& update) {
    ghost::binary_in_place(tape, "add_", module, x, update);
    tape.charge(OpClass::Copy, "copy_", module, 0, kCopyIntoTraffic * x.bytes());
}

NeighborhoodAttention::NeighborhoodAttention(Registry& r, std::string_view path, std::int64_t width,
                                             std::int64_t head_dim, const Extent3& window)
    : path_(r.path(path, "")),
      width_(width),
      head_dim_(head_dim),
      window_(window),
      pairs_([&] {
          // A quarter of the channels for time, the rest halved; all in pairs.
          std::int64_t time = head_dim / 4 / 2 * 2;
          if ((head_dim - time) / 2 % 2 != 0) time -= 2;
          const std::int64_t space = (head_dim - time) / 2;
          return std::array<std::int64_t, 3>{time / 2, space / 2, space / 2};
      }()),
      qkv_(r, r.path(path, "qkv"), width, 3 * width),
      proj_(r, r.path(path, "proj"), width, width),
      q_norm_(r, r.path(path, "q_norm"), head_dim, Affine::Yes, NormClass::Plain),
      k_norm_(r, r.path(path, "k_norm"), head_dim, Affine::Yes, NormClass::Plain) {}

NeighborhoodAttention::Frequencies NeighborhoodAttention::frequencies(Tape& tape,
                                                                      const Extent3& grid) const {
    Frequencies out;
    out.steps.reserve(pairs_.size());
    out.waves.reserve(2 * pairs_.size());
    for (const std::int64_t pairs : pairs_) {
        Tensor steps = ghost::create(tape, "arange", path_, {pairs}, ElementType::Float64);
        steps = ghost::unary(tape, "div", path_, steps);
        {
            const Tensor base = ghost::create(tape, "detach_", path_, {1}, ElementType::Float64);
            steps = ghost::unary(tape, "pow", path_, steps);
        }
        steps = ghost::unary(tape, "reciprocal", path_, steps);
        steps = ghost::unary(tape, "mul", path_, steps);
        out.steps.push_back(ghost::to_type(tape, path_, steps, ElementType::Float32));
    }
    const Axes dims = axes_of(grid);
    for (std::size_t a = 0; a < dims.size(); ++a) {
        const Tensor places = ghost::create(tape, "arange", path_, {dims[a]}, ElementType::Float32);
        const Tensor angles = ghost::combine(tape, "mul", path_, {&places, &out.steps[a]},
                                             {dims[a], pairs_[a]}, ElementType::Float32);
        out.waves.push_back(ghost::unary(tape, "cos", path_, angles));
        out.waves.push_back(ghost::unary(tape, "sin", path_, angles));
    }
    return out;
}

// A 2 x 2 rotation for each cell and pair of channels.
Tensor NeighborhoodAttention::rotations(Tape& tape, const Extent3& grid,
                                        std::int64_t frames) const {
    const Axes lengths = {frames, grid.rows, grid.columns};
    std::vector<Tensor> parts;
    parts.reserve(lengths.size());
    std::int64_t read = 0;
    std::int64_t pairs = 0;
    const std::int64_t cells = frames * grid.rows * grid.columns;
    for (std::size_t a = 0; a < lengths.size(); ++a) {
        const Shape wave{lengths[a], pairs_[a]};
        const std::int64_t bytes = wave.elements() * ghost::element_bytes(ElementType::Float32);
        const Tensor minus = tape.make(wave, ElementType::Float32, "neg", path_);
        tape.charge(OpClass::Elementwise, "neg", path_, 0, 2 * bytes);
        Tensor part = tape.make({lengths[a], pairs_[a], 4}, ElementType::Float32, "stack", path_);
        tape.charge(OpClass::Elementwise, "stack", path_, 0, 4 * bytes + part.bytes());
        read += part.bytes();
        pairs += pairs_[a];
        parts.push_back(std::move(part));
    }
    Tensor out = tape.make({1, cells, 1, pairs, 4}, ElementType::Float32, "cat", path_);
    tape.charge(OpClass::Copy, "cat", path_, 0, read + out.bytes());
    return out;
}

Tensor NeighborhoodAttention::normed_and_rotated(Tape& tape, const Tensor& x,
                                                 const Tensor& rotation) const {
    const Tensor normal = rms_norm(tape, path_, x, Affine::Yes);
    if (tape.options().fused_rope)
        return ghost::combine(tape, "rope", path_, {&normal, &rotation}, x.shape(), x.type());
    const Tensor wide = ghost::to_type(tape, path_, normal, rotation.type());
    const Shape& r = rotation.shape();
    const Tensor column = rotation.view(r.with_last(2));
    const Tensor half = wide.view({wide.elements() / 2});
    const Tensor sum =
        ghost::combine(tape, "mul", path_, {&column, &half}, x.shape(), rotation.type());
    ghost::combine_in_place(tape, "addcmul_", path_, sum, {&column, &half});
    return ghost::to_type(tape, path_, sum, x.type());
}

Tensor NeighborhoodAttention::attend(Tape& tape, const Tensor& q, const Extent3& grid) const {
    Tensor out = empty(tape, path_, q.shape(), q.type());
    const std::int64_t heads = width_ / head_dim_;
    const std::int64_t bytes = ghost::element_bytes(q.type());
    for (const NeighborhoodGroup& g : neighborhood_groups(grid, window_)) {
        const std::int64_t tile = g.queries * width_ * bytes;
        const std::int64_t around = g.keys * width_ * bytes;
        const std::int64_t mask = g.queries * g.keys;
        tape.charge(OpClass::Elementwise, "masked_fill_", path_, 0, mask * (3 * bytes + 3),
                    kMaskOps);
        tape.charge(OpClass::Copy, "clone", path_, 0, g.tiles * 2 * (tile + 2 * around),
                    3 * g.tiles);
        tape.charge(OpClass::Attention, "sdpa", path_,
                    ghost::saturating_product({4, g.tiles, g.queries, g.keys, heads, head_dim_}),
                    g.tiles * (2 * tile + 2 * around + mask * bytes), g.tiles);
        tape.charge(OpClass::Copy, "copy_", path_, 0, g.tiles * kCopyIntoTraffic * tile, g.tiles);
    }
    return out;
}

void NeighborhoodAttention::forward(Tape& tape, const Tensor& x, const Prepare& prepare) const {
    const Shape& s = x.shape();
    const Extent3 grid{s[1], s[2], s[3]};
    const Frequencies tables = frequencies(tape, grid);
    const Shape heads{s[0], s[1], s[2], s[3], width_ / head_dim_, head_dim_};
    std::array<Tensor, 3> qkv;
    for (Tensor& part : qkv) part = empty(tape, path_, heads, x.type());
    const Tensor scaled_weight = ghost::create(tape, "mul", path_, {head_dim_}, x.type());
    const std::int64_t together = std::max<std::int64_t>(1, kSliceMax / (s[2] * s[3] * width_));
    Tensor slice;  // the loop's variables outlive it
    Tensor projected;
    Tensor rotation;
    for (std::int64_t done = 0; done < s[1]; done += together) {
        const std::int64_t now = std::min(together, s[1] - done);
        slice = prepare(cell_frames(x, now));
        projected = qkv_.forward(tape, slice);
        for (std::size_t i = 0; i < qkv.size(); ++i)
            tape.charge(OpClass::Copy, "copy_", path_, 0, kCopyIntoTraffic * slice.bytes());
        rotation = rotations(tape, grid, now);
        const Shape rows{1, now * s[2] * s[3], width_ / head_dim_, head_dim_};
        const Tensor q = normed_and_rotated(tape, qkv[0].view(rows), rotation);
        const Tensor k = normed_and_rotated(tape, qkv[1].view(rows), rotation);
        for (const Tensor* part : {&q, &k})
            tape.charge(OpClass::Copy, "copy_", path_, 0, kCopyIntoTraffic * part->bytes());
    }
    const Tensor out = attend(tape, qkv[0], grid);
    qkv = {};
    const Tensor rows = out.view(s);
    for (std::int64_t done = 0; done < s[1]; done += together) {
        const std::int64_t now = std::min(together, s[1] - done);
        const Tensor update = proj_.forward(tape, cell_frames(rows, now));
        add_to_slice(tape, path_, cell_frames(x, now), update);
    }
}

NeighborhoodMlp::NeighborhoodMlp(Registry& r, std::string_view path, std::int64_t width)
    : path_(r.path(path, "")),
      up_(r, r.path(path, "w_up"), width, kMlpRatio * width, Bias::No),
      gate_(r, r.path(path, "w_gate"), width, kMlpRatio * width, Bias::No),
      down_(r, r.path(path, "w_down"), kMlpRatio * width, width, Bias::No) {}

void NeighborhoodMlp::forward(Tape& tape, const Tensor& x, const Prepare& prepare) const {
    const std::int64_t frames = x.shape()[1];
    const std::int64_t together = frames_together(x);
    Tensor slice;  // the loop's variables outlive a turn
    Tensor update;
    for (std::int64_t done = 0; done < frames; done += together) {
        const std::int64_t now = std::min(together, frames - done);
        slice = prepare(cell_frames(x, now));
        update = [&] {
            const Tensor hidden = [&] {
                Tensor gate = gate_.forward(tape, slice);
                gate = ghost::unary(tape, "silu", path_, gate);
                const Tensor up = up_.forward(tape, slice);
                return ghost::binary(tape, "mul", path_, gate, up);
            }();
            return down_.forward(tape, hidden);
        }();
        add_to_slice(tape, path_, cell_frames(x, now), update);
    }
}

}  // namespace plimsoll::memory
