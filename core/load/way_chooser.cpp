#include "core/load/way_chooser.h"

#include <algorithm>

namespace hfload {

WayChooser::Way WayChooser::next() {
  const std::lock_guard lock(mutex_);
  if (!cost_[0] || *cost_[0] <= good_enough_) return Way::first;
  if (!cost_[1]) return Way::second;
  if (uses_until_trial_ > 0) {
    --uses_until_trial_;
    return first_is_better() ? Way::first : Way::second;
  }
  pause_ = std::min(pause_ * 4, kLongestPause);
  uses_until_trial_ = pause_;
  return first_is_better() ? Way::second : Way::first;
}

bool WayChooser::is_good_enough() const {
  const std::lock_guard lock(mutex_);
  return cost_[0] && *cost_[0] <= good_enough_;
}

void WayChooser::report(Way way, uint64_t bytes, double seconds) {
  if (bytes == 0) return;
  const std::lock_guard lock(mutex_);
  const double cost = seconds / static_cast<double>(bytes);
  const bool before = first_is_better();
  const bool is_trial = (way == Way::first) != before;
  std::optional<double>& known = cost_[static_cast<size_t>(way)];
  known = known && !is_trial ? (*known + cost) / 2 : cost;
  if (first_is_better() != before) pause_ = uses_until_trial_ = kFirstPause;
}

bool WayChooser::first_is_better() const {
  return !cost_[1] || (cost_[0] && *cost_[0] * second_part_ <= *cost_[1]);
}

}  // namespace hfload
