// SPDX-License-Identifier: Apache-2.0
#include <plimsoll/quality_tester.h>

#include "history/sqlite_store.h"
#include "library/convert.h"
#include "library/place.h"
#include "service/comfyui/client.h"
#include "service/quality/quality_lab.h"

#include <chrono>
#include <thread>
#include <utility>

namespace plimsoll {

namespace {

constexpr std::chrono::milliseconds kLook{200};  // chosen: pictures take seconds

class UsersComfyUi final : public service::ComfyAtHand {
  public:
    explicit UsersComfyUi(service::Config config) : config_(std::move(config)) {}
    [[nodiscard]] Result<std::unique_ptr<service::Upstream>> reach() override {
        TRY_ASSIGN(auto client, service::ComfyClient::create(config_));
        return std::unique_ptr<service::Upstream>(std::move(client));
    }
    // Tests look at pictures, not at the card.
    [[nodiscard]] service::CardLook look_at_card(const service::DeviceStats&,
                                                 telemetry::Attention) override {
        return {};
    }
    [[nodiscard]] std::string address() const override { return config_.base_url(); }

  private:
    service::Config config_;
};

QualityTestState to_public(quality::SessionState state) {
    switch (state) {
        case quality::SessionState::Running:
            return QualityTestState::Running;
        case quality::SessionState::Paused:
            return QualityTestState::Paused;
        case quality::SessionState::Done:
            return QualityTestState::Done;
        case quality::SessionState::Cancelled:
            return QualityTestState::Cancelled;
        case quality::SessionState::Proposed:
            return QualityTestState::Proposed;
        case quality::SessionState::Failed:
            break;
    }
    return QualityTestState::Failed;
}

Settings to_public(const quality::Setting& setting) {
    Settings out;
    out.model = setting.checkpoint;
    out.width = setting.width;
    out.height = setting.height;
    out.steps = setting.steps;
    out.cfg = setting.cfg;
    out.sampler = setting.sampler;
    out.scheduler = setting.scheduler;
    out.vae_tiling = setting.vae_tiling;
    return out;
}

std::optional<QualityDifference> to_public(const quality::Estimate& estimate) {
    if (estimate.pairs < quality::kPairsMin) return std::nullopt;
    return QualityDifference{.points = estimate.points,
                             .low = estimate.interval.low,
                             .high = estimate.interval.high,
                             .pairs = estimate.pairs};
}

QualityResults to_public(const service::QualityView& view) {
    const quality::Session& session = view.session;
    const quality::Session::Count count = session.count();
    const quality::Answer answer = session.answer();
    const std::vector<quality::Cost> costs = session.costs();
    QualityResults out;
    out.session_id = session.plan().session_id;
    out.state = to_public(session.progress().state);
    out.why = session.progress().why.message();
    out.waits_for = view.waits_for.message();
    out.images = count.drawn;
    out.images_max = quality::bound_of(session.plan()).images;
    out.seconds_spent = count.seconds_spent;
    out.seconds_left = count.seconds_left;
    out.grade = quality::grade_name(answer.grade).front();
    out.words = answer.words;
    for (const quality::Verdict& verdict : answer.verdicts) {
        const auto& entrant = session.plan().entrants[verdict.candidate];
        out.candidates.push_back({.settings = to_public(entrant.setting),
                                  .seconds = costs[verdict.candidate].seconds,
                                  .peak_bytes = costs[verdict.candidate].peak.count,
                                  .finding = std::string(quality::finding_name(verdict.finding)),
                                  .to_reference = to_public(verdict.to_reference),
                                  .to_best = to_public(verdict.to_best),
                                  .is_tied = verdict.tied,
                                  .is_on_front = verdict.on_front,
                                  .why = verdict.why});
    }
    if (answer.chosen) out.chosen = out.candidates[*answer.chosen].settings;
    return out;
}

Result<QualityResults> to_public(Result<service::QualityView> view) {
    if (!view) return std::unexpected(std::move(view).error());
    return to_public(*view);
}

service::QualityOrder order_of(std::string_view model, quality::TestKind kind,
                               const QualityTestOptions& options) {
    service::QualityOrder order;
    order.model = std::string(model);
    order.kind = kind;
    order.prompts = options.prompts;
    order.minutes_max = options.minutes_max;
    order.margin = options.margin_points;
    order.seed = options.seed;
    return order;
}

}  // namespace

std::string_view quality_test_state_name(QualityTestState state) {
    switch (state) {
        case QualityTestState::Running:
            return "running";
        case QualityTestState::Paused:
            return "paused";
        case QualityTestState::Done:
            return "done";
        case QualityTestState::Cancelled:
            return "cancelled";
        case QualityTestState::Proposed:
            return "proposed";
        case QualityTestState::Failed:
            break;
    }
    return "failed";
}

struct QualityTester::Parts {
    Parts(std::shared_ptr<const service::Place> of_place, std::filesystem::path file)
        : place(std::move(of_place)), history_file(std::move(file)), comfyui(place->config) {}

    Result<std::unique_ptr<history::Store>> open_store() const {
        TRY_ASSIGN(auto store, history::SqliteStore::create(history_file));
        return std::unique_ptr<history::Store>(std::move(store));
    }

    std::shared_ptr<const service::Place> place;
    std::filesystem::path history_file;
    UsersComfyUi comfyui;
    service::QualityLab lab{{.place = [this] { return place; },
                             .comfyui = comfyui,
                             .drawn_by = std::string(service::kDrawnByLibrary),
                             .open_store = [this] { return open_store(); },
                             .clock = system_clock(),
                             .seed = os_seed()}};
};

QualityTester::QualityTester(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
QualityTester::QualityTester(QualityTester&&) noexcept = default;
QualityTester& QualityTester::operator=(QualityTester&&) noexcept = default;
QualityTester::~QualityTester() = default;

Result<QualityTester> QualityTester::create(const Options& options) {
    TRY_ASSIGN(library::Place found, library::find_place(options));
    auto place = std::make_shared<service::Place>();
    place->config = std::move(found.config);
    place->profiles = std::move(found.profiles);
    TRY_ASSIGN(place->scorers, service::read_scorers(place->config));
    place->site = std::move(found.site);
    place->budget = found.budget;
    const std::filesystem::path file = place->config.history_file();
    auto parts = std::make_unique<Parts>(std::move(place), file);
    parts->lab.start();
    return QualityTester(std::move(parts));
}

Result<QualityResults> QualityTester::quick_quality_test(
    std::string_view model, const QualityTestOptions& options,
    const std::function<void(const QualityResults&)>& on_progress,
    const std::atomic<bool>* cancelled) {
    TRY_ASSIGN(const std::string id, start_quality_test(model, QualityTestKind::Quick, options));
    bool is_cancelled = false;
    for (;;) {
        TRY_ASSIGN(const service::QualityView view, parts_->lab.find(id));
        QualityResults now = to_public(view);
        const bool rests =
            now.state == QualityTestState::Paused && !view.session.progress().resumes_itself();
        if (on_progress) on_progress(now);
        if (rests ||
            (now.state != QualityTestState::Running && now.state != QualityTestState::Paused))
            return now;
        if (cancelled != nullptr && *cancelled && !is_cancelled) {
            TRY_DO(parts_->lab.cancel(id));
            is_cancelled = true;
        }
        std::this_thread::sleep_for(kLook);
    }
}

Result<std::string> QualityTester::start_quality_test(std::string_view model, QualityTestKind kind,
                                                      const QualityTestOptions& options) {
    const quality::TestKind inner =
        kind == QualityTestKind::Quick ? quality::TestKind::Quick : quality::TestKind::Full;
    TRY_ASSIGN(const service::QualityView view, parts_->lab.begin(order_of(model, inner, options)));
    return view.session.plan().session_id;
}

Result<QualityResults> QualityTester::get_test_status(std::string_view session_id) {
    return to_public(parts_->lab.find(session_id));
}

Result<QualityResults> QualityTester::resume_quality_test(std::string_view session_id) {
    return to_public(parts_->lab.adopt(session_id));
}

Result<QualityResults> QualityTester::cancel_quality_test(std::string_view session_id) {
    TRY_ASSIGN(const service::QualityView view, parts_->lab.find(session_id));
    if (view.session.plan().drawn_by == service::kDrawnByLibrary &&
        parts_->lab.has_open(session_id))
        return to_public(parts_->lab.cancel(session_id));
    TRY_ASSIGN(const auto store, parts_->open_store());
    TRY_ASSIGN(quality::Session session, service::cancel_session(*store, session_id));
    return to_public(service::QualityView(std::move(session)));
}

}  // namespace plimsoll
