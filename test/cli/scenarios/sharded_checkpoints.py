"""`load` of sharded checkpoints beside what `load_sharded_checkpoint` of transformers made of the same ones
(test/oracle/make_sharded.py). Where hfload differs on purpose, a set below names the cases and says why."""

import json
import lzma
import re
import shutil

import running
import safetensors_writer

# Names are compared as from_pretrained compares them, not one by one: one name of a tied tensor is enough, legacy names
# are translated, the base model's prefix is added, buffers that are not saved and ignored patterns are not unexpected.
AS_FROM_PRETRAINED = {
    "tied head not saved", "tied head saved instead of the embedding", "tied embeddings of encoder and decoder not saved",
    "old inv_freq", "a buffer that is not saved", "legacy names", "names of the base model",
}
# The headers hold, and the index is advice. A tensor that no shard has is missing; transformers, which compares the names of
# the index, leaves the model's as it was without a word. A tensor of which the index does not tell is loaded; transformers
# loads it as well, and lists it as missing.
IN_NO_SHARD = {"the index names a key that no shard holds": "model.norm.weight"}
NOT_INDEXED = {"a shard holds a key of the model that the index does not name"}

LISTS = ("missing_keys", "unexpected_keys", "mismatched_keys")  # of mismatched ones [name, shape in the checkpoint, in the model]


def read_cases():
    cases = [json.loads(line) for line in lzma.open(running.FIXTURES / "loading" / "sharded.jsonl.xz", "rt")][1:]
    names = {case["case"] for case in cases}
    assert len(names) == len(cases) >= 30 and AS_FROM_PRETRAINED | set(IN_NO_SHARD) | NOT_INDEXED <= names
    return cases


def write(folder, case):
    folder.mkdir()
    shutil.copy(running.FIXTURES / "checkpoints" / case["checkpoint"] / "config.json", folder)
    safetensors_writer.write_sharded(folder, {file: (s["names"], s["tensors"]) for file, s in case["shards"].items()}, 0)
    if case["torch_names"]:
        index = {"metadata": {}, "weight_map": case["torch_names"]}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def load_all(binary, work, *flags):
    """(case, exit status, document) of each."""
    for number, case in enumerate(read_cases()):
        folder = work / str(number)
        write(folder, case)
        arguments = ["load", str(folder), "--device-map", "cpu", "--max-memory", "cpu=1GB", "--verify", "--json", "--quiet", *flags]
        result = running.run(binary, arguments, work)
        yield case, result.status, json.loads(result.stdout)


def lists_of(answer):
    return {key: answer.get(key, []) for key in LISTS}


def our_lists(document):
    rows = [[m["name"], m["checkpoint_shape"], m["model_shape"]] for m in document["mismatched_shapes"]]
    assert [name for name, _, _ in rows] == document["mismatched_keys"], document
    return {**lists_of(document), "mismatched_keys": rows}


def check_refusal(case, status, document):
    """What both refuse for the files' sake. Returns whether that is so."""
    refused = document.get("error", {}).get("code") == "shard_missing"
    assert refused == (case["default"].get("raises") == "FileNotFoundError"), (case["case"], document)
    assert not refused or status == 8, (case["case"], status)
    return refused


def by_the_headers(case, lists):
    """What transformers lists, but for keys of which index and headers disagree."""
    if case["case"] in IN_NO_SHARD:
        return {**lists, "missing_keys": sorted([*lists["missing_keys"], IN_NO_SHARD[case["case"]]])}
    return {**lists, "missing_keys": []} if case["case"] in NOT_INDEXED else lists


def test_strict_fails_where_strict_raises(binary, work):
    for case, status, document in load_all(binary, work, "--strict"):
        what, theirs = case["case"], case["strict"]
        if check_refusal(case, status, document):
            assert "raises" in theirs, what
            continue
        if what in IN_NO_SHARD or what in NOT_INDEXED:
            wanted = by_the_headers(case, lists_of(case["from_pretrained"]))
            assert status == (1 if any(wanted.values()) else 0) and our_lists(document) == wanted, (what, document)
            continue
        answer = case["from_pretrained"] if what in AS_FROM_PRETRAINED else theirs
        fails = "raises" in theirs if answer is theirs else any(answer[key] for key in LISTS)
        assert status == (1 if fails else 0) and ("error" in document) == fails, (what, status, document)
        if not fails or answer is not theirs:
            continue
        # Both of transformers' lists are headed "Missing key(s)".
        named = re.findall(r'"([^"]+)"', theirs["message"])
        assert sorted(named) == sorted(document["missing_keys"] + document["unexpected_keys"]), (what, document)
        assert named or theirs["mismatched_keys"], (what, theirs)
        assert all(row in our_lists(document)["mismatched_keys"] for row in theirs["mismatched_keys"]), (what, document)


def test_the_lists_of_the_default_mode(binary, work):
    for case, status, document in load_all(binary, work):
        what, theirs = case["case"], case["default"]
        if check_refusal(case, status, document):
            continue
        # hfload initialises nothing, so that what is missing is a failure; transformers returns the list.
        wanted = by_the_headers(case, lists_of(case["from_pretrained"]))
        fails = bool(wanted["missing_keys"] or wanted["mismatched_keys"])
        if what in IN_NO_SHARD or what in NOT_INDEXED:
            assert status == (1 if fails else 0) and our_lists(document) == wanted, (what, document)
            continue
        assert what in AS_FROM_PRETRAINED or fails == ("raises" in theirs or bool(theirs["missing_keys"])), what
        assert status == (1 if fails else 0), (what, status, document)
        ours = our_lists(document)
        assert ours == wanted, (what, ours)
        if "raises" not in theirs:
            assert (ours == lists_of(theirs)) != (what in AS_FROM_PRETRAINED), (what, ours)
            continue
        # transformers stops at the first shard that has one of another shape; hfload lists those of all.
        others = [row for row in ours["mismatched_keys"] if row not in theirs["mismatched_keys"]]
        assert theirs["mismatched_keys"] and all(row in ours["mismatched_keys"] for row in theirs["mismatched_keys"]), (what, ours)
        assert bool(others) == (what == "another shape in each shard"), (what, ours)


def test_loads_the_tensors_that_transformers_fills(binary, work):
    loaded = 0
    for case, status, document in load_all(binary, work):
        if status != 0:
            continue
        what, theirs = case["case"], set(case["default"]["filled"])
        groups = {name: set(group) for group in document["tied_weights"] for name in group}
        ours = set().union(*(groups.get(name, {name}) for name in document["hashes"]))
        if what in AS_FROM_PRETRAINED:
            assert theirs <= ours, (what, ours ^ theirs)
        else:
            assert ours == theirs, (what, ours ^ theirs)
        loaded += 1
    assert loaded >= 12, loaded


def test_a_warning_says_what_the_index_does_not_name(binary, work):
    checked = 0
    # Of a part, as the whole may lack what is left out.
    for case, status, document in load_all(binary, work, "--subset", "model.layers.*"):
        unnamed = [t[0] for s in case["shards"].values() for t in s["tensors"] or [] if t[0] not in s["names"]]
        if not unnamed or set(unnamed) <= {n for s in case["shards"].values() for n in s["names"]}:
            continue
        assert status == 0 and any(f"'{unnamed[0]}'" in text for text in document["warnings"]), (case["case"], document)
        if case["case"] in NOT_INDEXED:
            assert set(unnamed) <= set(case["default"]["filled"]) & set(case["default"]["missing_keys"]), case["case"]
        checked += 1
    assert checked == 2
