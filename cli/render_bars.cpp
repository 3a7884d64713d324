#include "cli/render_bars.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/base/units.h"

namespace hfload::cli {
namespace {

constexpr size_t kFewestColumns = 24, kMostCells = 100;

struct Ink {
  std::string_view name, utf8, ascii, color;
};
/// In the order in which they stand in a bar.
constexpr std::array<Ink, 4> kInks{{{"weights", "█", "#", "\x1b[34m"},
                                    {"caches", "▓", "=", "\x1b[33m"},
                                    {"held back", "░", "-", "\x1b[36m"},
                                    {"free", "·", ".", "\x1b[2m"}}};
using Bytes = std::array<double, kInks.size()>;
using Cells = std::array<size_t, kInks.size()>;

/// Whole cells for each share: rounded at the borders, so that they add up, and at least one for a share that
/// is there at all, taken from the largest.
Cells cells_of(const Bytes& bytes, size_t cells) {
  const double whole = std::accumulate(bytes.begin(), bytes.end(), 0.0);
  Cells counts{};
  double sum = 0;
  size_t done = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    sum += bytes[i];
    const auto border = static_cast<size_t>(std::lround(sum / whole * static_cast<double>(cells)));
    counts[i] = border - std::min(done, border);
    done = std::max(done, border);
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] <= 0 || counts[i] > 0) continue;
    ++counts[i];
    --*std::max_element(counts.begin(), counts.end());
  }
  return counts;
}

std::string paint(const Ink& ink, size_t cells, const BarStyle& style) {
  std::string text;
  for (size_t i = 0; i < cells; ++i) text += style.utf8 ? ink.utf8 : ink.ascii;
  return style.colored && cells > 0 ? fmt::format("{}{}\x1b[0m", ink.color, text) : text;
}

std::string paint_bar(const DeviceShares& shares, size_t cells, const BarStyle& style) {
  const Bytes bytes{shares.weights, shares.caches, shares.held_back, shares.free};
  // What no budget limits fills half a bar that is left open: it says nothing about how full the device is.
  const Cells counts = cells_of(bytes, shares.limited ? cells : cells / 2);
  std::string bar;
  for (size_t i = 0; i < kInks.size(); ++i) bar += paint(kInks[i], counts[i], style);
  if (shares.limited) return bar;
  return bar + (style.utf8 ? "… " : ". ") + std::string(cells - cells / 2 - 2, ' ');
}

/// A text that is painted and the columns that it takes.
struct Item {
  std::string text;
  size_t columns;
};

/// Items beside each other, two columns apart, on as many lines as they need.
std::string flow(const std::vector<Item>& items, size_t indent, size_t columns) {
  std::string text;
  size_t used = columns;
  for (const Item& item : items) {
    const bool fits = used + 2 + item.columns <= columns;
    if (!fits) text += (text.empty() ? "" : "\n") + std::string(indent, ' ');
    text += (fits ? "  " : "") + item.text;
    used = (fits ? used + 2 : indent) + item.columns;
  }
  return text + '\n';
}

std::string render_legend(const std::vector<DeviceShares>& devices, size_t indent, const BarStyle& style) {
  Bytes sums{};
  for (const DeviceShares& d : devices) {
    const Bytes bytes{d.weights, d.caches, d.held_back, d.free};
    std::transform(bytes.begin(), bytes.end(), sums.begin(), sums.begin(), std::plus<>());
  }
  std::vector<Item> items;
  for (size_t i = 0; i < kInks.size(); ++i) {
    if (sums[i] > 0)
      items.push_back(
          {fmt::format("{} {}", paint(kInks[i], 1, style), kInks[i].name), kInks[i].name.size() + 2});
  }
  return flow(items, indent, style.columns);
}

}  // namespace

std::string render_bars(const std::vector<DeviceShares>& devices, const BarStyle& style) {
  if (devices.empty() || style.columns < kFewestColumns) return "";
  size_t label = 0, figure = 0;
  const auto figure_of = [](const DeviceShares& d) {
    return d.limited ? format_byte_size(d.whole()) : std::string("no limit");
  };
  for (const DeviceShares& d : devices) {
    label = std::max(label, to_string(d.device).size());
    figure = std::max(figure, figure_of(d).size());
  }
  const size_t indent = label + 2;
  const size_t cells = std::min(kMostCells, style.columns - indent - 2 - figure);
  std::string text;
  for (const DeviceShares& d : devices) {
    text += fmt::format("{:<{}}{}  {:>{}}\n", to_string(d.device), indent, paint_bar(d, cells, style),
                        figure_of(d), figure);
    std::vector<Item> sizes;
    for (const std::string& share : describe_shares(d)) sizes.push_back({share, share.size()});
    text += flow(sizes, indent, style.columns);
  }
  return text + render_legend(devices, indent, style);
}

}  // namespace hfload::cli
