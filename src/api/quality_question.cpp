// SPDX-License-Identifier: Apache-2.0
#include "api/quality_question.h"

#include "api/app.h"
#include "base/text.h"
#include "wire/encode_quality.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace plimsoll::api {

namespace {

constexpr std::string_view kNoUuid = "sessionId must be a UUID, see /api/quality-sessions";

Answer wrong_field(std::string_view field, std::string_view what) {
    return answer_error({Errc::InvalidInput, fmt::format("{} must be {}", field, what)},
                        json::object{{"field", field}});
}

// An object with no other fields than these; nullopt and `refused` filled where it is none.
std::optional<json::value> read_object(const std::string& body,
                                       std::span<const std::string_view> known, Answer& refused) {
    auto value = parse_json(body);
    if (!value) {
        refused =
            answer_error({Errc::InvalidInput, "the body is no JSON: " + value.error().message});
        return std::nullopt;
    }
    if (!value->is_object()) {
        refused = answer_error({Errc::InvalidInput, "the body must be an object"});
        return std::nullopt;
    }
    for (const auto& entry : value->get_object())
        if (std::ranges::find(known, std::string_view(entry.key())) == known.end()) {
            refused = answer_error(
                {Errc::InvalidInput,
                 fmt::format("unknown field '{}'", std::string_view(entry.key()).substr(0, 80))},
                json::object{{"field", entry.key()}});
            return std::nullopt;
        }
    return std::move(*value);
}

// 2 and 2.0 alike.
std::optional<std::int64_t> whole_of(const json::value* value, std::int64_t least,
                                     std::int64_t most) {
    if (value == nullptr || !value->is_number()) return std::nullopt;
    const double number = value->is_int64()    ? static_cast<double>(value->get_int64())
                          : value->is_uint64() ? static_cast<double>(value->get_uint64())
                                               : value->get_double();
    if (std::floor(number) != number || number < static_cast<double>(least) ||
        number > static_cast<double>(most))
        return std::nullopt;
    return static_cast<std::int64_t>(number);
}

// In characters, as JSON Schema counts them.
bool is_text_of(const json::value* value, std::size_t least, std::size_t most) {
    if (value == nullptr || !value->is_string()) return false;
    const std::string_view text = value->get_string();
    const auto length = static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80; }));
    return length >= least && length <= most;
}

std::optional<quality::Cell> cell_of(const json::value* value) {
    if (value == nullptr || !value->is_object()) return std::nullopt;
    for (const auto& entry : value->get_object())
        if (entry.key() != "candidate" && entry.key() != "block") return std::nullopt;
    const auto candidate = whole_of(find(*value, "candidate"), 0, quality::kCandidatesMax);
    const auto block = whole_of(find(*value, "block"), 0, quality::kBlocksMax);
    if (!candidate || !block) return std::nullopt;
    return quality::Cell{static_cast<std::size_t>(*candidate), static_cast<std::size_t>(*block)};
}

std::unexpected<Answer> wrong(std::string_view field, std::string_view what) {
    return std::unexpected(wrong_field(field, what));
}

Read<service::Ballot> ballot_of(const json::value& body) {
    const auto left = cell_of(find(body, "left"));
    if (!left) return wrong("left", "{candidate, block} of a picture");
    const auto right = cell_of(find(body, "right"));
    if (!right) return wrong("right", "{candidate, block} of a picture");
    const auto preferred = find_string(body, "preferred");
    if (preferred != "left" && preferred != "right" && preferred != "neither")
        return wrong("preferred", "left, right or neither");
    service::Ballot ballot{.vote_id = {},
                           .left = *left,
                           .right = *right,
                           .preferred = preferred == "left"    ? quality::Preferred::First
                                        : preferred == "right" ? quality::Preferred::Second
                                                               : quality::Preferred::Neither};
    if (const json::value* const vote_id = find(body, "voteId")) {
        if (!vote_id->is_string() || !is_uuid(std::string_view(vote_id->get_string())))
            return wrong("voteId", "a UUID");
        ballot.vote_id = to_lower_ascii(std::string_view(vote_id->get_string()));
    }
    if (const json::value* const voter = find(body, "voter")) {
        if (!is_text_of(voter, 1, 64) || voter->get_string().size() > service::kVoterBytesMax)
            return wrong("voter", "text of 1 to 64 bytes");
        ballot.voter = std::string(voter->get_string());
    }
    return ballot;
}

}  // namespace

Read<service::QualityOrder> read_order(const std::string& body_text) {
    constexpr std::array<std::string_view, 7> kFields{
        "model", "testType", "prompt", "prompts", "minutes", "marginPoints", "seed"};
    Answer refused;
    const auto body = read_object(body_text, kFields, refused);
    if (!body) return std::unexpected(std::move(refused));
    service::QualityOrder order;
    if (!is_text_of(find(*body, "model"), 1, 512))
        return wrong("model", "text of 1 to 512 characters");
    order.model = *find_string(*body, "model");
    const auto kind = find_string(*body, "testType");
    if (kind != "quick" && kind != "full") return wrong("testType", "quick or full");
    order.kind = kind == "quick" ? quality::TestKind::Quick : quality::TestKind::Full;
    if (const json::value* const prompt = find(*body, "prompt")) {
        if (!is_text_of(prompt, 1, 2000)) return wrong("prompt", "text of 1 to 2000 characters");
        order.prompts.emplace_back(prompt->get_string());
    }
    if (const json::value* const prompts = find(*body, "prompts")) {
        if (!prompts->is_array() || prompts->get_array().empty() ||
            prompts->get_array().size() > 32)
            return wrong("prompts", "1 to 32 texts");
        for (const json::value& prompt : prompts->get_array()) {
            if (!is_text_of(&prompt, 1, 2000))
                return wrong("prompts", "texts of 1 to 2000 characters");
            order.prompts.emplace_back(prompt.get_string());
        }
    }
    if (const json::value* const minutes = find(*body, "minutes")) {
        order.minutes_max = find_number(*body, "minutes");
        if (!minutes->is_number() || !(*order.minutes_max >= 1) ||
            !(*order.minutes_max <= service::kMinutesMax))
            return wrong("minutes", fmt::format("1 to {:.0f}", service::kMinutesMax));
    }
    if (const json::value* const margin = find(*body, "marginPoints")) {
        order.margin = find_number(*body, "marginPoints");
        if (!margin->is_number() || !(*order.margin >= 0.5) || !(*order.margin <= 50))
            return wrong("marginPoints", "0.5 to 50");
    }
    if (const json::value* const seed = find(*body, "seed")) {
        const auto number = whole_of(seed, 0, std::int64_t{1} << 47);
        if (!number) return wrong("seed", "a whole number from 0 to 140737488355328");
        order.seed = static_cast<std::uint64_t>(*number);
    }
    return order;
}

Read<service::Ballot> read_ballot(const std::string& body_text) {
    constexpr std::array<std::string_view, 5> kFields{"left", "right", "preferred", "voteId",
                                                      "voter"};
    Answer refused;
    const auto body = read_object(body_text, kFields, refused);
    if (!body) return std::unexpected(std::move(refused));
    return ballot_of(*body);
}

Read<std::vector<service::Ballot>> read_ballots(const std::string& body_text) {
    constexpr std::array<std::string_view, 1> kFields{"ballots"};
    constexpr std::array<std::string_view, 6> kOfBallot{"left",   "right",   "preferred",
                                                        "voteId", "votedMs", "voter"};
    Answer refused;
    const auto body = read_object(body_text, kFields, refused);
    if (!body) return std::unexpected(std::move(refused));
    const json::value* const list = find(*body, "ballots");
    if (list == nullptr || !list->is_array() || list->get_array().empty() ||
        list->get_array().size() > service::kBallotsAtOnceMax)
        return wrong("ballots", fmt::format("1 to {} votes", service::kBallotsAtOnceMax));
    std::vector<service::Ballot> ballots;
    for (const json::value& one : list->get_array()) {
        if (!one.is_object()) return wrong("ballots", "objects");
        for (const auto& entry : one.get_object())
            if (std::ranges::find(kOfBallot, std::string_view(entry.key())) == kOfBallot.end())
                return wrong("ballots",
                             "without other fields than left, right, preferred, voteId, "
                             "votedMs and voter");
        if (const json::value* const voted = find(one, "votedMs");
            voted != nullptr && !whole_of(voted, 0, std::int64_t{1} << 53))
            return wrong("votedMs", "milliseconds since 1970");
        auto ballot = ballot_of(one);
        if (!ballot) return std::unexpected(std::move(ballot.error()));
        ballots.push_back(std::move(*ballot));
    }
    return ballots;
}

Answer answer_session_error(Call& call, const Error& error) {
    if (error.code != Errc::NotFound) return answer_error(error);
    const auto known = call.app.parts().quality.list();
    return answer_error(
        error, known ? json::value(wire::encode_quality_sessions(*known)) : json::value(nullptr));
}

Answer with_session(Call& call, const std::function<Answer(const std::string&)>& use) {
    const std::string id = to_lower_ascii(call.params.front());
    if (!is_uuid(id)) return answer_error({Errc::InvalidInput, std::string(kNoUuid)});
    return use(id);
}

Answer with_cell(Call& call,
                 const std::function<Answer(const std::string&, const quality::Cell&)>& use) {
    return with_session(call, [&](const std::string& id) {
        const auto candidate = parse_integer(call.params.at(1));
        const auto block = parse_integer(call.params.at(2));
        if (!candidate || *candidate < 0 || *candidate > 99 || !block || *block < 0 || *block > 99)
            return answer_error({Errc::InvalidInput, "candidate and block must be from 0 to 99"});
        return use(id, {static_cast<std::size_t>(*candidate), static_cast<std::size_t>(*block)});
    });
}

}  // namespace plimsoll::api
