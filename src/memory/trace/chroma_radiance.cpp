// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/chroma_radiance.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

Result<Walk> answer_chroma_radiance(const Question& q) {
    if (!is_way_of_running(q.variant) || q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    modelfile::ChromaRadianceConfig config;
    config.nerf_embedder_dtype = "torch.float32";  // as ComfyUI detects it
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    const bool fp32_embedder = config.nerf_embedder_dtype == "torch.float32";
    if (config.use_sequential_txt_ids || config.nerf_final_head_type != "conv" ||
        (config.nerf_embedder_dtype && !fp32_embedder))
        return unknown(q);
    // What is stored in fp32 beside the rest is only known to fit as it is.
    if (fp32_embedder && q.types.storage != q.types.compute) return unknown(q);
    TRY_ASSIGN(const auto network, build_chroma_radiance(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_width = q.width;  // pixels are its cells
    call.latent_height = q.height;
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
