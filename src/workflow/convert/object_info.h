// SPDX-License-Identifier: Apache-2.0
//
// ObjectInfo: what ComfyUI's GET /object_info says about each node type, as far as a conversion
// needs it: the inputs in their order, and which of them the front end draws as widgets.
//
// Enters through: bytes.   Leaves through: ObjectInfo.   Threads: immutable once parsed.
#pragma once
#include "base/error.h"
#include "base/json.h"
#include "workflow/convert/front_end.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace plimsoll::workflow {

inline constexpr std::size_t kObjectInfoBytesMax =
    256ULL << 20U;  // chosen: an installation with 300 node packs has about 30 MB

// One input as /object_info spells it: ["INT", {options}], [["euler", "heun"], {options}].
struct InputSpec {
    std::string name;
    std::string type;  // "COMBO" for a plain list of choices too; never empty
    bool is_required = true;
    const json::array* choices = nullptr;   // of a combo, either spelling
    const json::object* options = nullptr;  // what stands beside the type

    [[nodiscard]] const json::value* option(std::string_view key) const;
    [[nodiscard]] bool has_flag(std::string_view key) const;  // as JavaScript takes it: not falsy
};

// The inputs of {"required": {...}, "optional": {...}}, in `order` where it is given, each name
// with `prefix`. What is no input (a wrong type somewhere) is left out.
[[nodiscard]] std::vector<InputSpec> read_input_specs(const json::value& sections,
                                                      const json::value* order,
                                                      std::string_view prefix);

struct NodeDefinition {
    std::string class_type;
    std::string display_name;  // the class where the node has none
    std::vector<InputSpec> inputs;
    std::vector<std::string> output_types;
};

class ObjectInfo {
  public:
    // Fails with Corrupt (not JSON), InvalidInput (JSON that is no object_info), LimitExceeded.
    [[nodiscard]] static Result<ObjectInfo> parse(std::string_view bytes);

    [[nodiscard]] const NodeDefinition* find(std::string_view class_type) const;
    [[nodiscard]] std::size_t size() const { return definitions_.size(); }
    // The one that comes with a server which answers so.
    [[nodiscard]] FrontEnd front_end() const { return front_end_; }

  private:
    std::shared_ptr<const json::value> document_;  // the specs point into it
    std::unordered_map<std::string, NodeDefinition> definitions_;
    FrontEnd front_end_ = FrontEnd::V1_27;
};

}  // namespace plimsoll::workflow
