#include "cli/render_svg.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "cli/text.h"
#include "core/base/join.h"
#include "core/base/units.h"

namespace hfload::cli {
namespace {

// All lengths are in the picture's own units, pixels where it is not scaled.
constexpr double kWidth = 960, kMargin = 28, kBarWidth = kWidth - 2 * kMargin;
constexpr double kHeaderHeight = 98, kDeviceHeight = 92, kBarHeight = 34, kLegendRow = 22;
constexpr double kThinnest = 0.75;  ///< of what is drawn at all; thinner cannot be seen
constexpr size_t kColors = 7;       ///< of parts; smaller parts share one more

// Layers of one part are told apart by opacity and a gap, so that a part needs one colour only.
constexpr std::string_view kStyle = R"(
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#1b2230}
.title{font-size:20px;font-weight:600}.name{font-size:14px;font-weight:600}
.dim{fill:#5c6676}.small{font-size:11.5px}.in{font-size:11.5px;font-weight:600;fill:#fff;pointer-events:none}
.in.dark{fill:#3a2a00}.in.soft{fill:#5c6676;font-weight:400}
.page{fill:#fff}.track{fill:#eef1f5}.open{fill:none;stroke:#a9b3c1;stroke-dasharray:5 4}
.p0{fill:#3566c8}.p1{fill:#0d7f77}.p2{fill:#8350bf}.p3{fill:#bb4a73}.p4{fill:#5b7a26}.p5{fill:#a3602a}.p6{fill:#3f7591}
.p7{fill:#6f7887}.odd{opacity:.9}.cache{fill:#f0b429}.held{fill:#d3dae3}.stripe{stroke:#8f9bab;stroke-width:2}
@media (prefers-color-scheme:dark){text{fill:#e8ecf2}.dim{fill:#a3adbc}.in{fill:#fff}.in.dark{fill:#2b2000}
.in.soft{fill:#a3adbc}.page{fill:#12161d}.track{fill:#232a35}.open{stroke:#566174}.p0{fill:#4f83e6}.p1{fill:#17958b}
.p2{fill:#9a68d6}.p3{fill:#cf5f88}.p4{fill:#6f9233}.p5{fill:#b9733a}.p6{fill:#4f8aa8}.p7{fill:#7d8797}.cache{fill:#d9a016}
.held{fill:#343d4b}.stripe{stroke:#6a7689}}
)";

/// Safe in the text and the attributes of XML 1.0. What steers a terminal is written out, as elsewhere; the
/// two non-characters that XML excludes become U+FFFD.
std::string xml(std::string_view text) {
  std::string out;
  const std::string safe = escape_text(text);
  for (size_t at = 0; at < safe.size();) {
    const CodePoint point = decode_utf8(safe, at);
    switch (point.value) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case 0xFFFE:
      case 0xFFFF:
        out += "\xEF\xBF\xBD";
        break;
      default:
        out.append(safe, at, point.bytes);
    }
    at += point.bytes;
  }
  return out;
}

/// At most that many characters, the last an ellipsis where there were more.
std::string shortened(const std::string& text, size_t characters) {
  const std::string safe = escape_text(text);
  if (display_width(safe) <= characters) return safe;
  size_t at = 0;
  for (size_t i = 0; i + 1 < characters; ++i) at += decode_utf8(safe, at).bytes;
  return safe.substr(0, at) + "…";
}

/// What a text of 13 or so pixels takes; a generous guess, as the font is the viewer's.
double text_width(std::string_view text, double per_character = 7.2) {
  return per_character * static_cast<double>(display_width(text));
}

std::string device_name(Device device) {
  if (device.is_gpu()) return fmt::format("GPU {}", device.ordinal);
  return device == Device::cpu() ? "CPU" : "Disk";
}

/// Segments that stand side by side and belong to one part.
struct Group {
  size_t part = 0;
  double x = 0, width = 0;
  std::optional<uint64_t> first, last;  ///< layers
};

std::string layers_of(const Group& group) {
  if (!group.first) return "";
  return group.first == group.last ? fmt::format("{}", *group.first)
                                   : fmt::format("{}–{}", *group.first, *group.last);
}

class SvgPainter {
 public:
  SvgPainter(const PlannedModel& model, PlanPicture picture) : model_(model), picture_(std::move(picture)) {
    choose_colors();
  }

  std::string paint() {
    paint_header();
    y_ = kHeaderHeight;
    for (const PictureDevice& device : picture_.devices) paint_device(device);
    if (picture_.devices.empty())
      put_text(kMargin, y_ + 20, "dim", "Nothing is placed: the model has no tensors.");
    paint_legend();
    const double height = y_ + kMargin;
    return fmt::format(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0f} {:.0f}\" width=\"{:.0f}\" "
               "height=\"{:.0f}\" role=\"img\" aria-label=\"{}\">\n<style>{}</style>\n"
               "<defs><pattern id=\"stripes\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" "
               "patternTransform=\"rotate(45)\"><rect class=\"held\" width=\"7\" height=\"7\"/>"
               "<path class=\"stripe\" d=\"M0 0V7\"/></pattern></defs>\n"
               "<rect class=\"page\" width=\"{:.0f}\" height=\"{:.0f}\"/>\n",
               kWidth, height, kWidth, height, xml("Device map of " + title()), kStyle, kWidth, height) +
           out_ + "</svg>\n";
  }

 private:
  template <class... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    out_ += fmt::format(format, std::forward<Args>(args)...);
  }

  void put_text(double x, double y, std::string_view classes, std::string_view text,
                std::string_view anchor = "start") {
    put("<text x=\"{:.2f}\" y=\"{:.2f}\" class=\"{}\"{}>{}</text>\n", x, y, classes,
        anchor == "start" ? "" : fmt::format(" text-anchor=\"{}\"", anchor), xml(text));
  }

  void put_box(double x, double width, std::string_view fill, std::string_view hover) {
    put("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.0f}\" {}><title>{}</title></rect>\n", x,
        bar_y(), width, kBarHeight, fill, xml(hover));
  }

  double bar_y() const { return y_ + 12; }

  std::string title() const {
    const std::string& name = model_.shell.tree.model_class;
    return shortened(name.empty() ? "model" : name, 60);
  }

  void choose_colors() {
    std::vector<size_t> by_size(picture_.parts.size());
    for (size_t i = 0; i < by_size.size(); ++i) by_size[i] = i;
    std::stable_sort(by_size.begin(), by_size.end(),
                     [&](size_t a, size_t b) { return picture_.parts[a].bytes > picture_.parts[b].bytes; });
    constexpr double kSmallestShare = 0.001;  // of all weights; less is not seen
    by_size.resize(std::min(by_size.size(), kColors));
    const double least = kSmallestShare * model_.sizes.weights(0);
    std::erase_if(by_size, [&](size_t part) { return picture_.parts[part].bytes < least; });
    colors_.assign(picture_.parts.size(), kColors);
    for (size_t rank = 0; rank < by_size.size(); ++rank) colors_[by_size[rank]] = rank;
  }

  void paint_header() {
    put_text(kMargin, 38, "title", title());
    std::string text = fmt::format("{} of weights in {}", format_byte_size(model_.sizes.weights(0)),
                                   dtype_info(model_.shell.dtype).torch_name);
    if (model_.cache) {
      text += fmt::format("  ·  {} of caches in {} for {} in {}",
                          format_byte_size(static_cast<double>(total_caches(model_).bytes)),
                          dtype_info(model_.cache->dtype).torch_name,
                          count_of(model_.cache->context_tokens, "token"),
                          count_of(model_.cache->batch, "sequence"));
    }
    put_text(kMargin, 60, "dim", text);
  }

  void paint_device(const PictureDevice& device) {
    const DeviceShares& shares = device.shares;
    put_text(kMargin, y_ + 4, "name", device_name(shares.device));
    put_text(kWidth - kMargin, y_ + 4, "dim",
             fmt::format("{}  ·  {}", join(describe_shares(shares), "  ·  "),
                         shares.limited ? "of " + format_byte_size(shares.whole()) : "no limit"),
             "end");
    put("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.0f}\" class=\"{}\"/>\n", kMargin,
        bar_y(), kBarWidth, kBarHeight, shares.limited ? "track" : "open");
    // What no budget limits fills a part of an open bar: it says nothing about how full the device is.
    constexpr double kShareOfOpenBar = 0.6;
    const double whole = shares.limited ? shares.whole() : shares.whole() / kShareOfOpenBar;
    const double scale = whole > 0 ? kBarWidth / whole : 0;
    const std::vector<Group> groups = paint_segments(device, scale);
    for (const Group& group : groups) paint_label(group);
    double x = kMargin + shares.weights * scale;
    x = paint_share(x, shares.caches * scale, "class=\"cache\"", "caches", shares.caches, "in dark");
    x = paint_share(x, shares.held_back * scale, "fill=\"url(#stripes)\"", "held back", shares.held_back, "");
    paint_share(x, shares.free * scale, "class=\"track\"", "free", shares.free, "in soft");
    put_text(kMargin, bar_y() + kBarHeight + 18, "small dim", contents(groups));
    y_ += kDeviceHeight;
  }

  std::vector<Group> paint_segments(const PictureDevice& device, double scale) {
    constexpr double kWidestGap = 1;
    std::vector<Group> groups;
    double bytes = 0;
    for (const PictureSegment& s : device.segments) {
      const double x = kMargin + bytes * scale, width = s.bytes * scale;
      bytes += s.bytes;
      const double gap = s.layer && width > 4 * kWidestGap ? kWidestGap : 0;
      put_box(x, std::max(kThinnest, width - gap),
              fmt::format("class=\"p{}{}\"", colors_[s.part], s.layer.value_or(0) % 2 == 1 ? " odd" : ""),
              fmt::format("{} — {} on {}", shortened(s.name, 200), format_byte_size(s.bytes),
                          device_name(device.shares.device)));
      if (groups.empty() || groups.back().part != s.part) groups.push_back({s.part, x, 0, s.layer, s.layer});
      groups.back().width += width;
      groups.back().last = s.layer;
    }
    return groups;
  }

  /// The longest of a group's names that has room in it.
  void paint_label(const Group& group) {
    const std::string name = shortened(picture_.parts[group.part].name, 40), layers = layers_of(group);
    const std::string full = layers.empty() ? name : name + " " + layers;
    for (const std::string& text : {full, layers.empty() ? name : layers}) {
      if (text_width(text) + 8 > group.width) continue;
      put_text(group.x + group.width / 2, bar_y() + kBarHeight / 2 + 4, "in", text, "middle");
      return;
    }
  }

  double paint_share(double x, double width, std::string_view fill, std::string_view name, double bytes,
                     std::string_view label) {
    if (width <= 0) return x;
    const std::string text = fmt::format("{} {}", name, format_byte_size(bytes));
    put_box(x, std::max(kThinnest, width), fill, text);
    if (!label.empty() && text_width(text) + 8 <= width)
      put_text(x + width / 2, bar_y() + kBarHeight / 2 + 4, label, text, "middle");
    return x + width;
  }

  /// What is in a bar, in words, for bars too narrow to write in.
  std::string contents(const std::vector<Group>& groups) const {
    std::string text;
    for (size_t i = 0; i < groups.size(); ++i) {
      const std::string layers = layers_of(groups[i]);
      const std::string item =
          shortened(picture_.parts[groups[i].part].name, 40) + (layers.empty() ? "" : " " + layers);
      const std::string rest = fmt::format("  ·  and {} more", groups.size() - i);
      if (text_width(text + item + rest, 6.6) > kBarWidth && i > 0) return text + rest;
      text += (i > 0 ? "  ·  " : "") + item;
    }
    return text.empty() ? "no modules" : text;
  }

  void paint_legend() {
    double x = kMargin;
    const auto add = [&](std::string_view fill, const std::string& name) {
      const double width = 20 + text_width(name) + 18;
      if (x > kMargin && x + width > kWidth - kMargin) {
        x = kMargin;
        y_ += kLegendRow;
      }
      put("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"13\" height=\"13\" rx=\"2\" {}/>\n", x, y_ - 7, fill);
      put_text(x + 20, y_ + 4, "dim", name);
      x += width;
    };
    bool has_others = false;
    for (size_t i = 0; i < picture_.parts.size(); ++i) {
      has_others = has_others || colors_[i] == kColors;
      if (colors_[i] == kColors) continue;
      add(fmt::format("class=\"p{}\"", colors_[i]),
          fmt::format("{} {}", shortened(picture_.parts[i].name, 40),
                      format_byte_size(picture_.parts[i].bytes)));
    }
    if (has_others) add(fmt::format("class=\"p{}\"", kColors), "other modules");
    const auto any = [&](double DeviceShares::*share) {
      return std::any_of(picture_.devices.begin(), picture_.devices.end(),
                         [&](const PictureDevice& d) { return d.shares.*share > 0; });
    };
    if (any(&DeviceShares::caches)) add("class=\"cache\"", "caches");
    if (any(&DeviceShares::held_back)) add("fill=\"url(#stripes)\"", "held back for layers moved in");
    if (any(&DeviceShares::free)) add("class=\"track\"", "free");
    y_ += kLegendRow / 2;
  }

  const PlannedModel& model_;
  const PlanPicture picture_;
  std::vector<size_t> colors_;  ///< by part; kColors for the small ones
  std::string out_;
  double y_ = 0;  ///< where the next thing is drawn
};

}  // namespace

std::string render_svg(const PlannedModel& model) {
  return SvgPainter(model, make_plan_picture(model)).paint();
}

}  // namespace hfload::cli
