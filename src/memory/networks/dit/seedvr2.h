// SPDX-License-Identifier: Apache-2.0
//
// SeedVR2 (ByteDance 2025): restores a video in one step, on a transformer whose tokens attend
// within windows, every other block's windows shifted by half; the text's tokens join each window.
#pragma once
#include "memory/networks/conv3d.h"
#include "memory/networks/denoiser.h"
#include "modelfile/networks/seedvr2_config.h"

#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// The tokens of a video and of its text, which pass each layer apart, by weights of their own or
// the same.
struct Seedvr2Tokens {
    Tensor vid;  // [tokens, width]
    Tensor txt;
};

enum class Seedvr2Weights : std::uint8_t { Apart, Shared };

class Seedvr2Linear {
  public:
    Seedvr2Linear(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out,
                  Seedvr2Weights weights, Bias bias);
    Linear vid;
    std::optional<Linear> txt;  // where apart

    [[nodiscard]] const Linear& for_text() const { return txt ? *txt : vid; }
};

// A feed-forward network, gated or not.
class Seedvr2Mlp {
  public:
    Seedvr2Mlp(Registry& registry, std::string_view path, const modelfile::Seedvr2Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Linear first_;  // its gate, or the only way in
    Linear out_;
    std::optional<Linear> in_;
};

class Seedvr2Block {
  public:
    struct Place {
        int index = 0;
        bool shared = false;      // one set of weights for both
        bool video_only = false;  // the text ends here
    };
    Seedvr2Block(Registry& registry, const modelfile::Seedvr2Config& config, const Place& place);

    // What all blocks are given, and what the first of them leave for the others.
    struct Run {
        Extent3 grid;
        const Tensor& embedding;
        std::vector<Tensor> modulations;  // of the video's and the text's tokens; two layers each
    };
    [[nodiscard]] Seedvr2Tokens forward(Tape& tape, const Seedvr2Tokens& in, Run& run) const;

  private:
    enum class Part : std::uint8_t { Attention = 0, Mlp = 1 };
    [[nodiscard]] Seedvr2Tokens norm(Tape& tape, Module module, const Seedvr2Tokens& x,
                                     bool text) const;
    void modulate(Tape& tape, const Seedvr2Tokens& x, Run& run, Part part, bool in) const;
    void modulate_one(Tape& tape, Module module, const Tensor& x, Run& run, std::size_t slot,
                      bool in) const;
    [[nodiscard]] Seedvr2Tokens attend(Tape& tape, const Seedvr2Tokens& x, const Run& run) const;
    [[nodiscard]] Tensor rotate_pixels(Tape& tape, const Tensor& x, const Tensor& angles) const;
    void rotate_in_place(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor take_rope_table(Tape& tape, std::int64_t tokens) const;
    [[nodiscard]] Tensor join(Tape& tape, const Tensor& vid, const Tensor& txt,
                              std::int64_t joined) const;
    // Some tokens at a time in the 7B.
    [[nodiscard]] Tensor feed_video_forward(Tape& tape, const Tensor& x) const;
    [[nodiscard]] bool text_after_attention() const { return !place_.video_only; }

    modelfile::Seedvr2Config config_;
    Place place_;
    Module path_;
    Module attention_;
    Seedvr2Linear qkv_;
    Seedvr2Linear out_;
    std::vector<RmsNorm> norms_;  // of queries, then of keys: the video's, the text's where apart
    Module rope_;
    Seedvr2Mlp mlp_vid_;
    std::optional<Seedvr2Mlp> mlp_txt_;  // where apart
    Module ada_vid_;
    Module ada_txt_;
};

class Seedvr2Network final : public Denoiser {
  public:
    explicit Seedvr2Network(const modelfile::Seedvr2Config& config);

    // `more`: the video to restore and its mask.
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override { return {}; }

  private:
    [[nodiscard]] Tensor embed_timestep(Tape& tape, const Tensor& t, ghost::ElementType type) const;
    [[nodiscard]] Tensor embed_patches(Tape& tape, const Tensor& cells, const Extent3& grid) const;

    modelfile::Seedvr2Config config_;
    Module root_;
    Module vid_in_path_;
    Linear vid_in_;
    Linear txt_in_;
    Module emb_;
    Linear emb_in_;
    Linear emb_hidden_;
    Linear emb_out_;
    std::vector<Seedvr2Block> blocks_;
    Module vid_out_path_;
    Linear vid_out_;
    std::optional<RmsNorm> norm_out_;
    Module ada_out_ = nullptr;
};

// Tokens in each window of a grid of tokens.
[[nodiscard]] std::vector<std::int64_t> seedvr2_windows(const Extent3& grid, bool shifted);

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_seedvr2(
    const modelfile::Seedvr2Config& config);

}  // namespace plimsoll::memory
