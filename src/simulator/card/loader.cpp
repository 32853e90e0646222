// SPDX-License-Identifier: Apache-2.0
#include "simulator/card/loader.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

namespace plimsoll::simulator {

namespace {

constexpr double kMib = 1048576.0;
constexpr double kGib = 1073741824.0;
// ComfyUI 0.3.64, comfy/model_management.py on Linux and NVIDIA.
constexpr double kExtraReserved = 400 * kMib;
constexpr double kInferenceFloor = 0.8 * kGib;
constexpr double kWeightsFactor = 1.1;       // room made for weights, against their size
constexpr double kBudgetFloor = 128 * kMib;  // a model gets at least so much
constexpr double kNothing = 0.1;             // the budget that means "stream everything"
constexpr double kUnlimited = 1e32;
constexpr std::int64_t kUploadPiece = 64LL << 20U;  // chosen: what a poll can see of a load
constexpr double kCacheShare = 0.25;  // torch's cache is dropped above this share of free

}  // namespace

std::int64_t Weights::streamed_bytes() const {
    std::int64_t sum = 0;
    if (low_vram)
        for (const Unit& unit : units)
            if (!unit.on_gpu) sum += unit.bytes;
    return sum;
}

std::int64_t Weights::largest_streamed_bytes() const {
    std::int64_t largest = 0;
    if (low_vram)
        for (const Unit& unit : units)
            if (!unit.on_gpu) largest = std::max(largest, unit.bytes);
    return largest;
}

std::shared_ptr<Weights> make_weights(std::string name, const std::vector<std::string>& networks,
                                      int element_bytes, std::int64_t buffer_bytes, double share) {
    auto weights = std::make_shared<Weights>();
    weights->name = std::move(name);
    weights->size_bytes = buffer_bytes;
    for (const std::string& network : networks) {
        // The parts of one text encoder have names of their own: clip_l.*, clip_g.*
        const std::string prefix = networks.size() > 1 ? network + "." : "";
        for (const ModuleBytes& module : recorded_modules(network)) {
            const auto bytes = static_cast<std::int64_t>(
                std::llround(static_cast<double>(module.bytes) * element_bytes / 2 * share));
            weights->units.push_back(
                {.name = prefix + module.name, .bytes = bytes, .castable = module.castable});
            weights->size_bytes += bytes;
        }
    }
    std::ranges::sort(weights->units, std::greater(),
                      [](const Weights::Unit& unit) { return std::tie(unit.bytes, unit.name); });
    return weights;
}

ModelManager::ModelManager(GpuMemory& memory, const LaunchFlags& flags,
                           std::int64_t host_free_bytes)
    : memory_(memory), flags_(flags), host_free_bytes_(host_free_bytes) {}

double ModelManager::reserve_bytes() const {
    return flags_.reserve_vram_gib ? *flags_.reserve_vram_gib * kGib : kExtraReserved;
}

double ModelManager::minimum_inference_bytes() const {
    return kInferenceFloor + reserve_bytes();
}

bool ModelManager::load(const LoadRequest& request) {
    const double extra =
        std::max(minimum_inference_bytes(), request.memory_required + reserve_bytes());
    const double minimum = request.minimum_memory_required
                               ? std::max(minimum_inference_bytes(),
                                          *request.minimum_memory_required + reserve_bytes())
                               : extra;
    std::vector<Patcher> models;
    for (const Patcher& model : request.models) {
        // A clone of what is loaded takes its place, the weights stay.
        std::erase_if(loaded_, [&](const Patcher& one) { return one.weights == model.weights; });
        models.push_back(model);
    }
    double wanted = 0;
    bool on_gpu = false;
    for (const Patcher& model : models) {
        const Weights& weights = *model.weights;
        if (weights.load_device != Device::Gpu) continue;
        on_gpu = true;
        wanted += static_cast<double>(weights.at == Device::Gpu ? weights.offloaded_bytes()
                                                                : weights.size_bytes);
    }
    if (on_gpu) {
        make_room(wanted * kWeightsFactor + extra, {});
        if (static_cast<double>(memory_.free()) < minimum) make_room(minimum, {});
    }
    for (const Patcher& model : models) {
        const Weights& weights = *model.weights;
        double budget = 0;  // no limit
        const bool partial =
            flags_.vram_state == VramState::LowVram || flags_.vram_state == VramState::Normal;
        if (weights.load_device == Device::Gpu && partial && !request.force_full_load) {
            const auto held = static_cast<double>(weights.loaded_bytes);
            const double current = static_cast<double>(memory_.free()) + held;
            budget = std::max({kBudgetFloor, current - minimum,
                               std::min(0.0, current - minimum_inference_bytes())}) -
                     held;
            budget = std::max(kNothing, budget);
        }
        if (flags_.vram_state == VramState::NoVram) budget = kNothing;
        if (!load_one(model, budget)) return false;
        loaded_.insert(loaded_.begin(), model);
    }
    return true;
}

void ModelManager::free(double bytes_needed) {
    make_room(bytes_needed, {});
}

void ModelManager::unload_all() {
    make_room(1e30, {});
}

void ModelManager::forget(const std::shared_ptr<Weights>& weights) {
    std::erase_if(loaded_, [&](const Patcher& one) { return one.weights == weights; });
    (void)set_physical(weights, 0);
}

void ModelManager::make_room(double bytes_needed, const std::vector<Patcher>& keep) {
    struct Candidate {
        std::int64_t minus_offloaded;
        int references;
        std::int64_t size;
        std::size_t index;
        auto operator<=>(const Candidate&) const = default;
    };
    std::vector<Candidate> candidates;
    for (std::size_t i = loaded_.size(); i-- > 0;) {
        const Weights& weights = *loaded_[i].weights;
        const bool kept = std::ranges::any_of(
            keep, [&](const Patcher& one) { return one.weights == loaded_[i].weights; });
        if (weights.load_device != Device::Gpu || kept) continue;
        candidates.push_back(
            {-weights.offloaded_bytes(), weights.references, weights.size_bytes, i});
    }
    std::ranges::sort(candidates);
    std::vector<std::size_t> removed;
    for (const Candidate& candidate : candidates) {
        std::optional<double> ask;
        if (flags_.smart_memory) {
            const auto free_now = static_cast<double>(memory_.free());
            if (free_now > bytes_needed) break;
            ask = bytes_needed - free_now;
        }
        if (unload(loaded_[candidate.index].weights, ask)) removed.push_back(candidate.index);
    }
    std::ranges::sort(removed, std::greater());
    for (const std::size_t index : removed)
        loaded_.erase(loaded_.begin() + static_cast<std::ptrdiff_t>(index));
    if (!removed.empty()) {
        memory_.empty_cache();
    } else if (flags_.vram_state != VramState::HighVram) {
        const MemoryUse use = memory_.use();
        if (static_cast<double>(use.reserved - use.active) >
            static_cast<double>(use.free()) * kCacheShare)
            memory_.empty_cache();
    }
}

bool ModelManager::load_one(const Patcher& model, double budget_bytes) {
    Weights& weights = *model.weights;
    if (weights.load_device != Device::Gpu) {
        weights.loaded_bytes = weights.size_bytes;  // as the loader counts it, on the CPU
        weights.at = Device::Cpu;
        return true;
    }
    double extra = budget_bytes == 0 ? kUnlimited : budget_bytes;
    if (weights.applied_patches && *weights.applied_patches != model.patches) {
        // Other patches: the original weights come back first, and everything is loaded anew.
        const std::int64_t held = weights.loaded_bytes;
        detach(model.weights);
        extra += static_cast<double>(held - weights.loaded_bytes);
    }
    if (!weights.low_vram && weights.loaded_bytes > 0) return true;
    const auto held = static_cast<double>(weights.loaded_bytes);
    const bool full = held + extra > static_cast<double>(weights.size_bytes);
    if (!place_units(model.weights, held + extra, full)) return false;
    weights.applied_patches = model.patches;
    return true;
}

bool ModelManager::place_units(const std::shared_ptr<Weights>& shared, double limit_bytes,
                               bool full) {
    Weights& weights = *shared;
    std::int64_t counted = 0;
    std::int64_t moved = 0;
    bool streams = false;
    for (Weights::Unit& unit : weights.units) {
        const bool fits = full || static_cast<double>(counted + unit.bytes) < limit_bytes;
        if (!fits) {
            if (unit.castable) {
                unit.streamed = true;
                streams = true;
            }
            continue;
        }
        unit.streamed = false;
        counted += unit.bytes;
        if (!unit.on_gpu) {
            unit.on_gpu = true;
            moved += unit.bytes;
        }
    }
    weights.low_vram = streams;
    weights.at = Device::Gpu;
    weights.loaded_bytes = full ? weights.size_bytes : counted;
    const std::int64_t everything = weights.size_bytes + weights.hidden_bytes;
    if (full) moved = everything - std::min(everything, weights.physical_bytes);
    const std::int64_t target = full ? everything : weights.physical_bytes + moved;
    return set_physical(shared, target);
}

bool ModelManager::unload(const std::shared_ptr<Weights>& weights,
                          std::optional<double> bytes_to_free) {
    if (bytes_to_free && *bytes_to_free < static_cast<double>(weights->loaded_bytes)) {
        const auto freed = static_cast<double>(unload_part(weights, *bytes_to_free));
        if (freed >= *bytes_to_free) return false;
    }
    detach(weights);
    return true;
}

std::int64_t ModelManager::unload_part(const std::shared_ptr<Weights>& shared,
                                       double bytes_to_free) {
    Weights& weights = *shared;
    std::int64_t freed = 0;
    for (auto unit = weights.units.rbegin(); unit != weights.units.rend(); ++unit) {
        if (static_cast<double>(freed) > bytes_to_free) break;
        if (!unit->on_gpu) continue;
        unit->on_gpu = false;
        unit->streamed = unit->castable;
        freed += unit->bytes;
    }
    weights.low_vram = true;
    weights.loaded_bytes -= freed;
    // With --highvram the UNet is "offloaded" to the card itself: nothing is freed, though counted.
    if (weights.offload_device == Device::Cpu)
        (void)set_physical(shared, weights.physical_bytes - freed);
    return freed;
}

void ModelManager::detach(const std::shared_ptr<Weights>& shared) {
    Weights& weights = *shared;
    weights.loaded_bytes = 0;
    weights.low_vram = false;
    weights.applied_patches.reset();
    const bool stays = weights.offload_device == Device::Gpu;
    for (Weights::Unit& unit : weights.units) {
        unit.on_gpu = stays;
        unit.streamed = false;
    }
    weights.at = weights.offload_device;
    (void)set_physical(shared, stays ? weights.size_bytes + weights.hidden_bytes : 0);
}

void ModelManager::collect() {
    std::erase_if(loaded_, [&](const Patcher& one) {
        // This list holds one reference to it, so nobody else does.
        return one.weights.use_count() == 1;
    });
    std::int64_t orphaned = 0;
    std::erase_if(placed_, [&](const Placed& one) {
        if (!one.weights.expired()) return false;
        orphaned += one.bytes;
        return true;
    });
    memory_.give(orphaned);
}

bool ModelManager::set_physical(const std::shared_ptr<Weights>& weights, std::int64_t bytes) {
    bool fits = true;
    while (weights->physical_bytes < bytes && fits) {
        const std::int64_t piece = std::min(bytes - weights->physical_bytes, kUploadPiece);
        fits = memory_.take(piece);
        if (!fits) break;
        weights->physical_bytes += piece;
        if (on_upload) on_upload(piece);
    }
    if (weights->physical_bytes > bytes) {
        memory_.give(weights->physical_bytes - bytes);
        weights->physical_bytes = bytes;
    }
    const auto known = std::ranges::find_if(
        placed_, [&](const Placed& one) { return one.weights.lock() == weights; });
    if (known != placed_.end())
        known->bytes = weights->physical_bytes;
    else if (weights->physical_bytes > 0)
        placed_.push_back({weights, weights->physical_bytes});
    return fits;
}

Device ModelManager::first_device_of_unet(const Weights& weights) const {
    if (flags_.vram_state == VramState::Cpu) return Device::Cpu;
    if (flags_.vram_state == VramState::HighVram) return Device::Gpu;
    if (!flags_.smart_memory || flags_.vram_state == VramState::NoVram) return Device::Cpu;
    const std::int64_t free_now = memory_.free();
    return free_now > host_free_bytes_ && weights.size_bytes < free_now ? Device::Gpu : Device::Cpu;
}

Device ModelManager::first_device_of_text_encoder(const Weights& weights) const {
    if (weights.load_device == weights.offload_device ||
        static_cast<double>(weights.size_bytes) <= kGib)
        return weights.offload_device;
    const auto free_now = static_cast<double>(memory_.free());
    return free_now > 0.5 * static_cast<double>(host_free_bytes_) &&
                   static_cast<double>(weights.size_bytes) * 1.2 < free_now
               ? weights.load_device
               : weights.offload_device;
}

bool ModelManager::place(const std::shared_ptr<Weights>& weights, Device device) {
    weights->at = device;
    if (device != Device::Gpu) return true;
    if (!set_physical(weights, weights->size_bytes + weights->hidden_bytes)) return false;
    for (Weights::Unit& unit : weights->units) unit.on_gpu = true;
    return true;
}

}  // namespace plimsoll::simulator
