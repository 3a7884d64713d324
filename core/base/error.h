#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>

/// Every failure hfload can report: stable code, exit status, meaning. The codes are a public interface
/// (`--json`, docs/errors.md); add to the list, never rename.
/// Exit statuses: 1 a check found a problem, 2 usage, 3 input malformed or unsafe, 4 well-formed but
/// unsupported, 5 I/O, 8 not found, 9 out of memory on a device, 128 and the number of a signal.
#define HFLOAD_ERROR_CODES(X)                                                                                \
  X(does_not_fit, 1, "the model does not fit in the given devices")                                          \
  X(missing_keys, 1, "the model has tensors that the checkpoint lacks")                                      \
  X(mismatched_keys, 1, "tensors of the checkpoint have other shapes than the model's")                      \
  X(unexpected_keys, 1, "the checkpoint has tensors that the model does not use")                            \
  X(empty_subset, 1, "a pattern of --subset or --include matches no tensor, or --exclude leaves none")       \
  X(device_map_incomplete, 1, "a device map gives no device for some tensors")                               \
  X(verify_failed, 1, "bytes read back from a device differ from the file's")                                \
  X(gemm_mismatch, 1, "a product that a kernel computed differs from the reference")                         \
  X(usage, 2, "the command line cannot be understood")                                                       \
  X(invalid_size, 2, "a byte size is not a number with a unit such as 20GiB or 5GB")                         \
  X(invalid_device, 2, "a device is not an integer, cpu or disk")                                            \
  X(invalid_device_map, 2, "a device map is not a known strategy, a device, or a map of modules to devices") \
  X(invalid_dtype, 2, "a dtype is not one that weights can be loaded as")                                    \
  X(destination_is_input, 2, "a conversion would write to what it reads from")                               \
  X(name_collision, 2, "two tensors or files of a conversion's output would have one name")                  \
  X(header_too_small, 3, "a safetensors file is shorter than its 8-byte length prefix")                      \
  X(header_too_large, 3, "a safetensors header declares more than 100,000,000 bytes")                        \
  X(header_truncated, 3, "a safetensors file ends before its declared header does")                          \
  X(malformed_device_map, 3, "a file holds no device map")                                                   \
  X(invalid_utf8, 3, "a JSON text is not valid UTF-8")                                                       \
  X(invalid_json, 3, "a JSON text is malformed")                                                             \
  X(json_too_deep, 3, "a JSON text nests deeper than 128 levels")                                            \
  X(json_too_large, 3, "a JSON file is larger than its limit")                                               \
  X(duplicate_key, 3, "a JSON object has the same key twice")                                                \
  X(invalid_tensor_entry, 3, "a tensor entry lacks a field or has one of the wrong type")                    \
  X(invalid_number, 3, "a number is malformed, or no unsigned 64-bit integer where one is due")              \
  X(invalid_metadata, 3, "a metadata entry has the wrong type")                                              \
  X(offset_reversed, 3, "a tensor's data ends before it begins")                                             \
  X(offset_gap, 3, "bytes of the data section belong to no tensor")                                          \
  X(offset_overlap, 3, "two tensors share bytes of the data section")                                        \
  X(shape_overflow, 3, "the size of a tensor does not fit in 64 bits")                                       \
  X(misaligned_dtype, 3, "a tensor of a sub-byte dtype does not end on a whole byte")                        \
  X(size_mismatch, 3, "a tensor's data_offsets disagree with its dtype and shape")                           \
  X(data_truncated, 3, "a file ends before its last tensor does")                                            \
  X(trailing_bytes, 3, "a file goes on after its last tensor")                                               \
  X(unsafe_path, 3, "a path in a weight map or a cache, or a tensor's name as a file name, is unsafe")       \
  X(lfs_pointer, 3, "a file is a Git LFS pointer, not the weights")                                          \
  X(invalid_index, 3, "a shard index lacks its weight map or has one of the wrong type")                     \
  X(invalid_hashes, 3, "a file of tensor hashes is not of the form that verify writes")                      \
  X(invalid_config, 3, "a config.json has a value of the wrong type or out of range")                        \
  X(corrupted_state_dict, 3, "names of base model and task model are mixed in one checkpoint")               \
  X(invalid_offload_index, 3, "the index.json of an offload folder is not of accelerate's form")             \
  X(invalid_zip, 3, "a zip archive is damaged, or its directories disagree about a member")                  \
  X(invalid_tar, 3, "a tar archive is damaged or ends early")                                                \
  X(invalid_npy, 3, "a file of numpy is damaged or ends early")                                              \
  X(invalid_stream, 3, "a compressed stream is damaged or ends early")                                       \
  X(invalid_pickle, 3, "a pickle is malformed or passes a limit")                                            \
  X(unsafe_pickle, 3, "a pickle does what no weights need: it names or calls other code")                    \
  X(invalid_storage, 3, "a storage of a PyTorch checkpoint is absent or has the wrong size")                 \
  X(storage_overrun, 3, "a tensor reaches beyond its storage")                                               \
  X(tensor_too_large, 3, "tensors that repeat their storages would take too many bytes")                     \
  X(unsupported_dtype, 4, "a tensor has a dtype that hfload does not know or cannot convert")                \
  X(unsupported_format, 4, "the weights are in a format that this command does not read")                    \
  X(unsupported_architecture, 4, "the model's architecture cannot be derived")                               \
  X(no_cuda, 4, "this build or machine has no CUDA device, or --gds finds no cuFile library that works")     \
  X(no_onednn, 4, "this machine has no oneDNN library, which multiplies on the CPU")                         \
  X(io_error, 5, "the operating system refused a read, a write or a mapping")                                \
  X(not_a_file, 5, "a path is a directory, a pipe or a device where a file is needed")                       \
  X(changed_during_read, 5, "a file was truncated or replaced while it was read")                            \
  X(file_exists, 5, "a file stands where one is to be written, and may not be replaced")                     \
  X(destination_exists, 5, "a conversion's output exists, and --force is not given")                         \
  X(destination_busy, 5, "another hfload is writing to the same directory")                                  \
  X(no_space, 5, "a disk has not enough room for what is to be written")                                     \
  X(cuda_error, 5, "a CUDA call failed")                                                                     \
  X(onednn_error, 5, "a oneDNN call failed")                                                                 \
  X(not_found, 8, "a path or a cached repository does not exist")                                            \
  X(weights_not_found, 8, "a model directory holds no weights")                                              \
  X(shard_missing, 8, "a shard named by the index does not exist")                                           \
  X(out_of_memory, 9, "a device or the host has not enough memory")                                          \
  X(interrupted, 130, "SIGINT, SIGTERM or SIGHUP ended the command; everything is released")                 \
  X(internal, 5, "a state that should be impossible; please report it")

namespace hfload {

enum class ErrorCode : uint8_t {
#define HFLOAD_ENUMERATOR(name, exit_status, meaning) name,
  HFLOAD_ERROR_CODES(HFLOAD_ENUMERATOR)
#undef HFLOAD_ENUMERATOR
};

/// One row of the table above.
struct ErrorCodeInfo {
  ErrorCode code;
  std::string_view name;
  int exit_status;
  std::string_view meaning;
};

/// All codes in declaration order; `error_code_table()[code].code == code`.
std::span<const ErrorCodeInfo> error_code_table();
const ErrorCodeInfo& error_code_info(ErrorCode code);

/// The one exception type of hfload. Thrown where the fault is found, completed with what only a caller knows
/// (which file, which tensor), caught in `main` alone.
/// Example: `throw Error(ErrorCode::offset_gap,
/// "…").with_path(p).with_tensor(t).with_offset(o).with_hint("…");`
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  Error& with_path(std::string path);
  Error& with_tensor(std::string tensor);
  /// Byte offset from the start of the file.
  Error& with_offset(uint64_t offset);
  Error& with_hint(std::string hint);

  ErrorCode code() const { return code_; }
  int exit_status() const { return error_code_info(code_).exit_status; }
  /// What is wrong, one sentence without the path.
  const std::string& message() const { return message_; }
  const std::string& path() const { return path_; }
  const std::string& tensor() const { return tensor_; }
  std::optional<uint64_t> offset() const { return offset_; }
  /// What to do about it; may be empty.
  const std::string& hint() const { return hint_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_, path_, tensor_, hint_;
  std::optional<uint64_t> offset_;
};

}  // namespace hfload
