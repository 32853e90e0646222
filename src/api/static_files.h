// SPDX-License-Identifier: Apache-2.0
//
// The web page: files inside the program, found by their exact path, so that no path leads
// anywhere else. A file beside one with ".gz" behind its name is its compressed form.
//
// Enters through: the embedded table.   Leaves through: Answer.   Threads: no shared state.
#pragma once
#include "api/answer.h"
#include "net/http_message.h"

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::api {

using EmbeddedFile = std::pair<std::string_view, std::string_view>;  // "/index.html", its bytes

class StaticFiles {
  public:
    explicit StaticFiles(std::span<const EmbeddedFile> files);

    // "/" is /index.html. 304 where the client has it, 404 as a page for people.
    [[nodiscard]] Answer find(const net::RequestHead& head) const;
    [[nodiscard]] bool empty() const { return files_.empty(); }

  private:
    struct File {
        std::string_view bytes;
        std::string_view compressed;  // empty: there is none
        std::string tag;              // of ETag
    };
    std::map<std::string, File, std::less<>> files_;
};

}  // namespace plimsoll::api
