#include "core/format/pickle_file_scan.h"

#include <algorithm>
#include <array>

#include "core/format/lfs_pointer.h"
#include "core/format/zip_archive.h"

namespace hfload {
namespace {

// torch.save's legacy layout: magic number, protocol, system, object, keys; then raw storages.
constexpr size_t kLegacyPickles = 5;
constexpr uint64_t kStartBytes = 64;
// Of memory, and one for each byte of the file so far.
constexpr uint64_t kMaxNameBytes = 24 << 20;

constexpr std::string_view kPickleNames[] = {".pkl", ".pickle", ".bin", ".pt", ".pth", ".ckpt"};

std::string read_start(const ByteSource& source, uint64_t offset, uint64_t bytes) {
  std::string start(std::min(kStartBytes, bytes), '\0');
  source.read(offset, std::as_writable_bytes(std::span(start)));
  return start;
}

class FileScanner {
 public:
  explicit FileScanner(const ByteSource& source) : source_(source) {}

  FileScan run() && {
    try {
      const std::string start = read_start(source_, 0, source_.bytes());
      refuse_lfs_pointer(start);
      if (is_zip(start)) {
        scan_archive();
      } else {
        scan_pickles("", 0, source_.bytes());
      }
    } catch (const Error& error) {
      if (error.exit_status() != 3 && error.exit_status() != 4) throw;
      found_.fault = error;
    }
    return std::move(found_);
  }

 private:
  void scan_archive() {
    const ZipArchive archive = read_zip_archive(source_);
    for (const ZipMember& member : archive.members) {
      const size_t slash = member.name.find('/');
      const bool is_storage =
          slash != std::string::npos && std::string_view(member.name).substr(slash).starts_with("/data/");
      if (!has_pickle_name(member.name) &&
          (is_storage || !starts_like_pickle(read_start(source_, member.data_offset, member.bytes))))
        continue;
      scan_pickles(member.name, member.data_offset, member.data_offset + member.bytes);
    }
  }

  /// Pickles one after the other until `end`, or until one has a fault.
  void scan_pickles(const std::string& member, uint64_t begin, uint64_t end) {
    const size_t first = found_.pickles.size();
    do {
      if (found_.pickles.size() >= kMaxScannedPickles) {
        throw Error(ErrorCode::invalid_pickle, "the file holds more than 10,000 pickles").with_offset(begin);
      }
      found_.pickles.push_back({member, begin, scan_pickle(source_, begin, end)});
      const ScannedPickle& pickle = found_.pickles.back();
      for (const ScannedGlobal& global : pickle.scan.globals) kept_bytes_ += global.bytes();
      if (pickle.scan.fault) return;
      begin = pickle.scan.end;
      if (kept_bytes_ > kMaxNameBytes + begin) {
        throw Error(
            ErrorCode::invalid_pickle,
            "the names in the file's pickles take more than 24 MiB and a byte for each byte of the file")
            .with_offset(begin);
      }
      const bool is_legacy = found_.pickles[first].scan.is_legacy_magic;
      if (is_legacy && found_.pickles.size() - first == kLegacyPickles) return;
    } while (begin < end);
  }

  const ByteSource& source_;
  FileScan found_;
  uint64_t kept_bytes_ = 0;
};

}  // namespace

uint64_t FileScan::count(GlobalVerdict verdict) const {
  uint64_t count = 0;
  for (const ScannedPickle& pickle : pickles)
    count += static_cast<uint64_t>(std::ranges::count(pickle.scan.globals, verdict, &ScannedGlobal::verdict));
  return count;
}

const Error* FileScan::first_fault() const {
  if (fault) return &*fault;
  const auto bad =
      std::ranges::find_if(pickles, [](const ScannedPickle& p) { return p.scan.fault.has_value(); });
  return bad == pickles.end() ? nullptr : &*bad->scan.fault;
}

FileScan scan_pickle_file(const ByteSource& source) { return FileScanner(source).run(); }

bool has_pickle_name(std::string_view name) {
  return std::ranges::any_of(kPickleNames, [&](std::string_view ending) { return name.ends_with(ending); });
}

bool starts_like_pickle(std::string_view start) {
  return start.size() >= 2 && start[0] == '\x80' && start[1] >= 1 && start[1] <= 5;
}

bool holds_pickles(const ByteSource& source) {
  const std::string start = read_start(source, 0, source.bytes());
  if (is_zip(start) || starts_like_pickle(start)) return true;
  const FileScan found = scan_pickle_file(source);
  if (found.first_fault() == nullptr) return true;
  // What follows a whole pickle is nothing to the one who loads it.
  return !found.pickles.empty() && !found.pickles[0].scan.fault && !found.pickles[0].scan.globals.empty();
}

}  // namespace hfload
