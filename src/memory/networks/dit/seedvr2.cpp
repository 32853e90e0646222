// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/seedvr2.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {

constexpr std::int64_t kLatentChannels = 16;
constexpr std::int64_t kConditionChannels = 17;  // the video to restore and a mask
constexpr std::int64_t kPatchCells = 4;          // 2 x 2
constexpr std::int64_t kTextWidth = 5120;
constexpr std::int64_t kKeptTexts = 58 + 64;  // tokens of its own two prompts
constexpr std::int64_t kTimeWidth = 256;
constexpr std::int64_t kHead = 128;
constexpr std::int64_t kModulations = 6;
constexpr std::int64_t kExpansion = 4;
constexpr std::int64_t kSwigluMultiple = 256;
constexpr int kPixelRopeWidth =
    3072;  // of the 7B, whose positions are pixels' and of the video only
constexpr std::int64_t kPixelFrequencies = 10;  // along one axis
constexpr std::int64_t kTokenFrequencies = 21;
constexpr std::int64_t kAxes = 3;
constexpr std::int64_t kRotatedTogether = 4096;  // tokens
constexpr std::int64_t kFedTogether = 8192;      // tokens, in the 7B's feed-forward networks

bool is_7b(const modelfile::Seedvr2Config& c) {
    return c.vid_dim == kPixelRopeWidth;
}

bool is_gated(const modelfile::Seedvr2Config& c) {
    return c.mlp_type == "swiglu";
}

std::int64_t mlp_width(const modelfile::Seedvr2Config& c) {
    const std::int64_t width = c.vid_dim * kExpansion;
    if (!is_gated(c)) return width;
    return (2 * width / 3 + kSwigluMultiple - 1) / kSwigluMultiple * kSwigluMultiple;
}

std::int64_t rotated_width(const modelfile::Seedvr2Config& c) {
    return 2 * kAxes * (is_7b(c) ? kPixelFrequencies : kTokenFrequencies);
}

// The lengths that windows of `size` cut from `length`, shifted by half a window or not.
std::vector<std::int64_t> cut(std::int64_t length, std::int64_t size, bool shifted) {
    std::vector<std::int64_t> lengths;
    // Python's int() of halves: towards zero.
    const std::int64_t first = shifted && size < length ? size / 2 : size;
    const auto edge = [&](std::int64_t i) {
        return first == size ? i * size : (2 * i + 1) * size / 2;
    };
    std::int64_t from = 0;
    for (std::int64_t i = first == size ? 1 : 0; from < length; ++i) {
        const std::int64_t to = std::min(edge(i), length);
        if (to > from) lengths.push_back(to - from);
        from = std::max(from, to);
    }
    return lengths;
}

}  // namespace

std::vector<std::int64_t> seedvr2_windows(const Extent3& grid, bool shifted) {
    constexpr double kReferenceArea = 45.0 * 80.0;  // 720p
    constexpr std::int64_t kFramesMax = 30;
    constexpr std::int64_t kOverTime = 4;  // windows of the reference along each axis
    constexpr std::int64_t kAlongSide = 3;
    const double scale = std::sqrt(kReferenceArea / static_cast<double>(grid.rows * grid.columns));
    const auto side = [&](std::int64_t length) {  // halves to even, as Python rounds
        const auto resized =
            static_cast<std::int64_t>(std::nearbyint(static_cast<double>(length) * scale));
        return std::max<std::int64_t>((resized + kAlongSide - 1) / kAlongSide, 1);
    };
    const std::int64_t frames = (std::min(grid.frames, kFramesMax) + kOverTime - 1) / kOverTime;
    std::vector<std::int64_t> tokens;
    for (const std::int64_t w : cut(grid.columns, side(grid.columns), shifted))
        for (const std::int64_t h : cut(grid.rows, side(grid.rows), shifted))
            for (const std::int64_t t : cut(grid.frames, frames, shifted))
                tokens.push_back(t * h * w);
    return tokens;
}

Seedvr2Linear::Seedvr2Linear(Registry& r, std::string_view path, std::int64_t in, std::int64_t out,
                             Seedvr2Weights weights, Bias bias)
    : vid(r, r.path(path, weights == Seedvr2Weights::Shared ? "all" : "vid"), in, out, bias),
      txt(weights == Seedvr2Weights::Apart
              ? std::optional<Linear>(std::in_place, r, r.path(path, "txt"), in, out, bias)
              : std::nullopt) {}

Seedvr2Mlp::Seedvr2Mlp(Registry& r, std::string_view path, const modelfile::Seedvr2Config& c)
    : path_(r.path(path, "")),
      first_(r, r.path(path, is_gated(c) ? "proj_in_gate" : "proj_in"), c.vid_dim, mlp_width(c),
             is_gated(c) ? Bias::No : Bias::Yes),
      out_(r, r.path(path, "proj_out"), mlp_width(c), c.vid_dim,
           is_gated(c) ? Bias::No : Bias::Yes),
      in_(is_gated(c) ? std::optional<Linear>(std::in_place, r, r.path(path, "proj_in"), c.vid_dim,
                                              mlp_width(c), Bias::No)
                      : std::nullopt) {}

Tensor Seedvr2Mlp::forward(Tape& tape, const Tensor& x) const {
    const Tensor hidden = [&] {
        const Tensor first = first_.forward(tape, x);
        if (!in_) return ghost::unary(tape, "gelu", path_, first);
        const Tensor gate = ghost::unary(tape, "silu", path_, first);
        const Tensor in = in_->forward(tape, x);
        return ghost::binary(tape, "mul", path_, gate, in);
    }();
    return out_.forward(tape, hidden);
}

namespace {

Seedvr2Weights weights_of(const Seedvr2Block::Place& place) {
    return place.shared ? Seedvr2Weights::Shared : Seedvr2Weights::Apart;
}

std::string block_path(const Seedvr2Block::Place& place) {
    return fmt::format("blocks.{}", place.index);
}

}  // namespace

Seedvr2Block::Seedvr2Block(Registry& r, const modelfile::Seedvr2Config& c, const Place& place)
    : config_(c),
      place_(place),
      path_(r.path(block_path(place), "")),
      attention_(r.path(*path_, "attn")),
      qkv_(r, *r.path(*attention_, "proj_qkv"), c.vid_dim, 3 * kHead * c.heads, weights_of(place),
           Bias::No),
      out_(r, *r.path(*attention_, "proj_out"), kHead * c.heads, c.vid_dim, weights_of(place),
           Bias::Yes),
      norms_([&] {
          std::vector<RmsNorm> norms;
          for (const std::string_view which : {"norm_q", "norm_k"}) {
              const Module own = r.path(*attention_, which);
              norms.emplace_back(r, r.path(*own, place.shared ? "all" : "vid"), kHead);
              if (!place.shared) norms.emplace_back(r, r.path(*own, "txt"), kHead);
          }
          return norms;
      }()),
      rope_([&] {
          const Module own = r.path(*attention_, "rope.rope");
          r.add_buffer(own, "RotaryEmbedding", rotated_width(c) / 2 / kAxes, ModuleStorage::Float32,
                       Saved::Yes);
          return r.path(*attention_, "rope");
      }()),
      mlp_vid_(r, *r.path(*path_, place.shared ? "mlp.all" : "mlp.vid"), c),
      mlp_txt_(place.shared || place.video_only
                   ? std::nullopt
                   : std::optional<Seedvr2Mlp>(std::in_place, r, *r.path(*path_, "mlp.txt"), c)),
      ada_vid_([&] {
          const Module own = r.path(*path_, place.shared ? "ada.all" : "ada.vid");
          r.add_own_parameters(own, "AdaSingle", kModulations * c.vid_dim,
                               ModuleStorage::AsNetwork);
          return own;
      }()),
      ada_txt_([&] {
          if (place.shared) return ada_vid_;
          const Module own = r.path(*path_, "ada.txt");
          if (!place.video_only)
              r.add_own_parameters(own, "AdaSingle", kModulations * c.vid_dim,
                                   ModuleStorage::AsNetwork);
          return own;
      }()) {}

Seedvr2Tokens Seedvr2Block::norm(Tape& tape, Module module, const Seedvr2Tokens& x,
                                 bool text) const {
    Seedvr2Tokens out;
    out.vid = rms_norm(tape, module, x.vid, Affine::No);
    out.txt = text ? rms_norm(tape, module, x.txt, Affine::No) : x.txt;
    return out;
}

// Scaled and shifted, or gated, in place. The timestep's part is repeated to every token once, for
// all blocks.
void Seedvr2Block::modulate_one(Tape& tape, Module module, const Tensor& x, Run& run,
                                std::size_t slot, bool in) const {
    Tensor& repeated = run.modulations[slot];
    constexpr std::int64_t kEach = 3;
    if (!repeated.defined())
        repeated = ghost::produce(tape, OpClass::Copy, "index_select", module, run.embedding,
                                  {x.shape()[0], x.shape()[1], kEach}, x.type());
    const auto apply = [&](std::string_view op) {
        const Tape::Cast cast = tape.cast_weight({x.shape()[1]}, module);
        const Tensor sum =
            ghost::produce(tape, OpClass::Elementwise, "add", module, x, x.shape(), x.type());
        ghost::binary_in_place(tape, op, module, x, sum);
    };
    apply("mul_");
    if (in) apply("add_");
}

void Seedvr2Block::modulate(Tape& tape, const Seedvr2Tokens& x, Run& run, Part part,
                            bool in) const {
    const auto slot = static_cast<std::size_t>(part);
    modulate_one(tape, ada_vid_, x.vid, run, slot, in);
    if (text_after_attention()) modulate_one(tape, ada_txt_, x.txt, run, 2 + slot, in);
}

// The 7B's: pixels' angles, in fp32, for the first channels of each head.
Tensor Seedvr2Block::rotate_pixels(Tape& tape, const Tensor& x, const Tensor& angles) const {
    const ElementType f32 = ElementType::Float32;
    const Tensor rotated = [&] {
        const Tensor wide = ghost::to_type(tape, rope_, x, f32);
        const auto waves = [&](std::string_view op) {
            const Tensor wave = ghost::unary(tape, op, rope_, angles);
            return ghost::unary(tape, "mul", rope_, wave);
        };
        const Tensor cos = waves("cos");
        const Tensor sin = waves("sin");
        const Shape part = x.shape().with_last(rotated_width(config_));
        const Tensor turned = [&] {
            const Tensor middle = wide.view(part);
            const Tensor straight = ghost::binary(tape, "mul", rope_, middle, cos);
            const Tensor crossed = [&] {
                const Tensor pairs = [&] {
                    const Tensor negative = ghost::unary(
                        tape, "neg", rope_, wide.view(part.with_last(part.last() / 2)));
                    return ghost::produce(tape, OpClass::Copy, "stack", rope_, middle, part, f32);
                }();
                return ghost::binary(tape, "mul", rope_, pairs, sin);
            }();
            return ghost::binary(tape, "add", rope_, straight, crossed);
        }();
        return ghost::combine(tape, "cat", rope_, {&turned, &wide}, x.shape(), f32);
    }();
    return ghost::to_type(tape, rope_, rotated, x.type());
}

// The others': in place, some tokens at a time.
void Seedvr2Block::rotate_in_place(Tape& tape, const Tensor& x) const {
    const ElementType f32 = ElementType::Float32;
    const Shape& s = x.shape();
    for (std::int64_t done = 0; done < s[0]; done += kRotatedTogether) {
        const Shape part{std::min(kRotatedTogether, s[0] - done), s[1], rotated_width(config_)};
        const Tensor rotated = [&] {
            const Tensor own = x.view(part);
            if (tape.options().fused_rope) return ghost::unary(tape, "rope", rope_, own);
            const Tensor wide = ghost::to_type(tape, rope_, own, f32);
            const Tensor sum = ghost::unary(tape, "mul", rope_, wide);
            ghost::binary_in_place(tape, "addcmul_", rope_, sum, wide);
            return ghost::to_type(tape, rope_, sum, x.type());
        }();
        ghost::binary_in_place(tape, "copy_", rope_, rotated, rotated);
    }
}

// Rotations of pairs, which the processor computed.
Tensor Seedvr2Block::take_rope_table(Tape& tape, std::int64_t tokens) const {
    return ghost::create(tape, "_to_copy", rope_, {tokens, rotated_width(config_) / 2, 2, 2},
                         ElementType::Float32);
}

// Each window's tokens followed by the text's.
Tensor Seedvr2Block::join(Tape& tape, const Tensor& vid, const Tensor& txt,
                          std::int64_t joined) const {
    const Tensor both = ghost::cat(tape, attention_, std::array<Tensor, 2>{vid, txt}, 0);
    return ghost::produce(tape, OpClass::Copy, "index", attention_, both,
                          vid.shape().with(0, joined), vid.type());
}

Seedvr2Tokens Seedvr2Block::attend(Tape& tape, const Seedvr2Tokens& x, const Run& run) const {
    const std::int64_t heads = config_.heads;
    const std::int64_t length = x.vid.shape()[0];
    const std::int64_t text = x.txt.shape()[0];
    const ElementType type = x.vid.type();
    const std::vector<std::int64_t> windows = seedvr2_windows(run.grid, place_.index % 2 != 0);
    const auto count = static_cast<std::int64_t>(windows.size());
    const Tensor vid_qkv = qkv_.vid.forward(tape, x.vid);
    const Tensor txt_qkv = qkv_.for_text().forward(tape, x.txt);
    const Tensor by_window = ghost::produce(tape, OpClass::Copy, "index_select", attention_,
                                            vid_qkv, vid_qkv.shape(), type);
    const Tensor vid_part = by_window.view({length, heads, kHead});
    const Tensor txt_part = txt_qkv.view({text, heads, kHead});
    const std::size_t apart = place_.shared ? 0 : 1;
    Tensor vid_q = norms_.front().forward(tape, vid_part);
    Tensor txt_q = norms_[apart].forward(tape, txt_part);
    Tensor vid_k = norms_[1 + apart].forward(tape, vid_part);
    Tensor txt_k = norms_[1 + 2 * apart].forward(tape, txt_part);
    if (is_7b(config_)) {
        const Tensor angles = ghost::create(
            tape, "_to_copy", rope_, {length, 1, rotated_width(config_)}, ElementType::Float32);
        Tensor q = rotate_pixels(tape, vid_q, angles);
        Tensor k = rotate_pixels(tape, vid_k, angles);
        vid_q = std::move(q);
        vid_k = std::move(k);
    } else {  // the text's too, once for each window
        const auto repeated = [&](const Tensor& t) {
            return ghost::produce(tape, OpClass::Copy, "cat", attention_, t,
                                  {text * count, heads, kHead}, type);
        };
        Tensor q = repeated(txt_q);
        Tensor k = repeated(txt_k);
        const std::array<Tensor, 2> tables = {take_rope_table(tape, length),
                                              take_rope_table(tape, text * count)};
        for (const Tensor* t : {&vid_q, &vid_k, &q, &k}) rotate_in_place(tape, *t);
        txt_q = std::move(q);
        txt_k = std::move(k);
    }
    const std::int64_t joined = length + text * count;
    const Tensor all = [&] {
        const Tensor q = join(tape, vid_q, txt_q, joined);
        const Tensor k = join(tape, vid_k, txt_k, joined);
        const Tensor v = join(tape, vid_part, txt_part, joined);
        std::vector<Tensor> outputs;
        outputs.reserve(windows.size());
        for (const std::int64_t window : windows) {
            const std::int64_t tokens = window + text;
            const Shape shape{tokens, heads, kHead};
            outputs.push_back(ghost::attention(tape, attention_, q.view(shape), k.view(shape),
                                               v.view(shape),
                                               {.batch = 1,
                                                .heads = heads,
                                                .queries = tokens,
                                                .keys = tokens,
                                                .head_dim = kHead})
                                  .view(shape));
        }
        return ghost::cat(tape, attention_, outputs, 0);
    }();
    const auto take = [&](std::string_view op, const Tensor& from, std::int64_t tokens) {
        return ghost::produce(tape, OpClass::Copy, op, attention_, from, {tokens, heads * kHead},
                              type);
    };
    Tensor vid = take("index", all, length);
    const Tensor txt = [&] {  // the mean over the windows
        const Tensor raw = take("index", all, text * count);
        const Tensor mean = take("mean", raw, text);
        return take("cat", mean, text);
    }();
    vid = take("index_select", vid, length);
    Seedvr2Tokens out;
    out.vid = out_.vid.forward(tape, vid);
    out.txt = out_.for_text().forward(tape, txt);
    return out;
}

Tensor Seedvr2Block::feed_video_forward(Tape& tape, const Tensor& x) const {
    if (!is_7b(config_)) return mlp_vid_.forward(tape, x);
    const Shape& s = x.shape();
    Tensor out;
    for (std::int64_t done = 0; done < s[0]; done += kFedTogether) {
        const Tensor part =
            mlp_vid_.forward(tape, x.view(s.with(0, std::min(kFedTogether, s[0] - done))));
        if (!out.defined()) out = tape.make(s, x.type(), "new_empty", path_);
        ghost::binary_in_place(tape, "copy_", path_, part, part);
    }
    return out;
}

Seedvr2Tokens Seedvr2Block::forward(Tape& tape, const Seedvr2Tokens& in, Run& run) const {
    const bool text = text_after_attention();
    Seedvr2Tokens x = norm(tape, path_, in, true);
    modulate(tape, x, run, Part::Attention, true);
    x = attend(tape, x, run);
    modulate(tape, x, run, Part::Attention, false);
    x = {ghost::binary(tape, "add", path_, x.vid, in.vid),
         ghost::binary(tape, "add", path_, x.txt, in.txt)};
    Seedvr2Tokens y = norm(tape, path_, x, text);
    modulate(tape, y, run, Part::Mlp, true);
    y.vid = feed_video_forward(tape, y.vid);
    if (text) y.txt = (mlp_txt_ ? *mlp_txt_ : mlp_vid_).forward(tape, y.txt);
    modulate(tape, y, run, Part::Mlp, false);
    return {ghost::binary(tape, "add", path_, y.vid, x.vid),
            ghost::binary(tape, "add", path_, y.txt, x.txt)};
}

Seedvr2Network::Seedvr2Network(const modelfile::Seedvr2Config& c)
    : config_(c),
      root_([&] {
          const Module path = registry_.path("", "");
          registry_.add_buffer(path, "NaDiT", kKeptTexts * kTextWidth, ModuleStorage::AsNetwork,
                               Saved::Yes);
          return path;
      }()),
      vid_in_path_(registry_.path("vid_in", "")),
      vid_in_(registry_, registry_.path("vid_in", "proj"),
              (kLatentChannels + kConditionChannels) * kPatchCells, c.vid_dim),
      txt_in_(registry_, registry_.path("txt_in", ""), kTextWidth, c.vid_dim),
      emb_(registry_.path("emb_in", "")),
      emb_in_(registry_, registry_.path("emb_in", "proj_in"), kTimeWidth, c.vid_dim),
      emb_hidden_(registry_, registry_.path("emb_in", "proj_hid"), c.vid_dim, c.vid_dim),
      emb_out_(registry_, registry_.path("emb_in", "proj_out"), c.vid_dim,
               kModulations * c.vid_dim),
      blocks_([&] {
          std::vector<Seedvr2Block> blocks;
          for (int i = 0; i < c.num_layers; ++i)
              blocks.emplace_back(
                  registry_, c,
                  Seedvr2Block::Place{.index = i,
                                      .shared = i >= c.mm_layers,
                                      .video_only = !is_7b(c) && i + 1 == c.num_layers});
          return blocks;
      }()),
      vid_out_path_(registry_.path("vid_out", "")),
      vid_out_(registry_, registry_.path("vid_out", "proj"), c.vid_dim,
               kLatentChannels * kPatchCells) {
    if (!c.vid_out_norm) return;
    norm_out_.emplace(registry_, registry_.path("vid_out_norm", ""), c.vid_dim);
    ada_out_ = registry_.path("vid_out_ada", "");
    registry_.add_own_parameters(ada_out_, "AdaSingle", 2 * std::int64_t{c.vid_dim},
                                 ModuleStorage::AsNetwork);
}

StepInputs Seedvr2Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    const auto video = [&](std::int64_t channels) {
        return tape.input(
            {wish.batch, channels, call.latent_frames, call.latent_height, call.latent_width},
            wish.type);
    };
    StepInputs in;
    in.x = video(kLatentChannels);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, kTextWidth}, wish.type);
    in.more.push_back(video(kConditionChannels));
    return in;
}

Tensor Seedvr2Network::embed_timestep(Tape& tape, const Tensor& t, ElementType type) const {
    Tensor x = timestep_embedding(tape, emb_, t, kTimeWidth, type);
    for (const Linear* layer : {&emb_in_, &emb_hidden_}) {
        x = layer->forward(tape, x);
        x = ghost::unary(tape, "silu", emb_, x);
    }
    return emb_out_.forward(tape, x);
}

Tensor Seedvr2Network::embed_patches(Tape& tape, const Tensor& cells, const Extent3& grid) const {
    const Shape shape{grid.volume(), cells.shape()[1] * kPatchCells};
    const Tensor joined = [&] {
        const Tensor patches = ghost::clone(tape, vid_in_path_, cells, shape);
        return ghost::cat(tape, vid_in_path_, std::array<Tensor, 1>{patches}, 0);
    }();
    return vid_in_.forward(tape, joined);
}

Tensor Seedvr2Network::forward(Tape& tape, const StepInputs& in) const {
    const Shape& s = in.x.shape();
    const std::int64_t cells = s[2] * s[3] * s[4];
    const Extent3 grid{s[2], s[3] / 2, s[4] / 2};
    const auto flat = [&](const Tensor& video) {
        return ghost::produce(tape, OpClass::Copy, "cat", root_, video, {cells, video.shape()[1]},
                              video.type());
    };
    Seedvr2Tokens x;
    x.txt = ghost::produce(tape, OpClass::Copy, "cat", root_, in.context,
                           {in.context.shape()[1], kTextWidth}, in.context.type());
    x.vid = flat(in.x);
    const Tensor condition = flat(in.more.front());
    x.vid = ghost::cat(tape, root_, std::array<Tensor, 2>{x.vid, condition}, 1);
    x.txt = txt_in_.forward(tape, x.txt);
    x.vid = embed_patches(tape, x.vid, grid);
    const Tensor embedding = embed_timestep(tape, in.timesteps, in.x.type());
    constexpr std::size_t kSlots = 4;
    Seedvr2Block::Run run{grid, embedding, std::vector<Tensor>(kSlots)};
    for (const Seedvr2Block& block : blocks_) x = block.forward(tape, x, run);
    if (norm_out_) {
        x.vid = norm_out_->forward(tape, x.vid);
        for (const std::string_view op : {"mul_", "add_"}) {
            const Tensor sum = ghost::unary(tape, "add", ada_out_, x.vid);
            ghost::binary_in_place(tape, op, ada_out_, x.vid, sum);
        }
    }
    x.vid = vid_out_.forward(tape, x.vid);
    const Shape latent{cells, kLatentChannels};
    x.vid = ghost::clone(tape, vid_out_path_, x.vid, latent);
    x.vid = ghost::clone(tape, vid_out_path_, x.vid, latent);
    return ghost::produce(tape, OpClass::Copy, "stack", root_, x.vid, latent, x.vid.type());
}

Result<std::shared_ptr<const Denoiser>> build_seedvr2(const modelfile::Seedvr2Config& c) {
    const bool sound = within(c.vid_dim, 1, kWidthMax) && within(c.heads, 1, kWidthMax / kHead) &&
                       within(c.num_layers, 1, kDepthMax) && within(c.mm_layers, 0, c.num_layers) &&
                       (c.mlp_type == "swiglu" || c.mlp_type == "normal");
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("SeedVR2 of width {} with {} heads and {} blocks cannot be",
                                c.vid_dim, c.heads, c.num_layers));
    return std::make_shared<const Seedvr2Network>(c);
}

}  // namespace plimsoll::memory
