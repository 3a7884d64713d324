#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "cli/command_table.h"

namespace hfload::cli {
namespace {

constexpr Flag kFlags[] = {
    {.id = FlagId::json,
     .name = "--json",
     .help = "Print one JSON document on standard output, also for a failure."},
    {.id = FlagId::progress,
     .name = "--progress",
     .kind = ValueKind::choice,
     .value = "auto|always|never",
     .choices = "auto|always|never",
     .help = "Show progress on standard error. auto, the default: only on a terminal."},
    {.id = FlagId::color,
     .name = "--color",
     .kind = ValueKind::choice,
     .value = "auto|always|never",
     .choices = "auto|always|never",
     .help = "Color messages. auto, the default: only on a terminal, and not when NO_COLOR is set."},
    {.id = FlagId::quiet,
     .name = "--quiet",
     .short_name = "-q",
     .help = "Drop warnings, notes and progress. Errors stay."},
    {.id = FlagId::verbose,
     .name = "--verbose",
     .short_name = "-v",
     .help = "Say more about what is done, on standard error."},
    {.id = FlagId::help, .name = "--help", .short_name = "-h", .help = "Print help and exit."},
    {.id = FlagId::version, .name = "--version", .short_name = "-V", .help = "Print the version and exit."},
    {.id = FlagId::variant,
     .name = "--variant",
     .kind = ValueKind::word,
     .value = "NAME",
     .help = "Take the weights of that variant: fp16 stands for model.fp16.safetensors."},
    {.id = FlagId::subfolder,
     .name = "--subfolder",
     .kind = ValueKind::word,
     .value = "NAME",
     .help = "Look in that folder below the model directory."},
    {.id = FlagId::key,
     .name = "--key",
     .kind = ValueKind::word,
     .value = "NAME",
     .help =
         "Take the weights of a PyTorch checkpoint from the dict of that name inside it, as a trainer saves "
         "several. A dot leads to a dict in a dict (model.encoder); . alone is the file's own dict."},
    {.id = FlagId::tensors, .name = "--tensors", .help = "List every tensor: name, dtype, shape, bytes."},
    {.id = FlagId::tree,
     .name = "--tree",
     .help = "Show the modules with their parameters and bytes, equal layers folded."},
    {.id = FlagId::filter,
     .name = "--filter",
     .kind = ValueKind::word,
     .value = "GLOB",
     .help = "Show only tensors whose name matches, as in '*.layers.0.*'. Implies --tensors unless --tree or "
             "--patterns is given."},
    {.id = FlagId::patterns,
     .name = "--patterns",
     .help = "List the distinct tensor names with layer numbers written as #, and how often each occurs."},
    {.id = FlagId::metadata, .name = "--metadata", .help = "Show the metadata stored in the weight files."},
    {.id = FlagId::device_map,
     .name = "--device-map",
     .kind = ValueKind::choice,
     .value = "MAP",
     .choices = "auto|balanced|balanced_low_0|sequential|tight|cpu|disk",
     .help = "How to place the modules. auto (the default) and balanced spread them evenly over the GPUs, "
             "balanced_low_0 leaves "
             "the first GPU free, sequential fills one device after the other; tight, which is hfload's own, "
             "offloads as little as can be; a device (0, cuda:1, cpu, disk) takes everything; "
             "FILE, or a map such as '{\"encoder\": 0, \"decoder\": \"cpu\"}' in JSON or as Python prints "
             "it, is your own; what plan prints is such a FILE, also with --json."},
    {.id = FlagId::max_memory,
     .name = "--max-memory",
     .kind = ValueKind::word,
     .value = "LIST",
     .repeatable = true,
     .help = "Most bytes of weights per device: 0=20GiB,1=21GiB,cpu=60GiB. KiB, MiB, GiB are powers of 1024; "
             "KB, MB, GB powers of 1000. Repeatable; the lists add up. A device that is not named gets "
             "nothing, and what fits nowhere stays on the disk. Default: the memory that is free on this "
             "machine."},
    {.id = FlagId::context,
     .name = "--context",
     .kind = ValueKind::word,
     .value = "N",
     .help = "Keep room for the key-value caches of N tokens, on the device that executes each layer."},
    {.id = FlagId::batch,
     .name = "--batch",
     .kind = ValueKind::word,
     .value = "B",
     .help = "Sequences that --context keeps room for. Default: 1."},
    {.id = FlagId::kv_dtype,
     .name = "--kv-dtype",
     .kind = ValueKind::choice,
     .value = "auto|float32|float16|bfloat16",
     .choices = "auto|float32|float16|bfloat16",
     .help = "What the caches of --context hold. auto, the default: the dtype of the weights."},
    {.id = FlagId::dtype,
     .name = "--dtype",
     .kind = ValueKind::choice,
     .value = "auto|float32|float16|bfloat16",
     .choices = "auto|float32|float16|bfloat16",
     .help = "What floating-point weights are loaded as. auto, the default: what config.json says, else what "
             "the weights hold."},
    {.id = FlagId::no_split,
     .name = "--no-split",
     .kind = ValueKind::word,
     .value = "CLASS",
     .repeatable = true,
     .may_be_empty = true,
     .help =
         "A module class that must stay whole on one device, or several with commas. Repeatable; replaces "
         "the architecture's own list; '' keeps nothing whole."},
    {.id = FlagId::compat,
     .name = "--compat",
     .kind = ValueKind::choice,
     .value = "4|5",
     .choices = "4|5",
     .help =
         "Whose rules to follow: 4, the default, is transformers 4.57 with accelerate 1.x; 5 is transformers "
         "5.23."},
    {.id = FlagId::offload_folder,
     .name = "--offload-folder",
     .kind = ValueKind::directory,
     .value = "DIR",
     .help = "Where load keeps weights offloaded to the disk, as accelerate does: converted copies where the "
             "dtype changes, and an index.json of all. The folder is made where it does not exist, but none "
             "above it. Without it, safetensors files are used in place."},
    {.id = FlagId::offload_buffers,
     .name = "--offload-buffers",
     .help = "Offload buffers together with their weights."},
    {.id = FlagId::fallback_allocation,
     .name = "--fallback-allocation",
     .help = "Where a device would stay empty, look for a smaller module that fits it."},
    {.id = FlagId::explain,
     .name = "--explain",
     .help = "Explain on standard error, and with --json in the field explain, why each module went where it "
             "did, and how much more of each budget would keep all off the disk or on the GPUs."},
    {.id = FlagId::svg,
     .name = "--svg",
     .kind = ValueKind::file,
     .value = "FILE",
     .help = "Draw what every device holds into FILE, an SVG picture. A file of that name is replaced; - is "
             "no special name."},
    {.id = FlagId::emulate_gpus,
     .name = "--emulate-gpus",
     .help = "Back the GPUs named in --max-memory by host memory, held to their budgets. Needs no GPU."},
    {.id = FlagId::verify,
     .name = "--verify",
     .help = "Compute a checksum of every tensor on its device and compare it with the file's; --json then "
             "lists the checksums."},
    {.id = FlagId::threads,
     .name = "--threads",
     .kind = ValueKind::word,
     .value = "N",
     .help = "Reader threads, 1 to 256. Default: one per processor, at most 16; on a network file system at "
             "least 8."},
    {.id = FlagId::io,
     .name = "--io",
     .kind = ValueKind::choice,
     .value = "auto|pread|direct|mmap",
     .choices = "auto|pread|direct|mmap",
     .help =
         "How to read. auto, the default: what the page cache holds from there, the rest by what is faster "
         "here; pread goes through the page cache, direct around it, mmap copies from a mapping."},
    {.id = FlagId::map,
     .name = "--map",
     .help = "Leave tensors on the CPU in their files, mapped, where their dtype does not change: nothing is "
             "read before it is used."},
    {.id = FlagId::gds,
     .name = "--gds",
     .help =
         "Read large tensors straight into a GPU's memory by GPUDirect Storage (cuFile); says whether it is "
         "real or a detour through the host's memory (compatibility mode)."},
    {.id = FlagId::strict,
     .name = "--strict",
     .help =
         "Fail also for tensors of the checkpoint that the model does not use; all that does not match is "
         "listed together."},
    {.id = FlagId::ignore_mismatched_sizes,
     .name = "--ignore-mismatched-sizes",
     .help = "Leave out tensors of another shape than the model's, with a warning, instead of failing."},
    {.id = FlagId::subset,
     .name = "--subset",
     .kind = ValueKind::word,
     .value = "GLOB",
     .repeatable = true,
     .help = "Load only the tensors whose name matches, as in 'model.layers.0.*'. Repeatable. The device map "
             "stays that of the whole model."},
    {.id = FlagId::load_dry_run,
     .name = "--dry-run",
     .help = "Allocate and read no weights, and write no offload folder. On standard error, and with --json "
             "in the field load_plan: the memory and tensors of each device, what stays in its file, the "
             "reads of each shard, and the staging memory. Keys are matched, and the exit status is that of "
             "the load, as far as planning can tell."},
    {.id = FlagId::output_dtype,
     .name = "--dtype",
     .kind = ValueKind::choice,
     .value = "auto|float32|float16|bfloat16",
     .choices = "auto|float32|float16|bfloat16",
     .help = "What float32, float16 and bfloat16 tensors are written as; all others, and those of quantised "
             "weights, stay. auto, the default: every tensor keeps its dtype."},
    {.id = FlagId::dtype_for,
     .name = "--dtype-for",
     .kind = ValueKind::word,
     .value = "GLOB=DTYPE",
     .repeatable = true,
     .help = "Another dtype for the tensors whose name in SRC matches, as in '*norm*=float32'; =auto keeps "
             "theirs. Repeatable; the last that matches wins, over --dtype too."},
    {.id = FlagId::max_shard_size,
     .name = "--max-shard-size",
     .kind = ValueKind::word,
     .value = "SIZE",
     .help = "Most bytes of a weight file, as 5GB (powers of 1000, the default) or 5GiB (powers of 1024). A "
             "larger tensor has a file of its own. Not for a DST that is one file."},
    {.id = FlagId::merge, .name = "--merge", .help = "Write one weight file, however large."},
    {.id = FlagId::include,
     .name = "--include",
     .kind = ValueKind::word,
     .value = "GLOB",
     .repeatable = true,
     .help = "Take only tensors whose name in SRC matches. Repeatable."},
    {.id = FlagId::exclude,
     .name = "--exclude",
     .kind = ValueKind::word,
     .value = "GLOB",
     .repeatable = true,
     .help = "Leave out tensors whose name in SRC matches. Repeatable."},
    {.id = FlagId::rename,
     .name = "--rename",
     .kind = ValueKind::word,
     .value = "PATTERN=REPLACEMENT",
     .repeatable = true,
     .help = "Replace every match of an ECMAScript regular expression in tensors' names, as in "
             "'^model\\.=encoder.'; $1 is the first group, $& the match, \\x3d an equals sign. Repeatable, "
             "applied in order."},
    {.id = FlagId::tied,
     .name = "--tied",
     .kind = ValueKind::choice,
     .value = "drop|duplicate",
     .choices = "drop|duplicate",
     .help = "Parameters that the config ties to one another: drop, the default, writes each once, as "
             "save_pretrained does; duplicate writes it under each of its names."},
    {.id = FlagId::format,
     .name = "--format",
     .kind = ValueKind::choice,
     .value = "safetensors|pytorch",
     .choices = "safetensors|pytorch",
     .help = "Format of the weight files: safetensors, the default, or pytorch (pytorch_model.bin, as "
             "torch.save writes)."},
    {.id = FlagId::output,
     .name = "--output",
     .short_name = "-o",
     .kind = ValueKind::directory,
     .value = "DIR",
     .help =
         "Convert every SRC into a directory of its name below DIR; those that are there, of this source, "
         "are passed over. --json prints a document for each, on one line."},
    {.id = FlagId::jobs,
     .name = "--jobs",
     .kind = ValueKind::word,
     .value = "N",
     .help = "With -o, models that are converted at the same time, 1 to 64. Default: 1."},
    {.id = FlagId::dry_run,
     .name = "--dry-run",
     .help = "Print where and what would be written, how many bytes that takes, and how many are free. Write "
             "nothing. The exit status is that of the conversion, as far as reading can tell."},
    {.id = FlagId::force, .name = "--force", .help = "Replace what is at the destination."},
    {.id = FlagId::check_threads,
     .name = "--threads",
     .kind = ValueKind::word,
     .value = "N",
     .help = "Reader threads, 1 to 256. Default: one per processor, at most 16. The result is the same."},
    {.id = FlagId::verified_tensors,
     .name = "--tensors",
     .help = "List every tensor, not only suspicious ones: dtype, shape, minimum, maximum, mean, hash."},
    {.id = FlagId::write_hashes,
     .name = "--write-hashes",
     .kind = ValueKind::file,
     .value = "FILE",
     .help = "Write every tensor's dtype, shape and hash into FILE, for --against. A file of that name is "
             "replaced."},
    {.id = FlagId::against,
     .name = "--against",
     .kind = ValueKind::file,
     .value = "FILE",
     .help = "Compare with the hashes in FILE, and list the tensors that differ, are missing, or are new."},
    {.id = FlagId::no_hash,
     .name = "--no-hash",
     .help = "Do not compare files with the checksums that are at hand: the names of blobs in the hub cache, "
             "and what a download left in .cache/huggingface."},
    {.id = FlagId::compared_tensors, .name = "--tensors", .help = "List equal tensors too."},
    {.id = FlagId::tolerance,
     .name = "--tolerance",
     .kind = ValueKind::word,
     .value = "X",
     .help = "The largest absolute difference that counts as equal. Default: 0, every value must be the "
             "same."},
    {.id = FlagId::check,
     .name = "--check",
     .help = "Compute products of many shapes, dtypes and epilogues by every kernel, and compare them with a "
             "slow reference on the CPU."},
    {.id = FlagId::bench,
     .name = "--bench",
     .help = "Time products of language models in blocks that alternate: beside cuBLAS, or with --cpu beside "
             "OpenBLAS and the processor's peaks."},
    {.id = FlagId::cpu,
     .name = "--cpu",
     .help = "The products on the CPU, by oneDNN, rather than those on a GPU."},
    {.id = FlagId::product_threads,
     .name = "--threads",
     .kind = ValueKind::word,
     .value = "N",
     .help = "Threads of --cpu, 1 to 256. Default: one per processor."},
};
static_assert(std::size(kFlags) == kFlagCount);
static_assert([] {
  for (size_t i = 0; i < kFlagCount; ++i) {
    if (static_cast<size_t>(kFlags[i].id) != i) return false;
  }
  return true;
}());

}  // namespace

std::span<const Flag> flags() { return kFlags; }
const Flag& flag(FlagId id) { return kFlags[static_cast<size_t>(id)]; }

std::string flag_synopsis(const Flag& flag) {
  std::string text;
  if (!flag.short_name.empty()) text.append(flag.short_name).append(", ");
  text += flag.name;
  if (flag.kind != ValueKind::none) text.append(" ").append(flag.value);
  return text;
}

std::vector<std::string_view> split_choices(std::string_view choices) {
  std::vector<std::string_view> words;
  while (!choices.empty()) {
    const size_t bar = std::min(choices.find('|'), choices.size());
    words.push_back(choices.substr(0, bar));
    choices.remove_prefix(std::min(bar + 1, choices.size()));
  }
  return words;
}

}  // namespace hfload::cli
