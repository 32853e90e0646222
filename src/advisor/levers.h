// SPDX-License-Identifier: Apache-2.0
//
// Levers: what can be changed in a workflow to make it smaller or faster, in the order of
// preference. Each lever looks at the graph and offers settings from mild to strong; solve_plan
// tries them. A lever never touches a pinned value.
//
// Enters through: workflow::Graph.   Leaves through: Lever.   Threads: no shared state.
#pragma once
#include "advisor/evidence.h"
#include "advisor/tile_plan.h"
#include "base/phrase.h"
#include "workflow/graph.h"
#include "workflow/splice.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::advisor {

enum class ChangeKind : std::uint8_t {
    TileVae,
    SplitBatch,
    FreeModels,
    ReserveVram,
    LowerPrecision,
    TwoPass,
    Resolution,
    Steps,
};
[[nodiscard]] std::string_view change_kind_name(ChangeKind kind);  // "tile_vae", "split_batch", ...

// Values that must stay, by the names of --pin: "steps", "seed", "width", "height", "size",
// "batch", "cfg", "sampler", "scheduler", "model", "precision", "vae".
using Pins = std::set<std::string>;
// "steps,seed" into pins; InvalidInput lists the names for an unknown one.
[[nodiscard]] Result<Pins> parse_pins(std::string_view text);

// A variant of a model file that exists on the user's disk. The service knows which do.
struct PrecisionVariant {
    std::string file;         // as a loader lists it
    std::string words;        // "fp8", "Q5_K"
    double quality_cost = 0;  // ordinal
};
using Variants =
    std::map<std::string, std::vector<PrecisionVariant>>;  // by the file that the workflow names

struct ValueChange {
    std::string node_id;
    std::string input;  // "class_type" where the node itself is exchanged
    std::string from;
    std::string to;
};

// The batch is made in several runs; run i draws the images [i * size, ...) of the same noise.
struct BatchSplit {
    std::string latent_node;  // EmptyLatentImage
    std::vector<std::pair<std::string, std::string>>
        consumers;  // node and input that read its latent
    int total = 1;
    int size = 1;  // images of one run
};

// One strength of one lever.
struct Offer {
    std::vector<ValueChange> values;
    std::vector<workflow::Edit> edits;
    std::vector<BatchSplit> splits;              // at most one
    double quality_cost = 0;                     // 0 none .. 1 worst; as `price_basis` says
    double quality_cost_high = 1;                // 95 %; of a prior nobody knows
    PriceBasis price_basis = PriceBasis::Prior;  // then it is an order, not a measurement
    Phrase what;                                 // "20 steps instead of 30"
    Phrase quality_words;
    bool changes_composition = false;
};

struct Lever {
    ChangeKind kind = ChangeKind::TileVae;
    bool saves_memory = false;
    bool saves_time = false;
    std::string node_id;
    std::vector<Offer> offers;  // mild to strong, never empty; of TileVae the node's defaults
};

// The VAE node computes in tiles; the picture pays for small ones by seams.
[[nodiscard]] Offer tile_offer(const workflow::Node& node, const NodeTiling& tiling, bool video);

struct LeverList {
    std::vector<Lever> levers;  // in order of preference
    Phrases refused;            // "steps is pinned", "width of node 5 is computed in the graph"
};
[[nodiscard]] LeverList find_levers(const workflow::Graph& graph, const Pins& pins,
                                    const Variants& variants);

// The settings of a text-to-image workflow with one sampler, as quality is measured for them;
// nullopt where it has none, or several.
[[nodiscard]] std::optional<Settings> settings_of_graph(const workflow::Graph& graph);
// `offer` of `kind` with what is known of its quality, where that is something.
void put_price(ChangeKind kind, const std::optional<Settings>& now, const QualityEvidence& evidence,
               Offer& offer);

// Where the size of a text-to-image workflow is written: the first empty-latent node that something
// uses.
[[nodiscard]] const workflow::Node* find_empty_latent(const workflow::Graph& graph);

}  // namespace plimsoll::advisor
