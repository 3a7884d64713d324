#pragma once

// The way of a scan through the containers of one file, down to their pickles.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/format/byte_source.h"
#include "core/format/container_kind.h"
#include "core/format/loose_zip.h"
#include "core/format/pickle_file_scan.h"
#include "core/format/unpacked_source.h"

namespace hfload {

/// An error that says in its message in which member it is; `member` as in ScannedPickle.
Error fault_in(const std::string& member, const Error& fault);

class ContainerScanner {
 public:
  explicit ContainerScanner(const ByteSource& file);
  FileScan run(std::string_view name) &&;

 private:
  /// A range of a source that is looked into.
  struct Part {
    const ByteSource& source;
    uint64_t begin = 0, end = 0;
    std::string member;  ///< as in ScannedPickle
    std::string name;    ///< of the file or the member; empty where it says nothing
    unsigned depth = 0, packed_depth = 0;

    Part in(std::string_view member_name, uint64_t from, uint64_t to) const;
    Part rest(uint64_t from) const;
  };

  void look_into(const Part& part);
  void look_into_container(const Part& part, const Container& container);
  void look_behind_zeros(const Part& part, std::string_view start);
  void look_into_rest(const Part& part, uint64_t from);

  void scan_zips(const Part& part, bool look_before);
  void scan_zip(const Part& part, const LooseZip& zip);
  void scan_zip_member(const Part& part, const LooseZipMember& member);
  void judge_zip(const Part& part, const LooseZip& zip);
  void scan_tar(const Part& part);
  void scan_npy(const Part& part);
  void scan_packed(const Part& part, const Container& container);
  /// Returns whether something was found in it.
  bool scan_unpacked(const Part& part, const UnpackedSource& unpacked, std::string_view step);

  /// Pickles that stand at the start of a part. Returns whether there are any.
  bool scan_pickles(const Part& part, const Container& container);
  void add_pickle(const Part& part, uint64_t begin, PickleScan scan);
  void scan_old_torch_member(const Part& part, bool is_storages);

  void add_fault(const Part& part, const Error& fault);
  std::optional<uint64_t> after_zeros(const Part& part, uint64_t from) const;
  size_t findings() const { return found_.pickles.size() + found_.faults.size() + containers_; }

  const ByteSource& file_;
  FileScan found_;
  UnpackBudget budget_;
  uint64_t most_kept_bytes_, kept_bytes_ = 0;
  size_t containers_ = 0;
  bool is_full_ = false;
};

}  // namespace hfload
