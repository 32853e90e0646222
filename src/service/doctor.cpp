// SPDX-License-Identifier: Apache-2.0
#include "service/doctor.h"

#include "base/byte_source.h"
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
    void good(std::string area, std::string text) {
        checkup_.findings.push_back({std::move(area), Health::Good, std::move(text), {}});
    }
    void notice(std::string area, std::string text, std::string advice) {
        checkup_.findings.push_back(
            {std::move(area), Health::Notice, std::move(text), std::move(advice)});
    }
    void problem(std::string area, std::string text, std::string advice) {
        checkup_.findings.push_back(
            {std::move(area), Health::Problem, std::move(text), std::move(advice)});
    }

    void look_at_configuration() {
        good("configuration",
             config_.file ? fmt::format("{} is used", config_.file->string())
                          : "no plimsoll.toml, built-in values and the environment are used");
        for (const std::string& warning : config_.warnings)
            notice("configuration", warning, "correct it in plimsoll.toml or the environment");
        if (const auto profiles = read_profiles(config_); !profiles)
            problem("configuration", profiles.error().message, "correct the profile");
        if (const auto budget = budget_of(config_))
            good("configuration",
                 fmt::format("load line {}: {} MiB ({}) less {:.0f} % ({})",
                             to_text(budget->load_line), config_.max_vram_mb.value,
                             config_.max_vram_mb.source, config_.safety_margin.value * 100,
                             config_.safety_margin.source));
    }

    void look_at_comfyui() {
        const auto stats = upstream_.read_stats();
        if (!stats) {
            problem("ComfyUI", stats.error().message,
                    fmt::format("start ComfyUI, or name its address: COMFYUI_SERVER_URL ({}) and "
                                "COMFYUI_PORT ({})",
                                config_.server_url.source, config_.port.source));
            return;
        }
        checkup_.comfyui_answers = true;
        good("ComfyUI",
             fmt::format("{} answers: version {}, PyTorch {}", upstream_.address(),
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
            notice("ComfyUI",
                   fmt::format("its WebSocket cannot be opened: {}", socket.error().message),
                   "jobs are followed by asking once a second; a proxy in between must let "
                   "WebSockets through");
    }

    void look_at_version(const std::string& text) {
        const auto version = memory::parse_comfy_version(text);
        if (!version)
            notice("ComfyUI", fmt::format("its version '{}' is not understood", text),
                   "forecasts take it for 0.3.64; update ComfyUI if it is older");
        else if (*version < kOldestVersion)
            notice("ComfyUI", fmt::format("version {} is older than 0.3.64", text),
                   "update ComfyUI: its loader may decide otherwise than forecast");
    }

    void look_at_flags(const std::vector<std::string>& argv) {
        const auto flags = memory::parse_launch_flags(argv);
        if (!flags) {
            problem("flags", flags.error().message, "correct ComfyUI's command line");
            return;
        }
        for (const std::string& flag : flags->dead)
            notice("flags", fmt::format("{} has no effect", flag), "leave it away");
        for (const std::string& pair : flags->contradictions)
            problem("flags", pair, "keep one of them");
        if (flags->dead.empty() && flags->contradictions.empty())
            good("flags", argv.size() > 1
                              ? fmt::format("{}", fmt::join(argv.begin() + 1, argv.end(), " "))
                              : "none");
    }

    void look_at_card(const ServerStats& stats) {
        const auto site = site_of_stats(config_, {}, stats, upstream_.address());
        if (!site) {
            problem("card", site.error().message, "see ComfyUI's own log");
            return;
        }
        const DeviceStats& device = stats.devices.front();
        if (device.type == "cpu") {
            notice("card", "ComfyUI runs on the CPU (--cpu, or it found no card)",
                   "times are those of the CPU; check the driver if there is a card");
            return;
        }
        const auto known = timing::find_card(device.name, device.vram_total);
        if (known)
            good("card",
                 fmt::format("{}: {} in all, {} free, {} taken by other programs", (*known)->key,
                             to_text(device.vram_total), to_text(device.vram_free),
                             to_text(site->device.used_by_others)));
        else
            notice("card", fmt::format("{} is not in the catalogue", device.name),
                   "memory forecasts hold, times are those of another card");
        const auto budget = budget_of(config_);
        const Bytes usable = device.vram_total - site->device.used_by_others;
        if (budget && budget->load_line > usable)
            notice("card",
                   fmt::format("the load line of {} is above what the card can give ({})",
                               to_text(budget->load_line), to_text(usable)),
                   fmt::format("set MAX_VRAM_MB to {:.0f} or less", usable.mib()));
    }

    void look_at_checkpoints() {
        const auto names = upstream_.list_models("checkpoints");
        if (!names) {
            notice(
                "models",
                fmt::format("ComfyUI's checkpoints could not be listed: {}", names.error().message),
                "see ComfyUI's log");
            return;
        }
        if (names->empty()) {
            problem("models", "ComfyUI has no checkpoint",
                    "put one into its folder models/checkpoints");
            return;
        }
        good("models", fmt::format("ComfyUI lists {} checkpoint{}", names->size(),
                                   names->size() == 1 ? "" : "s"));
        const auto profiles = read_profiles(config_);
        if (!profiles) return;
        for (const advisor::ModelProfile& profile : profiles->all)
            if (const auto found = name_on_server(upstream_, profile.checkpoint); !found)
                notice(
                    "models",
                    fmt::format("profile {}: ComfyUI lacks {}", profile.name, profile.checkpoint),
                    "download it, or name another checkpoint in a [[profile]] of plimsoll.toml");
    }

    void look_at_driver() {
        const auto devices = devices_.list();
        if (!devices) {
            problem("driver", devices.error().message,
                    "install or repair the driver: until then nothing here tells heat and power");
            return;
        }
        if (devices->empty())
            notice("driver", "no graphics driver on this machine",
                   "none is needed where ComfyUI runs elsewhere");
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
                fmt::format("{}: {}", device.name, sample ? sample->why : sample.error().message),
                "save your work and restart the machine; if it comes back, look for dust, heat "
                "and the power supply");
            return;
        }
        if (sample->state == DeviceState::Asleep) {
            good("driver",
                 fmt::format("{} ({}) is asleep and was not woken", device.name, device.driver));
            return;
        }
        const auto celsius = [](const char* words, const std::optional<double>& value) {
            return value ? fmt::format(", {}{:.0f} °C", words, *value) : std::string();
        };
        good("driver", fmt::format("{} ({}){}{}{}", device.name, device.driver,
                                   celsius("", sample->temperature_c),
                                   celsius("clocks fall from ", device.limits.max_operating_c),
                                   celsius("throttles at ", device.limits.slowdown_c)));
        if (sample->throttled_by_heat == true)
            notice("driver", fmt::format("{} is slowed down by heat", device.name),
                   "clean the fans, give it air, or lower its power limit");
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
                   fmt::format("{} (process {}) holds {} of {}", holder.name, holder.pid,
                               to_text(*holder.bytes), device.name),
                   "close it while you generate, if you can");
        }
    }

    void look_at_models() {
        if (config_.models_dirs.value.empty()) {
            notice("models", "no model folder is named",
                   "set models_dir in plimsoll.toml to ComfyUI's models folder: forecasts then "
                   "read the files themselves");
            return;
        }
        for (const auto& folder : config_.models_dirs.value) {
            std::error_code error;
            if (std::filesystem::is_directory(folder, error))
                good("models", fmt::format("{} is read for model files", folder.string()));
            else
                problem("models", fmt::format("{} is not a folder", folder.string()),
                        fmt::format("correct models_dir ({})", config_.models_dirs.source));
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
            problem("disk", fmt::format("{} {} cannot be written", name, shown),
                    name == "home" ? "set PLIMSOLL_HOME to a folder that you may write to"
                                   : "set output_dir");
            return;
        }
        const auto space = std::filesystem::space(folder, error);
        if (error) {
            notice("disk", fmt::format("{} {}: {}", name, shown, error.message()),
                   "check the path");
            return;
        }
        const double gib = Bytes(static_cast<std::int64_t>(space.available)).gib();
        const std::string text = fmt::format("{} {}: {:.1f} GiB free", name, shown, gib);
        if (gib < kFreeGibProblem)
            problem("disk", text, "free some space: pictures and history could not be saved");
        else if (gib < kFreeGibNotice)
            notice("disk", text, "free some space soon");
        else
            good("disk", text);
    }

    void look_at_history() {
        const auto store = history::SqliteStore::create(config_.history_file());
        if (!store) {
            problem("history", store.error().message, "runs are not recorded until then");
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
            good("history", fmt::format("{}: {} run{}", config_.history_file().string(), *runs,
                                        *runs == 1 ? "" : "s"));
        else
            problem("history", runs.error().message, "runs are not recorded until then");
        for (const auto& damaged : history::damaged_files(config_.history_file()))
            notice("history",
                   fmt::format("{}: a damaged history file was moved here", damaged.string()),
                   fmt::format("plimsoll history restore '{}' takes in what can be read; delete it "
                               "when nothing is missing",
                               damaged.string()));
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
