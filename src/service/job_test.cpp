// SPDX-License-Identifier: Apache-2.0
//
// Goal: whatever names a job, the same workflow and the right networks come out, or an error that
// says what to do. Method: files made here and recorded ones.
#include "service/job.h"

#include "service/comfyui/checkpoints.h"
#include "service/comfyui/scripted_upstream.h"
#include "service/pictures.h"
#include "workflow/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace plimsoll::service {
namespace {

using testing::HasSubstr;

class JobTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_job_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
        const auto builtin = advisor::builtin_profiles();
        profiles_.all.assign(builtin.begin(), builtin.end());
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    [[nodiscard]] std::filesystem::path write(const std::string& name,
                                              const std::string& bytes) const {
        std::filesystem::create_directories((folder_ / name).parent_path());
        std::ofstream(folder_ / name, std::ios::binary) << bytes;
        return folder_ / name;
    }
    // A safetensors file with one small tensor: well formed, but no network.
    [[nodiscard]] static std::string small_safetensors() {
        const std::string header = R"({"x":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})";
        std::string bytes(8, '\0');
        bytes[0] = static_cast<char>(header.size());
        return bytes + header + std::string(2, '\0');
    }
    Result<Job> resolve(const JobRequest& request) {
        return resolve_job(request, profiles_, library_);
    }

    std::filesystem::path folder_;
    Profiles profiles_;
    ModelLibrary library_{{}};
};

JobRequest model_request(const std::string& name) {
    JobRequest request;
    request.model = name;
    return request;
}

TEST_F(JobTest, a_profile_without_its_file_is_forecast_from_the_catalogue_and_says_so) {
    JobRequest request = model_request("sdxl-base");
    request.prompt = "a \"quoted\" dragon";
    request.width = 768;
    request.seed = 18446744073709551615ULL;
    const Job job = resolve(request).value();
    EXPECT_EQ(job.checkpoint, "sd_xl_base_1.0.safetensors");
    EXPECT_EQ(job.family, "sdxl");
    EXPECT_TRUE(job.from_catalogue);
    ASSERT_EQ(job.warnings.size(), 1U);
    EXPECT_THAT(job.warnings[0], HasSubstr("forecast as sdxl in fp16"));
    const auto graph = workflow::parse_api_workflow(job.workflow).value();
    EXPECT_EQ(graph.find("5")->int_of("width"), 768);
    EXPECT_THAT(job.workflow, HasSubstr("18446744073709551615"));
    EXPECT_TRUE(job.files.by_name.at(job.checkpoint)->denoiser);
}

TEST_F(JobTest, the_catalogue_stands_for_whole_checkpoints) {
    const auto sdxl = catalogue_contents("sdxl").value();
    EXPECT_EQ(sdxl->text_encoders.size(), 2U);
    // The published SDXL base file in fp16 has 6938078334 bytes; its UNet 2567463684 parameters.
    EXPECT_EQ(sdxl->denoiser->weights.params, 2'567'463'684);
    EXPECT_NEAR(static_cast<double>(sdxl->everything.bytes.count), 6.938e9, 0.01e9);
    EXPECT_EQ(std::get<modelfile::ClipTextConfig>(
                  catalogue_contents("sd15").value()->text_encoders.at(0).config)
                  .name,
              "clip_l");
    EXPECT_EQ(std::get<modelfile::ClipTextConfig>(
                  catalogue_contents("sd21").value()->text_encoders.at(0).config)
                  .name,
              "clip_h");
    const auto unknown = catalogue_contents("sdxxl");
    EXPECT_EQ(unknown.error().code, Errc::NotFound);
    for (const std::string& family : catalogue_families())
        EXPECT_TRUE(catalogue_contents(family)) << family;
}

TEST_F(JobTest, a_job_has_exactly_one_source) {
    JobRequest request = model_request("sdxl-base");
    request.family = "sdxl";
    EXPECT_THAT(resolve(request).error().message, HasSubstr("2 were given"));
    EXPECT_EQ(resolve({}).error().code, Errc::InvalidInput);
    JobRequest wish;
    wish.workflow = "{}";
    wish.steps = 20;
    EXPECT_THAT(resolve(wish).error().message, HasSubstr("brings its own"));
}

TEST_F(JobTest, values_out_of_range_name_the_range_and_unknown_names_the_nearest) {
    JobRequest request = model_request("sdxl-base");
    request.width = 4000;
    EXPECT_THAT(resolve(request).error().message, HasSubstr("1536"));
    EXPECT_THAT(resolve(model_request("sdxl-bse")).error().message, HasSubstr("sdxl-base"));
}

TEST_F(JobTest, a_workflow_file_keeps_its_bytes_and_names_what_is_unknown) {
    const std::string text =
        R"({ "4":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"my_xl.safetensors"}}, "5":{"class_type":"VAELoader","inputs":{"vae_name":"odd.pt"}}})";
    JobRequest request;
    request.file = write("w.json", text);
    const Job job = resolve(request).value();
    EXPECT_EQ(job.workflow, text);
    EXPECT_EQ(job.checkpoint, "my_xl.safetensors");
    EXPECT_EQ(job.family, "sdxl");
    EXPECT_EQ(job.files.by_name.count("odd.pt"), 0U);
    ASSERT_EQ(job.warnings.size(), 2U);
    EXPECT_THAT(job.warnings[1], HasSubstr("odd.pt"));
}

TEST_F(JobTest, a_comfyui_picture_is_a_job) {
    JobRequest request;
    request.file = std::string(PLIMSOLL_TEST_DATA) + "/workflow/txt2img_ComfyUI_00001_.png";
    const Job job = resolve(request).value();
    EXPECT_THAT(job.workflow, HasSubstr("KSampler"));
    EXPECT_FALSE(job.checkpoint.empty());
}

TEST_F(JobTest, files_that_are_no_workflow_or_no_model_are_errors_that_name_them) {
    JobRequest request;
    request.file = folder_ / "missing.json";
    EXPECT_EQ(resolve(request).error().code, Errc::NotFound);
    request.file = write("bad.json", "{ not json");
    EXPECT_THAT(resolve(request).error().message, HasSubstr("bad.json"));
    JobRequest model;
    model.model_file = write("small.safetensors", small_safetensors());
    EXPECT_THAT(resolve(model).error().message, HasSubstr("no diffusion network"));
    model.model_file = write("empty.safetensors", "");
    EXPECT_FALSE(resolve(model));
}

TEST_F(JobTest, model_files_are_found_in_comfyuis_subfolders_and_never_outside) {
    const auto inside = write("models/checkpoints/xl/a.safetensors", small_safetensors());
    (void)write("outside.safetensors", small_safetensors());
    const ModelLibrary library({folder_ / "models"});
    EXPECT_EQ(library.find("xl/a.safetensors"), inside);
    EXPECT_EQ(library.find("../outside.safetensors"), std::nullopt);
    EXPECT_EQ(library.find((folder_ / "outside.safetensors").string()), std::nullopt);
    EXPECT_EQ(library.find(""), std::nullopt);
}

TEST_F(JobTest, a_file_is_read_again_only_when_it_changed) {
    const auto path = write("a.safetensors", small_safetensors());
    const auto first = library_.read(path).value();
    EXPECT_EQ(library_.read(path).value(), first);
    (void)write("a.safetensors", small_safetensors() + "more");
    const auto again = library_.read(path);
    EXPECT_TRUE(!again || *again != first);
}

TEST_F(JobTest, users_add_profiles_and_replace_built_in_ones) {
    Config config;
    config.file = write("plimsoll.toml",
                        "[[profile]]\nname='mine'\ncheckpoint='mine_v2.safetensors'\nfamily='sd15'"
                        "\nnative_side=512\nbest_cfg=5\n"
                        "[[profile]]\nname='sdxl-base'\ncheckpoint='other.safetensors'\n");
    profiles_ = read_profiles(config).value();
    EXPECT_EQ(profiles_.all.size(), advisor::builtin_profiles().size() + 1);
    EXPECT_EQ(resolve(model_request("mine"))->family, "sd15");
    EXPECT_EQ(resolve(model_request("mine"))->settings->width, 512);
    EXPECT_EQ(resolve(model_request("sdxl-base"))->checkpoint, "other.safetensors");
    for (const auto& [toml, reason] : std::vector<std::pair<std::string, std::string>>{
             {"[[profile]]\nname='x'", "profile 1: checkpoint must be given"},
             {"[[profile]]\nname='x'\ncheckpoint='y'\nbest_cfg=99",
              "best_cfg must be a number from 1 to 15"},
             {"[[profile]]\nname='x'\ncheckpoint='y'\nfamily='z'", "profile 1"},
             {"profile = 5", "[[profile]]"}}) {
        config.file = write("plimsoll.toml", toml);
        EXPECT_THAT(read_profiles(config).error().message, HasSubstr(reason));
    }
}

TEST(NameOnServer, a_checkpoint_in_a_subfolder_is_found_and_a_missing_one_lists_the_nearest) {
    ManualClock clock;
    ScriptedUpstream upstream(clock);
    upstream.models["checkpoints"] = {"v1-5-pruned.safetensors", "xl/sd_xl_base_1.0.safetensors",
                                      "win\\dream.safetensors"};
    EXPECT_EQ(name_on_server(upstream, "v1-5-pruned.safetensors").value(),
              "v1-5-pruned.safetensors");
    EXPECT_EQ(name_on_server(upstream, "sd_xl_base_1.0.safetensors").value(),
              "xl/sd_xl_base_1.0.safetensors");
    EXPECT_EQ(name_on_server(upstream, "dream.safetensors").value(), "win\\dream.safetensors");
    const auto missing = name_on_server(upstream, "v1-5-pruned-emaonly.safetensors");
    EXPECT_EQ(missing.error().code, Errc::NotFound);
    EXPECT_THAT(missing.error().message,
                HasSubstr("the nearest of its 3 are: v1-5-pruned.safetensors"));
    upstream.models["checkpoints"].clear();
    EXPECT_THAT(name_on_server(upstream, "a").error().message, HasSubstr("models/checkpoints"));
}

TEST_F(JobTest, pictures_are_saved_under_safe_names_and_never_replace_a_file) {
    EXPECT_EQ(save_image(folder_ / "new" / "out", "a.png", "1").value(),
              folder_ / "new" / "out" / "a.png");
    EXPECT_EQ(save_image(folder_ / "new" / "out", "a.png", "2").value(),
              folder_ / "new" / "out" / "a (2).png");
    for (const std::string& hostile :
         {std::string("../../etc/passwd"), std::string("..\\..\\x.png"), std::string("/abs.png"),
          std::string(".hidden"), std::string("a\nb.png"), std::string(),
          std::string(5000, 'a') + ".png"}) {
        const auto saved = save_image(folder_ / "safe", hostile, "x");
        ASSERT_TRUE(saved) << saved.error().message;
        EXPECT_EQ(saved->parent_path(), folder_ / "safe");
        EXPECT_THAT(saved->filename().string(), Not(testing::StartsWith(".")));
    }
    const auto blocked = save_image(write("file", "") / "out", "a.png", "1");
    EXPECT_EQ(blocked.error().code, Errc::Unavailable);
}

}  // namespace
}  // namespace plimsoll::service
