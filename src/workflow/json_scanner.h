// SPDX-License-Identifier: Apache-2.0
//
// JsonScanner: a cursor over JSON text that knows where it stands, for edits as splices. Accepts
// what Python's json module accepts (NaN, Infinity, -Infinity, lone surrogates) and refuses what it
// refuses. The text must be valid UTF-8; it is not owned. Not for general use: base/json.h is.
#pragma once
#include "base/error.h"

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "workflow/graph.h"

namespace plimsoll::workflow {

inline constexpr int kJsonDepthMax =
    200;  // chosen: real prompts are under 10 deep; Python gives up near 1000

class JsonScanner {
  public:
    explicit JsonScanner(std::string_view text) : text_(text) {}

    [[nodiscard]] std::size_t position() const { return at_; }
    void move_to(std::size_t position) { at_ = position; }

    // The first byte of the next value, '\0' at the end. Skips white space.
    [[nodiscard]] char peek();
    // Takes the token where it stands next, and says so.
    bool take(char token);
    // Nothing but white space remains.
    [[nodiscard]] bool is_at_end();

    // Called at each member with the cursor on its value; must leave the cursor behind the value.
    using OnMember = std::function<Result<void>(std::string key, Span key_span)>;
    using OnElement = std::function<Result<void>(std::size_t index)>;
    [[nodiscard]] Result<Span> scan_object(const OnMember& on_member);
    [[nodiscard]] Result<Span> scan_array(const OnElement& on_element);

    // Decoded text; a lone surrogate becomes U+FFFD.
    [[nodiscard]] Result<std::string> scan_string();
    // The number as written.
    [[nodiscard]] Result<std::string_view> scan_number();
    // Any value, checked and left behind.
    [[nodiscard]] Result<Span> skip_value();

  private:
    [[nodiscard]] std::unexpected<Error> fault(std::string_view what) const;
    void skip_space();
    [[nodiscard]] bool take_word(std::string_view word);
    [[nodiscard]] Result<unsigned> scan_hex4();
    [[nodiscard]] Result<void> scan_escape(std::string& out);
    [[nodiscard]] Result<void> enter();

    std::string_view text_;
    std::size_t at_ = 0;
    int depth_ = 0;
};

}  // namespace plimsoll::workflow
