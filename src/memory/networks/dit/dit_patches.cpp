// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/dit_patches.h"

#include "memory/networks/dit/dit_layers.h"
#include "memory/networks/dit/lumina2_block.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kPatch = 2;
constexpr std::int64_t kCells = kPatch * kPatch;

// The first tokens of `tokens`: those of the image, where a control image has as many.
Tensor first_tokens(const Tensor& tokens, std::int64_t count) {
    return tokens.view(tokens.shape().with(1, std::min(count, tokens.shape()[1])));
}

// `strength` times `update`, into `tokens` in place.
void add_scaled(Tape& tape, Module module, const Tensor& tokens, const Tensor& update) {
    const Tensor scaled = ghost::unary(tape, "mul", module, update);
    ghost::binary_in_place(tape, "add_", module, tokens, scaled);
}

// --- Qwen-Image -----------------------------------------------------------------------------

class QwenModelPatch final : public ModelPatchNetwork {
  public:
    explicit QwenModelPatch(const modelfile::QwenPatchConfig& c)
        : config_(c), img_in_(registry_, registry_.path("img_in", ""), c.hint_channels, c.dim) {
        blocks_.reserve(static_cast<std::size_t>(c.num_layers));
        for (int i = 0; i < c.num_layers; ++i) {
            const std::string path = fmt::format("controlnet_blocks.{}", i);
            const RmsNorm x_rms(registry_, registry_.path(path, "x_rms"), c.dim);
            const RmsNorm y_rms(registry_, registry_.path(path, "y_rms"), c.dim);
            const Linear in(registry_, registry_.path(path, "input_proj"), c.dim, c.dim);
            const Linear out(registry_, registry_.path(path, "output_proj"), c.dim, c.dim);
            blocks_.push_back(
                {registry_.path(path, ""), x_rms, y_rms, in, registry_.path(path, "act"), out});
        }
    }

    // The control image's tokens, made before the first step. In fp32, as the VAE hands latents on.
    [[nodiscard]] std::vector<Tensor> make_hints(Tape& tape, const StepCall& call) const override {
        const std::int64_t rows = (call.latent_height + kPatch - 1) / kPatch;
        const std::int64_t columns = (call.latent_width + kPatch - 1) / kPatch;
        return {tape.input({1, rows * columns, config_.dim}, ElementType::Float32)};
    }
    [[nodiscard]] std::unique_ptr<PatchRun> begin(Tape& tape, const StepInputs& in) const override {
        return std::make_unique<Run>(*this, tape, in.patch_hints.front(), in.x.type());
    }

  private:
    struct Block {
        Module path;
        RmsNorm x_rms;
        RmsNorm y_rms;
        Linear in;
        Module act;
        Linear out;
    };
    class Run final : public PatchRun {
      public:
        Run(const QwenModelPatch& patch, Tape& tape, Tensor hint, ElementType type)
            : patch_(patch), tape_(tape), hint_(std::move(hint)), type_(type) {}
        void after_block(const PatchedBlock& block) override {
            if (block.index >= patch_.blocks_.size()) return;
            const Block& b = patch_.blocks_[block.index];
            const Tensor own = first_tokens(block.tokens, hint_.shape()[1]);
            const Tensor update = [&] {
                const Tensor y = ghost::to_type(tape_, b.path, hint_, type_);
                const Tensor normal_x = b.x_rms.forward(tape_, own);
                const Tensor normal_y = b.y_rms.forward(tape_, y);
                Tensor x = [&] {
                    const Tensor sum = ghost::combine(tape_, "add", b.path, {&normal_x, &normal_y},
                                                      own.shape(), type_);
                    return b.in.forward(tape_, sum);
                }();
                x = ghost::unary(tape_, "gelu", b.act, x);
                return b.out.forward(tape_, x);
            }();
            add_scaled(tape_, b.path, own, update);
        }

      private:
        const QwenModelPatch& patch_;
        Tape& tape_;
        Tensor hint_;
        ElementType type_;
    };

    modelfile::QwenPatchConfig config_;
    Linear img_in_;
    std::vector<Block> blocks_;
};

// --- Z-Image --------------------------------------------------------------------------------

constexpr std::size_t kZImageLayers = 30;
constexpr int kRefiners = 2;

modelfile::Lumina2Config z_image_config() {
    return {.dim = 3840,
            .n_layers = kZImageLayers,
            .n_heads = 30,
            .n_kv_heads = 30,
            .ffn_dim_multiplier = 8.0 / 3.0,
            .cap_feat_dim = 2560,
            .axes_dims = {32, 48, 48},
            .z_image_modulation = true};
}

class ZImageModelPatch final : public ModelPatchNetwork {
  public:
    explicit ZImageModelPatch(const modelfile::ZImagePatchConfig& c)
        : config_(c), base_(z_image_config()), root_(registry_.path("", "")) {
        make_blocks("control_layers", c.n_control_layers, Fed::Yes, layers_);
        embedder_.emplace(registry_, registry_.path("control_all_x_embedder", "2-1"),
                          kCells * c.hint_channels, base_.dim);
        make_blocks("control_noise_refiner", kRefiners, c.refiner_control ? Fed::Yes : Fed::No,
                    refiners_);
    }

    // The latent of the control image, in fp32 as the VAE hands it on.
    [[nodiscard]] std::vector<Tensor> make_hints(Tape& tape, const StepCall& call) const override {
        const auto even = [](int cells) { return (cells + kPatch - 1) / kPatch * kPatch; };
        return {tape.input(
            {1, config_.hint_channels, even(call.latent_height), even(call.latent_width)},
            ElementType::Float32)};
    }
    [[nodiscard]] std::unique_ptr<PatchRun> begin(Tape& tape, const StepInputs& in) const override {
        return std::make_unique<Run>(*this, tape, in.patch_hints.front(), in.x.type());
    }

  private:
    enum class Fed : std::uint8_t { No, Yes };  // the network's tokens, and feeds them
    struct Block {
        Module path;
        LuminaBlock block;
        std::optional<Linear> before;
        std::optional<Linear> after;
    };
    void make_blocks(std::string_view name, int count, Fed fed, std::vector<Block>& into) {
        into.reserve(static_cast<std::size_t>(count));
        for (int i = 0; i < count; ++i) {
            const std::string path = fmt::format("{}.{}", name, i);
            const LuminaBlock block(registry_, path, base_, LuminaBlock::Modulated::Yes);
            std::optional<Linear> before;
            std::optional<Linear> after;
            if (fed == Fed::Yes && i == 0)
                before.emplace(registry_, registry_.path(path, "before_proj"), base_.dim,
                               base_.dim);
            if (fed == Fed::Yes)
                after.emplace(registry_, registry_.path(path, "after_proj"), base_.dim, base_.dim);
            into.push_back({registry_.path(path, ""), block, before, after});
        }
    }

    class Run final : public PatchRun {
      public:
        Run(const ZImageModelPatch& patch, Tape& tape, Tensor hint, ElementType type)
            : patch_(patch), tape_(tape), hint_(std::move(hint)), type_(type) {}
        void after_block(const PatchedBlock& block) override {
            const std::size_t each = every();
            const bool layers = block.stage == PatchedBlock::Stage::Layers;
            if (!layers && block.index == 0) embed(block);
            if (!context_.defined()) return;
            if (!layers) {
                if (patch_.config_.refiner_control && block.index < patch_.refiners_.size())
                    feed(patch_.refiners_[block.index], block);
                return;
            }
            const std::size_t index = block.index / each;
            if (block.index % each != 0 || index >= patch_.layers_.size()) return;
            feed(patch_.layers_[index], block);
            if (index + 1 == patch_.layers_.size()) context_ = skip_ = {};
        }

      private:
        // Its blocks are spread over the network's layers.
        [[nodiscard]] std::size_t every() const {
            const std::size_t own = patch_.layers_.size();
            return std::max<std::size_t>(1, (kZImageLayers + own / 2) / own);
        }
        void embed(const PatchedBlock& block) {
            const Tensor patches = [&] {
                const Tensor latent = ghost::to_type(tape_, patch_.root_, hint_, type_);
                return to_tokens(tape_, patch_.root_, latent, kPatch);
            }();
            context_ = patch_.embedder_->forward(tape_, patches);
            // One control image for all; the blocks' modulation spreads it over the batch.
            context_ = context_.view(context_.shape().with(0, block.time.shape()[0]));
            if (patch_.config_.refiner_control) return;
            for (const Block& refiner : patch_.refiners_)
                context_ = refiner.block.forward(tape_, context_, block.table, {}, block.time);
        }
        // A block over the control image's tokens; what it makes goes to the network's.
        void feed(const Block& b, const PatchedBlock& at) {
            Tensor c = context_;
            if (b.before) {
                const Tensor before = b.before->forward(tape_, c);
                const Tensor own = first_tokens(at.input, before.shape()[1]);
                c = ghost::combine(tape_, "add", b.path, {&before, &own}, own.shape(), type_);
            }
            c = b.block.forward(tape_, c, at.table, {}, at.time);
            skip_ = b.after->forward(tape_, c);
            context_ = std::move(c);
            const Tensor own = first_tokens(at.tokens, skip_.shape()[1]);
            add_scaled(tape_, b.path, own, skip_);
        }

        const ZImageModelPatch& patch_;
        Tape& tape_;
        Tensor hint_;
        ElementType type_;
        Tensor context_;
        Tensor skip_;  // of the last block that ran: kept until the next has
    };

    modelfile::ZImagePatchConfig config_;
    modelfile::Lumina2Config base_;
    Module root_;
    std::vector<Block> layers_;
    std::optional<Linear> embedder_;
    std::vector<Block> refiners_;
};

}  // namespace

Result<std::shared_ptr<const ModelPatchNetwork>> build_qwen_patch(
    const modelfile::QwenPatchConfig& c) {
    if (!within(c.num_layers, 1, kDepthMax) || !within(c.dim, 1, kWidthMax) ||
        !within(c.hint_channels, 1, kWidthMax))
        return fail(Errc::InvalidInput,
                    fmt::format("a model patch of {} blocks of width {} over {} cannot be",
                                c.num_layers, c.dim, c.hint_channels));
    return std::make_shared<const QwenModelPatch>(c);
}

Result<std::shared_ptr<const ModelPatchNetwork>> build_z_image_patch(
    const modelfile::ZImagePatchConfig& c) {
    if (!within(c.n_control_layers, 1, static_cast<int>(kZImageLayers)) ||
        !within(c.hint_channels, 1, kWidthMax))
        return fail(Errc::InvalidInput,
                    fmt::format("a model patch of Z-Image with {} blocks over {} channels cannot "
                                "be",
                                c.n_control_layers, c.hint_channels));
    return std::make_shared<const ZImageModelPatch>(c);
}

}  // namespace plimsoll::memory
