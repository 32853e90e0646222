// SPDX-License-Identifier: Apache-2.0
//
// Goal: every value comes from the highest place that gives it and says so. Method: a made-up
// environment and real TOML files.
#include "service/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace plimsoll::service {
namespace {

using testing::HasSubstr;

class ConfigTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_config_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        root_ = name;
        std::filesystem::create_directories(root_ / "home");
        std::filesystem::create_directories(root_ / "work");
        environment_ = {{"PLIMSOLL_HOME", (root_ / "home").string()}};
    }
    void TearDown() override { std::filesystem::remove_all(root_); }

    void write(const std::string& folder, const std::string& toml) const {
        std::ofstream(root_ / folder / "plimsoll.toml") << toml;
    }
    [[nodiscard]] Result<Config> read(const std::map<std::string, std::string>& flags = {}) const {
        return read_config(
            {.flags = flags,
             .environment = [this](const std::string& name) -> std::optional<std::string> {
                 const auto found = environment_.find(name);
                 if (found == environment_.end()) return std::nullopt;
                 return found->second;
             },
             .working_dir = root_ / "work"});
    }
    std::filesystem::path root_;
    std::map<std::string, std::string> environment_;
};

TEST_F(ConfigTest, built_in_values_are_those_of_the_manual) {
    const Config config = read().value();
    EXPECT_EQ(config.base_url(), "http://localhost:8188");
    EXPECT_EQ(config.timeout.value, Millis(1'200'000));
    EXPECT_EQ(config.max_vram_mb.value, 5120);
    EXPECT_EQ(config.max_duration_min.value, 30);
    EXPECT_EQ(config.safety_margin.value, 0.15);
    EXPECT_EQ(config.max_vram_mb.source, "built-in");
    EXPECT_EQ(config.output_dir.value, root_ / "home" / "output");
}

TEST(ParseListen, says_whether_others_reach_it_and_takes_no_names) {
    EXPECT_EQ(parse_listen("localhost:0")->address, "127.0.0.1");
    EXPECT_TRUE(parse_listen("127.3.2.1:80")->is_loopback);
    EXPECT_TRUE(parse_listen("[::1]:8190")->is_loopback);
    EXPECT_EQ(parse_listen("[::1]:8190")->address, "::1");
    EXPECT_FALSE(parse_listen("0.0.0.0:8190")->is_loopback);
    EXPECT_FALSE(parse_listen("[::]:8190")->is_loopback);
    EXPECT_FALSE(parse_listen("192.168.1.2:8190")->is_loopback);
    for (const char* const bad : {"", "8190", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000",
                                  "example.com:80", "::1:80", "[127.0.0.1]:80", "127.0.0.1:x"})
        EXPECT_FALSE(parse_listen(bad)) << bad;
}

TEST_F(ConfigTest, flags_beat_environment_beats_file_beats_built_in) {
    EXPECT_EQ(read()->max_vram_mb.origin, Origin::BuiltIn);
    write("work", "max_vram_mb = 2048");
    EXPECT_EQ(read()->max_vram_mb.value, 2048);
    EXPECT_EQ(read()->max_vram_mb.source,
              "max_vram_mb in " + (root_ / "work" / "plimsoll.toml").string());
    environment_["MAX_VRAM_MB"] = "3072";
    EXPECT_EQ(read()->max_vram_mb.value, 3072);
    EXPECT_EQ(read()->max_vram_mb.source, "MAX_VRAM_MB");
    const Config config = read({{"max_vram_mb", "4096"}}).value();
    EXPECT_EQ(config.max_vram_mb.value, 4096);
    EXPECT_EQ(config.max_vram_mb.source, "--max-vram-mb");
}

TEST_F(ConfigTest, the_six_environment_names_are_read) {
    environment_.insert({{"COMFYUI_SERVER_URL", "http://10.0.0.5/"},
                         {"COMFYUI_PORT", "8000"},
                         {"COMFYUI_TIMEOUT", "5000"},
                         {"MAX_VRAM_MB", "8192"},
                         {"MAX_DURATION_MIN", "2.5"},
                         {"SAFETY_MARGIN", "0.2"}});
    const Config config = read().value();
    EXPECT_EQ(config.base_url(), "http://10.0.0.5:8000");
    EXPECT_EQ(config.timeout.value, Millis(5000));
    EXPECT_EQ(config.max_vram_mb.value, 8192);
    EXPECT_EQ(config.max_duration_min.value, 2.5);
    EXPECT_EQ(config.safety_margin.value, 0.2);
}

TEST_F(ConfigTest, a_bad_value_names_its_variable_and_the_range) {
    const std::vector<std::array<std::string, 3>> cases{
        {"MAX_VRAM_MB", "lots",
         "MAX_VRAM_MB is 'lots': must be a whole number from 1024 to 1048576 MiB"},
        {"MAX_VRAM_MB", "-5", "from 1024"},
        {"COMFYUI_PORT", "70000",
         "COMFYUI_PORT is '70000': must be a whole number from 1 to 65535"},
        {"COMFYUI_TIMEOUT", "1e99", "COMFYUI_TIMEOUT"},
        {"COMFYUI_TIMEOUT", "99999999999999999999", "86400000 milliseconds"},
        {"SAFETY_MARGIN", "15", "SAFETY_MARGIN is '15': must be a number from 0 to 0.9"},
        {"SAFETY_MARGIN", "nan", "from 0 to 0.9"},
        {"MAX_DURATION_MIN", "0", "from 0.1 to 1440 minutes"},
        {"COMFYUI_SERVER_URL", "https://secure", "plain HTTP"},
        {"COMFYUI_SERVER_URL", "http://", "http://localhost"},
        {"COMFYUI_SERVER_URL", "http://host:0", "the port in COMFYUI_SERVER_URL is '0'"},
        {"PLIMSOLL_MEMORY_POLICY", "magic", "estimate or dynamic"},
    };
    for (const auto& [name, value, message] : cases) {
        const auto saved = environment_;
        environment_[name] = value;
        const auto config = read();
        ASSERT_FALSE(config) << name << "=" << value;
        EXPECT_EQ(config.error().code, Errc::InvalidInput);
        EXPECT_THAT(config.error().message, HasSubstr(message));
        environment_ = saved;
    }
}

TEST_F(ConfigTest, an_empty_variable_counts_as_unset) {
    environment_["MAX_VRAM_MB"] = "";
    EXPECT_EQ(read()->max_vram_mb.value, 5120);
}

TEST_F(ConfigTest, a_port_inside_the_address_counts_unless_the_port_is_given_as_high_up) {
    environment_["COMFYUI_SERVER_URL"] = "127.0.0.1:9000";
    EXPECT_EQ(read()->base_url(), "http://127.0.0.1:9000");
    write("work", "comfyui_port = 7000");
    EXPECT_EQ(read()->base_url(), "http://127.0.0.1:9000");
    environment_["COMFYUI_PORT"] = "8001";
    const Config config = read().value();
    EXPECT_EQ(config.base_url(), "http://127.0.0.1:8001");
    ASSERT_EQ(config.warnings.size(), 1U);
    EXPECT_THAT(config.warnings[0], HasSubstr("port 9000"));
    environment_["COMFYUI_SERVER_URL"] = "http://[::1]:9001";
    environment_.erase("COMFYUI_PORT");
    EXPECT_EQ(read()->base_url(), "http://[::1]:9001");
}

TEST_F(ConfigTest, the_file_of_the_working_folder_hides_that_of_the_home) {
    write("home", "safety_margin = 0.3");
    EXPECT_EQ(read()->safety_margin.value, 0.3);
    write("work", "max_duration_min = 5");
    EXPECT_EQ(read()->safety_margin.value, 0.15);
    EXPECT_EQ(read()->file, root_ / "work" / "plimsoll.toml");
}

TEST_F(ConfigTest, an_unknown_key_is_a_warning_with_the_nearest_name) {
    write("work", "max_vram_md = 4096\n[[profile]]\nname = 'x'\n");
    const Config config = read().value();
    ASSERT_EQ(config.warnings.size(), 1U);
    EXPECT_THAT(config.warnings[0], HasSubstr("did you mean max_vram_mb?"));
}

TEST_F(ConfigTest, a_broken_file_is_an_error_with_its_line) {
    write("work", "max_vram_mb = 4096\nsafety_margin = = 2\n");
    const auto config = read();
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error().code, Errc::Corrupt);
    EXPECT_THAT(config.error().message, HasSubstr("plimsoll.toml: line 2"));
    write("work", "max_vram_mb = {a = 1}");
    EXPECT_EQ(read().error().code, Errc::InvalidInput);
}

TEST_F(ConfigTest, model_folders_are_a_path_or_a_list) {
    write("work", "models_dir = ['/a/models', '/b']");
    EXPECT_EQ(read()->models_dirs.value, (std::vector<std::filesystem::path>{"/a/models", "/b"}));
    environment_["PLIMSOLL_MODELS_DIR"] = "/c:/d";
    EXPECT_EQ(read()->models_dirs.value, (std::vector<std::filesystem::path>{"/c", "/d"}));
}

TEST_F(ConfigTest, home_follows_the_platform_when_nothing_is_said) {
    environment_ = {{"HOME", "/users/ann"}};
    EXPECT_EQ(read()->home.value, "/users/ann/.local/share/plimsoll");
    environment_["XDG_DATA_HOME"] = "/data";
    EXPECT_EQ(read()->home.value, "/data/plimsoll");
    environment_.clear();
    EXPECT_THAT(read().error().message, HasSubstr("PLIMSOLL_HOME"));
}

TEST_F(ConfigTest, policies_are_names_for_all_and_for_single_clients) {
    EXPECT_EQ(read()->policy.value, "fit");
    environment_["PLIMSOLL_POLICY"] = " Observe";
    EXPECT_EQ(read()->policy.value, "observe");
    environment_["PLIMSOLL_POLICY"] = "obey";
    EXPECT_THAT(read().error().message, HasSubstr("observe, advise, fit, enforce"));
    environment_.erase("PLIMSOLL_POLICY");
    environment_["PLIMSOLL_CLIENT_POLICIES"] = "krita=enforce, a=b=advise,";
    const auto policies = read()->client_policies.value;
    EXPECT_EQ(policies.size(), 2U);
    EXPECT_EQ(policies.at("krita"), "enforce");
    EXPECT_EQ(policies.at("a=b"), "advise");
    environment_["PLIMSOLL_CLIENT_POLICIES"] = "krita";
    EXPECT_THAT(read().error().message, HasSubstr("client_id=policy"));
    environment_.erase("PLIMSOLL_CLIENT_POLICIES");
    write("work", "client_policies = ['krita=observe', 'swarm=fit']\ntarget_celsius = 70");
    EXPECT_EQ(read()->client_policies.value.at("swarm"), "fit");
    EXPECT_EQ(read()->target_celsius.value, 70);
    environment_["PLIMSOLL_TARGET_CELSIUS"] = "1000";
    EXPECT_THAT(read().error().message, HasSubstr("0 to 110"));
}

TEST_F(ConfigTest, every_key_is_listed_with_value_and_source) {
    environment_["SAFETY_MARGIN"] = "0.25";
    const auto lines = config_lines(read().value());
    ASSERT_EQ(lines.size(), config_keys().size());
    EXPECT_EQ(lines[5].key, "safety_margin");
    EXPECT_EQ(lines[5].value, "0.25");
    EXPECT_EQ(lines[5].source, "SAFETY_MARGIN");
}

TEST(Config, knows_whether_comfyui_is_on_this_machine) {
    const auto is_here = [](const char* url) {
        Config config;
        config.server_url.value = url;
        return config.comfyui_is_here();
    };
    for (const char* url : {"http://localhost", "http://127.0.0.1", "https://[::1]", "127.0.0.9/"})
        EXPECT_TRUE(is_here(url)) << url;
    for (const char* url :
         {"http://192.168.1.7", "http://gpu.example", "http://localhost.evil", ""})
        EXPECT_FALSE(is_here(url)) << url;
}

}  // namespace
}  // namespace plimsoll::service
