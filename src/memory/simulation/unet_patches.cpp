// SPDX-License-Identifier: Apache-2.0
#include "memory/simulation/unet_patches.h"

#include "memory/ghost/tape.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::memory {

namespace {

// The filter of a skip, for each of its elements: the spectrum in complex64 (8 bytes) before and
// after it is shifted, or before and after its inverse transform, the mask in fp32, and the result
// in the network's type.
constexpr std::int64_t kFilterBytes = 8 + 8 + 4;

// One concatenation of the decoder half, in order.
struct Junction {
    std::int64_t hidden = 0;  // channels
    std::int64_t skip = 0;
    std::int64_t cells = 0;  // rows times columns
};

std::vector<Junction> junctions_of(const modelfile::UnetConfig& c, int height, int width) {
    struct Skip {
        std::int64_t channels;
        std::int64_t cells;
    };
    std::vector<Skip> skips;
    std::int64_t rows = height;
    std::int64_t columns = width;
    const std::int64_t base = c.model_channels;
    skips.push_back({base, rows * columns});
    for (std::size_t level = 0; level < c.channel_mult.size(); ++level) {
        for (int i = 0; i < c.num_res_blocks[level]; ++i)
            skips.push_back({base * c.channel_mult[level], rows * columns});
        if (level + 1 == c.channel_mult.size()) break;
        rows = (rows + 1) / 2;
        columns = (columns + 1) / 2;
        skips.push_back({base * c.channel_mult[level], rows * columns});
    }
    std::vector<Junction> junctions;
    std::int64_t hidden = base * c.channel_mult.back();
    for (std::size_t level = c.channel_mult.size(); level-- > 0;)
        for (int i = 0; i <= c.num_res_blocks[level] && !skips.empty(); ++i) {
            junctions.push_back({hidden, skips.back().channels, skips.back().cells});
            skips.pop_back();
            hidden = base * c.channel_mult[level];
        }
    return junctions;
}

class Observer {
  public:
    Observer(const modelfile::UnetConfig& config, const SamplingPatches& patches,
             const StepCall& call)
        : config_(config),
          patches_(patches),
          batch_(call.batch),
          tokens_(std::int64_t{call.latent_height} * call.latent_width),
          element_(bytes_per_element(call.compute)),
          junctions_(junctions_of(config, call.latent_height, call.latent_width)) {
        std::int64_t rows = call.latent_height;
        std::int64_t columns = call.latent_width;
        for (std::size_t level = 0; level + 1 < config.channel_mult.size(); ++level) {
            rows = (rows + 1) / 2;
            columns = (columns + 1) / 2;
        }
        const std::int64_t channels =
            std::int64_t{config.model_channels} * config.channel_mult.back();
        const std::int64_t heads =
            config.num_head_channels > 0 ? channels / config.num_head_channels : config.num_heads;
        scores_ = batch_ * heads * rows * columns * rows * columns * element_;
    }

    void see(const ghost::OpEvent& event) {
        highest_ = std::max(highest_, event.live_bytes);
        const std::string_view path =
            event.label.module == nullptr ? std::string_view() : *event.label.module;
        if (patches_.skip_filter && event.label.op == "cat" && path.empty()) filter(event);
        if (patches_.merged_tokens > 0 && path.ends_with(".norm1") &&
            event.label.op == "native_layer_norm")
            merge(event, path);
        if (patches_.attention_scores && path == "middle_block.1.transformer_blocks.0.attn1" &&
            (event.label.op == "sdpa" || event.label.op == "scaled_dot_product_attention"))
            raise(event.live_bytes + 2 * scores_, "softmax", event);
    }

    // The scores of the step before live until the next ones are kept.
    [[nodiscard]] std::int64_t kept() const { return patches_.attention_scores ? scores_ : 0; }
    // By how much the highest moment of a patch lies above the walk's own.
    void lift(Walk& walk) const {
        const std::int64_t more = std::max<std::int64_t>(0, patched_ - highest_);
        walk.peak += Bytes(more + kept());
        if (more == 0) return;
        walk.peak_module = module_;
        walk.peak_op = op_;
    }

  private:
    void raise(std::int64_t bytes, std::string_view op, const ghost::OpEvent& event) {
        if (bytes <= patched_) return;
        patched_ = bytes;
        op_ = op;
        module_ = event.label.module_path();
    }

    // Before the concatenation that was just seen.
    void filter(const ghost::OpEvent& event) {
        if (next_ >= junctions_.size()) return;
        const Junction& j = junctions_[next_++];
        const std::int64_t base = config_.model_channels;
        if (j.hidden != 4 * base && j.hidden != 2 * base) return;
        const std::int64_t joined = batch_ * (j.hidden + j.skip) * j.cells * element_;
        const std::int64_t filtered = batch_ * j.skip * j.cells * (kFilterBytes + element_);
        raise(event.live_bytes - joined + filtered, "fft_filter", event);
    }

    // Of every four tokens one stays; the scores are those of the other three with all that stay.
    void merge(const ghost::OpEvent& event, std::string_view path) {
        if (!at_full_size(path)) return;
        const std::int64_t stay = tokens_ / 4;
        const std::int64_t channels =
            std::int64_t{config_.model_channels} * config_.channel_mult.front();
        const std::int64_t copies = 2 * tokens_ * channels;  // normalised, then split
        const std::int64_t scores = (tokens_ - stay) * stay;
        raise(event.live_bytes + batch_ * (copies + scores) * element_, "token_scores", event);
    }

    // Only blocks whose tokens are the latent's cells merge.
    [[nodiscard]] bool at_full_size(std::string_view path) const {
        const auto number_after = [&](std::string_view prefix) {
            if (!path.starts_with(prefix)) return -1;
            int number = 0;
            for (const char c : path.substr(prefix.size())) {
                if (c < '0' || c > '9') break;
                number = 10 * number + (c - '0');
            }
            return number;
        };
        const int blocks = config_.num_res_blocks.front();
        if (const int in = number_after("input_blocks."); in >= 0) return in <= blocks;
        const int out = number_after("output_blocks.");
        return out >= static_cast<int>(junctions_.size()) - blocks - 1;
    }

    const modelfile::UnetConfig& config_;
    const SamplingPatches& patches_;
    std::int64_t batch_;
    std::int64_t tokens_;
    std::int64_t element_;
    std::vector<Junction> junctions_;
    std::size_t next_ = 0;
    std::int64_t scores_ = 0;
    std::int64_t highest_ = 0;
    std::int64_t patched_ = 0;
    std::string op_;
    std::string module_;
};

}  // namespace

bool patches_forward(const modelfile::DenoiserConfig& config, const SamplingPatches& patches) {
    const auto* unet = std::get_if<modelfile::UnetConfig>(&config);
    return unet != nullptr && !unet->temporal &&
           (patches.attention_scores || patches.skip_filter || patches.merged_tokens > 0);
}

Walk simulate_patched_step(const Denoiser& model, const modelfile::UnetConfig& config,
                           const SamplingPatches& patches, StepCall call) {
    Observer observer(config, patches, call);
    const OpObserver see = [&](const ghost::OpEvent& event) { observer.see(event); };
    call.rules.observer = &see;
    Walk walk = simulate_step(model, call);
    observer.lift(walk);
    return walk;
}

}  // namespace plimsoll::memory
