// SPDX-License-Identifier: Apache-2.0
//
// What was found out about a prompt when it was accepted, and what became of it since: kept beside
// its bytes in the history, as JSON.
//
// Leaves through: Facts, JSON text.   Threads: plain values.
#pragma once
#include "base/error.h"
#include "base/phrase.h"
#include "base/units.h"
#include "guard/ladder.h"

#include <cstdint>
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
    Phrase what;  // "decode in tiles of 512"
    friend bool operator==(const Edit&, const Edit&) = default;
};

// What we interrupt a job for.
enum class StopCause : std::uint8_t {
    Heat,     // it comes back
    Time,     // it took longer than MAX_DURATION_MIN: it does not
    Spilled,  // these come back smaller, or once more
    Stalled,
    Drifted,
    Crept,  // this one as it was, on a card that was freed
};
[[nodiscard]] std::string_view stop_cause_name(StopCause cause);  // "heat", ...
[[nodiscard]] std::optional<StopCause> parse_stop_cause(std::string_view name);
// nullopt: no failure of the job.
[[nodiscard]] std::optional<Failure> failure_of(StopCause cause);

// Where a latent is saved: between what makes it and its decode.
struct LatentCut {
    std::string sampler_id;
    int slot = 0;
    std::string decode_id;
    std::string stem = {};  // of the file: never one that was there before
    enum class State : std::uint8_t { Saving, Wanted, Loaded };
    // Wanted: ComfyUI forgot what it had computed, the file is what is left. Loaded: it is read in
    // the form that is sent.
    State state = State::Saving;
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
    std::int64_t sent_ms = 0;  // when it last went to ComfyUI; 0: it has not
    // While we interrupt it: what for, and what is said of it. Kept, so that a gateway that dies
    // meanwhile does not take it for its client's wish.
    std::optional<StopCause> stopping;
    Phrase stop_reason;
    std::optional<LatentCut> latent;
    // Activations that a run took, times those that were forecast: the next plan leaves room.
    double drift = 1;
    Phrases events;  // for people: "out of memory: freed the card, once more"
};
inline constexpr std::size_t kEventsMax = 20;  // chosen: the ladder has under ten steps
void note_event(Facts& facts, Phrase event);   // the oldest make room

[[nodiscard]] std::string encode_facts(const Facts& facts);
// A field that is missing or of another type is left at its default: a file of another version.
[[nodiscard]] Facts decode_facts(std::string_view text);

}  // namespace plimsoll::guard
