#include "core/format/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/format/json.h"
#include "core/format/torch_container.h"

namespace hfload {
namespace {

/// A part of a storage that a persistent id stands for.
struct StorageView {
  uint32_t storage = 0;
  const TorchDtype* dtype = nullptr;  ///< null for an untyped one
  uint64_t first_byte = 0, bytes = 0;
};

class StateDictReader {
 public:
  StateDictReader(const ByteSource& source, std::string_view key)
      : container_(source), tree_(container_.tree()), key_(key) {}

  TorchFile read() && {
    const PickleId root = tree_.root();
    if (tree_.kind(root) != PickleKind::dict) throw no_state_dict(root);
    file_.layout = container_.layout();
    file_.big_endian = container_.big_endian();
    claim_storages();
    file_.storages = container_.locate(claims_);
    const std::vector<PickleId> members = tree_.members(find_state_dict(root));
    std::unordered_set<std::string_view> names;
    for (size_t i = 0; i < members.size(); i += 2) read_entry(members[i], members[i + 1], names);
    note_others();
    return std::move(file_);
  }

 private:
  static Error fault(ErrorCode code, std::string message, uint64_t offset) {
    return Error(code, std::move(message)).with_offset(offset);
  }
  Error bad_entry(std::string message, PickleId at) const {
    return fault(ErrorCode::invalid_tensor_entry, std::move(message), tree_.offset(at));
  }

  Error no_state_dict(PickleId root) const {
    const bool tensor = is_tensor(root);
    return fault(ErrorCode::unsupported_format,
                 fmt::format("the file holds {}, not a dict of tensors",
                             tensor ? "one tensor" : describe(tree_.kind(root))),
                 tree_.offset(root))
        .with_hint("Load it with torch and save the model's state_dict().");
  }

  /// Every storage that the pickle refers to, also from where no tensor is read: in the legacy layout their
  /// sizes lead from one to the next.
  void claim_storages() {
    std::unordered_map<std::string_view, uint32_t> by_key;
    for (PickleId id = 0; id < tree_.size(); ++id) {
      if (tree_.kind(id) != PickleKind::persistent) continue;
      const std::vector<PickleId> parts = tree_.members(tree_.members(id, 1)[0], 7);
      const bool legacy = container_.layout() == TorchLayout::legacy;
      if (parts.size() != 5 && !(legacy && parts.size() == 6))
        throw bad_entry("a persistent id of a storage does not have 5 fields", id);
      StorageView view;
      const GlobalKind kind = tree_.kind(parts[1]) == PickleKind::global ? tree_.global(parts[1]).symbol.kind
                                                                         : GlobalKind::denied;
      if (kind == GlobalKind::unsupported_value) {
        throw unsupported(fmt::format("a storage is a {}", tree_.global(parts[1]).name), id);
      }
      if (kind == GlobalKind::storage) {
        view.dtype = tree_.global(parts[1]).symbol.dtype;
      } else if (kind != GlobalKind::untyped_storage) {
        throw bad_entry("a persistent id has no class of storage", id);
      }
      if (tree_.kind(parts[2]) != PickleKind::string)
        throw bad_entry("the key of a storage is not a string", id);
      StorageClaim claim{std::string(tree_.text(parts[2])),
                         unsigned_integer(parts[4], "the size of a storage"),
                         view.dtype == nullptr ? 1 : view.dtype->element_bytes, tree_.offset(id)};
      if (!checked_mul(claim.elements, claim.element_bytes))
        throw fault(ErrorCode::shape_overflow, "the size of a storage does not fit in 64 bits", claim.offset);
      view.bytes = claim.bytes();
      if (parts.size() == 6) narrow_view(view, parts[5], claim);
      const auto [it, is_new] =
          by_key.try_emplace(tree_.text(parts[2]), static_cast<uint32_t>(claims_.size()));
      view.storage = it->second;
      if (is_new) {
        claims_.push_back(std::move(claim));
      } else if (claims_[view.storage].elements != claim.elements ||
                 claims_[view.storage].element_bytes != claim.element_bytes) {
        throw fault(ErrorCode::invalid_storage,
                    fmt::format("storage '{}' is said to have two sizes", claim.key), claim.offset);
      }
      views_.emplace(id, view);
    }
  }

  /// The older half of the legacy layout lets a storage be a part of another: (key, offset, size) in
  /// elements.
  void narrow_view(StorageView& view, PickleId metadata, const StorageClaim& root) const {
    if (tree_.kind(metadata) == PickleKind::none) return;
    const std::vector<PickleId> parts = tree_.members(metadata, 4);
    if (tree_.kind(metadata) != PickleKind::tuple || parts.size() != 3)
      throw bad_entry("the part of a storage is not given by three fields", metadata);
    const uint64_t offset = unsigned_integer(parts[1], "the offset of a part of a storage");
    const uint64_t elements = unsigned_integer(parts[2], "the size of a part of a storage");
    if (offset > root.elements || elements > root.elements - offset)
      throw fault(ErrorCode::storage_overrun, "a part of a storage reaches beyond it",
                  tree_.offset(metadata));
    view.first_byte = offset * root.element_bytes;
    view.bytes = elements * root.element_bytes;
  }

  uint64_t unsigned_integer(PickleId id, std::string_view what) const {
    if (tree_.kind(id) != PickleKind::integer || tree_.integer(id) < 0)
      throw bad_entry(fmt::format("{} is not an integer from 0 to 2^63 - 1", what), id);
    return static_cast<uint64_t>(tree_.integer(id));
  }

  std::vector<uint64_t> dimensions(PickleId id, std::string_view what) const {
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
                      id);
    if (members.size() > kMaxTorchDimensions)
      throw bad_entry(fmt::format("the tensor's {} has more than 64 dimensions", what), id);
    std::vector<uint64_t> values;
    for (const PickleId member : members)
      values.push_back(unsigned_integer(member, fmt::format("a number of the tensor's {}", what)));
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
    const std::vector<PickleId> members = tree_.members(dict);
    for (size_t i = 1; i < members.size(); i += 2) {
      if (tree_.kind(members[i - 1]) == PickleKind::string && is_tensor(members[i])) return true;
    }
    return false;
  }

  /// A dict with tensors that is an entry of the file's dict.
  struct InnerDict {
    std::string name;
    PickleId id = 0;
  };
  std::vector<InnerDict> inner_dicts(const std::vector<PickleId>& members) const {
    std::vector<InnerDict> found;
    for (size_t i = 0; i < members.size(); i += 2) {
      const PickleId key = members[i], value = members[i + 1];
      if (tree_.kind(key) == PickleKind::string && tree_.kind(value) == PickleKind::dict &&
          has_tensors(value))
        found.push_back({std::string(tree_.text(key)), value});
    }
    return found;
  }

  /// The dict whose tensors are read: the one that was asked for, or the file's own or, where that has no
  /// tensors, the one that trainers are known to keep a model under.
  PickleId find_state_dict(PickleId root) {
    if (key_.empty() && has_tensors(root)) return root;
    const std::vector<PickleId> members = tree_.members(root);
    const std::vector<InnerDict> inner = inner_dicts(members);
    constexpr std::string_view kNames[] = {"state_dict", "model_state_dict", "model", "module"};
    const auto is_meant = [&](const InnerDict& dict) {
      return key_.empty() ? std::ranges::find(kNames, dict.name) != std::end(kNames) : dict.name == key_;
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
      file_.notes.push_back(fmt::format("the tensors are those of the dict '{}' in the file; {} left out",
                                        json::shorten(found.name), beside(members.size() / 2 - 1)));
      return found.id;
    }
    if (!inner.empty()) {
      throw fault(
          ErrorCode::unsupported_format,
          fmt::format("the file's tensors are in the dict{} '{}', and nothing says which is the model",
                      inner.size() == 1 ? "" : "s", names_of(inner)),
          tree_.offset(root))
          .with_hint(fmt::format("Name one: --key {}", json::shorten(inner.front().name)));
    }
    return root;
  }

  static std::string names_of(const std::vector<InnerDict>& dicts) {
    constexpr size_t kMost = 8;
    std::vector<std::string> names;
    for (const InnerDict& dict : dicts) {
      if (names.size() < kMost) names.push_back(json::shorten(dict.name));
    }
    return fmt::format("{}", fmt::join(names, "' and '"));
  }

  static std::string beside(size_t entries) {
    if (entries == 0) return "nothing is";
    return entries == 1 ? "the entry beside it is" : fmt::format("the {} entries beside it are", entries);
  }

  void read_entry(PickleId key, PickleId value, std::unordered_set<std::string_view>& names) {
    const bool named = tree_.kind(key) == PickleKind::string;
    if (named && !names.insert(tree_.text(key)).second) {
      throw fault(ErrorCode::duplicate_key, "the state dict has the same name twice", tree_.offset(key))
          .with_tensor(std::string(tree_.text(key)));
    }
    if (!named || !is_tensor(value)) {
      std::string name =
          named ? std::string(tree_.text(key)) : fmt::format("({})", describe(tree_.kind(key)));
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
  static Error unsupported(std::string message, uint64_t offset) {
    return fault(ErrorCode::unsupported_format, std::move(message), offset)
        .with_hint("Only plain tensors are read: make it dense with torch and save it again.");
  }
  Error unsupported(std::string message, PickleId at) const {
    return unsupported(std::move(message), tree_.offset(at));
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
    const auto view = views_.find(arguments[0]);
    if (view == views_.end()) throw bad_entry("the tensor has no storage", at);
    tensor.dtype = view->second.dtype;
    if (global.symbol.kind == GlobalKind::rebuild_tensor_v3) tensor.dtype = dtype_of(arguments[6]);
    if (tensor.dtype == nullptr) throw bad_entry("the tensor has an untyped storage and no dtype", at);
    tensor.first_element = unsigned_integer(arguments[1], "the tensor's offset");
    tensor.shape = dimensions(arguments[2], "shape");
    tensor.strides = dimensions(arguments[3], "stride");
    check_extent(view->second, at, tensor);
  }

  const TorchDtype* dtype_of(PickleId id) const {
    const bool is_global = tree_.kind(id) == PickleKind::global;
    if (is_global && tree_.global(id).symbol.kind == GlobalKind::unsupported_value)
      throw unsupported(fmt::format("the tensor is of dtype {}", tree_.global(id).name), id);
    if (!is_global || tree_.global(id).symbol.kind != GlobalKind::dtype)
      throw bad_entry("the tensor's dtype is none", id);
    return tree_.global(id).symbol.dtype;
  }

  void check_extent(const StorageView& view, PickleId at, TorchTensor& tensor) {
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
    const size_t count = file_.others.size();
    file_.notes.push_back(fmt::format("{} that {} no tensor {} left out, '{}' ({}) for one",
                                      count == 1 ? "an entry" : fmt::format("{} entries", count),
                                      count == 1 ? "is" : "are", count == 1 ? "is" : "are",
                                      json::shorten(first.name), first.kind));
  }

  TorchContainer container_;
  const PickleTree& tree_;
  const std::string_view key_;
  TorchFile file_;
  std::vector<StorageClaim> claims_;
  std::unordered_map<PickleId, StorageView> views_;  ///< by persistent value
  uint64_t repeated_bytes_ = 0;
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
