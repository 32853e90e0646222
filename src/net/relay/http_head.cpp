// SPDX-License-Identifier: Apache-2.0
#include "net/relay/http_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace plimsoll::net {

namespace {

constexpr std::string_view kEnd = "\r\n\r\n";

constexpr std::array<bool, 256> make_token_table() {
    std::array<bool, 256> table{};
    for (unsigned c = '0'; c <= '9'; ++c) table[c] = true;
    for (unsigned c = 'a'; c <= 'z'; ++c) table[c] = true;
    for (unsigned c = 'A'; c <= 'Z'; ++c) table[c] = true;
    for (const char c : std::string_view("!#$%&'*+-.^_`|~"))
        table[static_cast<unsigned char>(c)] = true;
    return table;
}
constexpr std::array<bool, 256> kToken = make_token_table();

bool is_token(std::string_view text) {
    return !text.empty() &&
           std::ranges::all_of(text, [](char c) { return kToken[static_cast<unsigned char>(c)]; });
}

// Printable, or above ASCII: what a value may hold beside tabs.
bool is_text(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7F;
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool same(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                              [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

HeadResult faulty(int status, std::string_view why) {
    return {.state = HeadState::Faulty, .bytes = 0, .fault = {status, why}};
}

constexpr int kMalformed = 400;
constexpr int kTooLarge = 431;

// The fields between the start line and the blank line. Empty: all is well.
std::string_view parse_fields(std::string_view lines, const HeadLimits& limits, HeadView& out,
                              int& status) {
    status = kMalformed;
    while (!lines.empty()) {
        const auto end = lines.find('\n');
        if (end == std::string_view::npos || end == 0 || lines[end - 1] != '\r')
            return "a line of the head does not end with CRLF";
        const std::string_view line = lines.substr(0, end + 1);
        const std::string_view text = lines.substr(0, end - 1);
        lines.remove_prefix(end + 1);
        if (text.empty()) return "an empty line inside the head";
        if (text.front() == ' ' || text.front() == '\t') return "a folded header line";
        const auto colon = text.find(':');
        if (colon == std::string_view::npos || !is_token(text.substr(0, colon)))
            return "a header line without a proper name";
        const std::string_view value = trimmed(text.substr(colon + 1));
        if (!std::ranges::all_of(value, [](char c) { return is_text(c) || c == '\t'; }))
            return "a control character in a header";
        if (out.fields.size() == limits.fields_max) {
            status = kTooLarge;
            return "too many header fields";
        }
        out.fields.push_back({text.substr(0, colon), value, line});
    }
    return {};
}

std::string_view read_length(std::string_view text, std::uint64_t& length) {
    constexpr std::size_t kDigitsMax = 18;  // below 2^63
    if (text.empty() || text.size() > kDigitsMax ||
        !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; }))
        return "Content-Length is no whole number";
    length = 0;
    for (const char c : text) length = length * 10 + static_cast<std::uint64_t>(c - '0');
    return {};
}

// Connection options, and how the body is framed as far as fields say so.
std::string_view read_framing(HeadView& out) {
    bool has_length = false;
    bool has_coding = false;
    for (const FieldView& field : out.fields) {
        if (same(field.name, "content-length")) {
            if (has_length) return "more than one Content-Length";
            has_length = true;
            if (const auto why = read_length(field.value, out.length); !why.empty()) return why;
        } else if (same(field.name, "transfer-encoding")) {
            if (has_coding || !same(field.value, "chunked"))
                return "a Transfer-Encoding other than chunked";
            has_coding = true;
        } else if (same(field.name, "connection")) {
            std::string_view rest = field.value;
            while (!rest.empty()) {
                const auto comma = rest.find(',');
                const std::string_view option = trimmed(rest.substr(0, comma));
                if (!option.empty()) out.connection.push_back(option);
                rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
            }
        }
    }
    if (has_length && has_coding) return "both Content-Length and Transfer-Encoding";
    if (has_coding && out.version_minor == 0) return "Transfer-Encoding in HTTP/1.0";
    out.framing = has_coding ? Framing::Chunked : has_length ? Framing::Length : Framing::None;
    out.keep_alive =
        out.version_minor == 0 ? out.has_option("keep-alive") : !out.has_option("close");
    return {};
}

void reset(HeadView& out) {
    out.version_minor = 1;
    out.fields.clear();
    out.connection.clear();
    out.framing = Framing::None;
    out.length = 0;
    out.keep_alive = true;
}

// "HTTP/1.0" or "HTTP/1.1"
bool read_version(std::string_view text, int& minor) {
    if (text != "HTTP/1.1" && text != "HTTP/1.0") return false;
    minor = text.back() - '0';
    return true;
}

std::string_view read_request_line(std::string_view line, RequestView& out) {
    const auto first = line.find(' ');
    const auto last = line.rfind(' ');
    if (first == std::string_view::npos || first == last)
        return "the request line has not three parts";
    out.method = line.substr(0, first);
    out.target = line.substr(first + 1, last - first - 1);
    if (!is_token(out.method)) return "the method is no word";
    if (out.target.empty() || !std::ranges::all_of(out.target, is_text) ||
        out.target.find(' ') != std::string_view::npos)
        return "the target has a space or a control character";
    if (!read_version(line.substr(last + 1), out.version_minor))
        return "neither HTTP/1.1 nor HTTP/1.0";
    return {};
}

std::string_view read_status_line(std::string_view line, ResponseView& out) {
    constexpr std::size_t kVersion = 8;
    if (line.size() < kVersion + 4 || !read_version(line.substr(0, kVersion), out.version_minor) ||
        line[kVersion] != ' ')
        return "no HTTP/1.x status line";
    out.status = 0;
    for (const char c : line.substr(kVersion + 1, 3)) {
        if (c < '0' || c > '9') return "the status is no number";
        out.status = out.status * 10 + (c - '0');
    }
    std::string_view rest = line.substr(kVersion + 4);
    if (!rest.empty() && rest.front() != ' ') return "the status has more than three digits";
    if (!rest.empty()) rest.remove_prefix(1);
    if (!std::ranges::all_of(rest, [](char c) { return is_text(c) || c == '\t'; }))
        return "a control character in the reason";
    out.reason = rest;
    if (out.status < 100) return "a status below 100";
    return {};
}

// The head's bytes without the blank line, or why there are none yet.
HeadResult find_head(std::string_view buffer, const HeadLimits& limits, std::string_view& head) {
    const auto end = buffer.find(kEnd);
    if (end == std::string_view::npos) {
        if (buffer.size() >= limits.bytes_max) return faulty(kTooLarge, "the head is too large");
        return {};
    }
    if (end + kEnd.size() > limits.bytes_max) return faulty(kTooLarge, "the head is too large");
    head = buffer.substr(0, end + 2);
    return {.state = HeadState::Complete, .bytes = end + kEnd.size(), .fault = {}};
}

constexpr std::string_view kHopNames[] = {
    "keep-alive", "proxy-connection",   "te",        "proxy-authorization",
    "upgrade",    "proxy-authenticate", "connection"};

}  // namespace

std::string_view HeadView::value(std::string_view name) const {
    for (const FieldView& field : fields)
        if (same(field.name, name)) return field.value;
    return {};
}

bool HeadView::has(std::string_view name) const {
    return std::ranges::any_of(fields, [&](const FieldView& f) { return same(f.name, name); });
}

bool HeadView::has_option(std::string_view option) const {
    return std::ranges::any_of(connection, [&](std::string_view one) { return same(one, option); });
}

HeadResult parse_request(std::string_view buffer, const HeadLimits& limits, RequestView& out) {
    reset(out);
    std::size_t skipped = 0;
    while (skipped < 4 && buffer.substr(skipped).starts_with("\r\n")) skipped += 2;
    std::string_view head;
    HeadResult found = find_head(buffer.substr(skipped), limits, head);
    if (found.state != HeadState::Complete) return found;
    found.bytes += skipped;
    const auto line_end = head.find("\r\n");
    const std::string_view line = head.substr(0, line_end);
    if (const auto why = read_request_line(line, out); !why.empty())
        return faulty(why.starts_with("neither") ? 505 : kMalformed, why);
    int status = kMalformed;
    if (const auto why = parse_fields(head.substr(line_end + 2), limits, out, status); !why.empty())
        return faulty(status, why);
    if (const auto why = read_framing(out); !why.empty()) return faulty(kMalformed, why);
    if (std::ranges::count_if(out.fields, [](const FieldView& f) { return same(f.name, "host"); }) >
        1)
        return faulty(kMalformed, "more than one Host");
    out.expects_100 = out.version_minor > 0 && same(out.value("expect"), "100-continue");
    out.websocket = out.version_minor > 0 && out.has_option("upgrade") &&
                    same(out.value("upgrade"), "websocket");
    return found;
}

HeadResult parse_response(std::string_view buffer, const HeadLimits& limits, bool to_head,
                          ResponseView& out) {
    reset(out);
    std::string_view head;
    HeadResult found = find_head(buffer, limits, head);
    if (found.state != HeadState::Complete) return found;
    const auto line_end = head.find("\r\n");
    if (const auto why = read_status_line(head.substr(0, line_end), out); !why.empty())
        return faulty(kMalformed, why);
    int status = kMalformed;
    if (const auto why = parse_fields(head.substr(line_end + 2), limits, out, status); !why.empty())
        return faulty(status, why);
    if (const auto why = read_framing(out); !why.empty()) return faulty(kMalformed, why);
    if (to_head || out.status < 200 || out.status == 204 || out.status == 304)
        out.framing = Framing::None;
    else if (out.framing == Framing::None)
        out.framing = Framing::UntilClose;
    return found;
}

bool is_hop_field(const HeadView& head, const FieldView& field) {
    for (const std::string_view name : kHopNames)
        if (same(field.name, name)) return true;
    if (head.connection.empty()) return false;
    // What frames the body or names the place is never only this connection's, whatever is claimed.
    for (const std::string_view name : {"content-length", "transfer-encoding", "host"})
        if (same(field.name, name)) return false;
    return std::ranges::any_of(head.connection,
                               [&](std::string_view option) { return same(option, field.name); });
}

void append_request_head(std::string& out, const RequestView& request,
                         const RequestRewrite& rewrite) {
    out.append(request.method).append(1, ' ').append(request.target);
    out += request.version_minor == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n";
    bool says_length = !rewrite.new_length;
    for (const FieldView& field : request.fields) {
        if (is_hop_field(request, field)) continue;
        if (rewrite.upgrade && same(field.name, "sec-websocket-extensions")) continue;
        if (rewrite.drop_expect && same(field.name, "expect")) continue;
        if (rewrite.identity && same(field.name, "accept-encoding")) {
            out.append(field.name).append(": identity\r\n");
        } else if (rewrite.new_length && same(field.name, "content-length")) {
            fmt::format_to(std::back_inserter(out), "{}: {}\r\n", field.name, rewrite.length);
            says_length = true;
        } else if (!rewrite.new_length || !same(field.name, "transfer-encoding")) {
            out += field.line;
        }
    }
    if (rewrite.upgrade) {
        out += "Connection: Upgrade\r\nUpgrade: ";
        out.append(request.value("upgrade")).append("\r\n");
    } else if (rewrite.close) {
        out += "Connection: close\r\n";
    }
    if (!says_length)
        fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", rewrite.length);
    out += "\r\n";
}

std::string_view start_line(std::string_view buffer) {
    return buffer.substr(0, buffer.find("\r\n") + 2);
}

void append_response_head(std::string& out, const ResponseView& response, std::string_view start,
                          const ResponseRewrite& rewrite) {
    out += start;
    for (const FieldView& field : response.fields) {
        if (rewrite.upgrade && (same(field.name, "upgrade") || same(field.name, "connection"))) {
            out += field.line;
            continue;
        }
        if (is_hop_field(response, field)) continue;
        if (rewrite.upgrade && same(field.name, "sec-websocket-extensions")) continue;
        out += field.line;
    }
    if (rewrite.add != nullptr)
        for (const Header& header : *rewrite.add)
            out.append(header.name).append(": ").append(header.value).append("\r\n");
    if (rewrite.close && !rewrite.upgrade) out += "Connection: close\r\n";
    out += "\r\n";
}

}  // namespace plimsoll::net
