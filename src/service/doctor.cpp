// SPDX-License-Identifier: Apache-2.0
#include "service/doctor.h"

#include "base/byte_source.h"
#include "base/say.h"
#include "base/text.h"
#include "history/renewing_store.h"
#include "history/sqlite_store.h"
#include "service/comfyui/checkpoints.h"
#include "service/site.h"
#include "telemetry/local_devices.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <utility>

namespace plimsoll::service {

namespace {

constexpr double kFreeGibNotice = 10;                // chosen: one more checkpoint and its pictures
constexpr double kFreeGibProblem = 1;                // chosen: a few hundred pictures
constexpr Bytes kHeldNotice = Bytes::from_mib(256);  // chosen: a desktop's programs hold less each
constexpr memory::ComfyVersion kOldestVersion{
    0, 3, 64};  // the oldest whose network API and loader were recorded

class Doctor {
  public:
    Doctor(const Config& config, Upstream& upstream, telemetry::DeviceSource& devices)
        : config_(config), upstream_(upstream), devices_(devices) {}

    Checkup run() {
        checkup_.settings = config_lines(config_);
        look_at_configuration();
        look_at_comfyui();
        look_at_driver();
        look_at_models();
        look_at_disk("home", config_.home.value);
        look_at_disk("output", config_.output_dir.value);
        look_at_history();
        return std::move(checkup_);
    }

  private:
    void good(std::string area, Phrase text) {
        checkup_.findings.push_back({std::move(area), Health::Good, std::move(text), {}});
    }
    void notice(std::string area, Phrase text, Phrase advice) {
        checkup_.findings.push_back(
            {std::move(area), Health::Notice, std::move(text), std::move(advice)});
    }
    void problem(std::string area, Phrase text, Phrase advice) {
        checkup_.findings.push_back(
            {std::move(area), Health::Problem, std::move(text), std::move(advice)});
    }

    void look_at_configuration() {
        good("configuration", config_.file ? say<"doctor.config_file">(config_.file->string())
                                           : say<"doctor.no_config_file">());
        for (const Phrase& warning : config_.warnings)
            notice("configuration", warning, say<"do.correct_value">());
        if (const auto profiles = read_profiles(config_); !profiles)
            problem("configuration", profiles.error().message, say<"do.correct_profile">());
        if (const auto budget = budget_of(config_))
            good("configuration",
                 say<"doctor.line">(budget->load_line, config_.max_vram_mb.value,
                                    config_.max_vram_mb.source, config_.safety_margin.value,
                                    config_.safety_margin.source));
    }

    void look_at_comfyui() {
        const auto stats = upstream_.read_stats();
        if (!stats) {
            problem("ComfyUI", say<"doctor.comfyui_silent">(stats.error().message),
                    say<"do.start_comfyui">(config_.server_url.source, config_.port.source));
            return;
        }
        checkup_.comfyui_answers = true;
        good("ComfyUI", say<"doctor.comfyui">(
                            upstream_.address(),
                            stats->comfyui_version.empty() ? "unknown" : stats->comfyui_version,
                            stats->pytorch_version.empty() ? "unknown" : stats->pytorch_version));
        look_at_socket();
        look_at_version(stats->comfyui_version);
        look_at_flags(stats->argv);
        look_at_card(*stats);
        look_at_checkpoints();
    }

    // Proxies in between often pass HTTP only.
    void look_at_socket() {
        auto socket = upstream_.open_events("plimsoll-doctor", "");
        if (socket)
            (*socket)->close();
        else
            notice("ComfyUI", say<"doctor.no_socket">(socket.error().message),
                   say<"do.let_sockets">());
    }

    void look_at_version(const std::string& text) {
        const auto version = memory::parse_comfy_version(text);
        if (!version)
            notice("ComfyUI", say<"doctor.version_odd">(text), say<"do.version_odd">());
        else if (*version < kOldestVersion)
            notice("ComfyUI", say<"doctor.version_old">(text), say<"do.version_old">());
    }

    void look_at_flags(const std::vector<std::string>& argv) {
        const auto flags = memory::parse_launch_flags(argv);
        if (!flags) {
            problem("flags", flags.error().message, say<"do.correct_flags">());
            return;
        }
        for (const std::string& flag : flags->dead)
            notice("flags", say<"doctor.dead_flag">(flag), say<"do.leave_away">());
        for (const std::string& pair : flags->contradictions)
            problem("flags", pair, say<"do.keep_one">());
        if (flags->dead.empty() && flags->contradictions.empty())
            good("flags", argv.size() > 1 ? Phrase(fmt::format(
                                                "{}", fmt::join(argv.begin() + 1, argv.end(), " ")))
                                          : say<"doctor.no_flags">());
    }

    void look_at_card(const ServerStats& stats) {
        const auto site = site_of_stats(config_, {}, stats, upstream_.address());
        if (!site) {
            problem("card", site.error().message, say<"do.see_log">());
            return;
        }
        const DeviceStats& device = stats.devices.front();
        if (device.type == "cpu") {
            notice("card", say<"doctor.on_cpu">(), say<"do.on_cpu">());
            return;
        }
        const auto known = timing::find_card(device.name, device.vram_total);
        if (known)
            good("card", say<"doctor.card">((*known)->key, device.vram_total, device.vram_free,
                                            site->device.used_by_others));
        else
            notice("card", say<"doctor.card_unknown">(device.name), say<"do.card_unknown">());
        const auto budget = budget_of(config_);
        const Bytes usable = device.vram_total - site->device.used_by_others;
        if (budget && budget->load_line > usable)
            notice("card", say<"doctor.line_too_high">(budget->load_line, usable),
                   say<"do.lower_line">(std::llround(usable.mib())));
    }

    void look_at_checkpoints() {
        const auto names = upstream_.list_models("checkpoints");
        if (!names) {
            notice("models", say<"doctor.models_unlisted">(names.error().message),
                   say<"do.see_log">());
            return;
        }
        if (names->empty()) {
            problem("models", say<"doctor.no_checkpoint">(), say<"do.put_checkpoint">());
            return;
        }
        good("models", say<"doctor.checkpoints">(names->size()));
        const auto profiles = read_profiles(config_);
        if (!profiles) return;
        for (const advisor::ModelProfile& profile : profiles->all)
            if (const auto found = name_on_server(upstream_, profile.checkpoint); !found)
                notice("models", say<"doctor.profile_lacks">(profile.name, profile.checkpoint),
                       say<"do.name_checkpoint">());
    }

    void look_at_driver() {
        const auto devices = devices_.list();
        if (!devices) {
            problem("driver", devices.error().message, say<"do.repair_driver">());
            return;
        }
        if (devices->empty()) notice("driver", say<"doctor.no_driver">(), say<"do.no_driver">());
        for (const telemetry::Device& device : *devices) look_at_device(device);
    }

    void look_at_device(const telemetry::Device& device) {
        using telemetry::DeviceState;
        // Whoever asks for a checkup wants to see the card; one that sleeps is not woken all the
        // same.
        const auto sample = devices_.sample(device.id, telemetry::Attention::Watching);
        if (!sample || sample->state == DeviceState::Sick) {
            problem(
                "driver",
                say<"doctor.card_sick">(device.name, sample ? sample->why : sample.error().message),
                say<"do.card_sick">());
            return;
        }
        if (sample->state == DeviceState::Asleep) {
            good("driver", say<"doctor.card_asleep">(device.name, device.driver));
            return;
        }
        Phrases heat;
        if (sample->temperature_c) heat.push_back(say<"heat.now">(*sample->temperature_c));
        if (const auto& limit = device.limits.max_operating_c)
            heat.push_back(say<"heat.clocks_fall">(*limit));
        if (const auto& limit = device.limits.slowdown_c)
            heat.push_back(say<"heat.throttles">(*limit));
        good("driver", say<"doctor.driver">(device.name, device.driver, std::move(heat)));
        if (sample->throttled_by_heat == true)
            notice("driver", say<"doctor.card_hot">(device.name), say<"do.cool">());
        look_at_holders(device);
    }

    // Memory that others hold is what ComfyUI cannot have.
    void look_at_holders(const telemetry::Device& device) {
        const auto holders = devices_.list_holders(device.id);
        if (!holders) return;
        for (const telemetry::Holder& holder : *holders) {
            const bool comfyui = holder.name.starts_with("python");
            if (!holder.bytes || *holder.bytes < kHeldNotice || comfyui) continue;
            notice("driver",
                   say<"doctor.holder">(holder.name, holder.pid, *holder.bytes, device.name),
                   say<"do.close_program">());
        }
    }

    void look_at_models() {
        if (config_.models_dirs.value.empty()) {
            notice("models", say<"doctor.no_models_dir">(), say<"do.set_models_dir">());
            return;
        }
        for (const auto& folder : config_.models_dirs.value) {
            std::error_code error;
            if (std::filesystem::is_directory(folder, error))
                good("models", say<"doctor.models_dir">(folder.string()));
            else
                problem("models", say<"doctor.no_folder">(folder.string()),
                        say<"do.correct_models_dir">(config_.models_dirs.source));
        }
    }

    // The folder itself may not exist yet: then the nearest one above it counts.
    void look_at_disk(const std::string& name, std::filesystem::path folder) {
        const std::string shown = folder.string();
        std::error_code error;
        while (!std::filesystem::exists(folder, error) && folder.has_parent_path() &&
               folder != folder.parent_path())
            folder = folder.parent_path();
        if (::access(folder.c_str(), W_OK) != 0) {
            problem("disk", say<"doctor.unwritable">(name, shown),
                    name == "home" ? say<"do.set_home">() : say<"do.set_output_dir">());
            return;
        }
        const auto space = std::filesystem::space(folder, error);
        if (error) {
            notice("disk", say<"doctor.disk_odd">(name, shown, error.message()),
                   say<"do.check_path">());
            return;
        }
        const Bytes free(static_cast<std::int64_t>(space.available));
        const double gib = free.gib();
        const Phrase text = say<"doctor.disk">(name, shown, free);
        if (gib < kFreeGibProblem)
            problem("disk", text, say<"do.free_now">());
        else if (gib < kFreeGibNotice)
            notice("disk", text, say<"do.free_soon">());
        else
            good("disk", text);
    }

    void look_at_history() {
        const auto store = history::SqliteStore::create(config_.history_file());
        if (!store) {
            problem("history", store.error().message, say<"do.history">());
            return;
        }
        // Chosen: read within a second. plimsoll history check reads any.
        constexpr std::uintmax_t kReadBytesMax = 256ULL << 20U;
        std::error_code error;
        const bool is_small =
            std::filesystem::file_size(config_.history_file(), error) <= kReadBytesMax;
        const auto sound = is_small ? (*store)->check_integrity() : Result<void>();
        const auto runs =
            sound ? (*store)->count_runs({}) : Result<std::int64_t>(std::unexpected(sound.error()));
        if (runs)
            good("history", say<"doctor.history">(config_.history_file().string(), *runs));
        else
            problem("history", runs.error().message, say<"do.history">());
        for (const auto& damaged : history::damaged_files(config_.history_file()))
            notice("history", say<"doctor.damaged">(damaged.string()),
                   say<"do.restore">(damaged.string()));
    }

    const Config& config_;
    Upstream& upstream_;
    telemetry::DeviceSource& devices_;
    Checkup checkup_;
};

}  // namespace

std::string_view health_name(Health health) {
    switch (health) {
        case Health::Good:
            return "good";
        case Health::Notice:
            return "notice";
        case Health::Problem:
            break;
    }
    return "problem";
}

Health Checkup::worst() const {
    Health worst = Health::Good;
    for (const Finding& finding : findings) worst = std::max(worst, finding.health);
    return worst;
}

Checkup check_up(const Config& config, Upstream& upstream, telemetry::DeviceSource& devices) {
    return Doctor(config, upstream, devices).run();
}

Checkup check_up(const Config& config, Upstream& upstream) {
    const auto devices = telemetry::open_local_devices();
    return check_up(config, upstream, *devices);
}

}  // namespace plimsoll::service
