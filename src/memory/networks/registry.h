// SPDX-License-Identifier: Apache-2.0
//
// Registry: where the layers of a network write themselves down, and the networks that have one.
#pragma once
#include "memory/ghost/ops.h"
#include "memory/networks/walk.h"

#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

using ghost::Module;

enum class Bias : std::uint8_t { No, Yes };
enum class Saved : std::uint8_t { No, Yes };  // whether a buffer is in the state dict

struct WholeNumbers {
    std::int64_t count = 0;
    std::int64_t bytes = 0;
};

class Registry {
  public:
    // Castable: the network's leaves are ComfyUI ops that can be streamed. A T2I adapter's are
    // plain PyTorch modules.
    explicit Registry(bool castable = true) : castable_(castable) {}

    // For what is registered from here on: the network's own type is fp8, Linear layers have a
    // scale each, everything else is kept in 16 bit.
    void scale_linears() { scales_linears_ = true; }
    // For what is registered from here on: it stays in 16 bit whatever the network's own type.
    void stay_in_16_bit() { in_16_bit_ = true; }
    [[nodiscard]] bool scales_linears() const { return scales_linears_; }

    // For what is registered from here on: matrices of Linear layers are packed and take so many
    // thousandths of a bit for an element, scales included. 0: they are not.
    void pack_linears(int millibits) { linear_millibits_ = millibits; }
    [[nodiscard]] bool packs_linears() const { return linear_millibits_ > 0; }
    // Of the module that was added last.
    void pack_matrix(std::int64_t elements);

    // A path that lives as long as the registry. "" + name gives name.
    [[nodiscard]] Module path(std::string_view parent, std::string_view name);
    void add(Module path, std::string_view class_name, std::int64_t parameters,
             ModuleStorage storage = ModuleStorage::AsNetwork);
    // A Linear layer in int8 with a scale in fp32 for each row, and a bias of 16 bit.
    void add_int8_linear(Module path, std::int64_t in, std::int64_t out, Bias bias = Bias::Yes);
    // A leaf that is none of ComfyUI's ops.
    void add_plain(Module path, std::string_view class_name, std::int64_t parameters,
                   ModuleStorage storage = ModuleStorage::AsNetwork);
    // Parameters that belong to a container itself, not to one of ComfyUI's ops.
    // `unsaved`: of them, what it computes at start.
    void add_own_parameters(Module path, std::string_view class_name, std::int64_t parameters,
                            ModuleStorage storage, std::int64_t unsaved = 0);
    // A leaf of tables only: in the network's type, and whole numbers beside them.
    void add_tables(Module path, std::string_view class_name, std::int64_t elements,
                    const WholeNumbers& whole, Saved saved);
    // Parameters that a container computes at start: in no state dict.
    void add_computed(Module path, std::string_view class_name, std::int64_t parameters,
                      ModuleStorage storage);
    // A table that a container keeps and that is no parameter.
    void add_buffer(Module path, std::string_view class_name, std::int64_t elements,
                    ModuleStorage storage, Saved saved);

    [[nodiscard]] const std::vector<ModuleEntry>& modules() const { return modules_; }
    [[nodiscard]] std::int64_t params() const;
    [[nodiscard]] Bytes weights(ComputeType storage) const;

  private:
    bool castable_;
    bool scales_linears_ = false;
    int linear_millibits_ = 0;
    bool in_16_bit_ = false;
    std::deque<std::string> paths_;
    std::vector<ModuleEntry> modules_;
};

// A network that is what its layers registered, in their order.
class RegisteredNetwork : public Network {
  public:
    [[nodiscard]] const std::vector<ModuleEntry>& modules() const final {
        return registry_.modules();
    }
    [[nodiscard]] std::int64_t params() const final { return registry_.params(); }
    [[nodiscard]] Bytes weights(ComputeType storage) const final {
        return registry_.weights(storage);
    }

  protected:
    explicit RegisteredNetwork(bool castable = true) : registry_(castable) {}

    Registry registry_;  // before the layers of a derived class, which register themselves
};

}  // namespace plimsoll::memory
