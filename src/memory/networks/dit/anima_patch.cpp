// SPDX-License-Identifier: Apache-2.0
//
// LLLite for Anima: a control image is read at every step by a few convolutions down to one vector
// for each token; beside projections of the blocks small networks add to what those are given.
#include "memory/networks/dit/dit_patches.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kPixelsPerCell = 8;
constexpr ConvShape kCut{.kernel = 4, .stride = 4, .padding = 0};
constexpr ConvShape kPoint{.kernel = 1, .stride = 1, .padding = 0};

std::int64_t groups_of(std::int64_t channels) {
    std::int64_t groups = 8;
    while (groups > 1 && channels % groups != 0) groups /= 2;
    return groups;
}

// A convolution, a norm and a SiLU; or the norm and the SiLU first.
struct NormedConv {
    NormedConv(Registry& r, Module conv_path, Module norm_path, std::int64_t in, std::int64_t out,
               ConvShape shape, std::int64_t normed)
        : conv(r, conv_path, in, out, shape), norm(r, norm_path, normed, groups_of(normed)) {}

    [[nodiscard]] Tensor norm_last(Tape& tape, const Tensor& x) const {
        const Tensor normal = [&] {
            const Tensor out = conv.forward(tape, x);
            return norm.forward(tape, out);
        }();
        return ghost::unary(tape, "silu", conv.path(), normal);
    }
    [[nodiscard]] Tensor norm_first(Tape& tape, const Tensor& x) const {
        const Tensor active = [&] {
            const Tensor normal = norm.forward(tape, x);
            return ghost::unary(tape, "silu", conv.path(), normal);
        }();
        return conv.forward(tape, active);
    }

    Conv2d conv;
    GroupNorm norm;
};

class AnimaModelPatch final : public ModelPatchNetwork {
  public:
    explicit AnimaModelPatch(const modelfile::AnimaPatchConfig& c)
        : config_(c), root_(registry_.path("", "")) {
        make_eye();
        const auto modules = [&](std::string_view target, bool there,
                                 std::vector<std::optional<Beside>>& into) {
            for (int i = 0; there && i < c.num_blocks; ++i)
                into.emplace_back(std::in_place, registry_,
                                  fmt::format("lllite_dit_blocks_{}_{}", i, target), c);
        };
        modules("self_attn_q_proj", c.self_attention, beside_[0]);
        modules("self_attn_k_proj", c.self_attention, beside_[1]);
        modules("self_attn_v_proj", c.self_attention, beside_[2]);
        modules("cross_attn_q_proj", c.cross_attention, beside_[3]);
        modules("mlp_layer1", c.mlp, beside_[4]);
    }

    // The image stays in host memory, scaled there at every step.
    [[nodiscard]] std::vector<Tensor> make_hints(Tape& /*tape*/,
                                                 const StepCall& /*call*/) const override {
        return {};
    }
    [[nodiscard]] std::unique_ptr<PatchRun> begin(Tape& tape, const StepInputs& in) const override {
        const Shape& s = in.x.shape();
        const std::int64_t height = s[s.rank() - 2] * kPixelsPerCell;
        const std::int64_t width = s[s.rank() - 1] * kPixelsPerCell;
        return std::make_unique<Run>(*this, tape, look(tape, height, width, in.x.type()));
    }

  private:
    // Beside one projection.
    struct Beside {
        Beside(Registry& r, const std::string& path, const modelfile::AnimaPatchConfig& c)
            : module(r.path(path, "")),
              down(r, r.path(path, "down"), c.model_dim, c.mlp_dim),
              mid(r, r.path(path, "mid"), std::int64_t{c.mlp_dim} + c.cond_emb_dim, c.mlp_dim),
              film(r, r.path(path, "cond_to_film"), c.cond_emb_dim, 2 * std::int64_t{c.mlp_dim}),
              up(r, r.path(path, "up"), c.mlp_dim, c.model_dim) {
            r.add_own_parameters(module, "AnimaLLLiteModule", c.cond_emb_dim,
                                 ModuleStorage::AsNetwork);
        }

        [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& seen) const {
            const Tensor update = [&] {
                const Tensor local = ghost::unary(tape, "add", module, seen);
                Tensor hidden = [&] {
                    const Tensor low = down.forward(tape, x);
                    return ghost::unary(tape, "silu", module, low);
                }();
                const Tensor film_of = film.forward(tape, local);
                hidden = [&] {
                    const Tensor joined =
                        ghost::cat(tape, module, std::array<Tensor, 2>{local, hidden}, 2);
                    return mid.forward(tape, joined);
                }();
                hidden = [&] {
                    const Tensor half = film_of.view(hidden.shape());
                    const Tensor scaled = [&] {
                        const Tensor factor = ghost::unary(tape, "add", module, half);
                        return ghost::binary(tape, "mul", module, hidden, factor);
                    }();
                    const Tensor shifted = ghost::binary(tape, "add", module, scaled, half);
                    return ghost::unary(tape, "silu", module, shifted);
                }();
                return up.forward(tape, hidden);
            }();
            const Tensor scaled = ghost::unary(tape, "mul", module, update);
            return ghost::binary(tape, "add", module, x, scaled);
        }

        Module module;
        Linear down;
        Linear mid;
        Linear film;
        Linear up;
    };

    class Run final : public PatchRun {
      public:
        Run(const AnimaModelPatch& patch, Tape& tape, Tensor seen)
            : patch_(patch), tape_(tape), seen_(std::move(seen)) {}
        [[nodiscard]] Tensor before(PatchedInput what, std::size_t block,
                                    const Tensor& x) override {
            const auto& modules = patch_.beside_[static_cast<std::size_t>(what)];
            if (block >= modules.size()) return x;
            const std::int64_t batch = x.shape()[0];
            const Tensor rows =
                x.view({batch, x.elements() / batch / x.shape().last(), x.shape().last()});
            // Repeated to the batch.
            Tensor seen = seen_;
            if (batch > 1)
                seen = ghost::produce(tape_, OpClass::Copy, "repeat", patch_.root_, seen_,
                                      seen_.shape().with(0, batch), seen_.type());
            return modules[block]->forward(tape_, rows, seen).view(x.shape());
        }

      private:
        const AnimaModelPatch& patch_;
        Tape& tape_;
        Tensor seen_;
    };

    void make_eye() {
        const std::string eye = "lllite_conditioning1";
        const auto at = [&](std::string_view name) { return registry_.path(eye, name); };
        const std::int64_t dim = config_.cond_dim;
        steps_.emplace_back(registry_, at("conv1"), at("norm1"), config_.cond_in_channels, dim / 2,
                            kCut, dim / 2);
        steps_.emplace_back(registry_, at("conv2"), at("norm2"), dim / 2, dim / 2, kConv3, dim / 2);
        steps_.emplace_back(registry_, at("conv3"), at("norm3"), dim / 2, dim, kCut, dim);
        for (int i = 0; i < config_.cond_resblocks; ++i)
            for (const int half : {1, 2})
                residual_.emplace_back(registry_, at(fmt::format("resblocks.{}.conv{}", i, half)),
                                       at(fmt::format("resblocks.{}.norm{}", i, half)), dim, dim,
                                       kConv3, dim);
        for (std::size_t i = 0; i < config_.aspp_dilations.size(); ++i)
            branches_.emplace_back(registry_, at(fmt::format("aspp.branches.{}.0", i)),
                                   at(fmt::format("aspp.branches.{}.1", i)), dim, dim,
                                   config_.aspp_dilations[i] == 1 ? kPoint : kConv3, dim);
        if (!branches_.empty()) {
            branches_.emplace_back(registry_, at("aspp.global_conv.0"), at("aspp.global_conv.1"),
                                   dim, dim, kPoint, dim);
            const auto all = static_cast<std::int64_t>(branches_.size()) * dim;
            joined_.emplace(registry_, at("aspp.proj.0"), at("aspp.proj.1"), all, dim, kPoint, dim);
        }
        proj_.emplace(registry_, at("proj"), dim, config_.cond_emb_dim, kPoint);
        out_norm_.emplace(registry_, at("out_norm"), config_.cond_emb_dim);
    }

    // [1, tokens, cond_emb_dim]
    [[nodiscard]] Tensor look(Tape& tape, std::int64_t height, std::int64_t width,
                              ElementType type) const {
        Tensor x = [&] {
            Tensor image = ghost::create(tape, "_to_copy", root_, {1, 3, height, width}, type);
            image = ghost::unary(tape, "mul", root_, image);
            image = ghost::unary(tape, "sub", root_, image);
            if (config_.cond_in_channels == 3) return image;
            const Tensor mask = ghost::create(tape, "_to_copy", root_, {1, 1, height, width}, type);
            {
                const Tensor kept = ghost::unary(tape, "lt", root_, mask);
                image = ghost::combine(tape, "mul", root_, {&image, &kept}, image.shape(), type);
            }
            const Tensor wide = ghost::unary(tape, "sub", root_, mask);
            return ghost::cat(tape, root_, std::array<Tensor, 2>{image, wide}, 1);
        }();
        for (const NormedConv& step : steps_) x = step.norm_last(tape, x);
        for (std::size_t i = 0; i + 1 < residual_.size(); i += 2) {
            Tensor h = residual_[i].norm_first(tape, x);
            h = residual_[i + 1].norm_first(tape, h);
            x = ghost::binary(tape, "add", root_, x, h);
        }
        if (joined_) {
            std::vector<Tensor> outputs;
            for (const NormedConv& branch : branches_) outputs.push_back(branch.norm_last(tape, x));
            const Tensor all = ghost::cat(tape, root_, outputs, 1);
            x = joined_->norm_last(tape, all);
        }
        x = proj_->forward(tape, x);
        const Tensor rows =
            ghost::clone(tape, root_, x, {1, x.shape()[2] * x.shape()[3], config_.cond_emb_dim});
        return out_norm_->forward(tape, rows);
    }

    modelfile::AnimaPatchConfig config_;
    Module root_;
    std::vector<NormedConv> steps_;
    std::vector<NormedConv> residual_;
    std::vector<NormedConv> branches_;  // the last over the whole image
    std::optional<NormedConv> joined_;
    std::optional<Conv2d> proj_;
    std::optional<LayerNorm> out_norm_;
    std::array<std::vector<std::optional<Beside>>, 5> beside_;  // by PatchedInput
};

}  // namespace

Result<std::shared_ptr<const ModelPatchNetwork>> build_anima_patch(
    const modelfile::AnimaPatchConfig& c) {
    constexpr std::size_t kBranchesMax = 16;
    bool sound = within(c.cond_in_channels, 3, 4) && within(c.cond_dim, 2, kWidthMax) &&
                 c.cond_dim % 2 == 0 && within(c.cond_emb_dim, 1, kWidthMax) &&
                 within(c.cond_resblocks, 0, kDepthMax) && within(c.mlp_dim, 1, kWidthMax) &&
                 within(c.model_dim, 1, kWidthMax) && within(c.num_blocks, 1, kDepthMax) &&
                 c.aspp_dilations.size() <= kBranchesMax;
    for (const int dilation : c.aspp_dilations) sound = sound && within(dilation, 1, kWidthMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("LLLite of {} blocks of width {} over {} channels cannot be",
                                c.num_blocks, c.model_dim, c.cond_in_channels));
    return std::make_shared<const AnimaModelPatch>(c);
}

}  // namespace plimsoll::memory
