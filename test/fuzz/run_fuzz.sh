#!/bin/sh
# Builds the fuzz targets with clang++, ASan and UBSan, and runs each for SECONDS. A finding is left in build/fuzz and makes
# this script fail.
# Usage: test/fuzz/run_fuzz.sh SECONDS
set -eu
seconds=${1:?usage: run_fuzz.sh SECONDS}
source=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
build=$source/build/fuzz

cd "$source"
cmake --preset fuzz > /dev/null
cmake --build --preset fuzz --target hfload_fuzzers --parallel 2
rm -rf "$build/seeds"
find "$build/test" -name hfload_write_corpus -type f -exec {} "$build/seeds" \;
mkdir -p "$build/seeds/torch_file"
find "$source/test/fixtures/torch" -name '*.pt' -exec cp {} "$build/seeds/torch_file" \;

dictionary() { [ "$1" = torch_file ] && echo pickle.dict || echo json.dict; }

fuzz() {
  "$build/test/fuzz/$1_fuzz" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -max_len=8192 \
    -dict="$source/test/fuzz/$(dictionary "$1")" -artifact_prefix="$build/findings/$1-" -print_final_stats=1 \
    "$build/corpus/$1" "$build/seeds/$1" > "$build/findings/$1.log" 2>&1
}

parsers="safetensors shard_index model_config offload_index tensor_hashes hub_records device_map torch_file"
echo "$parsers: $seconds s, side by side"
for parser in $parsers; do
  mkdir -p "$build/corpus/$parser" "$build/findings"
  rm -f "$build/findings/$parser.passed"
  (fuzz "$parser" && touch "$build/findings/$parser.passed") &
done
wait
for parser in $parsers; do
  log=$build/findings/$parser.log
  if [ ! -e "$build/findings/$parser.passed" ]; then
    tail -n 60 "$log"
    echo "$parser: a finding; the input is in $build/findings" >&2
    exit 1
  fi
  echo "$parser:"
  grep -E '^stat::(number_of_executed_units|slowest_unit_time_sec|peak_rss_mb)' "$log"
done
