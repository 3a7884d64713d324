"""The folder that `load --offload-folder` leaves, byte for byte against the one that accelerate wrote (test/oracle/make_offload.py)."""

import json
import os
import pathlib

import running
import safetensors_writer
import setups

OFFLOAD = running.FIXTURES / "offload"
CHECKPOINTS = running.FIXTURES / "checkpoints"


def load(binary, work, model, *flags):
    result = running.run(binary, ["load", str(model), "--device-map", "disk", "--offload-folder", "out", "--json", "-q", *flags], work)
    return result, json.loads(result.stdout)


def read(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def index_of(folder):
    return json.loads((pathlib.Path(folder) / "index.json").read_text())


def test_files_and_index_are_those_of_accelerate(binary, work):
    for dtype in ["float32", "float16", "bfloat16"]:
        home = work / dtype
        home.mkdir()
        result, document = load(binary, home, OFFLOAD / "weights.safetensors", "--dtype", dtype, "--verify", "--threads", "3")
        assert result.status == 0, result
        ours, theirs = read(home / "out"), read(OFFLOAD / dtype)
        index, expected = json.loads(ours.pop("index.json")), json.loads(theirs.pop("index.json"))
        assert ours == theirs, dtype
        in_place = {name: index.pop(name) for name in list(index) if "safetensors_file" in index[name]}
        assert index == expected, dtype
        same = {"float32": {"matrix.weight", "special.weight", "scalar", "empty.weight", "cube"}, "float16": {"half.weight"},
                "bfloat16": {"brain.weight"}}[dtype]
        assert set(in_place) == same | {"count", "mask"}, dtype
        for name, entry in in_place.items():
            wanted = {"safetensors_file": str(OFFLOAD / "weights.safetensors"), "weight_name": name,
                      "dtype": {"count": "int64", "mask": "bool"}.get(name, dtype)}
            assert entry == wanted, entry
        written = sum(len(data) for name, data in theirs.items() if name != "empty.weight.dat")
        assert document["offload_folder"] == {"path": "out", "in_place_tensors": len(in_place), "written_tensors": len(expected),
                                              "written_bytes": written}
        assert document["verified_bytes"] == document["offloaded_bytes"] and document["loaded_bytes"] == 0


def test_in_place_entries_are_those_of_transformers(binary, work):
    """Beside them stand the other names of tied weights, for which accelerate's hooks ask too."""
    for name, expected in json.loads((OFFLOAD / "in_place.json").read_text()).items():
        home = work / name
        home.mkdir()
        result, document = load(binary, home, CHECKPOINTS / name, "--verify")
        assert result.status == 0, result
        index = index_of(home / "out")
        tied = {tensor for group in document["tied_weights"] for tensor in group}
        assert os.listdir(home / "out") == ["index.json"], name
        assert set(expected) <= set(index) <= set(expected) | tied, (name, set(index) ^ set(expected))
        for tensor, entry in expected.items():
            assert index[tensor] == {**entry, "safetensors_file": str(CHECKPOINTS / entry["safetensors_file"])}, (name, tensor)


def test_the_text_of_the_index_is_pythons(binary, work):
    load(binary, work, OFFLOAD / "weights.safetensors", "--dtype", "bfloat16")
    text = (work / "out" / "index.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2)


def test_a_tied_tensor_is_written_once_under_all_its_names(binary, work):
    result, document = load(binary, work, CHECKPOINTS / "t5-v1_0-tiny", "--dtype", "bfloat16")
    assert result.status == 0, result
    names = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"]
    assert len({os.stat(work / "out" / f"{name}.dat").st_ino for name in names}) == 1
    assert {json.dumps(index_of(work / "out")[name]) for name in names} == {'{"dtype": "bfloat16", "shape": [64, 16]}'}
    # 15,616 distinct parameters, two bytes each.
    assert document["offload_folder"]["written_bytes"] == document["offloaded_bytes"] == 31232


def test_a_folder_is_used_again_and_entries_of_other_tensors_stay(binary, work):
    weights = work / "weights.safetensors"
    safetensors_writer.write(weights, [("a", "F32", [2]), ("b", "F32", [3])])
    assert load(binary, work, weights, "--dtype", "float16")[0].status == 0
    other = work / "other.safetensors"
    safetensors_writer.write(other, [("b", "F32", [5]), ("c", "F32", [1])])
    assert load(binary, work, other, "--dtype", "bfloat16", "--verify")[0].status == 0
    assert index_of(work / "out") == {"a": {"dtype": "float16", "shape": [2]}, "b": {"dtype": "bfloat16", "shape": [5]},
                                      "c": {"dtype": "bfloat16", "shape": [1]}}
    assert {name: len(data) for name, data in read(work / "out").items() if name != "index.json"} == {"a.dat": 4, "b.dat": 10, "c.dat": 2}
    # Used in place again: the copy goes, and the next conversion finds its name free.
    assert load(binary, work, other, "--dtype", "float32")[0].status == 0
    assert sorted(os.listdir(work / "out")) == ["a.dat", "index.json"]
    assert index_of(work / "out")["b"]["safetensors_file"] == str(other)
    assert load(binary, work, other, "--dtype", "float16")[0].status == 0


def refused(binary, work, weights, code, status):
    before = read(work / "out") if (work / "out").is_dir() else None
    result, document = load(binary, work, weights, "--dtype", "float16")
    assert (result.status, document["error"]["code"]) == (status, code), result
    assert document["error"]["hint"], document
    assert before == (read(work / "out") if (work / "out").is_dir() else None)
    return document["error"]


def test_files_that_no_index_names_are_not_replaced(binary, work):
    weights = work / "weights.safetensors"
    safetensors_writer.write(weights, [("a", "F32", [2]), ("b", "F32", [3])])
    (work / "out").mkdir()
    (work / "out" / "b.dat").write_bytes(b"something dear")
    assert refused(binary, work, weights, "file_exists", 5)["path"] == "out/b.dat"
    # Neither an entry that leads elsewhere nor a link makes it replaceable.
    (work / "out" / "index.json").write_text('{"b": {"safetensors_file": "/x", "weight_name": "b", "dtype": "float16"}}')
    refused(binary, work, weights, "file_exists", 5)
    (work / "out" / "index.json").write_text('{"b": {"dtype": "float16", "shape": [3]}}')
    (work / "out" / "b.dat").unlink()
    (work / "out" / "b.dat").symlink_to(work / "elsewhere")
    result, document = load(binary, work, weights, "--dtype", "float16")
    assert (result.status, document["error"]["code"]) == (5, "file_exists"), result
    (work / "out" / "b.dat").unlink()
    assert load(binary, work, weights, "--dtype", "float16")[0].status == 0


def test_an_index_of_another_kind_is_refused(binary, work):
    weights = work / "weights.safetensors"
    safetensors_writer.write(weights, [("a", "F32", [2])])
    (work / "out").mkdir()
    for text, code in [("[]", "invalid_offload_index"), ('{"a": 1}', "invalid_offload_index"), ('{"a": {"dtype": "float16"}}', "invalid_offload_index"),
                       ('{"a": {"shape": [1], "dtype": 3}}', "invalid_offload_index"), ('{"weight_map": {"a": "b"}}', "invalid_offload_index"),
                       ('{"a": {"dtype": "float16", "shape": [-1]}}', "invalid_number"), ("{", "invalid_json"), ('{"a": {}, "a": {}}', "invalid_offload_index"),
                       ('{"a": {"dtype": "x", "shape": [], "by": "hand"}}', "invalid_offload_index")]:
        (work / "out" / "index.json").write_text(text)
        assert refused(binary, work, weights, code, 3)["path"] == "out/index.json", text


def test_names_that_make_no_safe_file_are_refused(binary, work):
    for i, name in enumerate(["../a", "/tmp/a", "a/b", "..", "a\0b", "a" * 252]):
        weights = work / f"{i}.safetensors"
        safetensors_writer.write(weights, [(name, "F32", [2])])
        assert refused(binary, work, weights, "unsafe_path", 3)["tensor"] == name
        assert not (work / "out").exists()
    # In place no file is named after them; and 251 bytes and .dat are the 255 that a name may have.
    assert load(binary, work, work / "0.safetensors", "--dtype", "float32")[0].status == 0
    assert index_of(work / "out")["../a"]["weight_name"] == "../a"
    safetensors_writer.write(work / "long.safetensors", [("a" * 251, "F32", [2])])
    assert load(binary, work, work / "long.safetensors", "--dtype", "float16", "--verify")[0].status == 0


def test_a_folder_that_cannot_be_used_is_an_error(binary, work):
    weights = work / "weights.safetensors"
    safetensors_writer.write(weights, [("a", "F32", [2])])
    (work / "out").write_text("a file")
    assert refused(binary, work, weights, "io_error", 5)["path"] == "out"
    (work / "out").unlink()
    (work / "out").symlink_to("/proc/self")  # where nobody makes files
    result, document = load(binary, work, weights, "--dtype", "float16")
    assert (result.status, document["error"]["code"]) == (5, "io_error"), result


def test_only_the_last_directory_of_a_path_is_made(binary, work):
    weights = work / "weights.safetensors"
    safetensors_writer.write(weights, [("a", "F32", [2])])
    arguments = ["load", str(weights), "--device-map", "disk", "--dtype", "float16"]
    result = running.run(binary, [*arguments, "--offload-folder", "absent/out/", "--json"], work)
    error = json.loads(result.stdout)["error"]
    assert (result.status, error["code"], error["path"]) == (8, "not_found", "absent") and "Make the directory first" in error["hint"], result
    assert not (work / "absent").exists()
    for folder in ("out/", str(work / "other")):
        result = running.run(binary, [*arguments, "--offload-folder", folder], work)
        assert result.status == 0 and f"note: offload folder {folder}: 1 tensor written, 0 used in place, index.json of all\n" in result.stderr, result
        assert sorted(os.listdir(work / folder)) == ["a.dat", "index.json"]


def test_a_full_disk_leaves_the_folder_as_it_was(binary, work):
    """A limit on the size of files stands for the full disk: the write fails in the same place."""
    weights = work / "weights.safetensors"
    safetensors_writer.write(weights, [("a", "F32", [3]), ("b", "F32", [500_000])])
    small = work / "small.safetensors"
    safetensors_writer.write(small, [("a", "F32", [3])])
    assert load(binary, work, small, "--dtype", "float16")[0].status == 0
    before = read(work / "out")
    script = 'trap "" XFSZ; ulimit -f 500; exec "$0" load weights.safetensors --device-map disk --offload-folder out --dtype bfloat16 --json -q'
    result = running.run("/bin/sh", ["-c", script, binary], work)
    assert result.status == 5 and json.loads(result.stdout)["error"]["code"] == "io_error", result
    assert json.loads(result.stdout)["error"]["tensor"] == "b"
    assert read(work / "out") == before


def test_many_small_and_one_large_tensor(binary, work):
    weights = work / "weights.safetensors"
    safetensors_writer.write(weights, [(f"t.{i}", "BF16", [i % 7, 3]) for i in range(600)] + [("large", "BF16", [1_500_001])])
    result, document = load(binary, work, weights, "--dtype", "float32", "--verify", "--threads", "4")
    assert result.status == 0, result
    data = weights.read_bytes()[-3_000_002:]
    # A bfloat16 is the upper half of a float32; the data has signalling NaNs, which become quiet.
    large = (work / "out" / "large.dat").read_bytes()
    assert len(large) == 6_000_004 and large[0::4] == large[1::4] == bytes(1_500_001) and large[3::4] == data[1::2]
    assert len(os.listdir(work / "out")) == 602 and document["verified_bytes"] == document["offloaded_bytes"]


def test_what_is_not_on_the_disk_is_not_in_the_folder(binary, work):
    setups.llama(work)
    flags = ["load", "llama", "--device-map", '{"model": "cpu", "lm_head": "disk"}', "--max-memory", "cpu=1GB", "--dtype", "float32",
             "--offload-folder", "out", "--verify", "--json", "-q"]
    document = json.loads(running.run(binary, flags, work).stdout)
    assert sorted(os.listdir(work / "out")) == ["index.json", "lm_head.weight.dat"]
    assert (document["loaded_bytes"], document["offloaded_bytes"], document["verified_bytes"]) == (4512, 512, 5024)
    running.run(binary, ["load", "llama", "--device-map", "cpu", "--max-memory", "cpu=1GB", "--offload-folder", "none", "-q"], work)
    assert not (work / "none").exists()
