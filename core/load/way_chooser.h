#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

namespace hfload {

/// Chooses between two ways of doing the same thing by what each has cost on this machine so far, as neither
/// is better everywhere: huge pages that a hypervisor must first give back are slower than small ones, direct
/// reads lose to buffered ones on some disks. Stays with the first way while that is good enough; else tries
/// both, stays with the better, and tries the other again after pauses that grow fourfold from 16 to 1024
/// uses while it does not pay. All functions may be called from several threads at once.
class WayChooser {
 public:
  enum class Way : uint8_t { first, second };

  /// `good_enough`: seconds for a byte at which the first way is not even compared with the second; 0: always
  /// compared. The second is better if it costs less than `second_part` of what the first does.
  explicit WayChooser(double good_enough, double second_part = 1)
      : good_enough_(good_enough), second_part_(second_part) {}

  Way next();
  /// The first way is taken without a comparison.
  bool is_good_enough() const;
  /// What one use of a way cost.
  void report(Way way, uint64_t bytes, double seconds);

 private:
  static constexpr uint32_t kFirstPause = 16, kLongestPause = 1024;

  bool first_is_better() const;

  mutable std::mutex mutex_;
  double good_enough_;
  double second_part_;
  std::optional<double>
      cost_[2];  ///< seconds for a byte; the last report of a trial, else half from the last one
  uint32_t pause_ = kFirstPause;
  uint32_t uses_until_trial_ = kFirstPause;
};

}  // namespace hfload
