// SPDX-License-Identifier: Apache-2.0
//
// NVIDIA's cards through NVML. A session of NVML keeps a laptop's card awake, and any call wakes
// it: so the bus is asked first (its files wake nothing), and the session ends while nothing runs
// on a card that could sleep.
//
// Enters through: NvmlLibrary, SystemTree.   Threads: one at a time.
#pragma once
#include "telemetry/device_source.h"
#include "telemetry/nvml/nvml_library.h"
#include "telemetry/system_tree.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::telemetry {

class NvmlSource final : public DeviceSource {
  public:
    // Opens nothing yet. `library`: empty for the usual places.
    explicit NvmlSource(SystemTree tree, std::filesystem::path library = {})
        : tree_(std::move(tree)), library_path_(std::move(library)) {}
    ~NvmlSource() override { close(); }
    NvmlSource(const NvmlSource&) = delete;
    NvmlSource& operator=(const NvmlSource&) = delete;

    [[nodiscard]] Result<std::vector<Device>> list() override;
    [[nodiscard]] Result<DeviceSample> sample(std::string_view id, Attention attention) override;
    [[nodiscard]] Result<std::vector<Holder>> list_holders(std::string_view id) override;

  private:
    struct Card {
        NvmlDevice handle = nullptr;
        Device device;
        bool memory_v2 = true;  // until the driver refuses it
        std::string sick;       // why; empty: well
    };

    Result<void> open();
    void close();
    [[nodiscard]] std::vector<PciDisplay> displays() const;
    [[nodiscard]] bool is_here(const PciAddress& pci) const;
    [[nodiscard]] bool all_asleep(const std::vector<PciDisplay>& displays) const;
    Result<Card> read_card(NvmlDevice handle, unsigned index) const;
    void read_limits(Card& card) const;
    Card* find(std::string_view id);
    // Where it sits, whether it was ever asked or not; nullopt: no such card is here.
    [[nodiscard]] std::optional<PciAddress> place_of(std::string_view id);
    // False: the card is lost, `sample` says why.
    bool read_memory(Card& card, DeviceSample& sample) const;
    void read_heat(const Card& card, DeviceSample& sample) const;
    void read_load(const Card& card, DeviceSample& sample) const;
    void add_holders(const Card& card, int (*call)(NvmlDevice, unsigned*, NvmlProcess*),
                     std::vector<Holder>& holders) const;
    [[nodiscard]] std::optional<double> read_field(const Card& card, std::uint32_t field) const;

    SystemTree tree_;
    std::filesystem::path library_path_;
    std::shared_ptr<const NvmlLibrary> nvml_;
    bool open_ = false;
    std::string driver_;
    std::vector<Card> cards_;  // handles are those of the open session
};

}  // namespace plimsoll::telemetry
