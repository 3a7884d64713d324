"""Every way of reading gives the same tensors: their checksums, by the formula in docs/loading.md, are those of the file's bytes."""

import json
import os
import random
import struct
import subprocess
import sys

import running
import safetensors_writer
import setups

MASK = 2**64 - 1


def mix(x):
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & MASK
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 & MASK
    return x ^ x >> 33


def tensor_hash(data):
    words = struct.unpack(f"<{(len(data) + 7) // 8}Q", data + bytes(-len(data) % 8))
    total = sum(mix(word + (i + 1) * 0x9E3779B97F4A7C15 & MASK) for i, word in enumerate(words))
    return f"{mix(total + len(data) & MASK):016x}"


def stored_tensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    ends = {name: entry["data_offsets"] for name, entry in header.items()}
    return {name: data[8 + length + begin : 8 + length + end] for name, (begin, end) in ends.items()}


def write_model(work):
    setups.llama(work)
    path = work / "llama" / "model.safetensors"
    bytes_ = bytearray(path.read_bytes())
    (length,) = struct.unpack_from("<Q", bytes_)
    for i in range(8 + length, len(bytes_)):
        bytes_[i] = i * 37 % 251 & 0x7B  # no NaN
    path.write_bytes(bytes_)
    return {name: tensor_hash(data) for name, data in stored_tensors(path).items()}


def load(binary, work, *arguments):
    result = running.run(binary, ["load", "llama", "--max-memory", "cpu=1GB", "--verify", "--json", "-q", *arguments], work)
    assert result.status == 0, result.stderr
    return json.loads(result.stdout)


def has_direct_reads(path):
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
        return True
    except OSError:
        return False


def test_every_path_gives_the_same_tensors(binary, work):
    expected = write_model(work)
    ways = {"auto": "cached_bytes", "pread": "buffered_bytes", "mmap": "mmap_bytes"}
    if has_direct_reads(work / "llama" / "model.safetensors"):
        ways["direct"] = "direct_bytes"
    for way, counter in ways.items():
        document = load(binary, work, "--device-map", "cpu", "--io", way)
        assert document["hashes"] == expected, way
        assert document["io"]["path"] == way
        assert document["io"][counter] == document["io"]["read_bytes"] == 2512, document["io"]


def test_a_mapped_model_is_the_same_and_reads_nothing(binary, work):
    expected = write_model(work)
    document = load(binary, work, "--device-map", "cpu", "--map")
    assert document["hashes"] == expected
    assert document["io"]["read_bytes"] == 0
    assert document["io"]["mapped_bytes"] == 2512
    assert document["loaded_bytes"] == 0


def test_what_is_converted_is_read_even_if_mapped(binary, work):
    write_model(work)
    document = load(binary, work, "--device-map", "cpu", "--map", "--dtype", "float32")
    assert document["io"]["mapped_bytes"] == 0
    assert document["loaded_bytes"] == 2 * 2512


def test_emulated_gpus_hold_the_same_tensors(binary, work):
    expected = write_model(work)
    result = running.run(binary, ["load", "llama", "--device-map", "sequential", "--max-memory", "0=2.5KB,cpu=1GB", "--emulate-gpus", "--verify",
                                  "--json", "-q"], work)
    assert result.status == 0, result.stderr
    assert json.loads(result.stdout)["hashes"] == expected


def test_verbose_says_how_the_bytes_came(binary, work):
    write_model(work)
    result = running.run(binary, ["load", "llama", "--device-map", "cpu", "--max-memory", "cpu=1GB", "-v"], work)
    assert ", 2.45 KiB from the page cache\n" in result.stderr, result.stderr
    result = running.run(binary, ["load", "llama", "--device-map", "cpu", "--max-memory", "cpu=1GB", "-v", "--io", "pread", "--threads", "1"], work)
    assert "note: read by 1 thread, 2.45 KiB through the page cache\n" in result.stderr, result.stderr


def test_a_mapping_that_is_lost_ends_with_a_sentence(binary, work):
    """Sizes are checked before and after: so the file has to shrink while the program looks at its mapping, which takes long enough here.
    Several threads meet the end at once, in most runs: one of them speaks."""
    (work / "model").mkdir()
    path = work / "model" / "model.safetensors"
    safetensors_writer.write(path, [("w", "U8", [2**33])], sparse=True)
    full = path.stat().st_size
    arguments = ["load", "model", "--device-map", "cpu", "--max-memory", "cpu=100GB", "--map", "--verify", "--progress", "always"]
    for flags in ([], ["--json"], ["--json"]):
        os.truncate(path, full)
        process = subprocess.Popen([binary, *arguments, *flags], cwd=work, env=running.environment(work, {}), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = b""
        while b"verifying" not in line:
            line = process.stderr.readline()
            assert line, f"ended before it verified: {process.wait()}"
        os.truncate(path, 4096)
        out, err = process.communicate(timeout=running.SECONDS)
        assert process.returncode == 5, (process.returncode, err)
        assert err.count(b"changed_during_read") == 1, err
        if flags:
            assert json.loads(out)["error"]["code"] == "changed_during_read", out
        else:
            assert out == b"", out


def test_cold_files_are_whole_whatever_way_was_chosen(binary, work):
    """64 MiB that have left the page cache. Two tensors are checked by the formula, the rest by what another way brings."""
    mebibyte = 1 << 20
    (work / "llama").mkdir()
    path = work / "llama" / "model.safetensors"
    sizes = {"head": mebibyte // 8 + 3, "middle": 32 * mebibyte, "tail": mebibyte // 8, "end": 32 * mebibyte - 5}
    safetensors_writer.write(path, [(name, "U8", [size]) for name, size in sizes.items()], sparse=True)
    start, content = path.stat().st_size - sum(sizes.values()), random.Random(1).randbytes(sum(sizes.values()))
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(content)
    middle = sizes["head"] + sizes["middle"]
    expected = {"head": tensor_hash(content[: sizes["head"]]), "tail": tensor_hash(content[middle : middle + sizes["tail"]])}

    def cold(*flags):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        document = load(binary, work, "--device-map", "cpu", *flags)
        assert expected.items() <= document["hashes"].items(), flags
        io = document["io"]
        assert io["read_bytes"] == sum(io[f"{way}_bytes"] for way in ("cached", "buffered", "direct", "mmap")) == sum(sizes.values()), io
        return document

    reference = cold("--io", "mmap")["hashes"]
    assert len(set(reference.values())) == len(sizes)
    assert cold("--io", "auto")["hashes"] == reference
    if has_direct_reads(path):
        direct = cold("--io", "direct")
        assert direct["hashes"] == reference
        assert direct["io"]["direct_bytes"] == sum(sizes.values())


# The largest memory of a process counts from its fork on: so from a small one.
MEASURE = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, check=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([json.loads(done.stdout), {name: getattr(usage, name) for name in ("ru_maxrss", "ru_minflt", "ru_inblock")}]))
"""


def usage_of(binary, work, *arguments):
    result = running.run(sys.executable, ["-c", MEASURE, binary, "load", *arguments, "--json", "-q"], work)
    assert result.status == 0, result
    return json.loads(result.stdout)


def test_a_mapping_of_any_size_takes_no_memory(binary, work):
    sizes = {"small": 2**12, "large": 2**36}
    usages = {}
    for name, size in sizes.items():
        (work / name).mkdir()
        safetensors_writer.write(work / name / "model.safetensors", [("w", "U8", [size])], sparse=True)
        document, usages[name] = usage_of(binary, work, name, "--device-map", "cpu", "--max-memory", "cpu=100GB", "--map")
        assert document["io"]["read_bytes"] == document["loaded_bytes"] == 0
        assert document["io"]["mapped_bytes"] == size
    # Each page that was looked at would be a fault, or a few of them together one.
    assert usages["large"]["ru_minflt"] - usages["small"]["ru_minflt"] < 500, usages
    assert usages["large"]["ru_maxrss"] - usages["small"]["ru_maxrss"] < 8 << 10, usages
    assert running.is_sanitized(binary) or usages["large"]["ru_maxrss"] < 64 << 10, usages


def test_every_name_of_a_tied_tensor_has_its_hash(binary, work):
    setups.llama_tied(work)
    expected = {name: tensor_hash(data) for name, data in stored_tensors(work / "llama" / "model.safetensors").items()}
    expected["lm_head.weight"] = expected["model.embed_tokens.weight"]
    for device in ("cpu", "disk"):
        assert load(binary, work, "--device-map", device)["hashes"] == expected, device


def test_the_whole_time_is_longer_than_the_reading(binary, work):
    """Which begins with the first allocation; before it, the model is opened and planned."""
    write_model(work)
    document = load(binary, work, "--device-map", "cpu")
    assert 0 < document["seconds"] < document["total_seconds"] < 60, document
    assert document["io"]["numa_node"] is None and document["io"]["gds"] is None and document["io"]["gds_bytes"] == 0, document["io"]
