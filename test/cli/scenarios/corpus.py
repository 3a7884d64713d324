"""Real models' config.json and index without weights, where HFLOAD_CORPUS names the folder that holds them."""

import ast
import json
import os
import pathlib

import running
import schema

CORPUS = os.environ.get("HFLOAD_CORPUS")
SCHEMA = json.loads((running.SCHEMAS / "inspect.json").read_text())


def models():
    if not CORPUS:
        print("skipped: HFLOAD_CORPUS is not set")
        return []
    return sorted(p for p in pathlib.Path(CORPUS).iterdir() if p.is_dir() and p.name != "edge")


def shards_of(folder):
    """In the order in which hfload looks for weights; the files the index names, sorted."""
    for name in ["model.safetensors.index.json", "pytorch_model.bin.index.json"]:
        if (folder / name).exists():
            return sorted(set(json.loads((folder / name).read_text())["weight_map"].values()))
    raise AssertionError(f"no index in {folder}")


def test_inspect_and_plan(binary, work):
    for folder in models():
        inspected = running.run(binary, ["inspect", str(folder), "--json", "--tensors", "--patterns", "--tree"], work)
        assert inspected.status == 0, (folder.name, inspected.stderr)
        document = json.loads(inspected.stdout)
        assert not list(schema.faults(document, SCHEMA)), folder.name
        assert [s["file"] for s in document["shards"]] == shards_of(folder), folder.name
        assert not any(s["present"] for s in document["shards"]), folder.name
        for flags in [["--max-memory", "0=20GiB,1=21GiB,cpu=60GiB"], ["--device-map", "sequential", "--max-memory", "cpu=8000GB"]]:
            plan = running.run(binary, ["plan", str(folder), *flags], work)
            assert plan.status == 0, (folder.name, plan.stderr)
            assert ast.literal_eval(plan.stdout), folder.name


def test_load_names_the_first_missing_shard(binary, work):
    for folder in models():
        result = running.run(binary, ["load", str(folder), "--json"], work)
        error = json.loads(result.stdout)["error"]
        assert (result.status, error["code"]) == (8, "shard_missing"), (folder.name, result)
        assert error["path"] == str(folder / shards_of(folder)[0]), (folder.name, error)


def test_broken_models_are_refused(binary, work):
    if not CORPUS:
        return
    expected = {"bloom-two-json-docs": "invalid_json", "empty-weight-map": "invalid_index", "lfs-pointer-index": "lfs_pointer",
                "lisa-broken-config": "invalid_json"}
    for name, code in expected.items():
        for command in ["inspect", "plan", "load"]:
            result = running.run(binary, [command, str(pathlib.Path(CORPUS) / "edge" / name), "--json"], work)
            assert result.status == 3 and json.loads(result.stdout)["error"]["code"] == code, (name, command, result)
