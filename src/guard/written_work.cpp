// SPDX-License-Identifier: Apache-2.0
#include "guard/written_work.h"

#include "base/byte_source.h"
#include "base/text.h"
#include "guard/saved_latent.h"
#include "workflow/node_catalogue.h"
#include "workflow/png_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <span>
#include <utility>

namespace plimsoll::guard {

namespace {

using service::FilePiece;
using service::ImageRef;

constexpr std::size_t kLooksMax = 300;                 // chosen: the newest files; a job has a few
constexpr std::size_t kPicturesMax = 256;              // chosen: of one job
constexpr std::uint64_t kHeadBytesMax = 16ULL << 20U;  // chosen: a prompt has up to a megabyte
constexpr std::uint64_t kHeadBytes = 64ULL << 10U;     // chosen: besides the prompt itself
constexpr std::int64_t kNumberMax = 100'000'000;       // chosen: five digits are usual
constexpr int kPassesMax = 64;                         // chosen: nodes between decode and save

bool is_preview(std::string_view class_type) {
    constexpr std::array<std::string_view, 3> kPreviews{"PreviewImage", "MaskPreview",
                                                        "PreviewAny"};
    return std::ranges::find(kPreviews, class_type) != kPreviews.end();
}

// Nodes that make one picture of each, and the input that they come through.
struct OneForOne {
    std::string_view class_type;
    std::string_view input;
};
constexpr std::array<OneForOne, 9> kOneForOne{{{"ImageScale", "image"},
                                               {"ImageScaleBy", "image"},
                                               {"ImageScaleToTotalPixels", "image"},
                                               {"ImageUpscaleWithModel", "image"},
                                               {"ImageInvert", "image"},
                                               {"ImageBlur", "image"},
                                               {"ImageSharpen", "image"},
                                               {"ImageQuantize", "image"},
                                               {"ImageCrop", "image"}}};

// How many pictures come out of that node.
std::optional<std::size_t> pictures_of(const workflow::Graph& graph, const memory::Program& program,
                                       std::string node_id) {
    for (int pass = 0; pass < kPassesMax; ++pass) {
        const workflow::Node* const node = graph.find(node_id);
        if (node == nullptr) return std::nullopt;
        const auto* const passes =
            std::ranges::find(kOneForOne, node->class_type, &OneForOne::class_type);
        if (passes != kOneForOne.end()) {
            const workflow::Link* const link = node->link_of(passes->input);
            if (link == nullptr) return std::nullopt;
            node_id = link->node_id;
            continue;
        }
        if (node->class_type != "VAEDecode" && node->class_type != "VAEDecodeTiled")
            return std::nullopt;
        const auto step = std::ranges::find(program.steps, node_id, &memory::Step::node_id);
        if (step == program.steps.end()) return std::nullopt;
        const auto* const decode = std::get_if<memory::VaeStep>(&step->what);
        if (decode == nullptr || decode->image.batch < 1 || decode->sound_latents > 0)
            return std::nullopt;
        return static_cast<std::size_t>(decode->image.batch);
    }
    return std::nullopt;
}

std::optional<Saver> saver_of(const workflow::Graph& graph, const memory::Program& program,
                              const workflow::Node& node) {
    const auto prefix = node.text_of("filename_prefix");
    const workflow::Link* const images = node.link_of("images");
    if (!prefix || images == nullptr) return std::nullopt;
    const auto path = std::filesystem::path(*prefix).lexically_normal();
    const auto count = pictures_of(graph, program, images->node_id);
    Saver saver{.node_id = node.id,
                .subfolder = path.parent_path().string(),
                .stem = path.filename().string(),
                .pictures = count.value_or(0)};
    const bool is_below = !path.is_absolute() && !path.empty() && *path.begin() != "..";
    // Which of the folders it was is not known here.
    const bool is_filled_in = saver.subfolder.contains('%');
    if (!count || *count > kPicturesMax || saver.stem.empty() || saver.stem == "." || !is_below ||
        is_filled_in)
        return std::nullopt;
    return saver;
}

// What ComfyUI fills with digits.
constexpr std::array<std::string_view, 9> kWords{"%width%",  "%height%", "%year%",
                                                 "%month%",  "%day%",    "%hour%",
                                                 "%minute%", "%second%", "%batch_num%"};

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// What follows the stem in the name; nullopt: it does not begin so.
std::optional<std::string_view> after_stem(std::string_view stem, std::string_view name) {
    while (!stem.empty()) {
        const auto* const word = std::ranges::find_if(
            kWords, [&](std::string_view one) { return stem.starts_with(one); });
        if (word == kWords.end()) {
            if (name.empty() || name.front() != stem.front()) return std::nullopt;
            stem.remove_prefix(1);
            name.remove_prefix(1);
            continue;
        }
        const auto digits =
            static_cast<std::size_t>(std::ranges::find_if_not(name, is_digit) - name.begin());
        if (digits == 0) return std::nullopt;
        stem.remove_prefix(word->size());
        name.remove_prefix(digits);
    }
    return name;
}

std::string key_of(const ImageRef& file) {
    return fmt::format("{}/{}/{}", file.type, file.subfolder, file.filename);
}

// The chunks before the pixels, as a PNG of their own; empty where it is none.
std::string without_pixels(std::string_view head) {
    constexpr std::size_t kSignature = 8;
    constexpr std::size_t kAround = 12;  // length, type and checksum
    constexpr std::string_view kEnd{"\0\0\0\0IEND\xae\x42\x60\x82", 12};
    if (head.size() < kSignature) return "";
    std::size_t at = kSignature;
    while (head.size() - at >= kAround) {
        std::size_t length = 0;
        for (std::size_t i = 0; i < 4; ++i)
            length = length << 8U | static_cast<unsigned char>(head[at + i]);
        if (head.substr(at + 4, 4) == "IDAT" || length > head.size() - at - kAround) break;
        at += length + kAround;
    }
    return std::string(head.substr(0, at)).append(kEnd);
}

// Looks at one file after the other, with what one query needs.
class Look {
  public:
    Look(service::Upstream& comfyui, const WrittenQuery& query, const ClaimedFiles& claimed)
        : comfyui_(comfyui), query_(query), claimed_(claimed) {}

    // The names of a folder, the newest first.
    Result<std::vector<std::string>> list(const std::string& subfolder, const Saver& saver) {
        if (subfolder.empty()) {
            auto names = comfyui_.list_output_files();
            if (!names && names.error().code == Errc::NotFound) return std::vector<std::string>{};
            return names;
        }
        return probe(saver);
    }

    enum class Is : std::uint8_t { Older, Other, Ours };
    Result<Is> look_at(const ImageRef& file) {
        const std::uint64_t count =
            std::min(kHeadBytesMax, kHeadBytes + 3 * std::uint64_t{query_.prompt.size()});
        const auto head = comfyui_.read_piece(file, 0, count);
        if (!head) return missing(head.error());
        if (!head->age_ms) return Is::Other;
        const std::int64_t latest_ms = query_.now_ms - *head->age_ms;
        if (latest_ms < query_.sent_ms) return Is::Older;
        if (query_.strict && latest_ms - service::kAgeErrorMs < query_.sent_ms) return Is::Older;
        if (claimed_.contains(file) || !carries_prompt(head->bytes)) return Is::Other;
        return is_whole(file, *head);
    }

  private:
    Result<Is> missing(const Error& error) {
        if (error.code == Errc::NotFound || error.code == Errc::LimitExceeded) return Is::Other;
        return std::unexpected(error);
    }

    [[nodiscard]] bool carries_prompt(std::string_view head) const {
        const std::string png = without_pixels(head);
        MemorySource source(std::as_bytes(std::span(png)));
        const auto texts = workflow::read_png_workflow(source);
        return texts && texts->prompt && is_same_prompt(query_.prompt, *texts->prompt);
    }

    // Killed while it wrote, ComfyUI leaves a file without its end.
    Result<Is> is_whole(const ImageRef& file, const FilePiece& head) {
        constexpr std::string_view kEnd{"\0\0\0\0IEND\xae\x42\x60\x82", 12};
        if (head.whole_bytes <= kEnd.size()) return Is::Other;
        const auto end = comfyui_.read_piece(file, head.whole_bytes - kEnd.size(), kEnd.size());
        if (!end) return missing(end.error());
        return end->bytes == kEnd ? Is::Ours : Is::Other;
    }

    // ComfyUI lists no folders below its output: there the numbers are tried. They run from 1
    // without a gap unless somebody deletes; then nothing is found, and the job is drawn again.
    Result<std::vector<std::string>> probe(const Saver& saver) {
        std::vector<std::string> names;
        if (saver.stem.contains('%')) return names;
        const auto name = [&](std::int64_t number) {
            return fmt::format("{}_{:05}_.png", saver.stem, number);
        };
        const auto is_there = [&](std::int64_t number) -> Result<bool> {
            const auto piece = comfyui_.read_piece(
                {.filename = name(number), .subfolder = saver.subfolder, .type = "output"}, 0, 1);
            if (piece) return true;
            if (piece.error().code == Errc::NotFound) return false;
            return std::unexpected(piece.error());
        };
        std::int64_t there = 0;
        std::int64_t missing = 1;
        for (; missing < kNumberMax; missing *= 2) {
            TRY_ASSIGN(const bool exists, is_there(missing));
            if (!exists) break;
            there = missing;
        }
        while (missing - there > 1) {
            const std::int64_t middle = there + (missing - there) / 2;
            TRY_ASSIGN(const bool exists, is_there(middle));
            (exists ? there : missing) = middle;
        }
        for (; there > 0 && names.size() < kLooksMax; --there) names.push_back(name(there));
        return names;
    }

    service::Upstream& comfyui_;
    const WrittenQuery& query_;
    const ClaimedFiles& claimed_;
};

struct Found {
    ImageRef file;
    bool taken = false;
};

// So many files in a row, as one run of the node numbers them; the oldest first.
std::vector<ImageRef> take_run(const Saver& saver, std::vector<Found>& found) {
    std::map<std::int64_t, Found*> by_number;
    for (Found& one : found)
        if (const auto number = number_of(saver, one.file.filename);
            number && !one.taken && one.file.subfolder == saver.subfolder)
            by_number.emplace(*number, &one);
    std::vector<Found*> run;
    std::int64_t last = 0;
    for (const auto& [number, one] : by_number) {
        if (run.size() == saver.pictures) break;
        if (!run.empty() && number != last + 1) run.clear();
        run.push_back(one);
        last = number;
    }
    std::vector<ImageRef> files;
    if (run.size() != saver.pictures) return files;
    for (Found* const one : run) {
        one->taken = true;
        files.push_back(one->file);
    }
    return files;
}

}  // namespace

std::optional<std::vector<Saver>> savers_of(const workflow::Graph& graph,
                                            const memory::Program& program, const NodeFiles& heard,
                                            const std::set<std::string>& targets) {
    std::vector<Saver> savers;
    std::set<std::string> read;
    for (const workflow::Node& node : graph.nodes)
        for (const workflow::Input& input : node.inputs)
            if (const auto* const link = std::get_if<workflow::Link>(&input.value))
                read.insert(link->node_id);
    bool saves = false;
    for (const workflow::Node& node : graph.nodes) {
        const workflow::NodeKind* const kind = workflow::find_node_kind(node.class_type);
        // Of one that nobody knows it is assumed where nothing comes of it otherwise.
        const bool puts_out = kind != nullptr ? kind->output_node : !read.contains(node.id);
        if (!puts_out || node.id == kLatentNode || is_preview(node.class_type)) continue;
        if (!targets.empty() && !targets.contains(node.id)) continue;
        saves = true;
        if (heard.contains(node.id)) continue;
        auto saver = node.class_type == "SaveImage" ? saver_of(graph, program, node) : std::nullopt;
        if (!saver) return std::nullopt;
        savers.push_back(std::move(*saver));
    }
    if (!saves) return std::nullopt;
    const auto turn_of = [&](const Saver& saver) {
        return std::ranges::find(program.steps, saver.node_id, &memory::Step::node_id) -
               program.steps.begin();
    };
    std::ranges::stable_sort(savers, {}, turn_of);
    return savers;
}

std::optional<std::int64_t> number_of(const Saver& saver, std::string_view filename) {
    constexpr std::string_view kEnding = "_.png";
    auto rest = after_stem(saver.stem, filename);
    if (!rest || !rest->starts_with('_') || !rest->ends_with(kEnding) ||
        rest->size() <= kEnding.size() + 1)
        return std::nullopt;
    const std::string_view digits = rest->substr(1, rest->size() - kEnding.size() - 1);
    if (!std::ranges::all_of(digits, is_digit)) return std::nullopt;
    const auto number = parse_integer(digits);
    return number && *number < kNumberMax ? std::optional<std::int64_t>(*number) : std::nullopt;
}

void ClaimedFiles::add(const NodeFiles& files) {
    for (const auto& [node, images] : files) add(images);
}

void ClaimedFiles::add(const std::vector<ImageRef>& files) {
    for (const ImageRef& file : files) {
        const auto [at, is_new] = names_.insert(key_of(file));
        if (is_new) oldest_first_.push_back(*at);
        if (oldest_first_.size() <= kClaimedMax) continue;
        names_.erase(oldest_first_.front());
        oldest_first_.pop_front();
    }
}

bool ClaimedFiles::contains(const ImageRef& file) const {
    return names_.contains(key_of(file));
}

Result<WrittenWork> find_written_work(service::Upstream& comfyui, const WrittenQuery& query,
                                      const ClaimedFiles& claimed) {
    Look look(comfyui, query, claimed);
    std::vector<Found> found;
    std::set<std::string> seen;
    std::size_t looks = 0;
    for (const Saver& saver : query.savers) {
        TRY_ASSIGN(const std::vector<std::string> names, look.list(saver.subfolder, saver));
        for (const std::string& name : names) {
            if (!number_of(saver, name)) continue;
            const ImageRef file{.filename = name, .subfolder = saver.subfolder, .type = "output"};
            if (!seen.insert(key_of(file)).second) continue;
            if (++looks > kLooksMax) break;
            TRY_ASSIGN(const Look::Is is, look.look_at(file));
            // The rest is older still.
            if (is == Look::Is::Older) break;
            if (is == Look::Is::Ours) found.push_back({file});
        }
    }
    WrittenWork work{.whole = true};
    for (const Saver& saver : query.savers) {
        work.files[saver.node_id] = take_run(saver, found);
        work.whole = work.whole && !work.files[saver.node_id].empty();
    }
    if (work.whole) return work;
    work.files.clear();
    for (Found& one : found) work.pieces.push_back(std::move(one.file));
    return work;
}

}  // namespace plimsoll::guard
