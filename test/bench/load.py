"""Times `hfload load --device-map cpu` beside Python packages and beside what the machine can do at best.

    python -m venv bench-venv && bench-venv/bin/pip install -r test/bench/requirements.txt
    cmake --build --preset release --target hfload hfload_probes
    bench-venv/bin/python test/bench/load.py --work /some/disk/with/10GB

Every sample is a process of its own, on files proved to be in the page cache; the contenders take turns in random order,
and what counts is the median over rounds of the ratio within a round, with its bootstrap 95 % confidence interval.
Prints Markdown.
"""

import argparse
import ctypes
import json
import mmap
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

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROBES = {
    "pread_fresh_huge_pages": "pread into fresh huge pages (what a load must do)",
    "pread_touched": "pread into memory in use",
    "pread_ring": "pread into a 4 MiB buffer for each thread",
    "memcpy": "memcpy",
    "scan_memory": "scan of memory",
    "scan_mmap": "first scan of the mapped file",
}
RIVALS = {"numpy": "safetensors, numpy (copies)", "torch": "safetensors, torch (load_file + clone)",
          "fastsafetensors": "fastsafetensors (nogds, cpu)", "runai": "Run:ai model streamer"}
# Ends in another dtype, so that its bytes are compared with nobody's.
CONVERTING = {"hfload_to_float32": "**hfload** --dtype float32", "to_float32": "safetensors, torch (load_file, .to(float32))"}


def run(command):
    """Standard output, seconds of the whole process, its peak resident bytes."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command} failed with exit status {process.returncode}")
    return output, seconds, usage.ru_maxrss * 1024


def resident_fraction(path):
    """The part of a file that the page cache holds, by mincore."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    size = path.stat().st_size
    pages = -(-size // mmap.PAGESIZE)
    with open(path, "rb") as file:
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    vector = ctypes.create_string_buffer(pages)
    if libc.mincore(address, size, vector) != 0:
        raise OSError(ctypes.get_errno(), "mincore")
    libc.munmap(address, size)
    return sum(byte & 1 for byte in vector.raw[:pages]) / pages


def warm(paths):
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(2**24):
                pass
        if resident_fraction(path) < 1:
            sys.exit(f"{path} does not stay in the page cache; use a smaller --sizes")


def median_with_interval(values):
    generator = numpy.random.default_rng(0)
    medians = numpy.median(generator.choice(values, (10_000, len(values))), axis=1)
    low, high = numpy.percentile(medians, [2.5, 97.5])
    return statistics.median(values), float(low), float(high)


def measure(directory, arguments):
    """Per contender a list over rounds of (seconds of the load, seconds of the process, peak bytes), and of probes."""
    paths = sorted(directory.glob("*.safetensors"))
    largest = max(paths, key=lambda path: path.stat().st_size)
    hfload = [arguments.hfload, "load", directory, "--device-map", "cpu", "--json", "--quiet", "--threads", arguments.threads]
    samples = {"hfload": [], **{rival: [] for rival in RIVALS}, **{way: [] for way in CONVERTING}}
    probes = []

    def take(contender):
        if contender == "probes":
            output, _, _ = run([arguments.probes, largest, arguments.threads])
            probe = json.loads(output)
            probes.append({name: probe["bytes"] / probe[name] for name in PROBES})
            return
        if contender.startswith("hfload"):
            command = [*hfload, "--dtype", "float32"] if contender in CONVERTING else hfload
        else:
            command = [sys.executable, HERE / "rivals.py", contender, directory]
        output, seconds, peak = run(command)
        result = json.loads(output)
        samples[contender].append((result["seconds"], seconds, peak))

    warm(paths)
    run([*hfload, "--verify"])
    sums = {json.loads(run([sys.executable, HERE / "rivals.py", rival, directory, "--checksum"])[0])["checksum"] for rival in RIVALS}
    if len(sums) != 1:
        sys.exit("the rivals read different bytes")
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
    print("| loader | load: median GB/s | best | time, ratio to hfload (95 % CI) | whole process, ratio (95 % CI) | peak RSS above the weights |")
    print("|---|---|---|---|---|---|")
    labels = {"hfload": "**hfload**", **RIVALS, **CONVERTING}
    for contender, label in labels.items():
        loads = [sample[0] for sample in samples[contender]]
        base = "hfload_to_float32" if contender in CONVERTING else "hfload"
        cells = []
        for column in (0, 1):
            ratios = [theirs[column] / ours[column] for theirs, ours in zip(samples[contender], samples[base])]
            median, low, high = median_with_interval(ratios)
            cells.append("1" if contender == base else f"{median:.2f} ({low:.2f} to {high:.2f})")
        peak = max(sample[2] for sample in samples[contender]) - model_bytes * (2 if contender in CONVERTING else 1)
        print(f"| {label} | {rate(model_bytes, statistics.median(loads))} | {rate(model_bytes, min(loads))} "
              f"| {cells[0]} | {cells[1]} | {peak / 2**20:.0f} MiB |")
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


def describe_machine(arguments):
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal")) * 1024
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", arguments.work], capture_output=True, text=True).stdout.strip()
    version = subprocess.run([arguments.hfload, "--version"], capture_output=True, text=True).stdout.strip()
    from importlib.metadata import version as installed

    packages = ", ".join(f"{name} {installed(name)}" for name in ("safetensors", "fastsafetensors", "runai-model-streamer", "torch", "numpy"))
    return (f"{cpu}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB, Linux {platform.release()}, {filesystem}; load average "
            f"{os.getloadavg()[0]:.1f} at the start. {version}, {arguments.threads} threads; {packages}. {arguments.rounds} rounds.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hfload", type=Path, default=ROOT / "build/release/hfload")
    parser.add_argument("--probes", type=Path, default=ROOT / "build/release/test/bench/hfload_probes")
    parser.add_argument("--work", type=Path, required=True, help="a directory for the generated checkpoints, on the disk to test")
    parser.add_argument("--sizes", default="1,4", help="GiB of the Llama-shaped checkpoints (default: 1,4)")
    parser.add_argument("--small-tensors", type=int, default=20_000, help="tensors of the third checkpoint, of 50 KiB each; 0: none")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--keep", action="store_true", help="leave the generated checkpoints there")
    arguments = parser.parse_args()

    arguments.work.mkdir(parents=True, exist_ok=True)
    for program in (arguments.hfload, arguments.probes):
        if not program.exists():
            sys.exit(f"{program} does not exist; build it first (see --help)")
    models = [(f"Llama-shaped, about {size} GiB", arguments.work / f"llama-{size}gib", ("llama", int(float(size) * 2**30)))
              for size in arguments.sizes.split(",") if size]
    if arguments.small_tensors:
        models.append((f"{arguments.small_tensors:,} tensors of 50 KiB", arguments.work / f"small-{arguments.small_tensors}",
                       ("small", arguments.small_tensors)))
    print(describe_machine(arguments), flush=True)
    for name, directory, (kind, size) in models:
        if not directory.exists():
            # In a process of its own: the peak memory of what is started from here counts this process's own in.
            run([sys.executable, HERE / "checkpoints.py", kind, directory, size])
        model_bytes = sum(path.stat().st_size for path in directory.glob("*.safetensors"))
        samples, probes = measure(directory.resolve(), arguments)
        report(f"{name} ({model_bytes / 1e9:.2f} GB)", model_bytes, samples, probes)
        sys.stdout.flush()
        if not arguments.keep:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
