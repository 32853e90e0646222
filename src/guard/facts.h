// SPDX-License-Identifier: Apache-2.0
//
// What was found out about a prompt when it was accepted, and what became of it since: kept beside
// its bytes in the history, as JSON.
//
// Leaves through: Facts, JSON text.   Threads: plain values.
#pragma once
#include "base/error.h"
#include "base/units.h"
#include "guard/ladder.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

// One value that was changed, or one warning's place.
struct Edit {
    std::string knob;  // "tile_vae": advisor::change_kind_name
    std::string node_id;
    std::string input;
    std::string from;
    std::string to;
    std::string what;  // "decode in tiles of 512"
    friend bool operator==(const Edit&, const Edit&) = default;
};

struct Facts {
    std::string client;        // its client_id; empty: none
    std::string number = "0";  // as the client was told
    std::string model;         // guard::models_of
    std::string shape;         // guard::shape_of of what is sent
    std::string digest;        // of the prompt: the same is answered from ComfyUI's cache
    bool strict = false;       // its place was asked for
    bool may_change = false;   // the policy allows another form
    bool anyway = false;       // its user sends it whatever speaks against it
    bool stop_late = false;    // interrupted where it takes longer than MAX_DURATION_MIN
    std::vector<std::string> pins;
    std::optional<Bytes> peak;   // forecast; nullopt: not understood
    std::optional<Bytes> floor;  // of it what must be on the card
    std::optional<double> seconds;
    double load_seconds = 0;  // part of them that falls away where the models are loaded
    std::vector<Edit> edits;
    Tries tries;
    std::vector<std::string> events;  // for people: "out of memory: freed the card, once more"
};
inline constexpr std::size_t kEventsMax = 20;  // chosen: the ladder has under ten steps

[[nodiscard]] std::string encode_facts(const Facts& facts);
// A field that is missing or of another type is left at its default: a file of another version.
[[nodiscard]] Facts decode_facts(std::string_view text);

}  // namespace plimsoll::guard
