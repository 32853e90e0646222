// SPDX-License-Identifier: Apache-2.0
#include "simulator/card/recorded.h"

#include "base/check.h"
#include "base/json.h"
#include "base/text.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <utility>

namespace plimsoll::embedded {
std::string_view simulator_activations();
std::string_view simulator_cards();
std::string_view simulator_modules();
std::string_view simulator_object_info();
}  // namespace plimsoll::embedded

namespace plimsoll::simulator {

namespace {

// Our own embedded bytes: a failure is a broken build, not input.
std::string inflate_embedded(std::string_view packed) {
    z_stream stream{};
    CHECK(inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK);
    // zlib's field is not const, it does not write there.
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    std::string text;
    std::array<char, 64 << 10> piece{};
    int state = Z_OK;
    while (state == Z_OK) {
        stream.next_out = reinterpret_cast<Bytef*>(piece.data());
        stream.avail_out = static_cast<uInt>(piece.size());
        state = inflate(&stream, Z_NO_FLUSH);
        text.append(piece.data(), piece.size() - stream.avail_out);
    }
    inflateEnd(&stream);
    CHECK(state == Z_STREAM_END);
    return text;
}

// The columns of each line of an embedded CSV. The last column keeps its commas: it is the source.
template <std::size_t Columns, class Row>
void each_csv_row(std::string_view text, const Row& row) {
    bool head = true;
    for (const std::string_view line : split(text, '\n')) {
        if (line.empty() || line.front() == '#') continue;
        if (std::exchange(head, false)) continue;
        std::array<std::string_view, Columns> cells;
        std::string_view rest = line;
        for (std::size_t i = 0; i < Columns; ++i) {
            const auto comma = i + 1 == Columns ? std::string_view::npos : rest.find(',');
            cells.at(i) = rest.substr(0, comma);
            rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
        }
        row(cells);
    }
}
double real(std::string_view text) {
    const auto value = parse_number(text);
    CHECK(value);
    return *value;
}
std::int64_t whole(std::string_view text) {
    const auto value = parse_integer(text);
    CHECK(value);
    return *value;
}

std::vector<CardSpec> read_cards() {
    std::vector<CardSpec> cards;
    each_csv_row<11>(embedded::simulator_cards(), [&](const auto& cells) {
        cards.push_back({.key = std::string(cells[0]),
                         .name = std::string(cells[1]),
                         .compute_capability = static_cast<int>(whole(cells[2])),
                         .total_bytes = whole(cells[3]) << 20U,
                         .peak_tflops = real(cells[4]),
                         .reached = real(cells[5]),
                         .bandwidth_gbs = real(cells[6]),
                         .pcie_gen = static_cast<int>(whole(cells[7])),
                         .pcie_lanes = static_cast<int>(whole(cells[8])),
                         .tdp_w = real(cells[9])});
    });
    return cards;
}
const std::vector<CardSpec>& cards() {
    static const std::vector<CardSpec> all = read_cards();
    return all;
}

using ModuleTables = std::map<std::string, std::vector<ModuleBytes>, std::less<>>;
ModuleTables read_modules() {
    ModuleTables tables;
    const auto parsed = parse_json(inflate_embedded(embedded::simulator_modules()));
    CHECK(parsed);
    for (const auto& [name, rows] : parsed->as_object()) {
        auto& table = tables[std::string(name)];
        for (const auto& row : rows.as_array())
            table.push_back(
                {std::string(row.at(0).as_string()), row.at(1).as_int64(), row.at(2).as_bool()});
    }
    return tables;
}

// One recorded run, for one item of the batch.
struct Point {
    double extent = 0;
    double peak = 0;
    double input = 0;
    double cast = 0;  // of the whole batch: weights do not grow with it
    double flops = 0;
    double kernels = 0;
};
using PointKey = std::tuple<std::string, std::string, int>;  // network, phase, bytes an element
using PointTable = std::map<PointKey, std::vector<Point>, std::less<>>;

PointTable read_points() {
    // Of several batches with one extent the largest stands for all: peaks grow by the same bytes
    // with each item, and what is not shared counts least there.
    std::map<std::pair<PointKey, std::int64_t>, std::pair<std::int64_t, Point>> best;
    each_csv_row<11>(embedded::simulator_activations(), [&](const auto& cells) {
        const PointKey key{std::string(cells[0]), std::string(cells[1]),
                           static_cast<int>(whole(cells[2]))};
        const std::int64_t extent = whole(cells[3]);
        const std::int64_t batch = whole(cells[4]);
        const auto items = static_cast<double>(batch);
        const Point point{.extent = static_cast<double>(extent),
                          .peak = real(cells[5]) / items,
                          .input = real(cells[6]) / items,
                          .cast = real(cells[7]),
                          .flops = real(cells[8]) / items,
                          .kernels = real(cells[9])};
        auto& slot = best[{key, extent}];
        if (batch > slot.first) slot = {batch, point};
    });
    PointTable table;
    for (const auto& [key, slot] : best) table[key.first].push_back(slot.second);
    return table;
}
const PointTable& points() {
    static const PointTable all = read_points();
    return all;
}

double between(double a, double b, double share) {
    return a + (b - a) * share;
}

Point interpolate(const std::vector<Point>& sorted, double extent) {
    if (sorted.size() == 1) {
        Point point = sorted.front();
        const double share = extent / point.extent;
        point.peak *= share;
        point.input *= share;
        point.flops *= share;
        return point;
    }
    auto upper = std::ranges::lower_bound(sorted, extent, {}, &Point::extent);
    if (upper == sorted.begin()) ++upper;
    if (upper == sorted.end()) --upper;
    const Point& a = *(upper - 1);
    const Point& b = *upper;
    const double share = (extent - a.extent) / (b.extent - a.extent);
    const auto at = [&](double Point::* field) {
        return std::max(0.0, between(a.*field, b.*field, share));
    };
    return {.extent = extent,
            .peak = at(&Point::peak),
            .input = at(&Point::input),
            .cast = std::max(a.cast, b.cast),
            .flops = at(&Point::flops),
            .kernels = std::max(a.kernels, b.kernels)};
}

}  // namespace

Result<CardSpec> find_card(std::string_view key) {
    const auto found = std::ranges::find(cards(), key, &CardSpec::key);
    if (found != cards().end()) return *found;
    std::string nearest;
    for (const std::string& name : nearest_names(key, card_keys(), 3))
        nearest += (nearest.empty() ? "" : ", ") + name;
    return fail(Errc::NotFound,
                fmt::format("the simulator has no card '{}'; nearest: {}", key, nearest));
}

std::vector<std::string> card_keys() {
    std::vector<std::string> keys;
    for (const CardSpec& card : cards()) keys.push_back(card.key);
    return keys;
}

std::span<const ModuleBytes> recorded_modules(std::string_view network) {
    static const ModuleTables tables = read_modules();
    const auto found = tables.find(network);
    if (found == tables.end()) return {};
    return found->second;
}

Result<Activation> recorded_activation(const RunQuestion& question) {
    const PointTable& table = points();
    PointKey key{std::string(question.network), std::string(question.phase),
                 question.element_bytes};
    double scale = 1;
    auto found = table.find(key);
    if (found == table.end()) {
        // Recorded in another type only: activations grow with the element.
        for (const int other : {2, 4}) {
            std::get<2>(key) = other;
            found = table.find(key);
            if (found == table.end()) continue;
            scale = static_cast<double>(question.element_bytes) / other;
            break;
        }
    }
    if (found == table.end())
        return fail(Errc::NotFound, fmt::format("nothing is recorded for {} of {}", question.phase,
                                                question.network));
    const Point point = interpolate(found->second, static_cast<double>(question.extent));
    const auto items = static_cast<double>(question.batch);
    const auto bytes = [&](double per_item) {
        return static_cast<std::int64_t>(std::llround(per_item * items * scale));
    };
    return Activation{.peak_bytes = bytes(point.peak),
                      .input_bytes = bytes(point.input),
                      .cast_bytes = static_cast<std::int64_t>(point.cast),
                      .flops = point.flops * items,
                      .kernels = point.kernels};
}

const std::string& recorded_object_info() {
    static const std::string text = inflate_embedded(embedded::simulator_object_info());
    return text;
}

}  // namespace plimsoll::simulator
