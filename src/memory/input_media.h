// SPDX-License-Identifier: Apache-2.0
//
// What is known of the images, videos and sounds that a workflow's nodes load from the server.
#pragma once
#include <map>
#include <string>

namespace plimsoll::memory {

struct MediaSize {
    int width = 0;  // pixels; 0: a sound
    int height = 0;
    int frames = 1;  // of a video; images of a file that has several
    double frames_per_second = 0;
    double seconds = 0;  // of a sound
};

// Keys: file names exactly as the workflow writes them, or without ComfyUI's mark of the folder
// (" [output]"). For a file that is missing a usual size is taken, and the program says so.
struct InputMedia {
    std::map<std::string, MediaSize, std::less<>> by_name;
};

}  // namespace plimsoll::memory
