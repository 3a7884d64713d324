"""The checkpoints that transformers saved (test/fixtures/checkpoints): each loads completely, on every kind of device."""

import ast
import json

import running

FOLDERS = sorted(p for p in (running.FIXTURES / "checkpoints").iterdir() if p.is_dir())


def load(binary, work, folder, *flags):
    result = running.run(binary, ["load", str(folder), "--verify", "--json", "--quiet", *flags], work)
    assert (result.status, result.stderr) == (0, ""), (folder.name, flags, result)
    document = json.loads(result.stdout)
    assert document["missing_keys"] == document["unexpected_keys"] == document["mismatched_keys"] == [], folder.name
    return document


def saved_bytes(folder):
    """What the headers of the files say, read without hfload."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with open(file, "rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        total += sum(t["data_offsets"][1] - t["data_offsets"][0] for n, t in header.items() if n != "__metadata__")
    return total


def test_every_device(binary, work):
    assert len(FOLDERS) >= 10
    for folder in FOLDERS:
        size = saved_bytes(folder)
        cpu = load(binary, work, folder, "--device-map", "cpu", "--max-memory", "cpu=1GB")
        assert (cpu["loaded_bytes"], cpu["verified_bytes"], cpu["offloaded_bytes"]) == (size, size, 0), folder.name
        disk = load(binary, work, folder, "--device-map", "disk")
        assert (disk["loaded_bytes"], disk["offloaded_bytes"]) == (0, size), folder.name
        split = load(binary, work, folder, "--max-memory", f"0={size // 2},1={size},cpu=1GB", "--emulate-gpus")
        assert split["loaded_bytes"] + split["offloaded_bytes"] == size, folder.name
        for device in split["devices"]:
            assert device["budget_bytes"] is None or device["used_bytes"] <= device["budget_bytes"], folder.name


def test_plan_and_load_print_one_map(binary, work):
    for folder in FOLDERS:
        flags = [str(folder), "--max-memory", "0=20KB,1=20KB,cpu=30KB", "--quiet"]
        plan = running.run(binary, ["plan", *flags], work)
        loaded = running.run(binary, ["load", *flags, "--emulate-gpus"], work)
        assert plan.status == loaded.status == 0 and plan.stdout == loaded.stdout, (folder.name, plan, loaded)
        assert isinstance(ast.literal_eval(plan.stdout), dict)


def test_inspect_counts_what_the_headers_say(binary, work):
    for folder in FOLDERS:
        result = running.run(binary, ["inspect", str(folder), "--tensors", "--json"], work)
        document = json.loads(result.stdout)
        assert (result.status, result.stderr) == (0, ""), (folder.name, result)
        assert document["total_bytes"] == sum(d["bytes"] for d in document["dtypes"].values()) == saved_bytes(folder)
        assert all(shard["present"] for shard in document["shards"])
