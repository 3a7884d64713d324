#include <fmt/core.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "cli/commands.h"
#include "cli/planning.h"
#include "cli/render_convert.h"
#include "cli/signals.h"
#include "cli/text.h"
#include "core/base/workers.h"
#include "core/save/commit.h"
#include "core/save/convert.h"

namespace hfload::cli {
namespace {

/// The shell, which says what the state dict's order is and what is tied; nothing where it cannot be built,
/// which is no reason not to convert.
std::unique_ptr<const ModuleTree> shell_of(const Checkpoint& checkpoint, std::vector<std::string>& warnings) {
  if (!checkpoint.has_config) return nullptr;
  try {
    std::optional<Shell> shell = build_known_shell(checkpoint, {});
    return shell ? std::make_unique<const ModuleTree>(std::move(shell->tree)) : nullptr;
  } catch (const Error& error) {
    warnings.push_back(fmt::format(
        "the model's shell cannot be built ({}): tensors stay in the order of their files, and none is tied",
        error.message()));
    return nullptr;
  }
}

class Converter {
 public:
  Converter(const ConvertCommand& command, const Context& context) : command_(command), context_(context) {}

  /// Fills in all but `error`.
  void convert(const ModelOptions& model, ConvertReport& report, unsigned threads, bool show_progress) const {
    const ModelLocation location = locate(model, context_.environment);
    const bool is_named_file = command_.output_directory.empty();
    const std::string destination = is_named_file ? report.destination : report.destination + "/";
    require_apart(location, destination, command_.options.format);
    const Checkpoint checkpoint = open_checkpoint(location);
    report.warnings = checkpoint.warnings;
    std::unique_ptr<const ModuleTree> shell = shell_of(checkpoint, report.warnings);
    const std::unique_ptr<TensorSource> source = open_tensor_source(checkpoint);
    const ConvertPlan plan =
        plan_conversion(checkpoint, *source, std::move(shell), destination, command_.options);
    report.set_plan(plan);
    report.warnings.insert(report.warnings.end(), plan.warnings.begin(), plan.warnings.end());
    report.free_bytes = free_bytes_at(plan.destination);
    ConvertRun run{command_.force, threads, nullptr, [] { return received_signal() != 0; }};
    ProgressBar bar(context_.common, context_.environment, "converting");
    if (show_progress) {
      run.progress = [&](const ConvertProgress& done) {
        bar.update({done.done_bytes, done.total_bytes, done.seconds});
      };
    }
    if (command_.dry_run) {
      look_at_destination(plan, *source, run, report);
      return;
    }
    const ConvertOutcome outcome = execute(plan, *source, run);
    bar.clear();
    report.status = outcome.skipped ? ConvertStatus::skipped : ConvertStatus::converted;
    report.outdated = outcome.outdated;
    report.seconds = outcome.seconds;
  }

 private:
  /// Finds, and throws, what the conversion would.
  void look_at_destination(const ConvertPlan& plan, const TensorSource& source, const ConvertRun& run,
                           ConvertReport& report) const {
    std::error_code fault;
    // The directory of -o is none that a dry run makes, and a conversion makes it first.
    const bool is_made_first =
        !command_.output_directory.empty() && !std::filesystem::exists(command_.output_directory, fault);
    if (!is_made_first) require_place(plan.destination, !plan.single_file);
    const DestinationState state = check_destination(plan, source, run);
    report.status = state.is_complete ? ConvertStatus::skipped : ConvertStatus::planned;
    report.replaces = state.replaces;
    report.outdated = state.is_outdated;
  }

  const ConvertCommand& command_;
  const Context& context_;
};

/// "mistral-7b" of "./mistral-7b/", "org/mistral-7b@main", "mistral-7b.safetensors" and "mistral-7b.pt".
std::string output_name(const std::string& model) {
  std::error_code fault;
  std::filesystem::path path = std::filesystem::absolute(model, fault).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::string name = path.filename().string();
  if (name.ends_with(".json") && path.has_parent_path()) name = path.parent_path().filename().string();
  for (const std::string_view extension : {".safetensors", ".bin", ".pt", ".pth"}) {
    if (!name.ends_with(extension)) continue;
    name.resize(name.size() - extension.size());
    break;
  }
  if (!std::filesystem::exists(model, fault)) name = name.substr(0, name.find('@'));
  return name;
}

std::vector<ConvertReport> name_outputs(const ConvertCommand& command) {
  std::vector<ConvertReport> reports;
  if (command.output_directory.empty()) {
    reports.push_back({.source = command.sources[0].model, .destination = command.destination});
    return reports;
  }
  std::set<std::string> names;
  for (const ModelOptions& model : command.sources) {
    const std::string name = output_name(model.model);
    if (!names.insert(name).second) {
      throw Error(ErrorCode::name_collision,
                  fmt::format("two models would be converted to '{}/{}'", command.output_directory, name))
          .with_hint("Convert them by two commands, into different directories.");
    }
    reports.push_back(
        {.source = model.model, .destination = fmt::format("{}/{}", command.output_directory, name)});
  }
  return reports;
}

void make_directory(const std::string& path) {
  std::error_code fault;
  std::filesystem::create_directory(path, fault);
  if (!fault) return;
  throw Error(ErrorCode::io_error, fmt::format("creating the directory failed: {}", fault.message()))
      .with_path(path);
}

/// Prints what became of one of several models, as soon as it is known.
void print_one_of_many(const ConvertReport& report, bool dry_run, const Context& context) {
  for (const std::string& warning : report.warnings)
    context.messages.warning(fmt::format("{}: {}", report.source, warning));
  if (report.error) context.messages.error(*report.error);
  write_standard_output(context.common.json ? render_conversion_json(report, dry_run, JsonLayout::one_line)
                                            : render_conversion_line(report));
}

void convert_many(const ConvertCommand& command, const Context& context,
                  std::vector<ConvertReport>& reports) {
  require_place(command.output_directory, true);
  if (!command.dry_run) make_directory(command.output_directory);
  const unsigned processors = std::clamp(std::thread::hardware_concurrency(), 1U, 16U);
  const unsigned jobs = std::min(command.jobs, static_cast<unsigned>(reports.size()));
  const unsigned threads = command.threads != 0 ? command.threads : std::max(1U, processors / jobs);
  const Converter converter(command, context);
  std::mutex printing;
  std::atomic<size_t> next{0};
  run_workers(jobs, [&](unsigned) {
    for (size_t i = next++; i < reports.size(); i = next++) {
      try {
        converter.convert(command.sources[i], reports[i], threads, jobs == 1);
      } catch (const Error& error) {
        reports[i].status = ConvertStatus::failed;
        reports[i].error = error;
      }
      stop_if_interrupted();
      const std::lock_guard lock(printing);
      print_one_of_many(reports[i], command.dry_run, context);
    }
  });
}

}  // namespace

void run_convert(const ConvertCommand& command, const Context& context) {
  std::vector<ConvertReport> reports = name_outputs(command);
  const bool many = !command.output_directory.empty();
  {
    const SignalWatch watch;
    if (many) {
      convert_many(command, context, reports);
    } else {
      Converter(command, context).convert(command.sources[0], reports[0], command.threads, true);
      stop_if_interrupted();
      for (const std::string& warning : reports[0].warnings) context.messages.warning(warning);
    }
  }
  if (many) {
    if (!context.common.json) context.messages.note(render_summary(reports));
  } else if (context.common.json) {
    write_standard_output(render_conversion_json(reports[0], command.dry_run, JsonLayout::indented));
  } else {
    write_standard_output(command.dry_run ? render_conversion_plan(reports[0])
                                          : render_conversion_line(reports[0]));
    if (!command.dry_run) context.messages.note(render_rate(reports[0]));
  }
  for (const ConvertReport& report : reports) {
    if (report.status == ConvertStatus::failed) throw CheckFailed{};
  }
}

}  // namespace hfload::cli
