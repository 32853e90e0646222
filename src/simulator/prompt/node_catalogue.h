// SPDX-License-Identifier: Apache-2.0
//
// The nodes of ComfyUI 0.3.64 as GET /object_info describes them: recorded structure, with the
// lists of files filled in at the time of the question.
//
// Threads: immutable but for the file lists, which are asked for at each call.
#pragma once
#include "simulator/python_value.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::simulator {

struct InputSpec {
    std::string name;
    Value type;    // "INT", or the list of choices
    Dict options;  // {"default": 0, "min": 0, ...}
    bool required = true;
    bool lazy = false;

    [[nodiscard]] bool is_combo() const;
    [[nodiscard]] const List* choices() const;
    // [type, options] as error texts show it.
    [[nodiscard]] Value config() const { return List{type, Value(options)}; }
};

struct NodeClass {
    std::string name;
    Dict entry;                     // of /object_info, without file lists
    std::vector<InputSpec> inputs;  // required, then optional
    List outputs;                   // types; a list where the output is a choice
    bool is_output = false;
    bool listed = true;  // by /object_info
};

// Files of a folder of models ("checkpoints"), or of "input" for images to load.
using FolderLister = std::function<std::vector<std::string>(std::string_view folder)>;

class NodeCatalogue {
  public:
    // `fixtures`: also the four nodes of the recordings (FixtureRaise, FixtureSleep, FixtureText,
    // FixtureBadIsChanged). They can be run but are not listed.
    NodeCatalogue(FolderLister lister, bool fixtures);

    [[nodiscard]] const NodeClass* find(std::string_view class_name) const;
    // The inputs with today's file lists.
    [[nodiscard]] std::vector<InputSpec> inputs_of(const NodeClass& node) const;
    // {class: entry}; empty for an unknown class.
    [[nodiscard]] Dict object_info(std::string_view class_name) const;
    [[nodiscard]] Dict object_info() const;

  private:
    void add(const std::string& name, const Dict& entry, bool listed);
    [[nodiscard]] Dict filled_entry(const NodeClass& node) const;

    FolderLister lister_;
    std::vector<std::string> order_;
    std::map<std::string, NodeClass, std::less<>> classes_;
};

}  // namespace plimsoll::simulator
