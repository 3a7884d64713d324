#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>

#include "core/model/findings.h"
#include "core/model/shell.h"
#include "test/support/fixtures.h"

namespace hfload {
namespace {

using namespace test;

/// A finding's code and the number of tensors it names.
using Codes = std::map<std::string, size_t>;

struct PublishedModel {
  const char* name;
  Codes explained = {};  ///< how it differs from its architecture, and why, beside each
};

const PublishedModel kModels[] = {
    {"bloom-176b"},
    {"distilbert-cls"},
    {"falcon-180b-chat", {{"tied_weights_saved", 1}}},  // its head, which the config ties by default
    {"gemma-2b"},
    {"gemma3-4b-text"},
    {"gpt-j-6b-fp32", {{"legacy_buffers", 56}}},  // causal masks of its 28 layers
    {"gpt-neox-20b", {{"legacy_buffers", 132}}},  // causal masks and rotary frequencies of 44 layers
    {"gpt-oss-20b"},
    {"granite-3.1-1b-a400m"},
    {"granite-3b-code-128k"},
    {"llama-2-13b-bnb4"},
    {"llama-7b-v1", {{"legacy_buffers", 32}}},  // rotary frequencies of its 32 layers
    {"llava-hf-7b"},
    {"medgemma-27b"},
    {"mistral-7b-instruct"},
    {"mixtral-8x7b-dolphin"},
    {"nllb-1.3b"},
    {"olmocr-qwen2-vl-7b"},
    {"phi-2-fp32"},
    {"phi-3-mini"},
    {"qwen2.5-3b"},
    {"qwen3-1.7b"},
    {"qwen3-coder-30b-a3b"},
    {"reflection-llama-3.1-70b"},
    {"smollm-135m"},
    {"t5-v1_1-xxl-encoder"},
    {"UNK-qwen-72b"},
    {"vit-base"},
    {"whisper-large-v3-fp32", {{"dtype_differs", 0}}},  // config.json is that of the float16 variant
};

}  // namespace

TEST_CASE("published models hold the names and bytes that their architectures save", "[model][corpus]") {
  const auto corpus = corpus_directory();
  if (!corpus) {
    WARN("skipped: HFLOAD_CORPUS is not set");
    return;
  }
  for (const PublishedModel& model : kModels) {
    INFO(model.name);
    const Checkpoint checkpoint =
        open_checkpoint(locate_model((std::filesystem::path(*corpus) / model.name).string(), {}));
    const Shell shell = build_shell(checkpoint, {});
    CHECK_FALSE(shell.tree.from_tensor_names);
    Codes found;
    for (const Finding& finding : compare_with_checkpoint(shell, checkpoint).findings) {
      INFO(finding.code << ": " << finding.message << (finding.names.empty() ? "" : " " + finding.names[0]));
      const auto it = model.explained.find(std::string(finding.code));
      CHECK(it != model.explained.end());
      found.emplace(finding.code, finding.names.size());
    }
    CHECK(found == model.explained);
    // Without a finding, the total_size of the index is the shell's to the byte.
    CHECK(checkpoint.index_total_size_bytes.has_value());
  }
}

}  // namespace hfload
