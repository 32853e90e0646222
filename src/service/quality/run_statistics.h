// SPDX-License-Identifier: Apache-2.0
//
// NIQE of the pictures of a session, held against the session's own reference pictures: the first
// eight blocks' of the reference setting, without those of the same prompt as the picture. Until
// all of them are drawn there is none; then earlier pictures are measured too, so that all are
// measured alike.
//
// Enters through: picture files.   Leaves through: Measure::Niqe in Seen.   Threads: one.
#pragma once
#include "base/error.h"
#include "quality/lab/session.h"
#include "quality/natural/niqe.h"

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::service {

// Seam: the bytes of a picture file, sampled.
using SamplePicture = std::function<Result<quality::NiqeSample>(std::string_view bytes)>;
[[nodiscard]] Result<quality::NiqeSample> sample_picture_file(std::string_view bytes);

class RunStatistics {
  public:
    explicit RunStatistics(SamplePicture sample = sample_picture_file)
        : sample_(std::move(sample)) {}

    // A picture of the session that has no NIQE yet and could have one; nullopt: there is none.
    [[nodiscard]] std::optional<quality::Cell> next_unmeasured(const quality::Session& session);
    // Its NIQE, or the reason why it has none, in `seen` (Measure::Niqe, else unscored[kNiqeName]).
    void measure(const quality::Session& session, const quality::Cell& cell, quality::Seen& seen);

  private:
    // Pictures of one session at a time are looked at.
    void begin(const quality::Session& session);
    [[nodiscard]] const Result<quality::NiqeModel>& model_for(const quality::Session& session,
                                                              std::size_t block);

    SamplePicture sample_;
    std::string session_id_;
    std::map<std::size_t, quality::NiqeSample> references_;     // by block
    std::map<std::size_t, Result<quality::NiqeModel>> models_;  // by what is left out
    bool is_hopeless_ = false;  // the references themselves cannot be read or are too small
};

// No name that a scorer of the user's can have.
inline constexpr std::string_view kNiqeName = "(niqe)";
inline constexpr std::size_t kNiqeBlocks = 8;  // of the session; the reference's own test had 8

}  // namespace plimsoll::service
