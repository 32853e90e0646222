// SPDX-License-Identifier: Apache-2.0
//
// The subset of YAML that OpenCV's FileStorage writes into the two files: keys with a number, a
// word or a list of numbers in brackets behind them.
#include "quality/natural/brisque.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <string>

namespace plimsoll::quality {

namespace {

constexpr std::size_t kFileBytesMax = std::size_t{16}
                                      << 20;  // chosen: the published ones have 0.6 MB

std::unexpected<Error> no_model(std::string_view what) {
    return fail(Errc::Corrupt, fmt::format("no BRISQUE model of OpenCV's: {}", what));
}

std::string_view without_blanks(std::string_view text) {
    const std::size_t start = text.find_first_not_of(" \t\r\n");
    return start == std::string_view::npos ? std::string_view{} : text.substr(start);
}

// What stands behind `key:`; the key is a word of its own.
std::optional<std::string_view> behind(std::string_view text, std::string_view key) {
    const std::string wanted = std::string(key) + ":";
    for (std::size_t at = text.find(wanted); at != std::string_view::npos;
         at = text.find(wanted, at + 1))
        if (at == 0 || std::string_view(" \t\n\r-").contains(text[at - 1]))
            return text.substr(at + wanted.size());
    return std::nullopt;
}

// Takes a number off the front of the text.
std::optional<double> take_number(std::string_view& text) {
    text = without_blanks(text);
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || !std::isfinite(value)) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

// Takes "[ 1, 2, 3 ]" with exactly into.size() numbers.
bool take_list(std::string_view& text, std::span<double> into) {
    text = without_blanks(text);
    if (!text.starts_with('[')) return false;
    text.remove_prefix(1);
    for (std::size_t i = 0; i < into.size(); ++i) {
        const std::optional<double> value = take_number(text);
        if (!value) return false;
        into[i] = *value;
        text = without_blanks(text);
        if (!text.starts_with(i + 1 < into.size() ? ',' : ']')) return false;
        text.remove_prefix(1);
    }
    return true;
}

Result<double> read_number(std::string_view text, std::string_view key) {
    std::optional<std::string_view> found = behind(text, key);
    const std::optional<double> value = found ? take_number(*found) : std::nullopt;
    if (!value) return no_model(fmt::format("it has no number '{}'", key));
    return *value;
}

Result<void> read_range(std::string_view text, BrisqueModel& model) {
    std::optional<std::string_view> list = behind(text, "data");
    std::array<double, std::size_t{2} * kBrisqueFeatures> values{};
    if (!list || !take_list(*list, values))
        return no_model(fmt::format("the range has no list of {} numbers", values.size()));
    for (std::size_t i = 0; i < kBrisqueFeatures; ++i) {
        model.least.at(i) = values.at(i);
        model.most.at(i) = values.at(i + kBrisqueFeatures);
        if (!(model.most.at(i) > model.least.at(i)))
            return no_model(fmt::format("the range of feature {} is empty", i + 1));
    }
    return {};
}

Result<std::size_t> read_vector_count(std::string_view text) {
    TRY_ASSIGN(const double features, read_number(text, "var_count"));
    TRY_ASSIGN(const double count, read_number(text, "sv_total"));
    if (features != kBrisqueFeatures)
        return no_model(fmt::format("it has {} features, BRISQUE {}", features, kBrisqueFeatures));
    if (!(count >= 1) || count != std::floor(count))
        return no_model(fmt::format("it has {} support vectors", count));
    if (count > kBrisqueVectorsMax)
        return fail(Errc::LimitExceeded,
                    fmt::format("a BRISQUE model of {} support vectors, limit {}", count,
                                kBrisqueVectorsMax));
    return static_cast<std::size_t>(count);
}

Result<void> read_vectors(std::string_view text, std::size_t count, BrisqueModel& model) {
    std::optional<std::string_view> list = behind(text, "support_vectors");
    if (!list) return no_model("it has no support vectors");
    for (std::size_t i = 0; i < count; ++i) {
        *list = without_blanks(*list);
        BrisqueFeatures vector{};
        if (!list->starts_with('-'))
            return no_model(fmt::format("it ends after {} of {} support vectors", i, count));
        list->remove_prefix(1);
        if (!take_list(*list, vector))
            return no_model(
                fmt::format("support vector {} is no list of {} numbers", i + 1, kBrisqueFeatures));
        model.support_vectors.push_back(vector);
    }
    return {};
}

}  // namespace

Result<BrisqueModel> parse_brisque_model(std::string_view model_yml, std::string_view range_yml) {
    for (const std::string_view text : {model_yml, range_yml})
        if (text.size() > kFileBytesMax)
            return fail(Errc::LimitExceeded, fmt::format("a BRISQUE file of {} bytes, limit {}",
                                                         text.size(), kFileBytesMax));
    BrisqueModel model;
    TRY_DO(read_range(range_yml, model));
    for (const auto& [key, wanted] : {std::pair("svmType", "EPS_SVR"), std::pair("type", "RBF")}) {
        const std::optional<std::string_view> found = behind(model_yml, key);
        if (!found || !without_blanks(*found).starts_with(wanted))
            return no_model(fmt::format("its {} is not {}", key, wanted));
    }
    TRY_ASSIGN(const std::size_t count, read_vector_count(model_yml));
    TRY_ASSIGN(model.gamma, read_number(model_yml, "gamma"));
    TRY_ASSIGN(model.rho, read_number(model_yml, "rho"));
    TRY_DO(read_vectors(model_yml, count, model));
    model.weights.resize(count);
    std::optional<std::string_view> weights = behind(model_yml, "alpha");
    if (!weights || !take_list(*weights, model.weights))
        return no_model(fmt::format("it has no list of {} weights", count));
    // A machine of several classes says which vectors each uses; here every one must be used once.
    if (const std::optional<std::string_view> index = behind(model_yml, "index")) {
        std::vector<double> used(count);
        std::string_view list = *index;
        bool in_order = take_list(list, used);
        for (std::size_t i = 0; in_order && i < count; ++i)
            in_order = used[i] == static_cast<double>(i);
        if (!in_order) return no_model("its vectors are not used once each, in order");
    }
    return model;
}

}  // namespace plimsoll::quality
