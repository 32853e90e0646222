// SPDX-License-Identifier: Apache-2.0
//
// Estimate-based: what the Loader decided before the phase stays as it is while the phase runs.
#include "memory/residency/policy.h"

#include <utility>

namespace plimsoll::memory {

namespace {

class EstimatePolicy final : public ResidencyPolicy {
  public:
    EstimatePolicy(const Server& server, const Device& device)
        : loader_(loader_rules(server, device), device.total, device.used_by_others),
          ahead_(copies_ahead(server, device)) {}

    ModelHandle add(std::shared_ptr<const LoadableModel> model,
                    const Placement& placement) override {
        return loader_.add(std::move(model), placement);
    }
    void drop(ModelHandle handle) override { loader_.drop(handle); }
    void set_references(ModelHandle handle, int references) override {
        loader_.set_references(handle, references);
    }
    const LoadableModel& model(ModelHandle handle) const override {
        return loader_.model(handle).model();
    }
    void set_others(Bytes others) override { loader_.set_others(others); }
    Movement load(const LoadRequest& request) override { return loader_.load(request); }
    Movement visit(ModelHandle handle, double need_bytes) override {
        return loader_.visit(handle, need_bytes);
    }
    void leave(ModelHandle handle) override { loader_.leave(handle); }
    std::int64_t free_bytes() const override { return loader_.free_bytes(); }
    Movement compute(std::int64_t) override { return {}; }
    Movement unload_all() override { return loader_.unload_all(); }

    std::vector<Stay> stays() const override {
        std::vector<Stay> stays;
        for (const ModelHandle handle : loader_.current()) {
            const LoadedModel& loaded = loader_.model(handle);
            Stay stay{.handle = handle,
                      .size_bytes = loaded.model().size_bytes,
                      .card_bytes = loaded.card_bytes()};
            if (loaded.placement().runs_on == Place::Card) {
                const StreamedModules streamed = loaded.streamed();
                stay.streamed_bytes = streamed.bytes;
                stay.streamed_count = streamed.count;
                stay.largest_streamed = streamed.largest;
                stay.in_flight = streamed.largest + (ahead_ ? streamed.second : 0);
                stay.patched_copy = streamed.patched_copy;
            }
            stays.push_back(stay);
        }
        return stays;
    }
    std::int64_t card_bytes() const override { return loader_.card_bytes(); }
    std::int64_t host_bytes() const override { return loader_.host_bytes(); }
    std::int64_t mapped_bytes() const override { return 0; }
    std::int64_t segment_bytes() const override { return loader_.segment_bytes(); }

  private:
    Loader loader_;
    bool ahead_;  // a second copy is made while the first is used
};

}  // namespace

std::unique_ptr<ResidencyPolicy> estimate_policy(const Server& server, const Device& device) {
    return std::make_unique<EstimatePolicy>(server, device);
}

}  // namespace plimsoll::memory
