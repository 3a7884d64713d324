#include "core/save/pytorch_writer.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

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
constexpr uint64_t kCrcInLocalHeader = 14, kCrcInCentralEntry = 16;
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

uint32_t crc_of(uint32_t crc, std::string_view text) {
  return crc32(crc, std::as_bytes(std::span(text.data(), text.size())));
}

/// An archive of stored members, written from its start to its end but for the tensors.
class ZipWriter {
 public:
  ZipWriter(const std::string& directory, size_t members, const PieceSink& sink)
      : directory_(directory), sink_(sink) {
    members_.reserve(members);
  }

  struct Member {
    std::string_view record;  ///< the name of a member that is no tensor
    uint64_t storage = 0;     ///< the number of a tensor's storage
    uint64_t bytes = 0;
    uint64_t header = 0;  ///< offset of the local header
    uint32_t crc = 0;

    bool is_tensor() const { return record.empty(); }
    std::string name() const { return is_tensor() ? fmt::format("data/{}", storage) : std::string(record); }
  };

  /// A member whose content is known and small.
  void add_record(std::string_view name, std::string_view text) {
    begin({name, 0, text.size(), 0, crc_of(0, text)});
    append(text);
  }
  /// A member whose content is appended next, in parts.
  void begin_record(std::string_view name, uint64_t bytes, uint32_t crc) { begin({name, 0, bytes, 0, crc}); }
  void append(std::string_view text) {
    pending_ += text;
    constexpr size_t kMostBytes = 64 << 10;
    if (pending_.size() >= kMostBytes) flush();
  }

  /// A member that holds a tensor's elements, which somebody else writes. Returns where they begin.
  uint64_t add_tensor(uint64_t storage, uint64_t bytes) {
    begin({{}, storage, bytes, 0, 0});
    flush();
    const uint64_t data = at_;
    at_ += bytes;
    return data;
  }
  const Member& last() const { return members_.back(); }

  /// Writes the central directory. `visit(member, offset of its entry)`. Returns the size of the file.
  template <class Visit>
  uint64_t finish(Visit&& visit) {
    const uint64_t begin = position();
    for (const Member& member : members_) {
      visit(member, position());
      append(central_entry(member));
    }
    append(end_records(begin, position() - begin));
    flush();
    return at_;
  }

 private:
  uint64_t position() const { return at_ + pending_.size(); }

  void flush() {
    if (!pending_.empty()) sink_(at_, pending_);
    at_ += pending_.size();
    pending_.clear();
  }

  /// Appends the local header, padded so that the data begin at a multiple of 64.
  void begin(Member member) {
    member.header = position();
    const std::string name = directory_ + "/" + member.name();
    const bool is_large = member.bytes >= kLimit32;
    std::string extra;
    if (is_large) {
      put16(extra, kZip64Tag);
      put16(extra, 16);
      put64(extra, member.bytes);
      put64(extra, member.bytes);
    }
    constexpr uint64_t kHeaderBytes = 30, kTagBytes = 4;
    const uint64_t unpadded = member.header + kHeaderBytes + name.size() + extra.size() + kTagBytes;
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
    put32(header, member.crc);
    put32(header, limited(member.bytes));
    put32(header, limited(member.bytes));
    put16(header, name.size());
    put16(header, extra.size());
    append(header + name + extra);
    members_.push_back(member);
  }

  std::string central_entry(const Member& member) const {
    const std::string name = directory_ + "/" + member.name();
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
    put16(entry, name.size());
    put16(entry, extra.size());
    put16(entry, 0);  // comment
    put16(entry, 0);  // disk
    put16(entry, 0);  // internal attributes
    put32(entry, 0);  // external attributes
    put32(entry, limited(member.header));
    return entry + name + extra;
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

  const std::string& directory_;
  const PieceSink& sink_;
  std::vector<Member> members_;
  std::string pending_;  ///< what follows at at_
  uint64_t at_ = 0;
};

void write_pickle(std::span<const OutputTensor> tensors, const ArchiveLayout& archive, const TextSink& sink) {
  StateDictPickle pickle(sink);
  for (const StateDictEntry& entry : archive.entries) pickle.add(tensors[entry.tensor], entry.storage);
  pickle.finish();
}

/// Writes the archive. `place(slot, data offset, offset of the local header)` is called for each tensor, and
/// `place_again(slot, offset of its entry)` in the central directory. Returns the size of the file.
template <class Place, class PlaceAgain>
uint64_t write_archive(std::span<const OutputTensor> tensors, const FileLayout& layout, const PieceSink& sink,
                       Place&& place, PlaceAgain&& place_again) {
  const ArchiveLayout& archive = *layout.archive;
  constexpr size_t kRecords = 5;
  ZipWriter zip(archive.directory, layout.slots.size() + kRecords, sink);
  zip.begin_record("data.pkl", archive.pickle_bytes, archive.pickle_crc);
  write_pickle(tensors, archive, [&](std::string_view part) { zip.append(part); });
  zip.add_record(".format_version", "1");
  zip.add_record(".storage_alignment", std::to_string(kAlignment));
  zip.add_record("byteorder", "little");
  for (size_t i = 0; i < layout.slots.size(); ++i) {
    const uint64_t data = zip.add_tensor(i, tensors[layout.slots[i].tensor].bytes);
    place(i, data, zip.last().header);
  }
  zip.add_record("version", "3\n");
  return zip.finish([&](const ZipWriter::Member& member, uint64_t offset) {
    if (member.is_tensor()) place_again(member.storage, offset);
  });
}

}  // namespace

FileLayout pytorch_layout(std::span<const OutputTensor> tensors, std::span<const uint32_t> chosen,
                          std::span<const std::optional<uint64_t>> same_elements,
                          std::string_view file_name) {
  FileLayout layout;
  ArchiveLayout& archive = layout.archive.emplace();
  archive.directory = file_name.substr(0, file_name.rfind('.'));
  archive.entries.reserve(chosen.size());
  layout.slots.reserve(chosen.size());
  std::unordered_map<uint64_t, uint32_t> shared;
  for (const uint32_t index : chosen) {
    auto storage = static_cast<uint32_t>(layout.slots.size());
    if (const auto& number = same_elements[index]) storage = shared.emplace(*number, storage).first->second;
    if (storage == layout.slots.size()) layout.slots.push_back({index, 0});
    archive.entries.push_back({index, storage});
  }
  write_pickle(tensors, archive, [&](std::string_view part) {
    archive.pickle_bytes += part.size();
    archive.pickle_crc = crc_of(archive.pickle_crc, part);
  });
  archive.checksums.resize(layout.slots.size());
  layout.file_bytes = write_archive(
      tensors, layout, [](uint64_t, std::string_view) {},
      [&](size_t slot, uint64_t data, uint64_t header) {
        layout.slots[slot].offset = data;
        archive.checksums[slot].first_offset = header + kCrcInLocalHeader;
      },
      [&](size_t slot, uint64_t entry) {
        archive.checksums[slot].second_offset = entry + kCrcInCentralEntry;
      });
  return layout;
}

void write_pytorch_archive(std::span<const OutputTensor> tensors, const FileLayout& layout,
                           const PieceSink& sink) {
  write_archive(
      tensors, layout, sink, [](size_t, uint64_t, uint64_t) {}, [](size_t, uint64_t) {});
}

}  // namespace hfload
