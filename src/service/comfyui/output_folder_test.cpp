// SPDX-License-Identifier: Apache-2.0
//
// Goal: the folder that ComfyUI writes to is among the guesses, whichever way it was started.
// Method: command lines, and /internal/folder_paths as ComfyUI 0.3.64 answered it.
#include "service/comfyui/output_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::service {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(OutputFolder, a_flag_says_it_before_all_else) {
    EXPECT_THAT(output_folders_of_argv({"/opt/comfy/main.py", "--output-directory", "/data/out",
                                        "--base-directory", "/base"}),
                ElementsAre("/data/out"));
    EXPECT_THAT(output_folders_of_argv({"main.py", "--output-directory=/data/out/../pictures"}),
                ElementsAre("/data/pictures"));
    EXPECT_THAT(output_folders_of_argv({"main.py", "--base-directory", "/base"}),
                ElementsAre("/base/output"));
    EXPECT_THAT(output_folders_of_argv({"/opt/comfy/main.py", "--listen"}),
                ElementsAre("/opt/comfy/output"));
}

TEST(OutputFolder, what_is_relative_to_a_folder_that_nobody_knows_is_no_guess) {
    for (const std::vector<std::string>& argv : std::vector<std::vector<std::string>>{
             {"main.py"}, {"main.py", "--output-directory", "out"}, {"--output-directory"}, {}})
        EXPECT_THAT(output_folders_of_argv(argv), IsEmpty());
}

TEST(OutputFolder, models_that_comfyui_saves_itself_tell_it) {
    EXPECT_THAT(
        output_folders_of_paths(
            R"({"checkpoints": ["/c/models/checkpoints", "/more/sd", "/c/output/checkpoints"],
                "loras": ["/c/models/loras", "/c/output/loras", "/c/elsewhere/loras"],
                "vae": ["/c/models/vae", "/c/output/vae"],
                "custom_nodes": ["/c/custom_nodes"]})"),
        ElementsAre("/c/output", "/c/models"));
    for (const char* const none : {"", "[]", "<html>", R"({"checkpoints": "x"})",
                                   R"({"checkpoints": ["checkpoints"], "vae": [7], "loras": {}})"})
        EXPECT_THAT(output_folders_of_paths(none), IsEmpty()) << none;
}

}  // namespace
}  // namespace plimsoll::service
