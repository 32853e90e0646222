// SPDX-License-Identifier: Apache-2.0
//
// TensorTable: what every model file format is read into. Names, dtypes, shapes and bytes; never
// the weights.
#pragma once
#include "base/units.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::modelfile {

// Storage types of safetensors, GGUF and torch pickles. Block types of GGUF pack several elements
// into a block.
enum class DType : std::uint8_t {
    Float64,
    Float32,
    Float16,
    BFloat16,
    Float8E4M3,
    Float8E5M2,
    Float8E8M0,
    Int64,
    Int32,
    Int16,
    Int8,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Bool,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ2_XXS,
    IQ2_XS,
    IQ3_XXS,
    IQ1_S,
    IQ4_NL,
    IQ3_S,
    IQ2_S,
    IQ4_XS,
    IQ1_M,
    TQ1_0,
    TQ2_0,
    MXFP4,
    Float4E2M1,
    Complex64,
};

struct DTypeTraits {
    std::string_view name;   // as plimsoll prints it: "fp16", "bf16", "fp8_e4m3", "q4_k"
    int block_elements = 1;  // elements in a block (1 for plain types)
    int block_bytes = 0;     // bytes of a block
};
[[nodiscard]] const DTypeTraits& dtype_traits(DType dtype);

// Bytes of `elements` in `dtype`, whole blocks (rounded up).
[[nodiscard]] Bytes storage_bytes(DType dtype, std::int64_t elements);

using Shape = std::vector<std::int64_t>;
[[nodiscard]] std::int64_t element_count(
    const Shape& shape);  // checked by the readers: never overflows

struct TensorEntry {
    std::string name;
    DType dtype = DType::Float32;
    Shape shape;  // outermost first, as PyTorch prints it (GGUF's order is reversed by its reader)
    Bytes bytes;  // in the file
};

enum class FileFormat : std::uint8_t { Safetensors, Gguf, TorchPickle, Catalogue };

// A plain value: copies and moves keep the index.
struct TensorTable {
    FileFormat format = FileFormat::Safetensors;
    std::vector<TensorEntry> tensors;  // in file order
    std::map<std::string, std::string>
        metadata;  // safetensors __metadata__, GGUF key values that are short
    Bytes file_bytes;
    std::vector<std::string> notes;  // what the reader skipped and why, for people

    // nullptr when absent. Valid until the table changes; call index() once after filling
    // `tensors`.
    [[nodiscard]] const TensorEntry* find(std::string_view name) const;
    // Indices into `tensors` of all names that start with `prefix`, in order of name.
    [[nodiscard]] std::span<const std::uint32_t> with_prefix(std::string_view prefix) const;
    void index();
    // After index(): the first name that occurs twice, or nullptr.
    [[nodiscard]] const TensorEntry* first_duplicate() const;

  private:
    std::vector<std::uint32_t> by_name_;  // indices into `tensors`, sorted by name
};

}  // namespace plimsoll::modelfile
