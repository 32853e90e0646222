// SPDX-License-Identifier: Apache-2.0
//
// plimsoll top: the monitor of a running daemon, for a terminal.
#include "base/text.h"
#include "cli/commands.h"
#include "cli/draw_top.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "service/daemon_feed.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace plimsoll::cli {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kLook{50};          // chosen: a key is answered before anybody waits
constexpr milliseconds kPauseMin{500};     // chosen: as the page
constexpr milliseconds kPauseMax{8000};    // chosen: as the page
constexpr milliseconds kFirstWait{3000};   // chosen: --once waits for a card that long
constexpr milliseconds kSnapshotGap{150};  // chosen: a snapshot comes as one piece
constexpr int kEventsAtOnce = 200;         // chosen: a flood does not keep the screen from moving
constexpr std::size_t kPage = 10;          // events

struct Flags {
    ConfigFlags config;
    std::optional<std::string> url;
    bool once = false;
};

// One frame, once the daemon has said what there is.
Result<Exit> show_once(Session& session, TopState& state, service::DaemonFeed& feed) {
    const Clock& clock = session.world.clock;
    const nanoseconds until = clock.steady() + kFirstWait;
    bool quiet = false;
    while (clock.steady() < until && !(state.card() && quiet)) {
        TRY_ASSIGN(const auto event, feed.next(kSnapshotGap));
        quiet = !event;
        if (event) state.take(*event, clock.unix_ms());
    }
    if (session.json) {
        session.answer(state.encode());
        return Exit::Done;
    }
    FrameSize size = kTopSizeMin;
    if (session.out.is_terminal()) size.columns = std::max(size.columns, session.out.columns());
    auto rows = draw_top(state, {}, session.out, size, clock.unix_ms());
    rows.pop_back();  // the keys
    for (const std::string& row : rows) session.out.line(row);
    return Exit::Done;
}

class Watch {
  public:
    Watch(Session& session, TopState& state, service::DaemonFeed& feed, Terminal& terminal)
        : session_(session), state_(state), feed_(feed), terminal_(terminal) {}

    Result<Exit> run() {
        while (!done_ && !terminal_.is_ending()) {
            listen();
            // No time is lost here while the feed waits for events.
            const bool connected = state_.contact() == Contact::Live;
            if (const auto key = terminal_.read_key(connected ? milliseconds(0) : kLook))
                take(*key);
            if (done_) break;
            const auto rows = draw_top(state_, view_, session_.out, terminal_.size(),
                                       session_.world.clock.unix_ms());
            if (!terminal_.show(rows)) return Exit::Failed;
        }
        return Exit::Done;
    }

  private:
    void listen() {
        const Clock& clock = session_.world.clock;
        if (clock.steady() < retry_) return;
        for (int i = 0; i < kEventsAtOnce; ++i) {
            const auto event = feed_.next(i == 0 ? kLook : milliseconds(1));
            if (!event) {
                state_.lose(event.error().message, clock.unix_ms());
                retry_ = clock.steady() + pause_;
                pause_ = std::min<nanoseconds>(pause_ * 2, kPauseMax);
                return;
            }
            if (!*event) return;
            pause_ = kPauseMin;
            state_.take(**event, clock.unix_ms());
        }
    }

    void take(Key key) {
        const std::size_t last = state_.notes().empty() ? 0 : state_.notes().size() - 1;
        const auto scroll = [&](std::size_t by, bool down) {
            view_.scrolled = down ? std::min(view_.scrolled + by, last)
                                  : view_.scrolled - std::min(view_.scrolled, by);
        };
        switch (key) {
            case Key::Quit:
                done_ = true;
                break;
            case Key::Up:
            case Key::Down:
                scroll(1, key == Key::Down);
                break;
            case Key::PageUp:
            case Key::PageDown:
                scroll(kPage, key == Key::PageDown);
                break;
            case Key::Home:
                view_.scrolled = 0;
                break;
            case Key::Help:
                view_.help = !view_.help;
                break;
            case Key::Escape:
                view_.help = false;
                break;
            case Key::Stop:
                terminal_.stop();
                break;
            case Key::Other:
                break;
        }
    }

    Session& session_;
    TopState& state_;
    service::DaemonFeed& feed_;
    Terminal& terminal_;
    TopView view_;
    nanoseconds retry_{0};
    nanoseconds pause_{kPauseMin};
    bool done_ = false;
};

Result<Exit> watch(Session& session, const Flags& flags) {
    TRY_ASSIGN(const std::string url, session.daemon_url(flags.url, flags.config));
    TRY_ASSIGN(const auto feed, session.world.watch_daemon(
                                    url, session.world.environment("PLIMSOLL_TOKEN").value_or("")));
    TopState state(url);
    if (flags.once || session.json || !session.out.is_terminal()) {
        auto shown = show_once(session, state, *feed);
        if (!shown && shown.error().code == Errc::Unavailable)
            return fail(Errc::Unavailable, shown.error().message + std::string(kNoDaemon));
        return shown;
    }
    TRY_ASSIGN(const auto terminal, Terminal::open(session.world.in, session.world.out));
    return Watch(session, state, *feed, *terminal).run();
}

}  // namespace

void add_top(Commands& commands) {
    auto flags = std::make_shared<Flags>();
    CLI::App& command =
        commands.add("top", "watch a running daemon: the card against the load line, job, queue",
                     "plimsoll top\n  plimsoll top --url http://nas.local:8190\n"
                     "  plimsoll top --once",
                     [flags](Session& session) { return watch(session, *flags); });
    add_text(command, "--url", flags->url, "URL",
             "of the daemon, built-in http://127.0.0.1:8190 (PLIMSOLL_LISTEN); its token, if it "
             "has one, is taken from PLIMSOLL_TOKEN");
    command.add_flag("--once", flags->once,
                     "print one frame and end, as it does where there is no terminal");
    add_home_flags(command, flags->config);
}

}  // namespace plimsoll::cli
