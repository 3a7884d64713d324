#pragma once

#include <spdlog/logger.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cli/environment.h"
#include "core/base/error.h"
#include "core/load/loader.h"

namespace hfload::cli {

/// auto, always or never, for `--color` and `--progress`.
enum class When : uint8_t { automatic, always, never };

/// The flags that every command takes.
struct CommonOptions {
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  When color = When::automatic;
  When progress = When::automatic;
};

/// Thrown when the reader of standard output has gone: the end of the output, and no failure.
struct ClosedPipe {};

/// Thrown after the product was printed, which says that something is not as it should be: exit status 1.
struct FoundProblem {};

/// Writes a product to standard output, all of it. Throws ClosedPipe, Error(io_error).
void write_standard_output(std::string_view text);

/// Columns of the terminal on standard error; 80 when it does not say.
size_t terminal_width();

/// Whether a person looks at both: standard output and standard error are terminals.
bool is_interactive();

/// What hfload says besides its product, on standard error. Everything is escaped here, so that a hostile
/// name does not reach a terminal. Nothing throws.
class Messages {
 public:
  Messages(const CommonOptions& options, const Environment& environment);

  /// What went wrong, where, its code, and the hint.
  void error(const Error& error);
  /// Dropped by --quiet, with its hint: what to do about it.
  void warning(std::string_view text, std::string_view hint = {});
  /// A fact worth a line; dropped by --quiet.
  void note(std::string_view text);
  /// Only with --verbose.
  void detail(std::string_view text);
  /// A block that was asked for (--explain), or the list that belongs to an error; printed always, line by
  /// line as it is.
  void block(std::string_view text);
  /// A block that comes with what was asked for; dropped by --quiet.
  void table(std::string_view text) {
    if (!quiet_) block(text);
  }
  /// A drawing of hfload's own making, as it is: it may hold escape sequences, and must hold no name from a
  /// file. Dropped by --quiet.
  void drawing(std::string_view text);
  bool colored() const { return colored_; }

 private:
  enum class Style : uint8_t { error, warning, hint, note };
  void line(Style style, std::string_view text);

  bool quiet_;
  bool verbose_;
  bool colored_;
  std::shared_ptr<spdlog::logger> logger_;
};

/// Progress of a load on standard error: a bar with GB/s on a terminal, plain lines where one was asked for
/// and there is no terminal to draw on. Draws at most ten times a second, and nothing for a load that is done
/// before the first draw.
class ProgressBar {
 public:
  ProgressBar(const CommonOptions& options, const Environment& environment, std::string action);
  /// Takes the bar off the screen.
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(const LoadProgress& progress);
  void clear();

 private:
  enum class Mode : uint8_t { off, animated, lines };
  Mode mode_;
  std::string action_;  ///< "loading", "verifying"
  double next_draw_seconds_ = 0.1;
  bool drawn_ = false;
};

/// The line that a bar shows, at most `width` columns: "loading  [=====>     ]  42 %  1.21/2.88 GB  3.10 GB/s
/// eta 1 s".
std::string format_progress(std::string_view action, const LoadProgress& progress, size_t width);

}  // namespace hfload::cli
