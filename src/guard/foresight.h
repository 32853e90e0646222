// SPDX-License-Identifier: Apache-2.0
//
// Foresight: what is forecast of a prompt on this machine, after the jobs that ran before it and
// beside the programs that hold some of the card; and whether emptying the card first would help.
//
// Enters through: Place, prompts, programs that ran.   Leaves through: Forecaster, Surroundings.
// Threads: safe from any.
#pragma once
#include "advisor/forecaster.h"
#include "guard/residents.h"
#include "service/models.h"
#include "service/place.h"

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

// Less than this on the card is not worth a reload of a model. Chosen.
inline constexpr Bytes kWorthClearing = Bytes(64LL << 20U);

class Foresight {
  public:
    using Past = std::vector<SharedProgram>;
    using Make = std::function<advisor::Forecaster(const service::Place&, std::string_view prompt,
                                                   const Past& past)>;
    // `make`: a law of tests'; nullptr: the forecaster on the model files of this machine.
    explicit Foresight(Make make) : make_(std::move(make)) {}

    [[nodiscard]] advisor::Forecaster forecaster(const service::Place& place,
                                                 std::string_view prompt, const Past& past);
    struct Contents {
        SharedProgram program;  // what it does, and leaves on the card; nullptr: not known
        std::string family;     // of its network: "sdxl"; empty where it is not known
    };
    [[nodiscard]] Contents contents(const service::Place& place, std::string_view prompt);
    // Whether what is on the card lifts it over the line, and would not if it were cleared.
    // `cleared_peak`: its forecast on a cleared card, where there is one already.
    [[nodiscard]] static bool needs_clear(std::string_view prompt, const service::Place& place,
                                          const advisor::Forecaster& ask,
                                          std::optional<Bytes> cleared_peak = std::nullopt);

    // What other programs hold now. The least that they have held counts: more than that goes away
    // again, so a job waits for it rather than being made smaller.
    void note_others(Bytes used);
    // They hold clearly more than that.
    [[nodiscard]] bool others_have_come(const service::Place& place) const;

  private:
    [[nodiscard]] advisor::Surroundings surroundings_of(const service::Place& place,
                                                        std::string_view prompt);

    Make make_;
    std::mutex models_mutex_;  // is held while files are read
    std::unique_ptr<service::ModelLibrary> models_;
    mutable std::mutex others_mutex_;
    std::optional<Bytes> others_least_;
};

}  // namespace plimsoll::guard
