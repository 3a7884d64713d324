#include "core/format/torch_file.h"

#include <set>

#include "core/format/pickle.h"
#include "core/format/pickle_file_scan.h"
#include "core/format/zip_archive.h"
#include "test/fuzz/check.h"

namespace hfload::fuzz {
namespace {

void check_tensor(const TorchTensor& tensor, const TorchFile& file) {
  const TorchStorage& storage = file.storages.at(tensor.storage);
  require(tensor.dtype != nullptr && tensor.shape.size() == tensor.strides.size());
  require(element_count(tensor.shape).value() * tensor.dtype->element_bytes == tensor.bytes);
  if (tensor.bytes == 0) return;
  __extension__ using Wide = unsigned __int128;
  Wide last = tensor.first_element;
  for (size_t i = 0; i < tensor.shape.size(); ++i) last += Wide{tensor.shape[i] - 1} * tensor.strides[i];
  require((last + 1) * tensor.dtype->element_bytes <= storage.bytes);
  require(!tensor.contiguous ||
          tensor.first_element * tensor.dtype->element_bytes + tensor.bytes <= storage.bytes);
}

void check_file(const TorchFile& file, uint64_t file_bytes) {
  for (const TorchStorage& storage : file.storages)
    require(storage.data_offset <= file_bytes && storage.bytes <= file_bytes - storage.data_offset);
  std::set<std::string_view> names;
  uint64_t repeated = 0;
  for (const TorchTensor& tensor : file.tensors) {
    check_tensor(tensor, file);
    require(names.insert(tensor.name).second);
    require(tensor.negation == Negation::none || tensor.dtype->numbers != NumberKind::others);
    if (tensor.bytes > file_bytes) repeated += tensor.bytes;
  }
  require(repeated <= kMaxRepeatedBytes);
}

/// Malformed, unsafe or unsupported, and where.
template <class Parse>
bool is_refused(Parse&& parse, uint64_t file_bytes) {
  try {
    parse();
  } catch (const Error& error) {
    require(error.exit_status() == 3 || error.exit_status() == 4);
    require(!error.offset() || *error.offset() <= file_bytes);
    require(!error.message().empty());
    return true;
  }
  return false;
}

/// What a reader accepts, a scan finds nothing denied in. Offsets in compressed streams are others than the
/// file's.
void check_scan(const ByteSource& source, bool accepted) {
  const FileScan scan = scan_pickle_file(source, "");
  for (const ScannedPickle& pickle : scan.pickles) {
    require(pickle.begin <= pickle.scan.end);
    for (const ScannedGlobal& global : pickle.scan.globals)
      require(pickle.begin <= global.offset && global.offset < pickle.scan.end);
  }
  for (const ScannedPickle& pickle : scan.pickles) {
    // Other members, and what stands behind the state dict, are nothing to the reader.
    if (!accepted || !(pickle.member.empty() || pickle.member.ends_with("/data.pkl"))) continue;
    for (const ScannedGlobal& global : pickle.scan.globals) require(global.verdict != GlobalVerdict::denied);
  }
}

}  // namespace
}  // namespace hfload::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hfload;
  const MemorySource source(std::as_bytes(std::span(data, size)));
  const bool refused = fuzz::is_refused([&] { fuzz::check_file(parse_torch_file(source), size); }, size);
  fuzz::check_scan(source, !refused);
  fuzz::is_refused(
      [&] {
        for (const ZipMember& m : read_zip_archive(source, ZipMethods::stored_and_deflated).members)
          fuzz::require(m.data_offset <= size && m.stored_bytes <= size - m.data_offset);
      },
      size);
  if (size > 0) {
    fuzz::is_refused([&] { fuzz::require(parse_pickle(source, 0, size).end <= size); }, size);
    // What stands behind the first byte, as a mutation finds checksums hard to keep right.
    fuzz::is_refused([&] { fuzz::require(parse_pickle(source, 1, size).end <= size); }, size);
  }
  return 0;
}
