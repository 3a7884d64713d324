"""Times `hfload load --device-map cpu` beside Python packages and beside what the machine can do at best.

    python3 -m venv ../bench-venv && ../bench-venv/bin/pip install -r test/bench/requirements.txt
    cmake --preset release && cmake --build --preset release --target hfload hfload_probes hfload_engine
    ../bench-venv/bin/python test/bench/load.py --work /some/disk/with/10GB

Every sample is a process of its own, on files proved to be in the page cache; the contenders take turns in random order,
and what counts is the median over rounds of the ratio within a round, with its bootstrap 95 % confidence interval. Beside the
raw probes, hfload is timed in blocks, of which those count that stand between two equal runs of the probe (sampling.compare).
A virtual machine may have to ask its host for memory that has been free for some seconds, at a small part of the speed of
what is measured. So another process holds most of the free memory all the while, and before each sample one touches what is
left and ends (--as-found leaves that out). Besides: 120,000 small tensors beside one large one, files that are not in the page cache (--cold), and
headers in a process that lives long. Prints Markdown.
"""

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy

from sampling import MemoryAtHand, compare, evict, median_with_interval, run, warm

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROBES = {
    "pread_fresh_huge_pages": "pread into fresh huge pages (what a load must do)",
    "pread_touched": "pread into memory in use",
    "pread_ring": "pread into a 4 MiB buffer for each thread",
    "memcpy": "memcpy",
    "scan_memory": "scan of memory",
    "scan_mmap": "mapping the file and its first scan",
}
RIVALS = {"numpy": "safetensors, numpy (copies)", "torch": "safetensors, torch (load_file + clone)",
          "fastsafetensors": "fastsafetensors (nogds, cpu)", "runai": "Run:ai model streamer"}
SMALL_KIB = 12
# Times the bytes of a bfloat16 checkpoint: it, one of float32, and what is loaded, with room to keep the rest quiet.
CONVERTING_TAKES = 6
# Ends in another dtype, so that its bytes are compared with nobody's.
CONVERTING = {"hfload_to_float32": "**hfload** --dtype float32", "to_float32": "safetensors, torch (load_file, .to(float32))"}


def hfload_load(directory, arguments):
    return [arguments.hfload, "load", directory, "--device-map", "cpu", "--json", "--quiet", "--threads", arguments.threads]


def measure(directory, arguments):
    """Per contender a list over rounds of (seconds of the load, of a second load, of the process, peak bytes), and of probes.

    hfload's load begins with the first allocation; to read headers and to plan is in its process, which stands for its second load, too.
    """
    paths = sorted(directory.glob("*.safetensors"))
    largest = max(paths, key=lambda path: path.stat().st_size)
    model_bytes = sum(path.stat().st_size for path in paths)
    hfload = hfload_load(directory, arguments)
    samples = {"hfload": [], **{rival: [] for rival in RIVALS}, **{way: [] for way in CONVERTING}}
    probes = []

    def take(contender):
        memory.touch()
        if contender == "probes":
            output, _, _ = run([arguments.probes, "load", largest, arguments.threads])
            probe = json.loads(output)
            probes.append({name: probe["bytes"] / probe[name] for name in PROBES})
            return
        if contender.startswith("hfload"):
            command = [*hfload, "--dtype", "float32"] if contender in CONVERTING else hfload
        else:
            command = [sys.executable, HERE / "rivals.py", contender, directory]
        output, seconds, peak = run(command)
        result = json.loads(output)
        whole = seconds - result.get("again_and_freeing", 0)
        samples[contender].append((result["seconds"], result.get("again", whole), whole, result.get("peak_bytes", peak)))

    warm(paths)
    run([*hfload, "--verify"])
    sums = {json.loads(run([sys.executable, HERE / "rivals.py", rival, directory, "--checksum"])[0])["checksum"] for rival in RIVALS}
    if len(sums) != 1:
        sys.exit("the rivals read different bytes")
    # What converts needs twice the bytes, and the mapped file's pages besides are no fresh memory.
    with MemoryAtHand(2 * model_bytes, arguments.probes, arguments.as_found) as memory:
        for _ in range(arguments.rounds):
            warm(paths)
            order = ["probes", *samples]
            random.shuffle(order)
            for contender in order:
                take(contender)
    return samples, probes


def rate(model_bytes, seconds):
    return f"{model_bytes / seconds / 1e9:.2f}"


def report(name, model_bytes, samples, probes):
    print(f"\n### {name}\n")
    print("| loader | load: median GB/s | best | time, ratio to hfload (95 % CI) | its second load / hfload's whole process (95 % CI) "
          "| whole process, ratio (95 % CI) | peak RSS above the weights |")
    print("|---|---|---|---|---|---|---|")
    labels = {"hfload": "**hfload**", **RIVALS, **CONVERTING}
    for contender, label in labels.items():
        loads = [sample[0] for sample in samples[contender]]
        base = "hfload_to_float32" if contender in CONVERTING else "hfload"
        cells = []
        for column in (0, 1, 2):
            ratios = [theirs[column] / ours[column] for theirs, ours in zip(samples[contender], samples[base])]
            median, low, high = median_with_interval(ratios)
            cells.append("1" if contender == base else f"{median:.2f} ({low:.2f} to {high:.2f})")
        peak = max(sample[3] for sample in samples[contender]) - model_bytes * (2 if contender in CONVERTING else 1)
        print(f"| {label} | {rate(model_bytes, statistics.median(loads))} | {rate(model_bytes, min(loads))} "
              f"| {' | '.join(cells)} | {peak / 2**20:.0f} MiB |")
    print("\n| probe, all threads | median GB/s | best | max/min | hfload's rate as a part of it (95 % CI) |")
    print("|---|---|---|---|---|")
    for probe, label in PROBES.items():
        rates = [row[probe] for row in probes]
        ratios = [model_bytes / ours[0] / row[probe] for ours, row in zip(samples["hfload"], probes)]
        median, low, high = median_with_interval(ratios)
        print(f"| {label} | {statistics.median(rates) / 1e9:.2f} | {max(rates) / 1e9:.2f} | {max(rates) / min(rates):.2f} "
              f"| {median:.2f} ({low:.2f} to {high:.2f}) |")
    noise = max(row["pread_fresh_huge_pages"] for row in probes) / min(row["pread_fresh_huge_pages"] for row in probes)
    if noise > 1.25:
        print(f"\nThe machine was not quiet: the first probe's rate varied by a factor of {noise:.2f}.")


class Beside:
    """Lines of a table: hfload's speed as a part of a peer's, in blocks (sampling.compare)."""

    def __init__(self, arguments):
        self.arguments = arguments
        print("\n| hfload / its peer | blocks that count | speed, as a part of the peer's (95 % CI) | goal |")
        print("|---|---|---|---|")

    def line(self, label, goal, paths, ours, peer, times=1.0, blocks=None, before=warm):
        """`ours` and `peer`: (command, the name of the seconds in its JSON; None: those of the process).

        They take up to `times` the bytes of `paths` as memory; `before` is done with `paths` before each run."""
        need_bytes = int(times * sum(path.stat().st_size for path in paths))
        before(paths)
        with MemoryAtHand(need_bytes, self.arguments.probes, self.arguments.as_found) as memory:

            def seconds(command, key):
                before(paths)
                memory.touch()
                output, whole, _ = run(command)
                return json.loads(output)[key] if key else whole

            found = compare(lambda: seconds(*ours), lambda: seconds(*peer), blocks or self.arguments.blocks)
        print(found.row(label, f"{goal:.2f}"), flush=True)


def beside_probes(name, directory, arguments):
    """Loading with and without conversion, and mapping, beside probes that only move the same bytes."""
    print(f"\n### In blocks: {name}")
    table = Beside(arguments)

    def probe(which, path):
        return [arguments.probes, which, path, arguments.threads], "seconds"

    def load(source, dtype=None):
        command = hfload_load(source, arguments)
        return [*command, "--dtype", dtype] if dtype else command, "seconds"

    paths = sorted(directory.glob("*.safetensors"))
    table.line("load / reading into fresh huge pages", 0.90, paths, load(directory), probe("fresh", directory))
    largest = max(paths, key=lambda path: path.stat().st_size)
    mapped = [arguments.engine, "map", largest, arguments.threads], "map_and_scan"
    table.line("mapping a file and reading it / the same without hfload", 0.95, [largest], mapped, probe("scan", largest), times=0)
    if CONVERTING_TAKES * sum(path.stat().st_size for path in paths) > memory_bytes():
        return
    label = "load {} as {} / moving as many bytes in and out"
    table.line(label.format("bfloat16", "float32"), 1 / 1.15, paths, load(directory, "float32"), probe("widen", directory), times=2)
    for source, target, which, times in (("float16", "float32", "widen", 2), ("float32", "bfloat16", "narrow", 0.5)):
        converted = arguments.work / f"{directory.name}-{source}"
        run([arguments.hfload, "convert", directory, converted, "--dtype", source, "--quiet"])
        shards = sorted(converted.glob("*.safetensors"))
        table.line(label.format(source, target), 1 / 1.15, shards, load(converted, target), probe(which, converted), times=times)
        shutil.rmtree(converted)
    torch = [sys.executable, HERE / "rivals.py", "to_float32", directory], "seconds"
    table.line("load bfloat16 as float32 / load_file, .to(float32)", 3, paths, load(directory, "float32"), torch, times=4, blocks=arguments.rounds)


def many_beside_one(directories, arguments):
    print(f"\n### In blocks: {arguments.many:,} tensors of {SMALL_KIB} KiB and one tensor of as many bytes")
    paths = [path for directory in directories.values() for path in directory.glob("*.safetensors")]
    table = Beside(arguments)
    for label, key in (("load many / load one", "seconds"), ("the same, whole processes", None)):
        many, one = ((hfload_load(directories[name], arguments), key) for name in ("many", "one"))
        table.line(label, 0.70, paths, many, one)


def header(name, path, arguments):
    warm([path])
    rows = []
    for _ in range(arguments.rounds):
        row = json.loads(run([arguments.engine, "header", path, 31])[0])
        row["rival"] = json.loads(run([sys.executable, HERE / "rivals.py", "header", path])[0])["seconds"]
        rows.append(row)

    def ratio(over, under):
        return "{:.2f} ({:.2f} to {:.2f})".format(*median_with_interval([row[over] / row[under] for row in rows]))

    print(f"\n### Header: {name}\n")
    print(f"Opened, parsed, checked and indexed in {statistics.median(row['header'] for row in rows) * 1e3:.3f} ms; `safe_open` and its "
          f"keys take {ratio('rival', 'header')} times as long; reading and scanning the header's bytes alone is {ratio('header_scan', 'header')} of it.")


def cold(name, directory, arguments):
    """The best of the raw ways to read one shard from the disk is looked for first; hfload stands beside that one."""
    largest = max(directory.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    alone = arguments.work / "alone"
    alone.mkdir()
    shutil.copy(largest, alone / "model.safetensors")
    (alone / "config.json").write_text(json.dumps({"model_type": "one_shard"}))
    path = alone / "model.safetensors"
    rates = {}
    for _ in range(arguments.rounds // 2):
        for threads in (2, 4, 8):
            for chunk in (1, 4):
                row = json.loads(run([arguments.probes, "cold", path, threads, chunk])[0])
                for way in ("buffered", "direct"):
                    rates.setdefault((way, threads, chunk), []).append(row["bytes"] / row[way])
    print(f"\n### In blocks: not in the page cache, {path.stat().st_size / 1e9:.2f} GB, {name}\n")
    print("| raw reads | median GB/s | best | max/min |\n|---|---|---|---|")
    for (way, threads, chunk), found in rates.items():
        print(f"| {way}, {threads} threads, {chunk} MiB | {statistics.median(found) / 1e9:.2f} | {max(found) / 1e9:.2f} | {max(found) / min(found):.2f} |")
    way, threads, chunk = max(rates, key=lambda key: statistics.median(rates[key]))
    probe = [arguments.probes, "cold", path, threads, chunk], way
    label = f"load / {way} reads, {threads} threads, {chunk} MiB"
    Beside(arguments).line(label, 0.95, [path], (hfload_load(alone, arguments), "seconds"), probe, before=evict)
    evict([path])
    result = json.loads(run(hfload_load(alone, arguments))[0])
    ways = [key.removesuffix("_bytes") for key in ("cached_bytes", "buffered_bytes", "direct_bytes") if result["io"][key]]
    print(f"\nhfload read by: {', '.join(ways)}.")
    shutil.rmtree(alone)


def memory_bytes():
    return next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal")) * 1024


def describe_machine(arguments):
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", arguments.work], capture_output=True, text=True).stdout.strip()
    version = subprocess.run([arguments.hfload, "--version"], capture_output=True, text=True).stdout.strip()
    from importlib.metadata import version as installed

    packages = ", ".join(f"{name} {installed(name)}" for name in ("safetensors", "fastsafetensors", "runai-model-streamer", "torch", "numpy"))
    return (f"{cpu}, {os.cpu_count()} cores, {memory_bytes() / 2**30:.0f} GiB, Linux {platform.release()}, {filesystem}; load average "
            f"{os.getloadavg()[0]:.1f} at the start. {version}, {arguments.threads} threads; {packages}. {arguments.rounds} rounds.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hfload", type=Path, default=ROOT / "build/release/hfload")
    parser.add_argument("--probes", type=Path, default=ROOT / "build/release/test/bench/hfload_probes")
    parser.add_argument("--work", type=Path, required=True, help="a directory for the generated checkpoints, on the disk to test")
    parser.add_argument("--sizes", default="1,4", help="GiB of the Llama-shaped checkpoints (default: 1,4)")
    parser.add_argument("--small-tensors", type=int, default=20_000, help="tensors of the third checkpoint, of 50 KiB each; 0: none")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--blocks", type=int, default=21, help="blocks that count, for what is measured in blocks")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--engine", type=Path, default=ROOT / "build/release/test/bench/hfload_engine")
    parser.add_argument("--many", type=int, default=120_000, help="tensors to load beside one large tensor; 0: none")
    parser.add_argument("--cold", action="store_true", help="also load the first checkpoint from the disk")
    parser.add_argument("--as-found", action="store_true", help="do not touch memory before each sample")
    parser.add_argument("--keep", action="store_true", help="leave the generated checkpoints there")
    arguments = parser.parse_args()

    arguments.work.mkdir(parents=True, exist_ok=True)
    for program in (arguments.hfload, arguments.probes, arguments.engine):
        if not program.exists():
            sys.exit(f"{program} does not exist; build it first (see --help)")
    # Checkpoints are made in a process of their own: the peak memory of what is started from here counts this process's own in.
    models = [(f"Llama-shaped, about {size} GiB", arguments.work / f"llama-{size}gib", ("llama", int(float(size) * 2**30)))
              for size in arguments.sizes.split(",") if size]
    if arguments.small_tensors:
        models.append((f"{arguments.small_tensors:,} tensors of 50 KiB", arguments.work / f"small-{arguments.small_tensors}",
                       ("small", arguments.small_tensors, 50)))
    print(describe_machine(arguments), flush=True)

    def made(directory, *recipe):
        if not directory.exists():
            run([sys.executable, HERE / "checkpoints.py", recipe[0], directory, *recipe[1:]])
        return directory.resolve()

    for i, (name, directory, recipe) in enumerate(models):
        directory = made(directory, *recipe)
        model_bytes = sum(path.stat().st_size for path in directory.glob("*.safetensors"))
        samples, probes = measure(directory, arguments)
        report(f"{name} ({model_bytes / 1e9:.2f} GB)", model_bytes, samples, probes)
        beside_probes(name, directory, arguments)
        header(name, max(directory.glob("*.safetensors"), key=lambda path: path.stat().st_size), arguments)
        if i == 0 and arguments.cold:
            cold(name, directory, arguments)
        sys.stdout.flush()
        if not arguments.keep:
            shutil.rmtree(directory)
    if arguments.many:
        directories = {"many": made(arguments.work / f"small-{arguments.many}", "small", arguments.many, SMALL_KIB),
                       "one": made(arguments.work / "one", "small", 1, SMALL_KIB * arguments.many)}
        many_beside_one(directories, arguments)
        if not arguments.keep:
            for directory in directories.values():
                shutil.rmtree(directory)


if __name__ == "__main__":
    main()
