// SPDX-License-Identifier: Apache-2.0
//
// Reading the header of a 7 GB checkpoint (target < 20 ms) and detecting what it holds. The file is
// sparse: a true header of as many tensors as an SDXL checkpoint has, and a hole for the weights.
#include "modelfile/detect.h"
#include "modelfile/read.h"
#include "modelfile/sparse_file.h"
#include "targets.h"
#include "yardstick.h"

#include <filesystem>
#include <string>

#include <unistd.h>

namespace plimsoll::bench {
namespace {

// 2,500 tensors of 1280 x 1100 in fp16: 7.04 GB, names as long as SDXL's.
modelfile::TensorTable checkpoint_table() {
    modelfile::TensorTable table;
    for (int block = 0; block < 50; ++block)
        for (int part = 0; part < 50; ++part)
            modelfile::add_tensor(table,
                                  "model.diffusion_model.output_blocks." + std::to_string(block) +
                                      ".1.transformer_blocks." + std::to_string(part) +
                                      ".attn2.to_k.weight",
                                  modelfile::DType::Float16, {1280, 1100});
    table.index();
    return table;
}

class SparseCheckpoint {
  public:
    SparseCheckpoint() {
        path_ = std::filesystem::temp_directory_path() /
                ("plimsoll-bench-" + std::to_string(getpid()) + ".safetensors");
        written_ = modelfile::write_sparse_safetensors(path_, checkpoint_table()).has_value();
    }
    ~SparseCheckpoint() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    SparseCheckpoint(const SparseCheckpoint&) = delete;
    SparseCheckpoint& operator=(const SparseCheckpoint&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] bool written() const { return written_; }

  private:
    std::filesystem::path path_;
    bool written_ = false;
};

void read_header(benchmark::State& state) {
    const SparseCheckpoint file;
    if (!file.written()) {
        state.SkipWithError("the sparse file cannot be written");
        return;
    }
    std::string header = *modelfile::encode_safetensors_header(checkpoint_table());
    header.erase(0, 8);  // the length
    against_parsing(state, header,
                    [&] { benchmark::DoNotOptimize(modelfile::read_model_file(file.path())); });
    state.SetLabel(std::to_string(std::filesystem::file_size(file.path())) + " bytes, header " +
                   std::to_string(header.size()));
}
BENCHMARK(read_header)->Unit(benchmark::kMillisecond);

void detect(benchmark::State& state) {
    const modelfile::TensorTable table = checkpoint_table();
    for ([[maybe_unused]] auto _ : state)
        benchmark::DoNotOptimize(modelfile::detect_contents(table));
}
BENCHMARK(detect)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace plimsoll::bench

int main(int argc, char** argv) {
    return plimsoll::bench::run_against({{"read_header", 20e-3}}, argc, argv);
}
