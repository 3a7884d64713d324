"""`load --dry-run` tells what a load would do, by sums that are done here by hand, and does none of it."""

import json
import re

import run_cli_tests
import running
import safetensors_writer
import setups
from scenarios.reading import usage_of

# Of no config: each stands for itself, so that a device map can name it. Sizes that do not divide 256.
TENSORS = [("a", "F16", [3, 5]), ("b", "F32", [100]), ("c", "BF16", [129]), ("d", "I64", [1]), ("e", "F32", [0]), ("f", "F32", [64]),
           ("g", "F32", [7, 11]), ("h", "F32", [1000, 33]), ("i", "U8", [255])]
DEVICES = {"a": 0, "b": 1, "c": 0, "d": "cpu", "e": 0, "f": 1, "g": "disk", "h": "cpu", "i": "cpu"}
BYTES = {name: safetensors_writer.element_count(shape) * safetensors_writer.BYTES[dtype] for name, dtype, shape in TENSORS}


def load(binary, work, *arguments, status=0):
    result = running.run(binary, ["load", *arguments, "--json", "-q"], work)
    assert result.status == status, result
    return run_cli_tests.check_schema(result.stdout, "load" if status == 0 else "error"), result.stderr


def write_tensors(work):
    safetensors_writer.write(work / "m.safetensors", TENSORS)
    return ["m.safetensors", "--device-map", json.dumps(DEVICES), "--max-memory", "0=1MB,1=1MB,cpu=1GB", "--emulate-gpus", "--dtype", "float32"]


def in_memory(name, dtype):
    """Floating-point tensors are loaded as float32."""
    return BYTES[name] * (2 if dtype in ("F16", "BF16") else 1)


def arena(names):
    """One tensor after the other in the order of the file, each at a multiple of 256."""
    end = 0
    for name, dtype, _ in TENSORS:
        if name in names:
            end = (end + 255) // 256 * 256 + in_memory(name, dtype)
    return end


def expected_devices(mapped=False):
    devices = []
    for device in (0, 1, "cpu", "disk"):
        names = [n for n, _, _ in TENSORS if DEVICES[n] == device]
        # What needs no conversion can be used where it lies: d, h and i of the CPU's.
        left = names if device == "disk" or (mapped and device == "cpu") else []
        taken = [n for n in names if n not in left]
        dtypes = {n: d for n, d, _ in TENSORS}
        devices.append({"device": device, "arena_bytes": arena(taken), "tensors": len(taken), "tensor_bytes": sum(in_memory(n, dtypes[n]) for n in taken),
                        "in_file_tensors": len(left), "in_file_bytes": sum(BYTES[n] for n in left)})
    return devices


def test_arenas_are_what_the_load_allocates(binary, work):
    arguments = write_tensors(work)
    for flags, mapped in ([], False), (["--map"], True):
        planned, _ = load(binary, work, *arguments, *flags, "--dry-run")
        loaded, _ = load(binary, work, *arguments, *flags)
        assert planned["load_plan"]["devices"] == expected_devices(mapped), planned["load_plan"]
        assert loaded["load_plan"]["devices"] == expected_devices(mapped), loaded["load_plan"]
        tensors = sum(device["tensor_bytes"] for device in expected_devices(mapped))
        assert planned["loaded_bytes"] == loaded["loaded_bytes"] == tensors
        assert planned["offloaded_bytes"] == loaded["offloaded_bytes"] == BYTES["g"]
        assert (planned["dry_run"], loaded["dry_run"]) == (True, False)
        assert planned["seconds"] == 0 and "io" not in planned and "io" in loaded


def test_shards_are_what_the_load_reads(binary, work):
    """Neighbours come together, across gaps of at most 64 KiB; large tensors in pieces of 4 MiB on the CPU and of 1 MiB on an emulated GPU."""
    mebibyte = 1 << 20
    large = [("p", "U8", [9 * mebibyte]), ("q", "U8", [10]), ("r", "U8", [10]), ("t", "U8", [10])]
    other = [("s", "F32", [mebibyte // 4 + 1])]
    safetensors_writer.write_sharded(work, {"x.safetensors": (["p", "q", "r", "t"], large), "y.safetensors": (["s"], other)}, 0)
    arguments = ["model.safetensors.index.json", "--max-memory", "0=1GB,cpu=1GB", "--emulate-gpus", "--dry-run", "--threads", "3", "--device-map"]
    plan = load(binary, work, *arguments, json.dumps({"p": "cpu", "q": "cpu", "r": "cpu", "t": "cpu", "s": 0}))[0]["load_plan"]
    # p and q, which are neighbours in file and arena: 4 + 4 + 1 MiB and 10 bytes, straight there; then r and t together.
    assert plan["shards"] == [{"file": "x.safetensors", "tensors": 4, "reads": 3 + 1, "read_bytes": 9 * mebibyte + 30},
                              {"file": "y.safetensors", "tensors": 1, "reads": 2, "read_bytes": mebibyte + 4}], plan
    # Of each thread 256 KiB, of direct reads 16 MiB, of the GPU's ring 4 MiB, as docs/loading.md says.
    assert (plan["threads"], plan["staging_bytes"]) == (3, 3 * mebibyte // 4 + 16 * mebibyte + 4 * mebibyte)
    # r lies between two that are wanted, and is read along.
    plan = load(binary, work, *arguments, json.dumps({"p": "disk", "q": 0, "r": "disk", "t": 0, "s": "disk"}), "--io", "pread")[0]["load_plan"]
    assert plan["shards"] == [{"file": "x.safetensors", "tensors": 2, "reads": 1, "read_bytes": 30}], plan
    assert plan["staging_bytes"] == 3 * mebibyte // 4 + 4 * mebibyte
    arguments[2] = "0=1GB,1=1GB,cpu=1GB"
    plan = load(binary, work, *arguments, json.dumps({"p": 1, "q": 0, "r": "disk", "t": 0, "s": "disk"}), "--io", "mmap")[0]["load_plan"]
    assert plan["staging_bytes"] == 3 * mebibyte // 4 + 2 * 4 * mebibyte


def test_nothing_is_read_or_allocated(binary, work):
    (work / "large").mkdir()
    safetensors_writer.write(work / "large" / "model.safetensors", [("w", "U8", [2**36])], sparse=True)
    document, usage = usage_of(binary, work, "large", "--device-map", "cpu", "--max-memory", "cpu=100GB", "--dry-run")
    assert document["loaded_bytes"] == document["load_plan"]["devices"][0]["arena_bytes"] == 2**36
    assert document["load_plan"]["shards"][0]["reads"] == 2**36 // 2**22
    assert running.is_sanitized(binary) or usage["ru_maxrss"] < 64 << 10, usage
    # In blocks of 512 bytes; the program itself may have to be read.
    assert usage["ru_inblock"] < 2**20, usage


def test_a_folder_is_planned_and_not_made(binary, work):
    setups.llama(work)
    arguments = ["llama", "--device-map", '{"model": "disk", "lm_head": "cpu"}', "--max-memory", "cpu=1GB", "--dtype", "float32", "--offload-folder", "out"]
    planned, table = load(binary, work, *arguments, "--dry-run")
    assert not (work / "out").exists()
    assert re.search(r"^Offload folder out: 20 tensors written, 4,512 B; 0 used in place$", table, re.MULTILINE), table
    loaded, _ = load(binary, work, *arguments)
    assert planned["offload_folder"] == loaded["offload_folder"], planned
    assert loaded["offload_folder"]["written_bytes"] == 2 * (2512 - 256)
    # What the load finds in the way, the dry run does.
    (work / "out" / "index.json").write_text("[]")
    errors = [load(binary, work, *arguments, *flags, status=3)[0] for flags in ([], ["--dry-run"])]
    assert errors[0] == errors[1] and errors[0]["error"]["code"] == "invalid_offload_index"


def test_keys_are_matched_as_in_a_load(binary, work):
    for name in ("llama_with_missing_and_mismatched_tensors", "llama_with_two_mismatched_tensors"):
        (work / name).mkdir()
        getattr(setups, name)(work / name)
        arguments = [f"{name}/llama", "--device-map", "cpu", "--max-memory", "cpu=1GB"]
        results = [load(binary, work, *arguments, *flags, status=1) for flags in ([], ["--dry-run"])]
        assert results[0] == results[1]
        assert results[0][0]["mismatched_keys"]
    lists = [[load(binary, work, *arguments, "--ignore-mismatched-sizes", *flags)[0][f"{kind}_keys"] for kind in ("missing", "unexpected", "mismatched")]
             for flags in ([], ["--dry-run"])]
    assert lists[0] == lists[1] == [[], [], ["lm_head.weight", "model.norm.weight"]]


def test_standard_output_is_the_map_of_the_load(binary, work):
    arguments = write_tensors(work)
    maps = [running.run(binary, ["load", *arguments, *flags], work) for flags in ([], ["--dry-run", "--verify"])]
    assert maps[0].status == maps[1].status == 0 and maps[0].stdout == maps[1].stdout != ""
    assert "loaded" not in maps[1].stderr and "note: nothing is verified: --dry-run reads no weights\n" in maps[1].stderr, maps[1].stderr
    assert re.search(rf"^cpu +{arena('dhi'):,} B +3 ", maps[1].stderr, re.MULTILINE), maps[1].stderr
