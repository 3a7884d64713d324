#include "core/format/torch_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/base/join.h"
#include "core/format/json.h"
#include "core/format/torch_container.h"
#include "core/format/torch_storages.h"

namespace hfload {
namespace {

class StateDictReader {
 public:
  StateDictReader(const ByteSource& source, std::string_view key)
      : container_(source), tree_(container_.tree()), key_(key), storages_(tree_) {}

  TorchFile read() && {
    const PickleId root = tree_.root();
    if (tree_.kind(root) != PickleKind::dict) throw no_state_dict(root);
    file_.layout = container_.layout();
    file_.big_endian = container_.big_endian();
    storages_.claim(container_.layout());
    file_.storages = container_.locate(storages_.claims());
    storages_.forget_claims();
    const PickleId state_dict = find_state_dict(root);
    require_distinct_names(state_dict);
    visit_entries(state_dict, [&](PickleId key, PickleId value) { read_entry(key, value); });
    note_others();
    return std::move(file_);
  }

 private:
  static Error fault(ErrorCode code, std::string message, uint64_t offset) {
    return Error(code, std::move(message)).with_offset(offset);
  }
  Error bad_entry(std::string message, PickleId at) const {
    return bad_torch_entry(tree_, std::move(message), at);
  }

  Error no_state_dict(PickleId root) const {
    const bool tensor = is_tensor(root);
    return fault(ErrorCode::unsupported_format,
                 fmt::format("the file holds {}, not a dict of tensors",
                             tensor ? "one tensor" : describe(tree_.kind(root))),
                 tree_.offset(root))
        .with_hint("Load it with torch and save the model's state_dict().");
  }

  template <class Visit>
  void visit_entries(PickleId dict, Visit&& visit) const {
    PickleId key = 0;
    bool is_value = false;
    tree_.visit_members(dict, [&](PickleId member) {
      if (is_value) visit(key, member);
      key = member;
      is_value = !is_value;
    });
  }

  void require_distinct_names(PickleId dict) const {
    const auto is_name = [&](PickleId key) { return tree_.kind(key) == PickleKind::string; };
    size_t count = 0;
    visit_entries(dict, [&](PickleId key, PickleId) { count += is_name(key) ? 1 : 0; });
    std::vector<PickleId> names;
    names.reserve(count);
    visit_entries(dict, [&](PickleId key, PickleId) {
      if (is_name(key)) names.push_back(key);
    });
    std::ranges::sort(names, {}, [&](PickleId key) { return std::pair(tree_.text(key), key); });
    const auto twice = std::ranges::adjacent_find(names, {}, [&](PickleId key) { return tree_.text(key); });
    if (twice == names.end()) return;
    throw fault(ErrorCode::duplicate_key, "the state dict has the same name twice",
                tree_.offset(*(twice + 1)))
        .with_tensor(std::string(tree_.text(*twice)));
  }

  uint64_t unsigned_integer(PickleId id, std::string_view what, PickleId at) const {
    return unsigned_torch_integer(tree_, id, what, at);
  }

  std::vector<uint64_t> dimensions(PickleId id, std::string_view what, PickleId at) const {
    PickleId tuple = id;
    if (tree_.kind(id) == PickleKind::object) {  // torch.Size((…))
      const std::vector<PickleId> call = tree_.members(id, 3);
      const std::vector<PickleId> arguments = tree_.members(call[1], 2);
      if (call.size() == 2 && tree_.global(call[0]).name == "Size" && arguments.size() == 1)
        tuple = arguments[0];
    }
    const std::vector<PickleId> members = tree_.members(tuple, kMaxTorchDimensions + 1);
    if (tree_.kind(tuple) != PickleKind::tuple)
      throw bad_entry(fmt::format("the tensor's {} is {}, not a tuple", what, describe(tree_.kind(tuple))),
                      tree_.has_offset(id) ? id : at);
    if (members.size() > kMaxTorchDimensions)
      throw bad_entry(fmt::format("the tensor's {} has more than 64 dimensions", what), id);
    std::vector<uint64_t> values;
    values.reserve(members.size());
    for (const PickleId member : members)
      values.push_back(unsigned_integer(
          member, what == "shape" ? "a number of the tensor's shape" : "a number of the tensor's stride",
          tree_.has_offset(tuple) ? tuple : at));
    return values;
  }

  /// The kind of call that the value stands for; `denied` for anything else.
  GlobalKind called(PickleId id) const {
    if (tree_.kind(id) != PickleKind::object) return GlobalKind::denied;
    return tree_.global(tree_.members(id, 1)[0]).symbol.kind;
  }
  bool is_tensor(PickleId id) const {
    switch (called(id)) {
      case GlobalKind::rebuild_tensor:
      case GlobalKind::rebuild_tensor_v2:
      case GlobalKind::rebuild_tensor_v3:
      case GlobalKind::rebuild_parameter:
      case GlobalKind::rebuild_parameter_with_state:
      case GlobalKind::rebuild_from_type:
      case GlobalKind::unsupported_tensor:
        return true;
      default:
        return false;
    }
  }

  /// Whether a dict has a tensor among its values.
  bool has_tensors(PickleId dict) const {
    bool has = false;
    visit_entries(dict, [&](PickleId key, PickleId value) {
      has = has || (tree_.kind(key) == PickleKind::string && is_tensor(value));
    });
    return has;
  }

  /// A dict with tensors that is an entry of the file's dict.
  struct InnerDict {
    PickleId dict = 0, key = 0;
  };
  std::string_view name_of(const InnerDict& dict) const { return tree_.text(dict.key); }

  std::vector<InnerDict> inner_dicts(PickleId root) const {
    std::vector<InnerDict> found;
    visit_entries(root, [&](PickleId key, PickleId value) {
      if (tree_.kind(key) == PickleKind::string && tree_.kind(value) == PickleKind::dict)
        found.push_back({value, key});
    });
    // A dict is looked through once, however often a hostile file names it.
    std::ranges::sort(found, {}, &InnerDict::dict);
    std::optional<PickleId> last;
    bool has = false;
    std::erase_if(found, [&](const InnerDict& inner) {
      if (inner.dict != last) has = has_tensors(inner.dict);
      last = inner.dict;
      return !has;
    });
    std::ranges::sort(found, {}, &InnerDict::key);
    return found;
  }

  /// The dict whose tensors are read: the one that was asked for, or the file's own or, where that has no
  /// tensors, the one that trainers are known to keep a model under.
  PickleId find_state_dict(PickleId root) {
    if (key_.empty() && has_tensors(root)) return root;
    const std::vector<InnerDict> inner = inner_dicts(root);
    constexpr std::string_view kNames[] = {"state_dict", "model_state_dict", "model", "module"};
    const auto is_meant = [&](const InnerDict& dict) {
      return key_.empty() ? std::ranges::find(kNames, name_of(dict)) != std::end(kNames)
                          : name_of(dict) == key_;
    };
    const auto count = std::ranges::count_if(inner, is_meant);
    if (!key_.empty() && count == 0) {
      throw fault(ErrorCode::weights_not_found, fmt::format("the file has no dict of tensors '{}'", key_),
                  tree_.offset(root))
          .with_hint(inner.empty() ? "It has none; do without --key."
                                   : fmt::format("It has '{}'.", names_of(inner)));
    }
    if (count == 1) {
      const InnerDict& found = *std::ranges::find_if(inner, is_meant);
      size_t entries = 0;
      visit_entries(root, [&](PickleId, PickleId) { ++entries; });
      file_.notes.push_back(fmt::format("the tensors are those of the dict '{}' in the file; {} left out",
                                        json::shorten(name_of(found)), beside(entries - 1)));
      return found.dict;
    }
    if (!inner.empty()) {
      throw fault(
          ErrorCode::unsupported_format,
          fmt::format("the file's tensors are in the dict{} '{}', and nothing says which is the model",
                      inner.size() == 1 ? "" : "s", names_of(inner)),
          tree_.offset(root))
          .with_hint(fmt::format("Name one: --key {}", json::shorten(name_of(inner.front()))));
    }
    return root;
  }

  std::string names_of(const std::vector<InnerDict>& dicts) const {
    constexpr size_t kMost = 8;
    std::vector<std::string> names;
    for (const InnerDict& dict : std::span(dicts).first(std::min(kMost, dicts.size())))
      names.push_back(json::shorten(name_of(dict)));
    return join(names, "' and '");
  }

  static std::string beside(size_t entries) {
    if (entries == 0) return "nothing is";
    return entries == 1 ? "the entry beside it is" : fmt::format("the {} entries beside it are", entries);
  }

  void read_entry(PickleId key, PickleId value) {
    const bool named = tree_.kind(key) == PickleKind::string;
    if (!named || !is_tensor(value)) {
      if (++file_.other_count > kMaxListedOthers) return;
      std::string name =
          named ? json::shorten(tree_.text(key)) : fmt::format("({})", describe(tree_.kind(key)));
      file_.others.push_back({std::move(name), is_tensor(value) ? "a tensor" : describe(tree_.kind(value))});
      return;
    }
    TorchTensor tensor;
    tensor.name = tree_.text(key);
    try {
      read_tensor(value, tensor);
    } catch (Error& error) {
      error.with_tensor(std::move(tensor.name));
      throw;
    }
    // Many names of one tensor are few bytes of a pickle.
    tensor_memory_ += kTensorMemoryBytes + tensor.name.size() + 16 * tensor.shape.size();
    if (tensor_memory_ > kMaxTensorMemoryBytes + 2 * container_.pickle_bytes()) {
      throw fault(ErrorCode::invalid_pickle,
                  "the state dict has more tensors than a pickle of its size may have", tree_.offset(key))
          .with_hint("It was not written by torch.save.");
    }
    file_.tensors.push_back(std::move(tensor));
  }

  void read_tensor(PickleId value, TorchTensor& tensor) {
    for (;;) {
      const std::vector<PickleId> call = tree_.members(value, 3);
      // torch would let a state change the tensor after it was made.
      if (call.size() != 2) throw bad_entry("the tensor has a state", value);
      const PickleGlobal& function = tree_.global(call[0]);
      const std::vector<PickleId> arguments = tree_.members(call[1], 9);
      switch (function.symbol.kind) {
        case GlobalKind::rebuild_parameter:
        case GlobalKind::rebuild_parameter_with_state:
          require_arguments(arguments, 3, 4, value);
          value = arguments[0];
          break;
        case GlobalKind::rebuild_from_type:
          require_arguments(arguments, 4, 4, value);
          return read_call(arguments[0], arguments[2], value, tensor);
        default:
          return read_call(call[0], call[1], value, tensor);
      }
      if (!is_tensor(value)) throw bad_entry("a parameter is made from something else than a tensor", value);
    }
  }

  void require_arguments(const std::vector<PickleId>& arguments, size_t least, size_t most,
                         PickleId at) const {
    if (arguments.size() < least || arguments.size() > most)
      throw bad_entry("a tensor is made with a wrong number of arguments", at);
  }
  Error unsupported(std::string message, PickleId at) const {
    return unsupported_torch_tensor(tree_, std::move(message), at);
  }

  void read_call(PickleId function, PickleId tuple, PickleId at, TorchTensor& tensor) {
    if (tree_.kind(function) != PickleKind::global || tree_.kind(tuple) != PickleKind::tuple)
      throw bad_entry("a tensor is made by no function of torch", at);
    const PickleGlobal& global = tree_.global(function);
    const std::vector<PickleId> arguments = tree_.members(tuple, 9);
    switch (global.symbol.kind) {
      case GlobalKind::rebuild_tensor:
        require_arguments(arguments, 4, 4, at);
        break;
      case GlobalKind::rebuild_tensor_v2:
        require_arguments(arguments, 6, 7, at);
        break;
      case GlobalKind::rebuild_tensor_v3:
        require_arguments(arguments, 7, 8, at);
        break;
      case GlobalKind::unsupported_tensor:
        throw unsupported(fmt::format("the tensor is of another layout ({})", global.name), at);
      default:
        throw bad_entry(fmt::format("a tensor is made by {}.{}", global.module, global.name), at);
    }
    const std::optional<TorchStorageView> view = storages_.find(arguments[0]);
    if (!view) throw bad_entry("the tensor has no storage", at);
    tensor.dtype = view->dtype;
    if (global.symbol.kind == GlobalKind::rebuild_tensor_v3) tensor.dtype = dtype_of(arguments[6]);
    if (tensor.dtype == nullptr) throw bad_entry("the tensor has an untyped storage and no dtype", at);
    tensor.first_element = unsigned_integer(arguments[1], "the tensor's offset", at);
    tensor.shape = dimensions(arguments[2], "shape", at);
    tensor.strides = dimensions(arguments[3], "stride", at);
    check_extent(*view, at, tensor);
  }

  const TorchDtype* dtype_of(PickleId id) const {
    const bool is_global = tree_.kind(id) == PickleKind::global;
    if (is_global && tree_.global(id).symbol.kind == GlobalKind::unsupported_value)
      throw unsupported(fmt::format("the tensor is of dtype {}", tree_.global(id).name), id);
    if (!is_global || tree_.global(id).symbol.kind != GlobalKind::dtype)
      throw bad_entry("the tensor's dtype is none", id);
    return tree_.global(id).symbol.dtype;
  }

  void check_extent(const TorchStorageView& view, PickleId at, TorchTensor& tensor) {
    if (tensor.shape.size() != tensor.strides.size())
      throw bad_entry(fmt::format("the tensor has {} dimensions and {} strides", tensor.shape.size(),
                                  tensor.strides.size()),
                      at);
    const std::optional<uint64_t> elements = element_count(tensor.shape);
    const std::optional<uint64_t> bytes =
        elements ? checked_mul(*elements, tensor.dtype->element_bytes) : std::nullopt;
    if (!bytes)
      throw fault(ErrorCode::shape_overflow, "the size of the tensor's shape does not fit in 64 bits",
                  tree_.offset(at));
    tensor.bytes = *bytes;
    const uint64_t view_elements = view.bytes / tensor.dtype->element_bytes;
    if (*elements != 0) {
      // Offset, sizes and strides are below 2^63, so that a product fits; the sum is cut off in time.
      __extension__ using Wide = unsigned __int128;
      Wide last = tensor.first_element;
      for (size_t i = 0; i < tensor.shape.size() && last < view_elements; ++i)
        last += Wide{tensor.shape[i] - 1} * tensor.strides[i];
      if (last >= view_elements)
        throw fault(ErrorCode::storage_overrun,
                    fmt::format("the tensor reaches beyond its storage of {} elements", view_elements),
                    tree_.offset(at));
    }
    if (*bytes > view.bytes) {
      repeated_bytes_ += std::min(*bytes, kMaxRepeatedBytes + 1);
      if (repeated_bytes_ > kMaxRepeatedBytes)
        throw fault(
            ErrorCode::tensor_too_large,
            fmt::format("tensors that repeat the elements of their storages take more than 1 GiB; this one "
                        "makes {} bytes of {}",
                        *bytes, view.bytes),
            tree_.offset(at));
    }
    tensor.storage = view.storage;
    tensor.first_element += view.first_byte / tensor.dtype->element_bytes;
    tensor.contiguous = is_contiguous(tensor);
  }

  /// torch's `is_contiguous()`.
  static bool is_contiguous(const TorchTensor& tensor) {
    if (tensor.bytes == 0) return true;
    uint64_t expected = 1;
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      if (tensor.shape[i] == 1) continue;
      if (tensor.strides[i] != expected) return false;
      expected *= tensor.shape[i];
    }
    return true;
  }

  void note_others() {
    if (file_.others.empty()) return;
    const TorchOther& first = file_.others.front();
    const uint64_t count = file_.other_count;
    file_.notes.push_back(fmt::format("{} that {} no tensor {} left out, '{}' ({}) for one",
                                      count == 1 ? "an entry" : fmt::format("{} entries", count),
                                      count == 1 ? "is" : "are", count == 1 ? "is" : "are",
                                      json::shorten(first.name), first.kind));
  }

  TorchContainer container_;
  const PickleTree& tree_;
  const std::string_view key_;
  TorchStorages storages_;
  TorchFile file_;
  uint64_t repeated_bytes_ = 0, tensor_memory_ = 0;
};

}  // namespace

TorchFile parse_torch_file(const ByteSource& source, std::string_view key) {
  return StateDictReader(source, key).read();
}

TorchFile read_torch_file(const RegularFile& file, std::string_view key) {
  try {
    TorchFile read = parse_torch_file(FileSource(file), key);
    require_unchanged(file);
    return read;
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(file.path);
    throw;
  }
}

}  // namespace hfload
