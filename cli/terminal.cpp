#include "cli/terminal.h"

#include <fmt/core.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "cli/text.h"
#include "core/base/join.h"

namespace hfload::cli {
namespace {

/// Progress bypasses the logger, as a bar is no line. A closed standard error is nobody's loss.
void write_standard_error(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

/// A power of 1000 in which a progress line gives bytes.
struct ProgressUnit {
  double bytes;
  const char* name;
  int decimals;
};

/// The largest unit of which there is one at least.
ProgressUnit unit_for(double bytes) {
  constexpr ProgressUnit kUnits[] = {{1e9, "GB", 2}, {1e6, "MB", 2}, {1e3, "KB", 2}};
  for (const ProgressUnit& unit : kUnits) {
    if (bytes >= unit.bytes) return unit;
  }
  return {1, "B", 0};
}

/// A hostile name may be as long as its file.
std::string shortened(const std::string& name) {
  constexpr size_t kLongest = 200;
  return name.size() <= kLongest ? name : name.substr(0, kLongest) + "...";
}

/// Whether a text names `name` by itself, and not as a part of another word.
bool mentions(std::string_view text, std::string_view name) {
  const auto is_part_of_name = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.';
  };
  for (size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const size_t end = at + name.size();
    if ((at == 0 || !is_part_of_name(text[at - 1])) && (end == text.size() || !is_part_of_name(text[end])))
      return true;
  }
  return false;
}

}  // namespace

size_t terminal_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

bool is_interactive() { return isatty(STDOUT_FILENO) != 0 && isatty(STDERR_FILENO) != 0; }

void write_standard_output(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EPIPE) {
      throw ClosedPipe{};
    } else if (errno != EINTR) {
      throw Error(ErrorCode::io_error, fmt::format("cannot write the output: {}", std::strerror(errno)))
          .with_path("standard output");
    }
  }
}

Messages::Messages(const CommonOptions& options, const Environment& environment)
    : quiet_(options.quiet),
      verbose_(options.verbose),
      colored_(options.color == When::always ||
               (options.color == When::automatic && isatty(STDERR_FILENO) != 0 && !environment.no_color &&
                !environment.dumb_terminal)),
      logger_(std::make_shared<spdlog::logger>("hfload", std::make_shared<spdlog::sinks::stderr_sink_mt>())) {
  logger_->set_pattern("%v");
  logger_->set_level(spdlog::level::trace);
  logger_->set_error_handler([](const std::string&) {});
}

void Messages::line(Style style, std::string_view text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kStyles{
      {{"error", "\x1b[1;31m"}, {"warning", "\x1b[1;33m"}, {"hint", "\x1b[1;36m"}, {"note", "\x1b[1m"}}};
  const auto& [label, color] = kStyles[static_cast<size_t>(style)];
  const std::string safe = escape_text(text);
  const auto level = style == Style::error ? spdlog::level::err : spdlog::level::warn;
  if (colored_) {
    logger_->log(level, fmt::format("{}{}:\x1b[0m {}", color, label, safe));
  } else {
    logger_->log(level, fmt::format("{}: {}", label, safe));
  }
}

void Messages::error(const Error& error) {
  std::string message = error.message();
  while (message.ends_with('.')) message.pop_back();
  std::vector<std::string> where;
  if (!error.tensor().empty() && !mentions(message, error.tensor())) {
    where.push_back(fmt::format("tensor {}", shortened(error.tensor())));
  }
  if (error.offset()) where.push_back(fmt::format("byte {}", *error.offset()));
  if (!where.empty()) message.append(fmt::format(" ({})", join(where, ", ")));
  line(Style::error, fmt::format("{}{}{} [{}]", error.path(), error.path().empty() ? "" : ": ", message,
                                 error_code_info(error.code()).name));
  if (!error.hint().empty()) line(Style::hint, error.hint());
}

void Messages::warning(std::string_view text, std::string_view hint) {
  if (quiet_) return;
  line(Style::warning, text);
  if (!hint.empty()) line(Style::hint, hint);
}

void Messages::note(std::string_view text) {
  if (!quiet_) line(Style::note, text);
}

void Messages::detail(std::string_view text) {
  if (verbose_ && !quiet_) line(Style::note, text);
}

void Messages::block(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  logger_->log(spdlog::level::info, escape_lines(text));
}

void Messages::drawing(std::string_view text) {
  if (!quiet_) write_standard_error(text);
}

ProgressBar::ProgressBar(const CommonOptions& options, const Environment& environment, std::string action)
    : mode_(Mode::off), action_(std::move(action)) {
  if (options.quiet || options.progress == When::never) return;
  const bool can_animate = isatty(STDERR_FILENO) != 0 && !environment.ci && !environment.dumb_terminal;
  if (can_animate) {
    mode_ = Mode::animated;
  } else if (options.progress == When::always) {
    mode_ = Mode::lines;
    next_draw_seconds_ = 0;
  }
}

void ProgressBar::update(const LoadProgress& progress) {
  const bool done = progress.done_bytes >= progress.total_bytes;
  if (mode_ == Mode::off || (progress.seconds < next_draw_seconds_ && !(done && mode_ == Mode::lines)))
    return;
  if (mode_ == Mode::animated) {
    write_standard_error("\r" + format_progress(action_, progress, terminal_width() - 1) + "\x1b[K");
    next_draw_seconds_ = progress.seconds + 0.1;
  } else {
    write_standard_error(format_progress(action_, progress, 0) + "\n");
    next_draw_seconds_ = progress.seconds + 1;
  }
  drawn_ = true;
}

void ProgressBar::clear() {
  if (mode_ == Mode::animated && drawn_) write_standard_error("\r\x1b[K");
  drawn_ = false;
}

std::string format_progress(std::string_view action, const LoadProgress& progress, size_t width) {
  const double done = static_cast<double>(progress.done_bytes);
  const double total = static_cast<double>(progress.total_bytes);
  const double share = progress.total_bytes == 0 ? 1 : std::min(1.0, done / total);
  const double rate = progress.seconds > 0 ? done / progress.seconds : 0;
  const ProgressUnit unit = unit_for(total), speed = unit_for(rate);
  std::string figures = fmt::format("{:3.0f} %  {:.{}f}/{:.{}f} {}  {:.{}f} {}/s", std::floor(share * 100),
                                    done / unit.bytes, unit.decimals, total / unit.bytes, unit.decimals,
                                    unit.name, rate / speed.bytes, speed.decimals, speed.name);
  if (rate > 0 && share < 1) figures += fmt::format("  eta {:.0f} s", std::ceil((total - done) / rate));
  const std::string line = fmt::format("{}  {}", action, figures);
  const size_t needed = line.size() + 4;  // brackets and two spaces
  constexpr size_t kNarrowestBar = 10, kWidestBar = 40;
  if (width == 0) return line;
  if (needed + kNarrowestBar > width) return line.substr(0, width);
  const size_t cells = std::min(kWidestBar, width - needed);
  const size_t filled = static_cast<size_t>(share * static_cast<double>(cells));
  std::string bar(cells, ' ');
  std::fill_n(bar.begin(), filled, '=');
  if (filled < cells) bar[filled] = '>';
  return fmt::format("{}  [{}]  {}", action, bar, figures);
}

}  // namespace hfload::cli
