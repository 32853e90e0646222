// SPDX-License-Identifier: Apache-2.0
#include "service/lookout.h"

#include "timing/cards.h"

#include <algorithm>
#include <utility>

namespace plimsoll::service {

namespace {

// Until then the last answer counts: ComfyUI is slow to answer while it loads a model.
constexpr int kMissesUntilGone = 3;

timing::SharedPaces paces_of(const Place& place, const Lookout::Options& options) {
    if (!options.paces || !place.config.learned.value) return nullptr;
    return options.paces(place.site.card_in_history());
}

Result<std::shared_ptr<const Place>> place_without_server(Config config, std::string address,
                                                          const Lookout::Options& options) {
    Place place;
    TRY_ASSIGN(place.profiles, read_profiles(config));
    TRY_ASSIGN(place.scorers, read_scorers(config));
    TRY_ASSIGN(place.budget, budget_of(config));
    TRY_ASSIGN(place.site, find_site(config, {}, nullptr));
    place.config = std::move(config);
    place.address = std::move(address);
    place.control = options.whose == Lookout::Whose::Ours ? advisor::ServerControl::Ours
                                                          : advisor::ServerControl::Theirs;
    place.site.kind = options.kind;
    return std::make_shared<const Place>(std::move(place));
}

}  // namespace

Result<std::unique_ptr<Lookout>> Lookout::create(Config config, ComfyAtHand& comfyui,
                                                 const Clock& clock, const Options& options,
                                                 Callbacks callbacks) {
    std::unique_ptr<Lookout> lookout(new Lookout(comfyui, clock, options, std::move(callbacks)));
    TRY_ASSIGN(lookout->place_,
               place_without_server(std::move(config), comfyui.address(), options));
    return lookout;
}

void Lookout::start() {
    thread_ = std::thread([this] { run(); });
}

void Lookout::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Lookout::set_busy(bool busy) {
    {
        const std::lock_guard lock(mutex_);
        busy_ = busy;
    }
    wake_.notify_all();
}

void Lookout::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        lock.unlock();
        look();
        lock.lock();
        const bool was_busy = busy_;
        // A job that begins is looked at at once.
        wake_.wait_for(lock, pause(), [&] { return stopping_ || (busy_ && !was_busy); });
    }
}

std::chrono::milliseconds Lookout::pause() const {
    const std::chrono::milliseconds real = busy_ ? options_.busy_pause : options_.idle_pause;
    const double pace = comfyui_.pace();
    if (pace <= 1) return real;
    const auto paced = std::chrono::duration_cast<std::chrono::milliseconds>(real / pace);
    return std::min(real, std::max(paced, options_.least_pause));
}

void Lookout::look() {
    const std::lock_guard one(look_mutex_);
    auto upstream = comfyui_.reach();
    auto stats = upstream ? (*upstream)->read_stats()
                          : Result<ServerStats>(std::unexpected(upstream.error()));
    if (stats && stats->devices.empty())
        stats = fail(Errc::Unavailable, comfyui_.address() + " names no device");
    if (!stats) {
        take_paces();
        ++misses_;
        const bool gone = answers_ != true || misses_ >= kMissesUntilGone;
        if (gone) note_contact(false, stats.error().message);
        return;
    }
    misses_ = 0;
    take_stats(*stats);
    take_paces();
    note_contact(true, comfyui_.address());
    const CardSample sample = sample_of(*stats, attention());
    if (sample.look.heat.throttled.value_or(false)) throttled_ms_ = sample.at_ms;
    {
        const std::lock_guard lock(mutex_);
        latest_ = sample;
    }
    if (callbacks_.on_sample) callbacks_.on_sample(sample);
}

void Lookout::note_contact(bool answers, const std::string& why) {
    if (answers_ == answers) return;
    const bool first = !answers_.has_value();
    answers_ = answers;
    if (!answers) {
        const std::lock_guard lock(mutex_);
        latest_.reset();
        auto place = std::make_shared<Place>(*place_);
        place->stats.reset();
        place_ = std::move(place);
    }
    // That it is there when the daemon starts is no news.
    if (callbacks_.on_contact && !(first && answers)) callbacks_.on_contact(answers, why);
}

void Lookout::take_paces() {
    const std::shared_ptr<const Place> before = place();
    timing::SharedPaces paces = paces_of(*before, options_);
    if (paces == before->site.paces) return;
    auto after = std::make_shared<Place>(*before);
    after->site.paces = std::move(paces);
    const std::lock_guard lock(mutex_);
    if (place_ == before) place_ = std::move(after);
}

void Lookout::take_stats(const ServerStats& stats) {
    const std::shared_ptr<const Place> before = place();
    auto after = std::make_shared<Place>(*before);
    after->address = comfyui_.address();
    const bool ours = options_.whose == Whose::Ours;
    if (!(ours && before->stats)) {
        after->stats = stats;
        // A named card is a wish for another place; our own server is that card.
        if (ours || after->config.card.value.empty()) {
            Config config = after->config;
            if (ours)
                config.comfyui_flags.value.clear();  // it says itself what it was started with
            auto site = site_of_stats(config, {}, stats, after->address);
            if (site)
                after->site = std::move(*site);
            else
                after->site.warnings = {site.error().message};
        }
    }
    after->site.kind = options_.kind;
    // The card is known at once, also where the history takes its time: take_paces.
    if (after->site.card_in_history() == before->site.card_in_history())
        after->site.paces = before->site.paces;
    const std::lock_guard lock(mutex_);
    if (place_ == before) place_ = std::move(after);  // else it was reloaded meanwhile
}

Result<void> Lookout::reload(Config config) {
    TRY_ASSIGN(auto place, place_without_server(std::move(config), comfyui_.address(), options_));
    {
        const std::lock_guard lock(mutex_);
        place_ = std::move(place);
    }
    look();
    return {};
}

CardSample Lookout::sample_of(const ServerStats& stats, telemetry::Attention attention) {
    const DeviceStats& device = stats.devices.front();
    CardSample sample{.at_ms = clock_.unix_ms(),
                      .name = device.name,
                      .card = std::nullopt,
                      .total = device.vram_total,
                      .used = std::nullopt,
                      .allocated = std::nullopt,
                      .look = comfyui_.look_at_card(device, attention)};
    if (const auto card = timing::find_card(device.name, device.vram_total))
        sample.card = (*card)->key;
    if (device.type != "cpu") {  // its numbers are those of the whole RAM
        sample.used = device.used();
        sample.allocated = device.allocated();
    }
    return sample;
}

telemetry::Attention Lookout::attention() const {
    const std::lock_guard lock(mutex_);
    return busy_ ? telemetry::Attention::Watching : telemetry::Attention::Resting;
}

std::shared_ptr<const Place> Lookout::place() const {
    const std::lock_guard lock(mutex_);
    return place_;
}

std::optional<CardSample> Lookout::latest() const {
    const std::lock_guard lock(mutex_);
    return latest_;
}

}  // namespace plimsoll::service
