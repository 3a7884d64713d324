#include "core/model/module_builder.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/base/checked.h"
#include "core/base/error.h"

namespace hfload {
namespace {

constexpr uint64_t kMaxDimension = uint64_t{1} << 50;
constexpr size_t kMaxNodes = 4'000'000;

// transformers 4.57, activations.py (ACT2CLS). Only the class name matters here: no activation of these has
// parameters.
constexpr std::pair<std::string_view, std::string_view> kActivations[] = {
    {"gelu", "GELUActivation"},
    {"gelu_10", "ClippedGELUActivation"},
    {"gelu_accurate", "AccurateGELUActivation"},
    {"gelu_fast", "FastGELUActivation"},
    {"gelu_new", "NewGELUActivation"},
    {"gelu_python", "GELUActivation"},
    {"gelu_python_tanh", "GELUTanh"},
    {"gelu_pytorch_tanh", "GELUTanh"},
    {"laplace", "LaplaceActivation"},
    {"leaky_relu", "LeakyReLU"},
    {"linear", "LinearActivation"},
    {"mish", "MishActivation"},
    {"quick_gelu", "QuickGELUActivation"},
    {"relu", "ReLU"},
    {"relu2", "ReLUSquaredActivation"},
    {"relu6", "ReLU6"},
    {"sigmoid", "Sigmoid"},
    {"silu", "SiLUActivation"},
    {"swish", "SiLU"},
    {"tanh", "Tanh"},
};

}  // namespace

uint64_t product(uint64_t a, uint64_t b) {
  const auto result = checked_mul(a, b);
  if (!result || *result > kMaxDimension) {
    throw Error(ErrorCode::invalid_config, fmt::format("{} * {} is too large for a size", a, b))
        .with_hint("Check the sizes and numbers of heads in config.json.");
  }
  return *result;
}

uint64_t difference(uint64_t a, uint64_t b) {
  if (b > a) throw Error(ErrorCode::invalid_config, fmt::format("{} - {} is no size", a, b));
  return a - b;
}

std::string index_name(uint64_t index) { return std::to_string(index); }

ModuleBuilder::ModuleBuilder(ModuleTree& tree, Dtype default_dtype, bool parts_have_dtypes)
    : tree_(tree), default_dtype_(default_dtype), parts_have_dtypes_(parts_have_dtypes) {
  if (tree_.modules.empty()) tree_.add_module(kNoId, "", tree_.model_class);
}

ModuleId ModuleBuilder::open(std::string_view name, std::string_view class_name) {
  if (tree_.modules.size() + tree_.tensors.size() >= kMaxNodes) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("the config describes a model of more than {} modules", kMaxNodes))
        .with_hint("Check the numbers of layers in config.json.");
  }
  current_ = tree_.add_module(current_, name, class_name);
  return current_;
}

Dtype ModuleBuilder::dtype_of_part(const ModelConfig& config) const {
  const auto dtype = parts_have_dtypes_ ? config.weight_dtype() : std::nullopt;
  return dtype.value_or(default_dtype_);
}

void ModuleBuilder::expect_more_like(size_t modules_before, size_t tensors_before, uint64_t times) {
  const auto expect = [&](auto& nodes, size_t before) {
    const size_t added = nodes.size() - before;
    const size_t more = added == 0 ? 0 : std::min<uint64_t>(times, kMaxNodes / added) * added;
    // Few at a time grow on their own, and what follows a long list must not make all of it move again.
    constexpr size_t kFew = 64;
    if (more > kFew && nodes.size() + more > nodes.capacity()) nodes.reserve(nodes.size() + more + kFew);
  };
  expect(tree_.modules, modules_before);
  expect(tree_.names, modules_before);
  expect(tree_.tensors, tensors_before);
}

void ModuleBuilder::close() { current_ = tree_.names.parent(current_); }

ModuleId ModuleBuilder::module(std::string_view name, std::string_view class_name) {
  const ModuleId id = open(name, class_name);
  close();
  return id;
}

ModuleId ModuleBuilder::share(std::string_view name, ModuleId original) {
  const ModuleId id = open(name, tree_.modules[original].class_name);
  const auto repeat = [&](const IdList& tensors) {
    for (const TensorId t : tensors) {
      const ShellTensor source = tree_.tensors[t];
      add_tensor(source.name, source.shape, source.dtype, source.is_buffer, source.persistent, source.object);
    }
  };
  repeat(IdList(tree_.modules[original].parameters));
  repeat(IdList(tree_.buffers_of(original)));
  for (const ModuleId child : IdList(tree_.modules[original].children))
    share(tree_.names.component(child), child);
  close();
  return id;
}

TensorId ModuleBuilder::add_tensor(std::string_view name, std::span<const uint64_t> shape, Dtype dtype,
                                   bool is_buffer, bool persistent, TensorId object) {
  ShellTensor tensor;
  tensor.name = PooledText::of_pool(tree_.texts->add_once(name));
  // Sums over a whole model are formed from these sizes later; this bound keeps them far from 2^64.
  const auto bytes = tensor_bytes(dtype, shape);
  if (!bytes || *bytes > (uint64_t{1} << 50)) {
    throw Error(ErrorCode::invalid_config, "the config gives this tensor more than 2^50 bytes")
        .with_tensor(full_name(name));
  }
  if (tree_.modules.size() + tree_.tensors.size() >= kMaxNodes) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("the config describes a model of more than {} tensors", kMaxNodes));
  }
  const auto id = static_cast<TensorId>(tree_.tensors.size());
  tensor.module = current_;
  tensor.dtype = dtype;
  tensor.created_dtype = dtype;
  tensor.shape = make_shape_(shape);
  tensor.is_buffer = is_buffer;
  tensor.persistent = persistent;
  tensor.object = object == kNoId ? id : object;
  tree_.tensors.push_back(std::move(tensor));
  (is_buffer ? tree_.buffers[current_] : tree_.modules[current_].parameters).push_back(id);
  return id;
}

TensorId ModuleBuilder::parameter(std::string_view name, std::initializer_list<uint64_t> shape) {
  return parameter(name, shape, default_dtype_);
}

TensorId ModuleBuilder::parameter(std::string_view name, std::initializer_list<uint64_t> shape, Dtype dtype) {
  return add_tensor(name, {shape.begin(), shape.end()}, dtype, false, true, kNoId);
}

TensorId ModuleBuilder::buffer(std::string_view name, std::initializer_list<uint64_t> shape, Dtype dtype,
                               bool persistent) {
  return add_tensor(name, {shape.begin(), shape.end()}, dtype, true, persistent, kNoId);
}

ModuleId ModuleBuilder::linear(std::string_view name, uint64_t in_features, uint64_t out_features,
                               bool bias) {
  return module(name, "Linear", [&] {
    parameter("weight", {out_features, in_features});
    if (bias) parameter("bias", {out_features});
  });
}

ModuleId ModuleBuilder::embedding(std::string_view name, uint64_t num_embeddings, uint64_t embedding_dim) {
  return module(name, "Embedding", [&] { parameter("weight", {num_embeddings, embedding_dim}); });
}

ModuleId ModuleBuilder::layer_norm(std::string_view name, uint64_t features) {
  return module(name, "LayerNorm", [&] {
    parameter("weight", {features});
    parameter("bias", {features});
  });
}

ModuleId ModuleBuilder::rms_norm(std::string_view name, std::string_view class_name, uint64_t features) {
  return module(name, class_name, [&] { parameter("weight", {features}); });
}

ModuleId ModuleBuilder::conv1d(std::string_view name, uint64_t in_features, uint64_t out_features) {
  return module(name, "Conv1D", [&] {
    parameter("weight", {in_features, out_features});
    parameter("bias", {out_features});
  });
}

ModuleId ModuleBuilder::conv2d(std::string_view name, uint64_t in_channels, uint64_t out_channels,
                               uint64_t kernel_height, uint64_t kernel_width, bool bias) {
  return module(name, "Conv2d", [&] {
    parameter("weight", {out_channels, in_channels, kernel_height, kernel_width});
    if (bias) parameter("bias", {out_channels});
  });
}

ModuleId ModuleBuilder::activation(std::string_view name, std::string_view activation_name) {
  const auto* found =
      std::ranges::find(kActivations, activation_name, &std::pair<std::string_view, std::string_view>::first);
  if (found == std::end(kActivations)) {
    throw Error(ErrorCode::invalid_config, fmt::format("unknown activation function '{}'", activation_name));
  }
  return module(name, found->second);
}

ModuleId ModuleBuilder::rotary_embedding(std::string_view name, std::string_view class_name,
                                         uint64_t frequencies) {
  return module(name, class_name, [&] {
    buffer("inv_freq", {frequencies}, Dtype::f32, false);
    if (is_v5()) buffer("original_inv_freq", {frequencies}, Dtype::f32, false);
  });
}

void ModuleBuilder::attention_cache(uint64_t kv_heads, uint64_t head_dim, uint64_t window_tokens) {
  tree_.layer_caches.push_back({.module = current_,
                                .elements_per_token = 2 * product(kv_heads, head_dim),
                                .window_tokens = window_tokens});
}

void ModuleBuilder::cross_attention_cache(uint64_t kv_heads, uint64_t head_dim, uint64_t source_tokens) {
  tree_.layer_caches.push_back({.module = current_,
                                .elements_per_token = 2 * product(kv_heads, head_dim),
                                .source_tokens = source_tokens});
}

void ModuleBuilder::latent_cache(uint64_t elements_per_token) {
  tree_.layer_caches.push_back({.module = current_, .elements_per_token = elements_per_token});
}

void ModuleBuilder::state_cache(uint64_t elements, uint64_t float32_elements) {
  tree_.layer_caches.push_back(
      {.module = current_, .state_elements = elements, .float32_state_elements = float32_elements});
}

void ModuleBuilder::no_split(std::string_view class_name) {
  if (std::ranges::find(tree_.no_split_modules, class_name) == tree_.no_split_modules.end())
    tree_.no_split_modules.emplace_back(class_name);
}

void ModuleBuilder::ignore_unexpected(std::string_view pattern) {
  if (std::ranges::find(tree_.ignore_unexpected, pattern) == tree_.ignore_unexpected.end())
    tree_.ignore_unexpected.emplace_back(pattern);
}

void ModuleBuilder::tie(std::string_view name_in_model, std::string_view source_in_model) {
  const std::string name = tie_prefix_ + std::string(name_in_model);
  const std::string source = tie_prefix_ + std::string(source_in_model);
  const auto find = [&](const std::string& wanted) {
    const auto has_name = [&](const ShellTensor& t) { return tree_.has_name(t, wanted); };
    const auto found = std::ranges::find_if(tree_.tensors, has_name);
    return found == tree_.tensors.end() ? kNoId : static_cast<TensorId>(found - tree_.tensors.begin());
  };
  const TensorId tied = find(name);
  const TensorId from = find(source);
  if (tied == kNoId || from == kNoId) {
    throw Error(ErrorCode::internal,
                fmt::format("the architecture ties '{}' to '{}', and lacks one of them", name, source));
  }
  tree_.tensors[tied].shape = tree_.tensors[from].shape;
  const TensorId replaced = tree_.tensors[tied].object;
  const TensorId object = tree_.tensors[from].object;
  if (replaced == tied) {
    tree_.tensors[tied].object = object;
    return;
  }
  for (ShellTensor& t : tree_.tensors) {
    if (t.object == replaced && tree_.has_name(t, name)) t.object = object;
  }
}

void ModuleBuilder::finish() { renumber_tensors(tree_); }

}  // namespace hfload
