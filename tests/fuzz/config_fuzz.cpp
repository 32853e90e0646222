// SPDX-License-Identifier: Apache-2.0
// plimsoll.toml from any bytes, with flags behind its first NUL ("key=value" a line): a
// configuration whose every value is inside its range, or an error.
#include "service/config.h"

#include "base/check.h"
#include "base/text.h"
#include "service/profiles.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>

namespace {

using namespace plimsoll;  // NOLINT(google-build-using-namespace): a program of one function

// A folder of its own, so that several workers can run at once.
std::filesystem::path make_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "plimsoll_fuzz_XXXXXX").string();
    CHECK(::mkdtemp(name.data()) != nullptr);
    return name;
}

class Folder {
  public:
    ~Folder() { std::filesystem::remove_all(path_); }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_ = make_folder();
};

void check_config(const service::Config& config) {
    CHECK(config.port.value >= 1 && config.port.value <= 65535);
    CHECK(config.max_vram_mb.value > 0);
    CHECK(config.max_duration_min.value > 0);
    CHECK(config.safety_margin.value >= 0 && config.safety_margin.value < 1);
    CHECK(config.timeout.value.count > 0);
    CHECK(config.base_url().starts_with("http://"));
    CHECK(!service::config_lines(config).empty());
    if (const auto profiles = service::read_profiles(config))
        for (const advisor::ModelProfile& profile : profiles->all) {
            CHECK(!profile.name.empty());
            CHECK(!service::guess_family(*profiles, profile).empty());
        }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Folder folder;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::string_view toml = text.substr(0, text.find('\0'));
    std::ofstream(folder.path() / "plimsoll.toml", std::ios::binary | std::ios::trunc) << toml;

    service::ConfigInputs inputs;
    inputs.working_dir = folder.path();
    inputs.environment = [](const std::string& name) {
        return name == "PLIMSOLL_HOME" ? std::optional<std::string>("/nowhere") : std::nullopt;
    };
    if (toml.size() < text.size())
        for (const std::string_view line : split(text.substr(toml.size() + 1), '\n'))
            if (const auto equals = line.find('='); equals != std::string_view::npos)
                inputs.flags.emplace(line.substr(0, equals), line.substr(equals + 1));
    if (const auto config = service::read_config(inputs))
        check_config(*config);
    else
        CHECK(!config.error().message.empty());
    return 0;
}
