// SPDX-License-Identifier: Apache-2.0
#include "gateway/prompt_body.h"

#include "base/utf8.h"
#include "workflow/json_scanner.h"

#include <utility>

namespace plimsoll::gateway {

namespace {

using workflow::JsonScanner;
using workflow::Span;

Result<std::optional<std::string>> scan_text(JsonScanner& scanner) {
    if (scanner.peek() == '"') {
        TRY_ASSIGN(std::string text, scanner.scan_string());
        return std::optional<std::string>(std::move(text));
    }
    TRY_DO(scanner.skip_value());
    return std::optional<std::string>();
}

Result<void> scan_extra_data(JsonScanner& scanner, PromptBody& body,
                             std::optional<std::string>& client_id) {
    client_id.reset();  // of an earlier duplicate
    if (scanner.peek() != '{') {
        TRY_DO(scanner.skip_value());
        return {};
    }
    TRY_ASSIGN(body.extra_data,
               scanner.scan_object([&](const std::string& key, Span) -> Result<void> {
                   if (key == "client_id") {
                       TRY_ASSIGN(client_id, scan_text(scanner));
                   } else {
                       TRY_DO(scanner.skip_value());
                   }
                   return {};
               }));
    return {};
}

}  // namespace

Result<PromptBody> parse_prompt_body(std::string_view bytes) {
    if (!is_utf8(bytes)) return fail(Errc::Corrupt, "not JSON: the body is not UTF-8");
    JsonScanner scanner(bytes);
    if (scanner.peek() != '{') {
        TRY_DO(scanner.skip_value());
        return fail(Errc::InvalidInput, "the body is no JSON object");
    }
    PromptBody body;
    std::optional<std::string> extra_client_id;
    const auto on_member = [&](const std::string& key, Span) -> Result<void> {
        const char first = scanner.peek();
        const std::size_t begin = scanner.position();
        const auto span = [&] { return Span{begin, scanner.position()}; };
        if (key == "client_id") {
            TRY_ASSIGN(body.client_id, scan_text(scanner));
        } else if (key == "prompt_id") {
            TRY_ASSIGN(body.prompt_id, scan_text(scanner));
            body.prompt_id_span = span();
        } else if (key == "extra_data") {
            TRY_DO(scan_extra_data(scanner, body, extra_client_id));
        } else {
            TRY_DO(scanner.skip_value());
            if (key == "prompt") body.prompt = span();
            if (key == "number") body.number = std::string(bytes.substr(begin, span().end - begin));
            if (key == "front") body.front = first == 't';
            if (key == "partial_execution_targets" && first == '[') body.targets = span();
        }
        return {};
    };
    TRY_ASSIGN(body.whole, scanner.scan_object(on_member));
    if (!scanner.is_at_end()) return fail(Errc::Corrupt, "not JSON: bytes follow the object");
    // ComfyUI copies the one at the top over the one in extra_data.
    if (!body.client_id) body.client_id = std::move(extra_client_id);
    return body;
}

}  // namespace plimsoll::gateway
