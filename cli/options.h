#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/command_table.h"
#include "cli/key_report.h"
#include "cli/terminal.h"
#include "core/format/dtype.h"
#include "core/load/shard_reader.h"
#include "core/model/module_builder.h"
#include "core/plan/device_map.h"
#include "core/plan/infer_device_map.h"
#include "core/save/convert.h"

namespace hfload::cli {

/// Which model: the MODEL argument and the flags that go with it.
struct ModelOptions {
  std::string model;
  std::string variant;
  std::string subfolder;
  std::string key;  ///< of the dict inside a PyTorch checkpoint
};

/// A strategy, one device for everything, or the path of a map; an inline map is parsed at once.
using DeviceMapChoice = std::variant<Strategy, DeviceMap>;

/// The planning flags, read and checked as far as that is possible without the model.
struct PlanningOptions {
  DeviceMapChoice device_map = Strategy::balanced_auto;
  std::optional<MaxMemory> max_memory;               ///< nothing: the machine's free memory
  std::optional<Dtype> dtype;                        ///< nothing: auto
  std::optional<std::vector<std::string>> no_split;  ///< nothing: the architecture's own
  Compat compat = Compat::v4;
  std::string offload_folder;
  bool offload_buffers = false;
  bool fallback_allocation = false;
  bool explain = false;
  std::optional<uint64_t> context_tokens;  ///< nothing: no room is kept for caches
  uint64_t batch = 1;
  std::optional<Dtype> kv_dtype;           ///< nothing: the weights' dtype
  std::string svg;                         ///< path of the picture; empty: none
  std::vector<std::string> warnings = {};  ///< of the flags themselves
};

struct InspectCommand {
  ModelOptions model;
  bool tensors = false;
  bool tree = false;
  bool patterns = false;
  bool metadata = false;
  std::string filter;  ///< a glob over tensor names; empty: all
};

struct PlanCommand {
  ModelOptions model;
  PlanningOptions planning;
};

struct LoadCommand {
  ModelOptions model;
  PlanningOptions planning;
  bool verify = false;
  bool emulate_gpus = false;
  unsigned threads = 0;  ///< 0: as many as the loader likes
  ReadPath read_path = ReadPath::automatic;
  bool map = false;
  bool gds = false;
  KeyMode key_mode = KeyMode::complete;
  std::vector<std::string> subset = {};  ///< globs over tensor names; empty: all
  bool dry_run = false;
};

struct ScanCommand {
  std::vector<std::string> models;  ///< files, model directories, names of the hub cache
};

struct ConvertCommand {
  std::vector<ModelOptions> sources;
  std::string destination;       ///< DST of a single source; empty with -o
  std::string output_directory;  ///< of -o; empty without
  ConvertOptions options;
  bool dry_run = false;
  bool force = false;
  unsigned threads = 0;  ///< 0: one per processor, at most 16
  unsigned jobs = 1;
};

struct VerifyCommand {
  ModelOptions model;
  bool tensors = false;
  std::string write_hashes;  ///< a path; empty: none
  std::string against;       ///< a path; empty: none
  unsigned threads = 0;      ///< 0: one per processor, at most 16
  bool checksums = true;     ///< false with --no-hash
};

struct DiffCommand {
  ModelOptions a, b;
  double tolerance = 0;
  bool tensors = false;
  unsigned threads = 0;  ///< 0: one per processor, at most 16
};

struct GemmCommand {
  bool check = false;
  bool bench = false;
  bool cpu = false;
  unsigned threads = 0;  ///< with cpu; 0: one per processor
};

/// What to print: a shell's name, or one of the hidden documents "man" and "errors".
struct CompletionCommand {
  std::string shell;
};

/// --help; of the whole program when there is no command.
struct HelpRequest {
  std::optional<CommandId> command;
};

struct VersionRequest {};

using ParsedCommand =
    std::variant<InspectCommand, PlanCommand, LoadCommand, ScanCommand, ConvertCommand, VerifyCommand,
                 DiffCommand, GemmCommand, CompletionCommand, HelpRequest, VersionRequest>;

struct CommandLine {
  CommonOptions common;
  ParsedCommand command = HelpRequest{};
};

/// Reads the arguments after the program's name into `line`. The common options are set first, so that even a
/// usage error is reported as they say. Throws Error of exit status 2, and what reading a device map from a
/// file throws.
void parse_command_line(const std::vector<std::string>& arguments, CommandLine& line);

}  // namespace hfload::cli
