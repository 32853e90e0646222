// SPDX-License-Identifier: Apache-2.0
#include "timing/measured_jobs.h"

#include "base/text.h"
#include "memory/trace/answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>

namespace plimsoll::timing {
namespace {

// How the walks are asked for a network of the table. Tokens: what its pipeline pads prompts to.
struct Network {
    std::string_view name;
    std::string_view family;
    std::string_view variant;
    int tokens = 77;
    std::string_view vae;         // empty: not simulated
    std::string_view controlnet;  // empty: none
};
constexpr std::array kNetworks = std::to_array<Network>({
    {"sd15", "sd15", "base", 77, "vae_kl4", ""},
    {"sd15_inpaint", "sd15", "inpaint9", 77, "vae_kl4", ""},
    {"sd15_controlnet", "sd15", "base", 77, "vae_kl4", "cldm"},
    {"sdxl", "sdxl", "base", 77, "vae_kl4", ""},
    {"sd3_medium", "sd3", "medium", 333, "vae_kl16", ""},
    {"pixart_sigma", "pixart_sigma", "1024ms", 300, "vae_kl4", ""},
    {"flux_dev", "flux", "dev", 512, "vae_kl16", ""},
    {"omnigen2", "omnigen2", "t2i", 128, "vae_kl16", ""},
    {"qwen_image", "qwen_image", "base", 128, "vae_wan21", ""},
    {"hunyuan_video", "hunyuan_video", "t2v", 256, "", ""},
    {"wan21_t2v_1.3b", "wan", "t2v_1.3B", 512, "vae_wan21", ""},
    {"wan21_t2v_14b", "wan", "t2v_14B", 512, "vae_wan21", ""},
    {"wan21_i2v_14b", "wan", "i2v_14B", 512, "vae_wan21", ""},
    {"wan22_t2v_14b", "wan", "wan22_t2v_14B", 512, "vae_wan21", ""},
    {"wan22_i2v_14b", "wan", "wan22_i2v_14B", 512, "vae_wan21", ""},
    {"wan22_ti2v_5b", "wan", "wan22_ti2v_5B", 512, "vae_wan22", ""},
    {"wan22_ti2v_5b_i2v", "wan", "wan22_ti2v_5B_i2v", 512, "vae_wan22", ""},
});

// The columns of the table, by the names in its header.
using Fields = std::map<std::string_view, std::string_view>;

int number_of(const Fields& fields, std::string_view key) {
    const auto value = parse_integer(fields.at(key));
    return value && *value >= 0 && *value <= 1'000'000 ? static_cast<int>(*value) : -1;
}

std::optional<AttentionKernels> attention_kernels(std::string_view name) {
    if (name == "sdpa" || name == "flash-attn-2") return AttentionKernels::Flash2;
    if (name == "sdpa-1" || name == "xformers") return AttentionKernels::FirstGeneration;
    if (name == "flash-attn-3") return AttentionKernels::Flash3;
    if (name == "baddbmm") return AttentionKernels::WritesScores;
    return std::nullopt;
}

struct CostKey {
    std::string question;
    int forwards = 1;
    std::string_view phase;
};

std::string question_text(std::string_view family, std::string_view variant, std::string_view phase,
                          std::string_view call, const Fields& fields, int batch, int tokens) {
    return fmt::format(
        R"({{"family":"{}","variant":"{}","phase":"{}","call":"{}","dtype":"{}","width":{},)"
        R"("height":{},"frames":{},"batch":{},"tokens":{},"comfyui":"0.3.64"}})",
        family, variant, phase, call, fields.at("dtype"), fields.at("width"), fields.at("height"),
        fields.at("frames"), batch, tokens);
}

std::vector<CostKey> questions(const Network& network, const Fields& fields) {
    std::vector<CostKey> out;
    const int batch = number_of(fields, "forward_batch");
    const int forwards = number_of(fields, "forwards");
    if (fields.at("timed") != "decode") {
        // Video networks were recorded as the network alone.
        const bool video = network.family == "wan" || network.family == "hunyuan_video";
        out.push_back(
            {question_text(network.family, network.variant, "unet_step",
                           video ? "forward" : "apply_model", fields, batch, network.tokens),
             forwards, "unet_step"});
        if (!network.controlnet.empty())
            out.push_back({question_text(network.family, network.controlnet, "controlnet", "module",
                                         fields, batch, network.tokens),
                           forwards, "controlnet"});
    }
    if (fields.at("timed") != "step" && !network.vae.empty()) {
        // One image after the other: the same work, and what slicing does.
        const std::string_view variant = network.vae.starts_with("vae_kl") ? "full" : "bf16";
        out.push_back(
            {question_text(network.vae, variant, "vae_decode", "module", fields, 1, network.tokens),
             number_of(fields, "images"), "vae_decode"});
    }
    return out;
}

// Rows repeat each other's questions; a walk is asked once.
class Walks {
  public:
    Result<memory::OpCosts> costs(const std::string& question) {
        if (const auto known = known_.find(question); known != known_.end()) return known->second;
        TRY_ASSIGN(const json::value line, parse_json(question));
        TRY_ASSIGN(const memory::Walk walk, memory::trace::answer_question(line));
        return known_.emplace(question, walk.costs).first->second;
    }

  private:
    std::map<std::string, memory::OpCosts> known_;
};

Result<MeasuredJob> read_job(const Fields& fields, Walks& walks) {
    const auto network = std::ranges::find(kNetworks, fields.at("network"), &Network::name);
    if (network == kNetworks.end())
        return fail(Errc::Corrupt, fmt::format("network '{}' is not known", fields.at("network")));
    MeasuredJob job;
    job.id = fields.at("id");
    job.source = fields.at("source");
    job.network = fields.at("network");
    job.timed = fields.at("timed");
    TRY_ASSIGN(job.card, find_card(fields.at("card")));
    const auto compute = memory::parse_compute_type(fields.at("dtype"));
    const auto seconds = parse_number(fields.at("seconds"));
    const bool counts = std::ranges::all_of(
        std::to_array<std::string_view>({"forwards", "forward_batch", "images"}),
        [&](std::string_view key) { return number_of(fields, key) >= 0; });
    const auto attention = attention_kernels(fields.at("attention"));
    if (!compute || !seconds || *seconds <= 0 || !counts || !attention)
        return fail(Errc::Corrupt, "a number, type or attention cannot be read");
    job.compute = *compute;
    job.seconds = *seconds;
    job.software = {.compiled = fields.at("software") == "compiled",
                    .tf32_matmul = fields.at("matmul") == "tf32",
                    .channels_last = fields.at("layout") == "channels_last",
                    .attention = *attention};
    for (const CostKey& key : questions(*network, fields)) {
        TRY_ASSIGN(const memory::OpCosts costs, walks.costs(key.question));
        job.parts.push_back({std::string(key.phase), key.forwards, costs});
    }
    return job;
}

double quantile(const std::vector<double>& sorted, double share) {
    if (sorted.empty()) return 0;
    return sorted[static_cast<std::size_t>(
        std::lround(share * static_cast<double>(sorted.size() - 1)))];
}

}  // namespace

Result<std::vector<MeasuredJob>> read_measured_jobs(std::string_view csv) {
    std::vector<MeasuredJob> jobs;
    std::vector<std::string_view> names;
    Walks walks;
    int line_number = 0;
    for (std::string_view line : split(csv, '\n')) {
        ++line_number;
        line = trim(line);
        if (line.empty() || line.front() == '#') continue;
        // Only sources hold commas, between quotes: they are taken out before splitting.
        std::string plain(line);
        std::string source;
        if (const auto open = plain.find('"'); open != std::string::npos)
            if (const auto close = plain.find('"', open + 1); close != std::string::npos) {
                source = plain.substr(open + 1, close - open - 1);
                plain.erase(open, close - open + 1);
            }
        const auto values = split(plain, ',');
        if (names.empty()) {
            for (const std::string_view name : split(line, ',')) names.push_back(name);
            continue;
        }
        const auto failed = [&](std::string_view why) {
            return fail(Errc::Corrupt, fmt::format("measured row, line {}: {}", line_number, why));
        };
        if (values.size() != names.size()) return failed("wrong number of columns");
        Fields fields;
        for (std::size_t i = 0; i < names.size(); ++i) fields[names[i]] = trim(values[i]);
        for (const std::string_view key :
             {"id", "source", "card", "network", "software", "dtype", "matmul", "layout",
              "attention", "width", "height", "frames", "images", "forwards", "forward_batch",
              "timed", "seconds"})
            if (!fields.contains(key)) return failed(fmt::format("no column {}", key));
        if (!source.empty()) fields["source"] = source;
        auto job = read_job(fields, walks);
        if (!job) return failed(job.error().message);
        jobs.push_back(std::move(*job));
    }
    return jobs;
}

double forecast_seconds(const MeasuredJob& job, const Efficiency& efficiency) {
    double sum = 0;
    for (const MeasuredPart& part : job.parts)
        sum += part.forwards *
               forward_seconds(part.costs, job.compute, *job.card, efficiency, job.software);
    return sum;
}

ForecastErrors forecast_errors(const std::vector<const MeasuredJob*>& jobs,
                               const Efficiency& efficiency) {
    std::vector<double> errors;
    errors.reserve(jobs.size());
    for (const MeasuredJob* job : jobs)
        errors.push_back(std::abs(forecast_seconds(*job, efficiency) / job->seconds - 1));
    std::ranges::sort(errors);
    return {jobs.size(), quantile(errors, 0.5), quantile(errors, 0.9)};
}

}  // namespace plimsoll::timing
