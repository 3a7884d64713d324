#include "cli/command_table.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace hfload::cli {
namespace {

// --json is the first, as common_flags(command) leaves it out.
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
                                 FlagId::load_dry_run,
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
    FlagId::verified_tensors, FlagId::write_hashes, FlagId::against,   FlagId::no_hash,
    FlagId::check_threads,    FlagId::variant,      FlagId::subfolder, FlagId::key};

constexpr FlagId kDiffFlags[] = {FlagId::tolerance, FlagId::compared_tensors, FlagId::check_threads,
                                 FlagId::variant, FlagId::subfolder};

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
    {"hfload load ./mistral-7b --dry-run", "what would be allocated and read"},
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
    {"hfload verify org/name --no-hash", "without the checksums that the Hub cache has of its files"},
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

constexpr Example kHelpExamples[] = {
    {"hfload help", "what commands there are"},
    {"hfload help plan", "the same as hfload plan --help"},
};

constexpr Example kVersionExamples[] = {
    {"hfload version", "the same as hfload --version"},
};

constexpr std::string_view kInRepository =
    "org/name[@revision] in the local Hugging Face cache; an existing path wins";
constexpr std::string_view kWeightFile = "a .safetensors file, or a PyTorch checkpoint (.bin, .pt, .pth)";
constexpr std::string_view kShardIndex = "a shard index (*.index.json)";

constexpr std::string_view kModelForms[] = {
    "a directory with config.json, weights, or both",
    kWeightFile,
    kShardIndex,
    "a config.json alone, for inspect and plan: shapes and dtypes without weights",
    kInRepository,
};

constexpr std::string_view kWeightForms[] = {
    "a directory with weights, and config.json where there is one",
    kWeightFile,
    kShardIndex,
    kInRepository,
};

constexpr std::string_view kPickleForms[] = {
    "a file: scanned where it is a pickle, an archive or a compressed file by its name or its content",
    "a directory: all such files in it and below it",
    kInRepository,
};

constexpr Command kCommands[] = {
    {.id = CommandId::inspect,
     .name = "inspect",
     .argument = "MODEL",
     .forms = kModelForms,
     .summary = "Show what is in a model",
     .description = "Shows the model type, parameters, bytes per dtype, shards and tied weights. Reads "
                    "headers only. Weights that "
                    "are absent are shown as not present.",
     .examples = kInspectExamples,
     .flags = kInspectFlags},
    {.id = CommandId::plan,
     .name = "plan",
     .argument = "MODEL",
     .forms = kModelForms,
     .summary = "Print the hf_device_map: which module goes to which device",
     .description = "Prints the hf_device_map that transformers and accelerate would give, as a Python "
                    "dictionary. Needs config.json "
                    "or the headers of the weights; reads no weights and allocates nothing.",
     .examples = kPlanExamples,
     .flags = kPlanFlags},
    {.id = CommandId::load,
     .name = "load",
     .argument = "MODEL",
     .forms = kWeightForms,
     .summary = "Load every tensor onto its device and print the hf_device_map",
     .description =
         "Checks that a model fits, is whole, and how fast it loads: plans, reads every tensor to the "
         "device that the plan gives it, prints the hf_device_map, then frees everything and ends. Tensors "
         "that are missing or have another shape than the model's are listed, and the exit status is 1; "
         "those "
         "that the model does not use are a warning.",
     .examples = kLoadExamples,
     .flags = kLoadFlags},
    {.id = CommandId::scan,
     .name = "scan",
     .argument = "MODEL...",
     .several_arguments = true,
     .subject = "Each MODEL is",
     .forms = kPickleForms,
     .summary = "List the names that pickles would import, and whether weights need them",
     .description =
         "Lists every global name in the pickles of PyTorch checkpoints and other pickle files, "
         "one a line, with "
         "a verdict: allowed, unsupported (harmless, and not read) or denied, with the calls of denied "
         "ones. Looks into zip and tar archives, numpy's and joblib's files, and compressed streams. "
         "Executes nothing. "
         "What cannot be read is reported, and the rest is scanned. The exit status is the "
         "smallest that applies: 1 when a name is denied, 3 when a pickle or an archive is "
         "malformed, 4 when something was not looked into, 5 or 8 when something cannot be read or "
         "is not there.",
     .examples = kScanExamples,
     .flags = {}},
    {.id = CommandId::convert,
     .name = "convert",
     .argument = "SRC DST",
     .other_usage = "SRC... -o DIR",
     .several_arguments = true,
     .subject = "SRC is",
     .forms = kWeightForms,
     .summary = "Write a model's weights anew: dtype, shards, names, format",
     .description =
         "Writes the weights of SRC to DST, a directory or, where it ends in .safetensors (with "
         "--format pytorch in .bin, .pt or .pth), one file, with little memory whatever their size. "
         "Tokenizer and other files are copied. DST then holds the whole output or, whatever "
         "happens, what it held before. With -o all arguments are sources.",
     .examples = kConvertExamples,
     .flags = kConvertFlags},
    {.id = CommandId::verify,
     .name = "verify",
     .argument = "MODEL",
     .forms = kWeightForms,
     .summary = "Check a model: its files against one another, and every weight",
     .description =
         "Lists all that is wrong with the index, the shards and their headers, holds the names "
         "and shapes against the model's class and files against the checksums that a download "
         "left beside them, then reads every weight once: NaN and infinity, weights whose bytes "
         "were lost and tied weights that differ are faults; denormal and zero values are counted. "
         "The exit status is 1 when anything is wrong, and 4 when the weights are in a format that "
         "is not read.",
     .examples = kVerifyExamples,
     .flags = kVerifyFlags},
    {.id = CommandId::diff,
     .name = "diff",
     .argument = "A B",
     .several_arguments = true,
     .subject = "A and B are each",
     .forms = kWeightForms,
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
     .json = false,
     .summary = "Print a completion script for bash, zsh or fish",
     .description = "Prints a completion script. Takes no --json.",
     .examples = kCompletionExamples,
     .flags = {}},
    {.id = CommandId::help,
     .name = "help",
     .argument = "[COMMAND]",
     .argument_kind = ValueKind::choice,
     .argument_choices = "inspect|plan|load|scan|convert|verify|diff|gemm|completion|help|version",
     .json = false,
     .summary = "Print help, of the program or of a command",
     .description = "Prints what --help prints. Takes no --json.",
     .examples = kHelpExamples,
     .flags = {}},
    {.id = CommandId::version,
     .name = "version",
     .argument = "",
     .argument_kind = ValueKind::none,
     .json = false,
     .summary = "Print the version",
     .description = "Prints what --version prints. Takes no --json.",
     .examples = kVersionExamples,
     .flags = {}},
};

constexpr ExitStatus kExitStatuses[] = {
    {"0", "done"},
    {"1", "the check found a problem: does not fit, missing or mismatched tensors, bytes differ"},
    {"2", "the command line cannot be understood"},
    {"3", "an input is malformed or unsafe"},
    {"4", "an input is well-formed but not supported"},
    {"5", "reading, writing or a device call failed"},
    {"6", "reserved for a failing network: no command uses the network yet"},
    {"7", "reserved for the Hub denying access: no command uses the network yet"},
    {"8", "a file or model was not found"},
    {"9", "a device or the host has not enough memory"},
    {"129", "hung up (SIGHUP)"},
    {"130", "interrupted (SIGINT)"},
    {"143", "terminated (SIGTERM)"},
};

constexpr Variable kVariables[] = {
    {"HF_HUB_CACHE", "directory of the local Hugging Face cache (older name: HUGGINGFACE_HUB_CACHE)"},
    {"HF_HOME",
     "its parent, where HF_HUB_CACHE is not set; default: $XDG_CACHE_HOME/huggingface or "
     "~/.cache/huggingface"},
    {"NO_COLOR", "when set, messages are not colored"},
    {"TMPDIR",
     "directory for temporary files, to which deflated PyTorch archives are unpacked (default: /tmp)"},
    {"CI", "when set, progress is not animated"},
    {"TERM", "dumb: neither colors nor animation"},
    {"LC_ALL, LC_CTYPE, LANG", "the first that is set: whether bars are drawn in UTF-8 or in ASCII"},
};

}  // namespace

std::span<const Command> commands() { return kCommands; }
const Command& command(CommandId id) { return kCommands[static_cast<size_t>(id)]; }
std::optional<CommandId> find_command(std::string_view name) {
  const auto found = std::ranges::find(kCommands, name, &Command::name);
  return found == std::end(kCommands) ? std::nullopt : std::optional(found->id);
}
std::string_view argument_name(const Command& command) {
  const std::string_view argument = command.argument;
  return argument.starts_with('[') ? argument.substr(1, argument.size() - 2) : argument;
}
std::span<const FlagId> common_flags() { return kCommonFlags; }
std::span<const FlagId> common_flags(const Command& command) {
  return command.json ? common_flags() : common_flags().subspan(1);
}
std::span<const ExitStatus> exit_statuses() { return kExitStatuses; }
std::span<const Variable> environment_variables() { return kVariables; }
std::span<const Example> program_examples() { return kProgramExamples; }
std::string_view program_version() { return HFLOAD_VERSION; }

}  // namespace hfload::cli
