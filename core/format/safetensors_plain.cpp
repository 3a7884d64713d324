#include "core/format/safetensors_plain.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <string_view>
#include <tuple>

#include "core/base/checked.h"
#include "core/base/compact_string.h"
#include "core/format/plain_tokens.h"

namespace hfload {
namespace {

using namespace plain;  // NOLINT: the tokens that this file is written in

constexpr std::string_view kMetadataKey = "__metadata__";

/// A piece of the text, and the padding that tokens need.
class Window {
 public:
  Window(uint64_t text_bytes, const ReadHeaderText& read_next, size_t window_bytes)
      : read_next_(read_next),
        bytes_(static_cast<size_t>(std::min<uint64_t>(text_bytes, window_bytes))),
        unread_(text_bytes),
        text_(std::make_unique<char[]>(bytes_ + kPlainPadding)) {
    slide(text_.get());
  }

  const char* begin() const { return text_.get(); }
  const char* end() const { return text_.get() + filled_; }
  bool has_all() const { return unread_ == 0; }

  /// Moves what begins at `at` to the start and reads on behind it; false where that reads nothing.
  bool slide(const char* at) {
    const auto kept = static_cast<size_t>(end() - at);
    const auto more = static_cast<size_t>(std::min<uint64_t>(unread_, bytes_ - kept));
    if (more == 0) return false;
    std::memmove(text_.get(), at, kept);
    read_next_(std::as_writable_bytes(std::span(text_.get() + kept, more)));
    filled_ = kept + more;
    unread_ -= more;
    text_[filled_] = '\0';
    return true;
  }

 private:
  const ReadHeaderText& read_next_;
  size_t bytes_, filled_ = 0;
  uint64_t unread_;
  std::unique_ptr<char[]> text_;
};

/// A tensor's entry, some of whose members have been read.
struct Entry {
  static constexpr unsigned kDtype = 1, kShape = 2, kDataOffsets = 4, kAll = 7;
  unsigned present = 0;
  Dtype dtype = Dtype::unknown;
  unsigned bits = 0;
  std::array<uint64_t, 8> dimensions;  ///< the first `rank` are set
  size_t rank = 0;
  uint64_t elements = 1;
  uint64_t begin = 0, end = 0;

  /// Whether it has this member for the first time.
  bool add(unsigned member) {
    const bool is_first = (present & member) == 0;
    present |= member;
    return is_first;
  }
};

/// Every function returns false where the text is not plain. As the end of the window looks like that, too, a
/// member that is not plain is read once more when the window has moved on, and nothing of it is kept before.
class PlainReader {
 public:
  PlainReader(uint64_t header_bytes, uint64_t file_bytes, const ReadHeaderText& read_next,
              size_t window_bytes)
      : header_bytes_(header_bytes), file_bytes_(file_bytes), window_(header_bytes, read_next, window_bytes) {
    header_.data_start = 8 + header_bytes;
  }

  std::optional<SafetensorsHeader> read() {
    if (!read_text() || !has_distinct_metadata() || !lies_in_order() || !header_.index_tensors())
      return std::nullopt;
    return std::move(header_);
  }

 private:
  bool read_text() {
    const char* at = window_.begin();
    if (!skip(at, '{')) return false;
    bool is_first = true, goes_on = true;
    while (goes_on) {
      if (read_member(at, is_first, goes_on)) {
        is_first = false;
      } else if (!move_window(at)) {
        return false;
      }
    }
    for (skip_white_space(at); at == window_.end() && !window_.has_all(); skip_white_space(at)) {
      if (!move_window(at)) return false;
    }
    return at == window_.end() && is_utf8(at);
  }

  bool move_window(const char*& at) {
    if (!is_utf8(at)) return false;
    const auto passed = static_cast<uint64_t>(at - window_.begin());
    if (!window_.slide(at)) return false;
    passed_bytes_ += passed;
    at = window_.begin();
    return true;
  }

  /// Of the window up to `end`, which stands between tokens. Beside strings there is only ASCII.
  bool is_utf8(const char* end) {
    const bool valid =
        !non_ascii_ || simdjson::validate_utf8(window_.begin(), static_cast<size_t>(end - window_.begin()));
    non_ascii_ = false;
    return valid;
  }

  /// Reads a member of the header with the comma or brace after it; `goes_on` says which.
  /// Where it returns false, it changes neither `start` nor `goes_on`.
  bool read_member(const char*& start, bool is_first, bool& goes_on) {
    const char* at = start;
    skip_white_space(at);
    std::string_view key;
    Entry entry;
    bool is_metadata = false;
    if (*at != '}' || !is_first) {
      if (!read_string(at, key, non_ascii_) || !skip(at, ':')) return false;
      is_metadata = key == kMetadataKey;
      if (!(is_metadata ? read_metadata(at) : read_entry(at, entry))) return false;
      skip_white_space(at);
    }
    const char after = *at++;
    if (after != ',' && after != '}') return false;
    if (is_metadata) {
      if (has_metadata_) return false;
      has_metadata_ = true;
    } else if (entry.present != 0) {
      add_tensor(at, key, entry);
    }
    goes_on = after == ',';
    start = at;
    return true;
  }

  bool read_metadata(const char*& start) {
    const char* const end = metadata_end(start);
    if (end == nullptr) return false;
    start = end;
    return true;
  }

  /// Reads the metadata; null where they are not plain.
  [[gnu::noinline]] const char* metadata_end(const char* at) {
    header_.metadata.clear();
    if (!skip(at, '{')) return nullptr;
    if (*at != '}') {
      do {
        std::string_view key, value;
        if (!read_string(at, key, non_ascii_) || !skip(at, ':') || !read_string(at, value, non_ascii_))
          return nullptr;
        header_.metadata.emplace_back(key, value);
        skip_white_space(at);
      } while (skip(at, ','));
    }
    return take(at, '}') ? at : nullptr;
  }

  HFLOAD_INLINE bool read_entry(const char*& at, Entry& entry) {
    if (!skip(at, '{')) return false;
    do {
      if (!read_field(at, entry)) return false;
      skip_white_space(at);
    } while (skip(at, ','));
    if (!take(at, '}') || entry.present != Entry::kAll) return false;
    const std::optional<uint64_t> bits = checked_mul(entry.elements, entry.bits);
    return bits && *bits % 8 == 0 && entry.begin <= entry.end && *bits / 8 == entry.end - entry.begin;
  }

  HFLOAD_INLINE bool read_field(const char*& at, Entry& entry) {
    const uint64_t key = next8(at);
    if (key == word_of("\"dtype\":")) {
      at += 8;
      skip_white_space(at);
      return entry.add(Entry::kDtype) && read_dtype(at, entry);
    }
    if (key == word_of("\"shape\":")) {
      at += 8;
      skip_white_space(at);
      return entry.add(Entry::kShape) && read_shape(at, entry);
    }
    if (key == word_of("\"data_of") && next8(at + 7) == word_of("ffsets\":")) {
      at += 15;
      skip_white_space(at);
      return entry.add(Entry::kDataOffsets) && read_data_offsets(at, entry);
    }
    return false;
  }

  HFLOAD_INLINE bool read_dtype(const char*& at, Entry& entry) {
    if (*at != '"') return false;
    if ((next8(at + 1) & dtype_.mask) != dtype_.word && !keep_dtype(at)) return false;
    at += dtype_.bytes;
    entry.dtype = dtype_.dtype;
    entry.bits = dtype_.bits;
    return true;
  }

  /// Reads a dtype that is not that of the tensor before.
  [[gnu::noinline]] bool keep_dtype(const char* at) {
    const char* const quote = at;
    std::string_view name;
    if (!read_string(at, name, non_ascii_)) return false;
    const std::optional<Dtype> dtype = dtype_from_safetensors_name(name);
    if (!dtype) return false;
    dtype_ = {*dtype, dtype_info(*dtype).bits, static_cast<size_t>(at - quote)};
    if (name.size() >= 8) return true;
    dtype_.mask = ~uint64_t{0} >> (56 - 8 * name.size());
    dtype_.word = next8(quote + 1) & dtype_.mask;
    return true;
  }

  HFLOAD_INLINE static bool read_shape(const char*& at, Entry& entry) {
    if (!skip(at, '[')) return false;
    if (*at != ']') {
      do {
        uint64_t dimension = 0;
        if (entry.rank == entry.dimensions.size() || !read_number(at, dimension)) return false;
        const std::optional<uint64_t> product = checked_mul(entry.elements, dimension);
        if (!product) return false;
        entry.elements = *product;
        entry.dimensions[entry.rank++] = dimension;
        skip_white_space(at);
      } while (skip(at, ','));
    }
    return take(at, ']');
  }

  HFLOAD_INLINE static bool read_data_offsets(const char*& at, Entry& entry) {
    if (!skip(at, '[') || !read_number(at, entry.begin)) return false;
    skip_white_space(at);
    if (!skip(at, ',') || !read_number(at, entry.end)) return false;
    skip_white_space(at);
    return take(at, ']');
  }

  HFLOAD_INLINE void add_tensor(const char* at, std::string_view name, const Entry& entry) {
    if (header_.tensors.size() == header_.tensors.capacity()) reserve(at);
    TensorInfo& tensor = header_.tensors.emplace_back();
    tensor.name = names_.add(name);
    tensor.dtype = entry.dtype;
    tensor.shape = make_shape_(std::span(entry.dimensions).first(entry.rank));
    tensor.begin = entry.begin;
    tensor.end = entry.end;
    in_order_ = in_order_ && entry.begin == data_end_;
    data_end_ = entry.end;
  }

  /// Makes room for as many tensors as there are if the rest of the header is like what was read up to `at`.
  [[gnu::noinline]] void reserve(const char* at) {
    constexpr uint64_t kFewTensors = 64, kShortestEntry = 50;
    const uint64_t count = header_.tensors.size();
    const uint64_t passed = passed_bytes_ + static_cast<uint64_t>(at - window_.begin());
    const uint64_t left = header_bytes_ - passed;
    const uint64_t more =
        count == 0 ? std::min(kFewTensors, left / kShortestEntry) : count / 32 + left * count / passed;
    header_.tensors.reserve(count + more + 1);
  }

  bool has_distinct_metadata() const {
    const auto& metadata = header_.metadata;
    NameIndex keys(metadata.size());
    for (uint32_t i = 0; i < metadata.size(); ++i) {
      if (!keys.insert(metadata[i].first, i,
                       [&](uint32_t at) { return std::string_view(metadata[at].first); }))
        return false;
    }
    return true;
  }

  /// Whether the tensors lie one after the other and fill the file; brings them into that order.
  bool lies_in_order() {
    if (!in_order_ && !sort_by_data()) return false;
    return file_bytes_ >= header_.data_start && data_end_ == file_bytes_ - header_.data_start;
  }

  bool sort_by_data() {
    using Place = std::tuple<uint64_t, uint64_t, size_t>;  // begin, end, where the header has it
    std::vector<TensorInfo>& tensors = header_.tensors;
    std::vector<Place> places;
    places.reserve(tensors.size());
    for (const TensorInfo& tensor : tensors) places.emplace_back(tensor.begin, tensor.end, places.size());
    std::sort(places.begin(), places.end());
    data_end_ = 0;
    std::vector<TensorInfo> sorted;
    sorted.reserve(tensors.size());
    for (const auto& [begin, end, index] : places) {
      if (begin != data_end_) return false;
      data_end_ = end;
      sorted.push_back(std::move(tensors[index]));
    }
    tensors = std::move(sorted);
    return true;
  }

  /// The dtype of the tensor before. With the quote after it, and both after `mask`, next8 gives `word`.
  struct KnownDtype {
    Dtype dtype = Dtype::unknown;
    unsigned bits = 0;
    size_t bytes = 0;  ///< with both quotes
    uint64_t mask = 0, word = 1;
  };

  uint64_t header_bytes_, file_bytes_;
  Window window_;
  uint64_t passed_bytes_ = 0;  ///< of the text, before the window
  SafetensorsHeader header_;
  CompactStringPool names_;
  ShapeMaker make_shape_;
  KnownDtype dtype_;
  bool has_metadata_ = false;
  bool non_ascii_ = false;  ///< there may be other characters in the window
  bool in_order_ = true;    ///< the tensors so far lie one after the other
  uint64_t data_end_ = 0;   ///< of the tensor before
};

}  // namespace

std::optional<SafetensorsHeader> read_plain_header(uint64_t header_bytes, uint64_t file_bytes,
                                                   const ReadHeaderText& read_next, size_t window_bytes) {
  if constexpr (std::endian::native != std::endian::little) return std::nullopt;
  return PlainReader(header_bytes, file_bytes, read_next, window_bytes).read();
}

}  // namespace hfload
