// SPDX-License-Identifier: Apache-2.0
//
// Quality tests: begin, watch, pause, look at pictures, vote, report.
#include "api/app.h"
#include "api/picture.h"
#include "api/quality_question.h"
#include "api/routes.h"
#include "base/text.h"
#include "service/quality/look.h"
#include "service/quality/report.h"
#include "wire/encode_quality.h"

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <utility>

namespace plimsoll::api {

namespace {

constexpr std::int64_t kMapSide = 512;     // of a map, unless asked otherwise
constexpr std::int64_t kPairsListed = 20;  // unless asked otherwise

Answer answer_view(const Result<service::QualityView>& view, int status = 200) {
    return view ? answer_json(wire::encode_quality(*view), status) : answer_error(view.error());
}

Answer change(Call& call,
              Result<service::QualityView> (service::QualityLab::*what)(std::string_view)) {
    return with_session(call, [&](const std::string& id) {
        const auto view = (call.app.parts().quality.*what)(id);
        return view ? answer_view(view) : answer_session_error(call, view.error());
    });
}

// A picture of a session never changes under its address, nor does its map: the reference is drawn
// before its candidates.
Answer answer_made(std::string bytes) {
    Answer answer = answer_picture(std::move(bytes));
    if (answer.status == 200) answer.headers.push_back({"Cache-Control", "private, max-age=86400"});
    return answer;
}

Result<std::optional<std::int64_t>> side_of(const Call& call) {
    return call.query.whole("side", service::kLookSideLeast, service::kLookSideMax);
}

}  // namespace

Answer post_quality_test(Call& call) {
    const auto order = read_order(call.body);
    if (!order) return order.error();
    return answer_view(call.app.parts().quality.begin(*order), 202);
}

Answer post_quality_plan(Call& call) {
    const auto order = read_order(call.body);
    if (!order) return order.error();
    const auto plan = call.app.parts().quality.plan(*order);
    return plan ? answer_json(wire::encode_quality_plan(*plan)) : answer_error(plan.error());
}

Answer get_quality_test(Call& call) {
    const auto asked = call.query.text("sessionId", 1, 64);
    if (!asked) return answer_error(asked.error());
    if (!*asked)
        return answer_error({Errc::InvalidInput, "sessionId must be given"},
                            json::object{{"field", "sessionId"}});
    const std::string id = to_lower_ascii(**asked);
    if (!is_uuid(id))
        return answer_error(
            {Errc::InvalidInput, "sessionId must be a UUID, see /api/quality-sessions"});
    const auto view = call.app.parts().quality.find(id);
    return view ? answer_view(view) : answer_session_error(call, view.error());
}

Answer list_quality_sessions(Call& call) {
    const auto known = call.app.parts().quality.list();
    return known ? answer_json(wire::encode_quality_sessions(*known)) : answer_error(known.error());
}

Answer post_quality_pause(Call& call) {
    return change(call, &service::QualityLab::pause);
}
Answer post_quality_resume(Call& call) {
    return change(call, &service::QualityLab::resume);
}
Answer post_quality_cancel(Call& call) {
    return change(call, &service::QualityLab::cancel);
}

Answer list_quality_proposals(Call& call) {
    const auto proposed = call.app.parts().quality.proposals();
    return proposed ? answer_json(wire::encode_proposals(*proposed))
                    : answer_error(proposed.error());
}
Answer post_quality_accept(Call& call) {
    return change(call, &service::QualityLab::accept);
}

Answer get_quality_image(Call& call) {
    return with_cell(call, [&](const std::string& id, const quality::Cell& cell) {
        const auto side = side_of(call);
        if (!side) return answer_error(side.error());
        const auto file = call.app.parts().quality.picture_file(id, cell);
        if (!file) return answer_session_error(call, file.error());
        if (!*side) return answer_picture_file(*file);
        auto small = service::small_picture(*file, static_cast<int>(**side));
        return small ? answer_made(std::move(*small)) : answer_error(small.error());
    });
}

Answer get_quality_map(Call& call) {
    return with_cell(call, [&](const std::string& id, const quality::Cell& cell) {
        const auto side = side_of(call);
        if (!side) return answer_error(side.error());
        const auto view = call.app.parts().quality.find(id);
        if (!view) return answer_session_error(call, view.error());
        auto map =
            service::draw_map(view->session, cell, static_cast<int>(side->value_or(kMapSide)));
        return map ? answer_made(std::move(*map)) : answer_error(map.error());
    });
}

Answer get_quality_mark(Call& call) {
    return with_cell(call, [&](const std::string& id, const quality::Cell& cell) {
        const auto view = call.app.parts().quality.find(id);
        if (!view) return answer_session_error(call, view.error());
        const auto mark = service::mark_defect(view->session, cell);
        return mark ? answer_json(wire::encode_mark(*mark)) : answer_error(mark.error());
    });
}

Answer get_quality_report(Call& call) {
    return with_session(call, [&](const std::string& id) {
        const auto view = call.app.parts().quality.find(id);
        if (!view) return answer_session_error(call, view.error());
        const auto votes = call.app.parts().quality.count_votes(id);
        if (!votes) return answer_session_error(call, votes.error());
        const auto language = call.query.word("lang", {"en", "zh"});
        if (!language) return answer_error(language.error(), {{"field", "lang"}});
        Answer answer;
        answer.content_type = "text/html; charset=utf-8";
        answer.headers.push_back(
            {"Content-Disposition",
             fmt::format("attachment; filename=\"plimsoll-quality-{}.html\"", id.substr(0, 8))});
        answer.body = service::write_report(view->session, *votes, language->value_or("en"));
        return answer;
    });
}

Answer get_quality_pair(Call& call) {
    return with_session(call, [&](const std::string& id) {
        const auto pair = call.app.parts().quality.next_pair(id);
        return pair ? answer_json(wire::encode_pair(*pair))
                    : answer_session_error(call, pair.error());
    });
}

Answer list_quality_pairs(Call& call) {
    return with_session(call, [&](const std::string& id) {
        const auto count = call.query.whole("count", 1, service::kPairsListedMax);
        if (!count) return answer_error(count.error());
        const auto pairs = call.app.parts().quality.next_pairs(
            id, static_cast<std::size_t>(count->value_or(kPairsListed)));
        return pairs ? answer_json(wire::encode_pairs(id, *pairs))
                     : answer_session_error(call, pairs.error());
    });
}

Answer list_quality_ballots(Call& call) {
    return with_session(call, [&](const std::string& id) {
        const auto ballots = call.app.parts().quality.ballots(id);
        return ballots ? answer_json(wire::encode_ballots(id, *ballots))
                       : answer_session_error(call, ballots.error());
    });
}

Answer post_quality_ballots(Call& call) {
    const auto ballots = read_ballots(call.body);
    if (!ballots) return ballots.error();
    return with_session(call, [&](const std::string& id) {
        const auto count = call.app.parts().quality.vote_all(id, *ballots);
        return count ? answer_json(wire::encode_votes(id, *count))
                     : answer_session_error(call, count.error());
    });
}

Answer list_quality_votes(Call& call) {
    return with_session(call, [&](const std::string& id) {
        const auto count = call.app.parts().quality.count_votes(id);
        return count ? answer_json(wire::encode_votes(id, *count))
                     : answer_session_error(call, count.error());
    });
}

Answer post_quality_vote(Call& call) {
    auto ballot = read_ballot(call.body);
    if (!ballot) return ballot.error();
    if (ballot->voter.empty()) ballot->voter = call.app.parts().lookout.place()->config.voter.value;
    return with_session(call, [&](const std::string& id) {
        const auto count = call.app.parts().quality.vote(id, *ballot);
        return count ? answer_json(wire::encode_votes(id, *count))
                     : answer_session_error(call, count.error());
    });
}

}  // namespace plimsoll::api
