#include "core/save/pytorch_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "core/base/checked.h"
#include "core/base/crc32.h"
#include "core/base/error.h"
#include "core/save/pickle_writer.h"

namespace hfload {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint32_t kLocalMagic = 0x04034B50, kCentralMagic = 0x02014B50, kEndMagic = 0x06054B50,
                   kEnd64Magic = 0x06064B50, kLocator64Magic = 0x07064B50;
constexpr uint16_t kZip64Tag = 0x0001, kPaddingTag = 0x4246;  // "FB", as torch pads
constexpr uint16_t kVersion = 20, kVersion64 = 45;
constexpr uint16_t kUtf8Names = 0x0800;
constexpr uint64_t kLimit32 = 0xFFFFFFFF, kLimit16 = 0xFFFF;
// 1 January 1980: an archive does not say when it was made.
constexpr uint16_t kDosDate = 0x0021;

void put16(std::string& out, uint64_t value) {
  for (int i = 0; i < 2; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}
void put32(std::string& out, uint64_t value) {
  for (int i = 0; i < 4; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}
void put64(std::string& out, uint64_t value) {
  for (int i = 0; i < 8; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

uint64_t limited(uint64_t value) { return std::min(value, kLimit32); }

class ZipLayout {
 public:
  explicit ZipLayout(std::string directory) : directory_(std::move(directory)) {}

  /// A member whose content is known.
  void add_text(const std::string& name, const std::string& text) {
    const uint32_t crc = crc32(0, std::as_bytes(std::span(text.data(), text.size())));
    begin(name, text.size(), crc);
    append(text);
  }

  /// A member that holds a tensor's elements.
  void add_tensor(const std::string& name, uint32_t tensor, uint64_t bytes) {
    const uint64_t header = begin(name, bytes, 0);
    constexpr uint64_t kCrcInLocalHeader = 14;
    layout_.checksums.push_back({header + kCrcInLocalHeader, 0});
    tensor_members_.push_back(members_.size() - 1);
    flush();
    layout_.slots.push_back({tensor, at_});
    at_ += bytes;
  }

  FileLayout finish() {
    const uint64_t begin = position();
    size_t next_tensor = 0;
    for (size_t i = 0; i < members_.size(); ++i) {
      constexpr uint64_t kCrcInCentralEntry = 16;
      if (next_tensor < tensor_members_.size() && tensor_members_[next_tensor] == i)
        layout_.checksums[next_tensor++].second_offset = position() + kCrcInCentralEntry;
      append(central_entry(members_[i]));
    }
    append(end_records(begin, position() - begin));
    flush();
    layout_.file_bytes = at_;
    return std::move(layout_);
  }

 private:
  struct Member {
    std::string name;
    uint64_t bytes = 0;
    uint32_t crc = 0;
    uint64_t header = 0;  ///< offset of the local header
  };

  uint64_t position() const { return at_ + pending_.size(); }
  void append(std::string_view text) { pending_ += text; }

  /// What was appended becomes a piece of the file.
  void flush() {
    if (pending_.empty()) return;
    const uint64_t bytes = pending_.size();
    layout_.pieces.push_back({at_, std::move(pending_)});
    pending_.clear();
    at_ += bytes;
  }

  /// Appends the local header, padded so that the data begin at a multiple of 64; returns its offset.
  uint64_t begin(const std::string& name, uint64_t bytes, uint32_t crc) {
    Member member{directory_ + "/" + name, bytes, crc, position()};
    const bool is_large = bytes >= kLimit32;
    std::string extra;
    if (is_large) {
      put16(extra, kZip64Tag);
      put16(extra, 16);
      put64(extra, bytes);
      put64(extra, bytes);
    }
    constexpr uint64_t kHeaderBytes = 30, kTagBytes = 4;
    const uint64_t unpadded = member.header + kHeaderBytes + member.name.size() + extra.size() + kTagBytes;
    const uint64_t padding = align_up(unpadded, kAlignment) - unpadded;
    put16(extra, kPaddingTag);
    put16(extra, padding);
    extra.append(padding, 'Z');

    std::string header;
    put32(header, kLocalMagic);
    put16(header, is_large ? kVersion64 : kVersion);
    put16(header, kUtf8Names);
    put16(header, 0);  // stored
    put16(header, 0);
    put16(header, kDosDate);
    put32(header, crc);
    put32(header, limited(bytes));
    put32(header, limited(bytes));
    put16(header, member.name.size());
    put16(header, extra.size());
    append(header + member.name + extra);
    members_.push_back(member);
    return member.header;
  }

  static std::string central_entry(const Member& member) {
    std::string extra;
    if (member.bytes >= kLimit32) {
      put64(extra, member.bytes);
      put64(extra, member.bytes);
    }
    if (member.header >= kLimit32) put64(extra, member.header);
    if (!extra.empty()) {
      std::string tag;
      put16(tag, kZip64Tag);
      put16(tag, extra.size());
      extra.insert(0, tag);
    }
    std::string entry;
    put32(entry, kCentralMagic);
    put16(entry, extra.empty() ? kVersion : kVersion64);
    put16(entry, extra.empty() ? kVersion : kVersion64);
    put16(entry, kUtf8Names);
    put16(entry, 0);
    put16(entry, 0);
    put16(entry, kDosDate);
    put32(entry, member.crc);
    put32(entry, limited(member.bytes));
    put32(entry, limited(member.bytes));
    put16(entry, member.name.size());
    put16(entry, extra.size());
    put16(entry, 0);  // comment
    put16(entry, 0);  // disk
    put16(entry, 0);  // internal attributes
    put32(entry, 0);  // external attributes
    put32(entry, limited(member.header));
    return entry + member.name + extra;
  }

  std::string end_records(uint64_t begin, uint64_t bytes) const {
    std::string out;
    const uint64_t count = members_.size();
    if (count >= kLimit16 || begin >= kLimit32 || bytes >= kLimit32) {
      constexpr uint64_t kEnd64Bytes = 44;  // without the magic and this number
      put32(out, kEnd64Magic);
      put64(out, kEnd64Bytes);
      put16(out, kVersion64);
      put16(out, kVersion64);
      put32(out, 0);
      put32(out, 0);
      put64(out, count);
      put64(out, count);
      put64(out, bytes);
      put64(out, begin);
      put32(out, kLocator64Magic);
      put32(out, 0);
      put64(out, begin + bytes);
      put32(out, 1);
    }
    put32(out, kEndMagic);
    put16(out, 0);
    put16(out, 0);
    put16(out, std::min(count, kLimit16));
    put16(out, std::min(count, kLimit16));
    put32(out, limited(bytes));
    put32(out, limited(begin));
    put16(out, 0);
    return out;
  }

  std::string directory_;
  FileLayout layout_;
  std::vector<Member> members_;
  std::vector<size_t> tensor_members_;  ///< members of the slots
  std::string pending_;                 ///< what follows at at_
  uint64_t at_ = 0;
};

}  // namespace

FileLayout pytorch_layout(std::span<const OutputTensor> tensors, std::span<const uint32_t> chosen,
                          std::span<const std::optional<uint64_t>> same_elements,
                          std::string_view file_name) {
  std::unordered_map<uint64_t, uint64_t> shared;
  std::vector<uint32_t> storages;  // the first tensor of each
  StateDictPickle pickle;
  for (const uint32_t index : chosen) {
    uint64_t storage = storages.size();
    if (const auto& number = same_elements[index]) storage = shared.emplace(*number, storage).first->second;
    if (storage == storages.size()) storages.push_back(index);
    pickle.add(tensors[index], storage);
  }
  ZipLayout zip(std::string(file_name.substr(0, file_name.rfind('.'))));
  zip.add_text("data.pkl", pickle.finish());
  zip.add_text(".format_version", "1");
  zip.add_text(".storage_alignment", std::to_string(kAlignment));
  zip.add_text("byteorder", "little");
  for (size_t i = 0; i < storages.size(); ++i)
    zip.add_tensor(fmt::format("data/{}", i), storages[i], tensors[storages[i]].bytes);
  zip.add_text("version", "3\n");
  return zip.finish();
}

}  // namespace hfload
