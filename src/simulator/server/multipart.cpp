// SPDX-License-Identifier: Apache-2.0
#include "simulator/server/multipart.h"

#include "base/text.h"
#include "net/http_message.h"

#include <algorithm>

namespace plimsoll::simulator {

namespace {

constexpr std::size_t kPartsMax = 1000;  // chosen: forms of ComfyUI have five

// `name` of `form-data; name="image"; filename="a.png"`. Quoted values may hold \" and \\.
std::optional<std::string> parameter(std::string_view header, std::string_view name) {
    std::size_t at = header.find(';');
    while (at != std::string_view::npos && at < header.size()) {
        ++at;
        while (at < header.size() && header[at] == ' ') ++at;
        const auto equals = header.find('=', at);
        if (equals == std::string_view::npos) return std::nullopt;
        const std::string key = to_lower_ascii(trim(header.substr(at, equals - at)));
        std::string value;
        at = equals + 1;
        if (at < header.size() && header[at] == '"') {
            for (++at; at < header.size() && header[at] != '"'; ++at) {
                if (header[at] == '\\' && at + 1 < header.size()) ++at;
                value += header[at];
            }
            at = header.find(';', at);
        } else {
            const auto end = header.find(';', at);
            value = trim(header.substr(at, end - at));
            at = end;
        }
        if (key == name) return value;
    }
    return std::nullopt;
}

Result<FormPart> parse_part(std::string_view text) {
    FormPart part;
    const auto blank = text.find("\r\n\r\n");
    if (blank == std::string_view::npos) return fail(Errc::Corrupt, "form: a part without a head");
    part.body = text.substr(blank + 4);
    for (std::string_view line : split(text.substr(0, blank), '\n')) {
        line = trim(line);
        const auto colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        if (to_lower_ascii(line.substr(0, colon)) != "content-disposition") continue;
        const std::string_view value = trim(line.substr(colon + 1));
        part.name = parameter(value, "name").value_or("");
        part.filename = parameter(value, "filename");
    }
    return part;
}

}  // namespace

Result<std::vector<FormPart>> parse_form(std::string_view content_type, std::string_view body) {
    const std::string kind = to_lower_ascii(trim(content_type.substr(0, content_type.find(';'))));
    std::vector<FormPart> parts;
    if (kind == "application/x-www-form-urlencoded") {
        for (net::QueryField& field : net::parse_query(body))
            parts.push_back({std::move(field.name), std::nullopt, std::move(field.value)});
        return parts;
    }
    if (kind != "multipart/form-data") return parts;
    const auto boundary = parameter(content_type, "boundary");
    if (!boundary || boundary->empty() || boundary->size() > 70)
        return fail(Errc::Corrupt, "form: no usable boundary");
    const std::string mark = "--" + *boundary;
    std::size_t at = body.find(mark);
    if (at == std::string_view::npos) return fail(Errc::Corrupt, "form: no part begins");
    for (;;) {
        at += mark.size();
        const std::string_view rest = body.substr(at);
        if (rest.starts_with("--")) return parts;
        if (!rest.starts_with("\r\n")) return fail(Errc::Corrupt, "form: a broken boundary");
        const auto end = rest.find("\r\n" + mark);
        if (end == std::string_view::npos) return fail(Errc::Corrupt, "form: a part without end");
        if (parts.size() == kPartsMax) return fail(Errc::LimitExceeded, "form: too many parts");
        // A part may be empty of all but its head: the blank line then touches the boundary.
        TRY_ASSIGN(FormPart part, parse_part(rest.substr(2, end < 2 ? 0 : end - 2)));
        parts.push_back(std::move(part));
        at += end + 2;
    }
}

const FormPart* find_part(const std::vector<FormPart>& parts, std::string_view name) {
    const auto found = std::ranges::find(parts, name, &FormPart::name);
    return found == parts.end() ? nullptr : &*found;
}

}  // namespace plimsoll::simulator
