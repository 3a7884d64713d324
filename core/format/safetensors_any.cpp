#include "core/format/safetensors_any.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/format/json.h"

namespace hfload {
namespace {

constexpr uint64_t kLengthPrefixBytes = 8;
constexpr std::string_view kMetadataKey = "__metadata__";

/// Where the fields of a tensor stand in the file, for errors found after parsing.
struct FieldOffsets {
  uint32_t shape = 0;
  uint32_t data_offsets = 0;
};
static_assert(kLengthPrefixBytes + kMaxSafetensorsHeaderBytes <= UINT32_MAX);

/// The first of some accepted oddities and how many there are, so that a hostile header cannot ask for a note
/// per tensor.
struct Oddity {
  std::string first;
  uint64_t count = 0;

  template <class MakeSentence>
  void add(MakeSentence&& make_sentence) {
    if (count++ == 0) first = make_sentence();
  }
  void write_to(std::vector<std::string>& notes) const {
    if (count == 1) notes.push_back(first);
    if (count > 1) notes.push_back(fmt::format("{} (and {} more like it)", first, count - 1));
  }
};

class HeaderReader {
 public:
  HeaderReader(uint64_t header_bytes, uint64_t file_bytes) : file_bytes_(file_bytes) {
    header_.data_start = kLengthPrefixBytes + header_bytes;
    constexpr uint64_t kUsualEntryBytes = 120;
    header_.tensors.reserve(header_bytes / kUsualEntryBytes);
    names_.reserve(header_bytes / kUsualEntryBytes);
    fields_.reserve(header_bytes / kUsualEntryBytes);
  }

  SafetensorsHeader read(simdjson::padded_string text) {
    try {
      read_document(std::move(text));
      validate_in_data_order();
    } catch (Error& error) {
      if (error.hint().empty()) error.with_hint("The header is damaged: download or export the file again.");
      throw;
    }
    unknown_dtypes_.write_to(header_.notes);
    unknown_fields_.write_to(header_.notes);
    header_.index_tensors();
    return std::move(header_);
  }

 private:
  /// Names are views of the text until the parser is gone: what it takes, with a copy of them, would be most
  /// of the memory of opening a file.
  void read_document(simdjson::padded_string text) {
    {
      json::Document document(std::move(text), kLengthPrefixBytes);
      document.read([&](json::Value& root) { read_root(root); });
      text = std::move(document).take_text();
    }
    for (size_t i = 0; i < names_.size(); ++i) header_.tensors[i].name = names_[i];
    names_ = std::vector<std::string_view>();
  }

  void read_root(json::Value& root) {
    if (root.kind() != json::Kind::object) {
      throw Error(ErrorCode::invalid_json, "the header is not a JSON object").with_offset(root.offset());
    }
    if (root.offset() != kLengthPrefixBytes) {
      header_.notes.emplace_back(
          "the header starts with white space, which the format forbids and readers accept");
    }
    root.for_each_member(
        [&](std::string_view key, json::Value& value) {
          if (key == kMetadataKey) {
            read_metadata(value);
          } else {
            read_entry(key, value);
          }
        },
        [](Error& error, std::string_view key) {
          if (key != kMetadataKey) error.with_tensor(std::string(key));
        });
  }

  void read_metadata(json::Value& value) {
    if (value.kind() == json::Kind::null) return;
    if (value.kind() != json::Kind::object) {
      throw Error(ErrorCode::invalid_metadata, "__metadata__ is not an object").with_offset(value.offset());
    }
    value.for_each_member([&](std::string_view key, json::Value& entry) {
      if (entry.kind() != json::Kind::string) {
        throw Error(ErrorCode::invalid_metadata,
                    fmt::format("the value of \"{}\" in __metadata__ is not a string", json::shorten(key)))
            .with_offset(entry.offset());
      }
      header_.metadata.emplace_back(key, entry.string());
    });
  }

  void read_entry(std::string_view name, json::Value& value) {
    require_kind(value, json::Kind::object, "the tensor's entry is not an object");
    TensorInfo tensor;
    FieldOffsets fields;
    bool has_dtype = false, has_shape = false, has_data_offsets = false;
    value.for_each_member([&](std::string_view key, json::Value& field) {
      if (key == "dtype") {
        has_dtype = true;
        read_dtype(field, name, tensor);
      } else if (key == "shape") {
        has_shape = true;
        fields.shape = static_cast<uint32_t>(field.offset());
        read_shape(field, tensor);
      } else if (key == "data_offsets") {
        has_data_offsets = true;
        fields.data_offsets = static_cast<uint32_t>(field.offset());
        read_data_offsets(field, tensor);
      } else {
        unknown_fields_.add([&] {
          return fmt::format("the field \"{}\" of tensor \"{}\" is unknown and ignored", json::shorten(key),
                             json::shorten(name));
        });
      }
    });
    const std::string_view missing = !has_dtype          ? "dtype"
                                     : !has_shape        ? "shape"
                                     : !has_data_offsets ? "data_offsets"
                                                         : "";
    if (!missing.empty()) {
      throw Error(ErrorCode::invalid_tensor_entry, fmt::format("the tensor's entry has no {}", missing))
          .with_offset(value.offset());
    }
    header_.tensors.push_back(std::move(tensor));
    names_.push_back(name);
    fields_.push_back(fields);
  }

  static void require_kind(const json::Value& value, json::Kind kind, std::string_view otherwise) {
    if (value.kind() != kind) {
      throw Error(ErrorCode::invalid_tensor_entry, std::string(otherwise)).with_offset(value.offset());
    }
  }

  void read_dtype(json::Value& field, std::string_view name, TensorInfo& tensor) {
    require_kind(field, json::Kind::string, "the tensor's dtype is not a string");
    const std::string_view dtype = field.string();
    tensor.dtype = dtype_from_safetensors_name(dtype).value_or(Dtype::unknown);
    if (tensor.dtype != Dtype::unknown) return;
    tensor.other_dtype = std::string(dtype);
    unknown_dtypes_.add([&] {
      return fmt::format("tensor \"{}\" has the unknown dtype \"{}\"; its size is not checked",
                         json::shorten(name), json::shorten(dtype));
    });
  }

  void read_shape(json::Value& field, TensorInfo& tensor) {
    require_kind(field, json::Kind::array, "the tensor's shape is not an array");
    shape_.clear();
    field.for_each_element([&](json::Value& dimension) {
      require_kind(dimension, json::Kind::number, "a dimension of the tensor's shape is not a number");
      shape_.push_back(dimension.uint64());
    });
    tensor.shape = make_shape_(shape_);
  }

  static void read_data_offsets(json::Value& field, TensorInfo& tensor) {
    require_kind(field, json::Kind::array, "the tensor's data_offsets are not an array");
    std::array<uint64_t, 2> offsets{};
    size_t count = 0;
    field.for_each_element([&](json::Value& offset) {
      require_kind(offset, json::Kind::number, "one of the tensor's data_offsets is not a number");
      const uint64_t number = offset.uint64();
      if (count < offsets.size()) offsets[count] = number;
      ++count;
    });
    if (count != offsets.size()) {
      throw Error(ErrorCode::invalid_tensor_entry,
                  fmt::format("the tensor's data_offsets have {} numbers, not 2", count))
          .with_offset(field.offset());
    }
    tensor.begin = offsets[0];
    tensor.end = offsets[1];
  }

  /// The checks of safetensors 0.8's `validate`, in its order.
  void validate_in_data_order() {
    sort_by_data();
    uint64_t data_end = 0;
    for (size_t i = 0; i < header_.tensors.size(); ++i) {
      validate_offsets(i, data_end);
      validate_size(header_.tensors[i], fields_[i]);
      data_end = header_.tensors[i].end;
    }
    validate_file_size(data_end);
  }

  void sort_by_data() {
    std::vector<TensorInfo>& tensors = header_.tensors;
    const auto before = [](const TensorInfo& a, const TensorInfo& b) {
      return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    };
    // Most writers list tensors in data order.
    if (std::is_sorted(tensors.begin(), tensors.end(), before)) return;
    std::vector<size_t> order(tensors.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return before(tensors[a], tensors[b]); });
    std::vector<TensorInfo> sorted_tensors;
    std::vector<FieldOffsets> sorted_fields;
    sorted_tensors.reserve(order.size());
    sorted_fields.reserve(order.size());
    for (const size_t i : order) {
      sorted_tensors.push_back(std::move(tensors[i]));
      sorted_fields.push_back(fields_[i]);
    }
    tensors = std::move(sorted_tensors);
    fields_ = std::move(sorted_fields);
  }

  void validate_offsets(size_t index, uint64_t data_end) const {
    const TensorInfo& tensor = header_.tensors[index];
    const auto fail = [&](ErrorCode code, std::string message) {
      throw Error(code, std::move(message))
          .with_tensor(tensor.name.str())
          .with_offset(fields_[index].data_offsets);
    };
    if (tensor.end < tensor.begin) {
      fail(ErrorCode::offset_reversed,
           fmt::format("the tensor's data ends at {}, before it begins at {}", tensor.end, tensor.begin));
    }
    if (tensor.begin > data_end) {
      fail(ErrorCode::offset_gap,
           fmt::format("bytes {} to {} of the data section, before this tensor, belong to none", data_end,
                       tensor.begin));
    }
    if (tensor.begin < data_end) {
      fail(ErrorCode::offset_overlap,
           fmt::format("the tensor's data begins at {}, before that of \"{}\" ends at {}", tensor.begin,
                       json::shorten(header_.tensors[index - 1].name), data_end));
    }
  }

  static void validate_size(const TensorInfo& tensor, const FieldOffsets& fields) {
    const auto fail = [&](ErrorCode code, std::string message, uint64_t offset) {
      throw Error(code, std::move(message)).with_tensor(tensor.name.str()).with_offset(offset);
    };
    const std::optional<uint64_t> elements = element_count(tensor.shape);
    const unsigned bits_per_element = dtype_info(tensor.dtype).bits;
    const std::optional<uint64_t> bits = elements ? checked_mul(*elements, bits_per_element) : std::nullopt;
    if (!bits) {
      fail(ErrorCode::shape_overflow, "the size of the tensor's shape does not fit in 64 bits", fields.shape);
    }
    if (tensor.dtype == Dtype::unknown) return;
    if (*bits % 8 != 0) {
      fail(ErrorCode::misaligned_dtype,
           fmt::format("{} elements of {} bits are not a whole number of bytes", *elements, bits_per_element),
           fields.shape);
    }
    if (*bits / 8 != tensor.bytes()) {
      fail(ErrorCode::size_mismatch,
           fmt::format("{} elements of {} are {} bytes, but the data_offsets hold {}", *elements,
                       tensor.dtype_name(), *bits / 8, tensor.bytes()),
           fields.data_offsets);
    }
  }

  void validate_file_size(uint64_t data_end) const {
    const std::optional<uint64_t> needed = checked_add(header_.data_start, data_end);
    if (!needed || *needed > file_bytes_) {
      const auto cut = std::find_if(
          header_.tensors.begin(), header_.tensors.end(),
          [&](const TensorInfo& tensor) { return tensor.end > file_bytes_ - header_.data_start; });
      throw Error(ErrorCode::data_truncated,
                  fmt::format("the file has {} bytes of data, but its tensors need {}",
                              file_bytes_ - header_.data_start, data_end))
          .with_tensor(cut->name.str())
          .with_offset(file_bytes_)
          .with_hint("The file is incomplete: download or export it again.");
    }
    if (*needed < file_bytes_) {
      throw Error(ErrorCode::trailing_bytes,
                  fmt::format("{} bytes follow the last tensor", file_bytes_ - *needed))
          .with_offset(*needed)
          .with_hint("The file was changed after it was written: download or export it again.");
    }
  }

  uint64_t file_bytes_;
  SafetensorsHeader header_;
  std::vector<std::string_view> names_;  ///< of the tensors of the same index, until they hold their own
  std::vector<FieldOffsets> fields_;     ///< of the tensors of the same index
  std::vector<uint64_t> shape_;          ///< of the tensor that is being read
  ShapeMaker make_shape_;
  Oddity unknown_dtypes_, unknown_fields_;
};

}  // namespace

SafetensorsHeader read_any_header(simdjson::padded_string text, uint64_t file_bytes) {
  const uint64_t header_bytes = text.size();
  return HeaderReader(header_bytes, file_bytes).read(std::move(text));
}

}  // namespace hfload
