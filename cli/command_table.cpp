#include "cli/command_table.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

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
    {.id = FlagId::version, .name = "--version", .help = "Print the version and exit."},
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
         "several."},
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
             "FILE.json or a JSON object such as '{\"encoder\": 0, \"decoder\": \"cpu\"}' is your own map."},
    {.id = FlagId::max_memory,
     .name = "--max-memory",
     .kind = ValueKind::word,
     .value = "LIST",
     .help = "Most bytes of weights per device: 0=20GiB,1=21GiB,cpu=60GiB. KiB, MiB, GiB are powers of 1024; "
             "KB, MB, GB powers of "
             "1000. A device that is not named gets nothing, and what fits nowhere stays on the disk. "
             "Default: the memory that is "
             "free on this machine."},
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
     .help = "A module class that must stay whole on one device. Repeatable; replaces the architecture's own "
             "list; '' keeps nothing whole."},
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
             "dtype changes, and an index.json of all. Without it, safetensors files are used in place."},
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
             "larger tensor has a file of its own."},
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
     .help = "Convert every SRC into a directory of its name below DIR; those that are there, and complete, "
             "are passed over."},
    {.id = FlagId::jobs,
     .name = "--jobs",
     .kind = ValueKind::word,
     .value = "N",
     .help = "With -o, models that are converted at the same time, 1 to 64. Default: 1."},
    {.id = FlagId::dry_run,
     .name = "--dry-run",
     .help = "Print what would be written, how many bytes that takes, and how many are free. Write nothing."},
    {.id = FlagId::force, .name = "--force", .help = "Replace what is at the destination."},
    {.id = FlagId::check_threads,
     .name = "--threads",
     .kind = ValueKind::word,
     .value = "N",
     .help = "Reader threads, 1 to 256. Default: one per processor, at most 16. The result is the same."},
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

constexpr FlagId kCommonFlags[] = {FlagId::json,  FlagId::progress, FlagId::color,
                                   FlagId::quiet, FlagId::verbose,  FlagId::help};

constexpr FlagId kInspectFlags[] = {FlagId::tensors,  FlagId::tree,    FlagId::patterns,  FlagId::filter,
                                    FlagId::metadata, FlagId::variant, FlagId::subfolder, FlagId::key};

constexpr FlagId kPlanFlags[] = {
    FlagId::device_map, FlagId::max_memory,     FlagId::context,         FlagId::batch,
    FlagId::kv_dtype,   FlagId::dtype,          FlagId::no_split,        FlagId::explain,
    FlagId::svg,        FlagId::offload_folder, FlagId::offload_buffers, FlagId::fallback_allocation,
    FlagId::compat,     FlagId::variant,        FlagId::subfolder,       FlagId::key};

constexpr FlagId kLoadFlags[] = {FlagId::device_map,
                                 FlagId::max_memory,
                                 FlagId::context,
                                 FlagId::batch,
                                 FlagId::kv_dtype,
                                 FlagId::dtype,
                                 FlagId::no_split,
                                 FlagId::explain,
                                 FlagId::svg,
                                 FlagId::verify,
                                 FlagId::emulate_gpus,
                                 FlagId::threads,
                                 FlagId::io,
                                 FlagId::map,
                                 FlagId::gds,
                                 FlagId::strict,
                                 FlagId::ignore_mismatched_sizes,
                                 FlagId::subset,
                                 FlagId::offload_folder,
                                 FlagId::offload_buffers,
                                 FlagId::fallback_allocation,
                                 FlagId::compat,
                                 FlagId::variant,
                                 FlagId::subfolder,
                                 FlagId::key};

constexpr FlagId kConvertFlags[] = {
    FlagId::output_dtype, FlagId::dtype_for, FlagId::max_shard_size, FlagId::merge,   FlagId::format,
    FlagId::include,      FlagId::exclude,   FlagId::rename,         FlagId::tied,    FlagId::output,
    FlagId::jobs,         FlagId::dry_run,   FlagId::force,          FlagId::threads, FlagId::variant,
    FlagId::subfolder,    FlagId::key};

constexpr FlagId kVerifyFlags[] = {
    FlagId::tensors, FlagId::write_hashes, FlagId::against, FlagId::check_threads,
    FlagId::variant, FlagId::subfolder,    FlagId::key};

constexpr FlagId kDiffFlags[] = {FlagId::tolerance, FlagId::tensors, FlagId::check_threads, FlagId::variant,
                                 FlagId::subfolder};

constexpr Example kProgramExamples[] = {
    {"hfload inspect ./mistral-7b", "what is in a model directory"},
    {"hfload plan ./mistral-7b --max-memory 0=10GiB,cpu=30GiB", "which module goes to which device"},
    {"hfload load ./mistral-7b --verify", "load it, and check every byte"},
    {"hfload convert ./mistral-7b ./mistral-7b-bf16 --dtype bfloat16", "write it in another dtype"},
};

constexpr Example kInspectExamples[] = {
    {"hfload inspect ./mistral-7b", "a directory with config.json and weights"},
    {"hfload inspect mistralai/Mistral-7B-v0.1", "a model in the local Hugging Face cache"},
    {"hfload inspect model.safetensors --tensors --filter '*.bias'", "the biases in one file"},
    {"hfload inspect ./mistral-7b --patterns", "the distinct tensors, layers folded"},
    {"hfload inspect ./mistral-7b --json | jq .parameters", "for scripts"},
};

constexpr Example kPlanExamples[] = {
    {"hfload plan ./t0pp --max-memory 0=20GiB,1=21GiB,cpu=60GiB", "two GPUs and the CPU"},
    {"hfload plan ./t0pp/config.json --dtype bfloat16 --explain",
     "from the configuration alone, with reasons"},
    {"hfload plan ./t0pp --device-map sequential", "fill the first GPU, then the next"},
    {"hfload plan ./t0pp --device-map tight --max-memory 0=24GiB,1=24GiB,cpu=60GiB",
     "waste no memory on room that no layer needs"},
    {"hfload plan ./mistral-7b --context 8192 --batch 4 --svg plan.svg",
     "with room for the caches, and drawn"},
    {"hfload plan ./t0pp --device-map '{\"shared\": 0, \"encoder\": 0, \"decoder\": 1, \"lm_head\": 1}'",
     "check your own map"},
};

constexpr Example kLoadExamples[] = {
    {"hfload load ./mistral-7b", "on the memory that is free here"},
    {"hfload load ./mistral-7b --device-map cpu --verify", "into the CPU's memory, then compare every byte"},
    {"hfload load ./mistral-7b --max-memory 0=6GiB,cpu=20GiB --emulate-gpus", "the whole path without a GPU"},
    {"hfload load ./mistral-7b --subset 'model.layers.0.*' --subset '*norm*'", "only some of the tensors"},
    {"hfload load ./mistral-7b --json --quiet", "for scripts"},
};

constexpr Example kScanExamples[] = {
    {"hfload scan pytorch_model.bin", "what a file would import"},
    {"hfload scan ./downloads/* && echo clean", "several models; exit status 1 when a name is denied"},
    {"hfload scan ./gpt2 --json", "for scripts"},
};

constexpr Example kConvertExamples[] = {
    {"hfload convert ./t0pp ./t0pp-bf16 --dtype bfloat16", "half the bytes"},
    {"hfload convert ./t0pp ./t0pp-mixed --dtype float16 --dtype-for '*layer_norm*=float32'",
     "with norms in float32"},
    {"hfload convert ./mistral-7b ./mistral-7b-small --max-shard-size 1GB --dry-run",
     "what would be written"},
    {"hfload convert ./mistral-7b mistral.safetensors", "all weights in one file"},
    {"hfload convert ./mistral-7b ./encoder --include 'model.*' --rename '^model\\.='",
     "a part, under other names"},
    {"hfload convert ./a ./b ./c -o ./bf16 --dtype bfloat16 --jobs 2", "many models, resumable"},
};

constexpr Example kVerifyExamples[] = {
    {"hfload verify ./mistral-7b", "is the download whole, and are the weights sane"},
    {"hfload verify ./mistral-7b --write-hashes mistral.json", "remember what it holds"},
    {"hfload verify ./mistral-7b --against mistral.json", "is it still the same"},
    {"hfload verify model.safetensors --tensors", "range, mean and hash of every tensor"},
};

constexpr Example kDiffExamples[] = {
    {"hfload diff ./mistral-7b ./mistral-7b-resharded", "are all tensors the same"},
    {"hfload diff ./mistral-7b ./mistral-7b-bf16 --tolerance 0.01", "how much did a cast change"},
    {"hfload diff a.safetensors pytorch_model.bin --json", "for scripts"},
};

constexpr FlagId kGemmFlags[] = {FlagId::check, FlagId::bench, FlagId::cpu, FlagId::product_threads};

constexpr Example kGemmExamples[] = {
    {"hfload gemm --check", "are the products right on this GPU"},
    {"hfload gemm --bench --json", "how fast they are beside cuBLAS, for a script"},
    {"hfload gemm --check --cpu", "are the products right on this CPU"},
};

constexpr Example kCompletionExamples[] = {
    {"hfload completion bash > ~/.local/share/bash-completion/completions/hfload", "bash"},
    {"hfload completion zsh > ~/.zfunc/_hfload", "zsh, with ~/.zfunc in fpath"},
    {"hfload completion fish > ~/.config/fish/completions/hfload.fish", "fish"},
};

constexpr Command kCommands[] = {
    {.id = CommandId::inspect,
     .name = "inspect",
     .argument = "MODEL",
     .summary = "Show what is in a model",
     .description = "Shows the model type, parameters, bytes per dtype, shards and tied weights. Reads "
                    "headers only. Weights that "
                    "are absent are shown as not present.",
     .examples = kInspectExamples,
     .flags = kInspectFlags},
    {.id = CommandId::plan,
     .name = "plan",
     .argument = "MODEL",
     .summary = "Print the hf_device_map: which module goes to which device",
     .description = "Prints the hf_device_map that transformers and accelerate would give, as a Python "
                    "dictionary. Needs config.json "
                    "or the headers of the weights; reads no weights and allocates nothing.",
     .examples = kPlanExamples,
     .flags = kPlanFlags},
    {.id = CommandId::load,
     .name = "load",
     .argument = "MODEL",
     .summary = "Load every tensor onto its device and print the hf_device_map",
     .description =
         "Plans, reads every tensor to the device that the plan gives it, and prints the "
         "hf_device_map. Tensors that are "
         "missing or have another shape than the model's are listed, and the exit status is 1; those "
         "that the model does not use are a warning.",
     .examples = kLoadExamples,
     .flags = kLoadFlags},
    {.id = CommandId::scan,
     .name = "scan",
     .argument = "MODEL...",
     .several_arguments = true,
     .summary = "List the names that pickles would import, and whether weights need them",
     .description = "Lists every global name in the pickles of PyTorch checkpoints and other pickle files, "
                    "one a line, with "
                    "a verdict: allowed, unsupported (harmless, and not read) or denied. Executes nothing. "
                    "The exit status "
                    "is 1 when a name is denied, else 3 when a pickle or archive is malformed.",
     .examples = kScanExamples,
     .flags = {}},
    {.id = CommandId::convert,
     .name = "convert",
     .argument = "SRC DST",
     .several_arguments = true,
     .summary = "Write a model's weights anew: dtype, shards, names, format",
     .description = "Writes the weights of SRC to DST, a directory or, where it ends in .safetensors, one "
                    "file, with little memory whatever their size. Tokenizer and other files are copied. DST "
                    "then holds the whole output or, whatever happens, what it held before. With -o all "
                    "arguments are sources.",
     .examples = kConvertExamples,
     .flags = kConvertFlags},
    {.id = CommandId::verify,
     .name = "verify",
     .argument = "MODEL",
     .summary = "Check a model: its files against one another, and every weight",
     .description = "Lists all that is wrong with the index, the shards and their headers, holds the names "
                    "and shapes against the model's class, then reads every weight once: NaN and infinity "
                    "are faults, denormal and zero values are counted. The exit status is 1 when anything "
                    "is wrong.",
     .examples = kVerifyExamples,
     .flags = kVerifyFlags},
    {.id = CommandId::diff,
     .name = "diff",
     .argument = "A B",
     .several_arguments = true,
     .summary = "Compare the tensors of two models",
     .description = "Lists tensors that only one of two models has, changes of dtype and shape, and how far "
                    "the values of the others are apart. The models may be of different formats and shards. "
                    "The exit status is 1 when they differ beyond the tolerance; a change of dtype alone is "
                    "no difference. --variant and --subfolder are of both models; to compare two variants, "
                    "give their files.",
     .examples = kDiffExamples,
     .flags = kDiffFlags},
    {.id = CommandId::gemm,
     .name = "gemm",
     .argument = "",
     .argument_kind = ValueKind::none,
     .summary = "Check and time the matrix products that run a model",
     .description = "Checks the kernels for matrix products against a reference, or times them beside "
                    "cuBLAS, which is looked for at run time. Needs an NVIDIA GPU, or with --cpu oneDNN 2, "
                    "which is looked for at run time too. The exit status is 1 where a product is wrong.",
     .examples = kGemmExamples,
     .flags = kGemmFlags},
    {.id = CommandId::completion,
     .name = "completion",
     .argument = "SHELL",
     .argument_kind = ValueKind::choice,
     .argument_choices = "bash|zsh|fish",
     .summary = "Print a completion script for bash, zsh or fish",
     .description = "Prints a completion script.",
     .examples = kCompletionExamples,
     .flags = {}},
};

constexpr std::string_view kModelForms[] = {
    "a directory with config.json, weights, or both",
    "a .safetensors file, or a PyTorch checkpoint (.bin, .pt, .pth)",
    "a shard index (*.index.json)",
    "a config.json alone: shapes and dtypes without weights",
    "org/name[@revision] in the local Hugging Face cache; an existing path wins",
};

constexpr ExitStatus kExitStatuses[] = {
    {"0", "done"},
    {"1", "the check found a problem: does not fit, missing or mismatched tensors, bytes differ"},
    {"2", "the command line cannot be understood"},
    {"3", "an input is malformed or unsafe"},
    {"4", "an input is well-formed but not supported"},
    {"5", "reading, writing or a device call failed"},
    {"6", "the network failed"},
    {"7", "the Hub denied access"},
    {"8", "a file or model was not found"},
    {"9", "a device or the host has not enough memory"},
    {"130", "interrupted (SIGINT)"},
    {"143", "terminated (SIGTERM)"},
};

constexpr Variable kVariables[] = {
    {"HF_HUB_CACHE", "directory of the local Hugging Face cache (older name: HUGGINGFACE_HUB_CACHE)"},
    {"HF_HOME",
     "its parent, where HF_HUB_CACHE is not set; default: $XDG_CACHE_HOME/huggingface or "
     "~/.cache/huggingface"},
    {"NO_COLOR", "when set, messages are not colored"},
    {"CI", "when set, progress is not animated"},
    {"TERM", "dumb: neither colors nor animation"},
    {"LC_ALL, LC_CTYPE, LANG", "the first that is set: whether bars are drawn in UTF-8 or in ASCII"},
};

}  // namespace

std::span<const Command> commands() { return kCommands; }
const Command& command(CommandId id) { return kCommands[static_cast<size_t>(id)]; }
std::span<const Flag> flags() { return kFlags; }
const Flag& flag(FlagId id) { return kFlags[static_cast<size_t>(id)]; }
std::span<const FlagId> common_flags() { return kCommonFlags; }
std::span<const std::string_view> model_forms() { return kModelForms; }
std::span<const ExitStatus> exit_statuses() { return kExitStatuses; }
std::span<const Variable> environment_variables() { return kVariables; }
std::span<const Example> program_examples() { return kProgramExamples; }
std::string_view program_version() { return HFLOAD_VERSION; }

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
