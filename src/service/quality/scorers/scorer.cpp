// SPDX-License-Identifier: Apache-2.0
#include "service/quality/scorers/scorer.h"

#include "base/base64.h"
#include "base/json.h"
#include "base/text.h"
#include "net/blocking_client.h"
#include "quality/lab/session.h"
#include "service/quality/scorers/run_program.h"
#include "service/toml_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace plimsoll::service {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t kNameBytesMax = 32;
constexpr std::size_t kWordsMax = 64;  // chosen: a hand-written command
constexpr std::size_t kWordBytesMax = 4096;
constexpr double kDeadlineMin = 0.1;  // seconds; chosen
constexpr double kDeadlineMax = 600;
constexpr milliseconds kLook{50};  // chosen: how soon a stop is noticed

struct Address {
    net::Endpoint endpoint;
    std::string target;
};
Result<Address> parse_url(const std::string& url) {
    constexpr std::string_view kScheme = "http://";
    const std::size_t slash =
        url.starts_with(kScheme) ? url.find('/', kScheme.size()) : std::string::npos;
    TRY_ASSIGN(net::Endpoint endpoint, net::parse_endpoint(url.substr(0, slash)));
    return Address{.endpoint = std::move(endpoint),
                   .target = slash == std::string::npos ? "/" : url.substr(slash)};
}

Result<void> check(const ScorerSpec& spec, std::string_view where) {
    const auto refuse = [&](std::string_view what) {
        return fail(Errc::InvalidInput, fmt::format("{}: {}", where, what));
    };
    const std::string& name = spec.rules.name;
    const bool plain = std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-';
    });
    if (name.empty() || name.size() > kNameBytesMax || !plain)
        return refuse(fmt::format("name must be 1 to {} letters, digits, _ or -", kNameBytesMax));
    if (spec.command.empty() == spec.url.empty())
        return refuse("either command or url must be given");
    if (!spec.command.empty() && spec.command.front().empty())
        return refuse("command must begin with a program");
    for (const std::string& word : spec.command)
        if (word.find('\0') != std::string::npos) return refuse("command must be text");
    if (!spec.url.empty())
        if (const auto address = parse_url(spec.url); !address)
            return fail_at(where, address.error());
    return {};
}

// What both kinds of scorers are asked; `put` adds the pictures.
template <class Put>
json::object question(const std::string& name, const ScoredPicture& picture, Put put) {
    json::object out{{"scorer", name},
                     {"prompt", picture.prompt},
                     {"negativePrompt", picture.negative},
                     {"picture", put(picture.file, picture.bytes)}};
    out["reference"] = picture.reference_file.empty()
                           ? json::value(nullptr)
                           : json::value(put(picture.reference_file, picture.reference_bytes));
    return out;
}

std::string full_path(const std::filesystem::path& path) {
    std::error_code ignored;
    return std::filesystem::absolute(path, ignored).string();
}

class CommandScorer final : public Scorer {
  public:
    explicit CommandScorer(ScorerSpec spec) : spec_(std::move(spec)) {}

    Result<double> score(const ScoredPicture& picture, const std::atomic<bool>* left) override {
        const std::string input =
            json::serialize(question(spec_.rules.name, picture,
                                     [](const std::filesystem::path& file, std::string_view) {
                                         return json::object{{"file", full_path(file)}};
                                     })) +
            "\n";
        TRY_ASSIGN(const std::string output, run_program({.command = spec_.command,
                                                          .input = input,
                                                          .deadline = spec_.deadline,
                                                          .output_bytes_max = kScoreBytesMax,
                                                          .left = left}));
        return parse_score(output);
    }

  private:
    ScorerSpec spec_;
};

std::string_view content_type_of(std::string_view bytes) {
    if (bytes.starts_with("\x89PNG")) return "image/png";
    if (bytes.starts_with("\xFF\xD8")) return "image/jpeg";
    if (bytes.starts_with("RIFF")) return "image/webp";
    return "application/octet-stream";
}

struct Asked {
    net::Endpoint endpoint;
    net::HttpCall call;
    net::Patience patience;
    std::mutex mutex;
    std::condition_variable answered;
    std::optional<Result<net::HttpReply>> reply;
};

// A daemon that stops does not wait for the deadline: the request is left to a thread that ends
// with it.
Result<net::HttpReply> call_unless_left(std::shared_ptr<Asked> asked,
                                        const std::atomic<bool>* left) {
    std::thread([asked] {
        auto reply = net::call_http(asked->endpoint, asked->call, asked->patience);
        const std::lock_guard lock(asked->mutex);
        asked->reply = std::move(reply);
        asked->answered.notify_all();
    }).detach();
    std::unique_lock lock(asked->mutex);
    while (!asked->answered.wait_for(lock, kLook, [&] { return asked->reply.has_value(); }))
        if (left != nullptr && *left) return fail(Errc::Unavailable, "stopped");
    return std::move(*asked->reply);
}

class HttpScorer final : public Scorer {
  public:
    explicit HttpScorer(ScorerSpec spec) : spec_(std::move(spec)) {}

    Result<double> score(const ScoredPicture& picture, const std::atomic<bool>* left) override {
        if (std::max(picture.bytes.size(), picture.reference_bytes.size()) > kScoredBytesMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("a picture has {} bytes, at most {} are sent",
                                    picture.bytes.size(), kScoredBytesMax));
        TRY_ASSIGN(const Address address, parse_url(spec_.url));
        const std::string body = json::serialize(question(
            spec_.rules.name, picture, [](const std::filesystem::path&, std::string_view bytes) {
                return json::object{{"contentType", content_type_of(bytes)},
                                    {"base64", encode_base64(bytes)}};
            }));
        auto asked = std::make_shared<Asked>();
        asked->endpoint = address.endpoint;
        asked->call.method = "POST";
        asked->call.target = address.target;
        asked->call.body = body;
        asked->patience = {.connect = std::min(milliseconds(3000), spec_.deadline),
                           .whole = spec_.deadline,
                           .body_bytes_max = kScoreBytesMax};
        TRY_ASSIGN(const net::HttpReply reply, call_unless_left(asked, left));
        if (reply.status != 200)
            return fail(Errc::Unavailable, fmt::format("{} answered {}{}{}", spec_.url,
                                                       reply.status, reply.body.empty() ? "" : ": ",
                                                       printable(reply.body.substr(0, 200))));
        return parse_score(reply.body);
    }

  private:
    ScorerSpec spec_;
};

// Words at spaces; quotes of either kind keep one together. No other shell rule holds.
std::vector<std::string> split_words(std::string_view text) {
    std::vector<std::string> words;
    std::string word;
    bool open = false;
    char quote = 0;
    for (const char c : text) {
        if (quote != 0) {
            if (c == quote)
                quote = 0;
            else
                word += c;
        } else if (c == '"' || c == '\'') {
            quote = c;
            open = true;
        } else if (c == ' ' || c == '\t') {
            if (open) words.push_back(std::exchange(word, {}));
            open = false;
        } else {
            word += c;
            open = true;
        }
    }
    if (open) words.push_back(std::move(word));
    return words;
}

Result<void> take_option(std::string_view option, std::string_view where, ScorerSpec& spec) {
    const std::size_t colon = option.find(':');
    const std::string_view key = option.substr(0, colon);
    const auto value =
        colon == std::string_view::npos ? std::nullopt : parse_number(option.substr(colon + 1));
    if (option == "lower") {
        spec.rules.higher_is_better = false;
    } else if (key == "margin" && value && *value > 0 && *value <= 1e9) {
        spec.rules.margin = value;
    } else if (key == "deadline" && value && *value >= kDeadlineMin && *value <= kDeadlineMax) {
        spec.deadline = milliseconds(std::llround(*value * 1000));
    } else {
        return fail(Errc::InvalidInput,
                    fmt::format("{}: '{}' must be lower, margin:NUMBER above 0 or deadline:SECONDS "
                                "from {} to {}",
                                where, option.substr(0, 80), kDeadlineMin, kDeadlineMax));
    }
    return {};
}

}  // namespace

std::unique_ptr<Scorer> make_scorer(const ScorerSpec& spec) {
    if (spec.url.empty()) return std::make_unique<CommandScorer>(spec);
    return std::make_unique<HttpScorer>(spec);
}

Result<double> parse_score(std::string_view answer) {
    if (trim(answer).empty()) return fail(Errc::Corrupt, "it answered nothing");
    const auto value = parse_json(answer, {.bytes_max = kScoreBytesMax, .depth_max = 8});
    if (!value)
        return fail(Errc::Corrupt, fmt::format("its answer is no JSON (NaN is none either): '{}'",
                                               printable(trim(answer).substr(0, 80))));
    if (const auto why = find_string(*value, "error"))
        return fail(Errc::Unavailable, printable(why->substr(0, 200)));
    const auto score = find_number(*value, "score");
    if (!score)
        return fail(Errc::Corrupt, fmt::format("its answer has no number 'score': '{}'",
                                               printable(trim(answer).substr(0, 80))));
    if (!std::isfinite(*score)) return fail(Errc::Corrupt, "its score is not finite");
    return *score;
}

Result<std::vector<ScorerSpec>> read_scorers(const Config& config) {
    std::vector<ScorerSpec> scorers;
    if (!config.file) return scorers;
    TRY_DO(read_toml_list(
        *config.file, "scorer", quality::kScorersMax, [&](TomlTable& table) -> Result<void> {
            ScorerSpec spec;
            double margin = 0;
            double deadline = static_cast<double>(spec.deadline.count()) / 1000;
            table.text("name", spec.rules.name, kNameBytesMax);
            table.text("url", spec.url, kWordBytesMax);
            table.texts("command", spec.command, kWordsMax, kWordBytesMax);
            table.flag("higher_is_better", spec.rules.higher_is_better);
            table.number("margin", margin, 0, 1e9);
            table.number("deadline_s", deadline, kDeadlineMin, kDeadlineMax);
            if (table.has("margin") && !(margin > 0)) table.refuse("margin", "above 0");
            TRY_DO(table.outcome());
            if (table.has("margin")) spec.rules.margin = margin;
            spec.deadline = milliseconds(std::llround(deadline * 1000));
            TRY_DO(check(spec, table.where()));
            for (const ScorerSpec& known : scorers)
                if (known.rules.name == spec.rules.name)
                    return fail(Errc::InvalidInput, fmt::format("{}: there are two of the name {}",
                                                                table.where(), spec.rules.name));
            scorers.push_back(std::move(spec));
            return {};
        }));
    return scorers;
}

Result<ScorerSpec> parse_scorer(std::string_view text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos)
        return fail(Errc::InvalidInput,
                    fmt::format("'{}' must be NAME=COMMAND or NAME=URL", text.substr(0, 80)));
    const auto parts = split(text.substr(0, equals), ',');
    const std::string_view target = trim(text.substr(equals + 1));
    ScorerSpec spec;
    spec.rules.name = std::string(trim(parts.front()));
    const std::string where = fmt::format("scorer '{}'", spec.rules.name.substr(0, 80));
    for (std::size_t i = 1; i < parts.size(); ++i) TRY_DO(take_option(trim(parts[i]), where, spec));
    if (target.starts_with("http://") || target.starts_with("https://"))
        spec.url = std::string(target);
    else
        spec.command = split_words(target);
    if (spec.command.size() > kWordsMax)
        return fail(Errc::LimitExceeded,
                    fmt::format("{}: {} words, limit {}", where, spec.command.size(), kWordsMax));
    TRY_DO(check(spec, where));
    return spec;
}

Result<std::vector<ScorerSpec>> join_scorers(std::vector<ScorerSpec> scorers,
                                             std::span<const ScorerSpec> more) {
    for (const ScorerSpec& one : more) {
        const auto same = std::ranges::find(scorers, one.rules.name,
                                            [](const ScorerSpec& spec) { return spec.rules.name; });
        if (same != scorers.end())
            *same = one;
        else
            scorers.push_back(one);
    }
    if (scorers.size() > quality::kScorersMax)
        return fail(Errc::LimitExceeded, fmt::format("{} scorers, at most {} can take part",
                                                     scorers.size(), quality::kScorersMax));
    return scorers;
}

}  // namespace plimsoll::service
