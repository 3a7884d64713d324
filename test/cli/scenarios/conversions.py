"""convert against what Python's packages write and read, through the program; the packages' answers are fixtures."""

import hashlib
import json
import os
import pickle
import shutil
import stat
import struct
import subprocess
import time
import zipfile

import running
import safetensors_writer
import setups
from run_cli_tests import check_schema

CHECKPOINTS = running.FIXTURES / "checkpoints"


def convert(binary, work, *arguments, status=0):
    result = running.run(binary, ["convert", *map(str, arguments)], work)
    assert result.status == status, result
    return result


def document(binary, work, *arguments, status=0):
    return json.loads(convert(binary, work, *arguments, "--json", "--quiet", status=status).stdout)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lines(binary, work, *arguments, status=0):
    """What several conversions say with --json: of each its document, on a line, as soon as it ends."""
    return [check_schema(line, "convert") for line in convert(binary, work, *arguments, "--json", "--quiet", status=status).stdout.splitlines()]


def weights_of(folder):
    return {p.name: sha256(p) for p in sorted(folder.iterdir()) if p.name.startswith("model")}


def tree_of(folder):
    return {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def read_tensors(path):
    """{name: (dtype, shape, bytes)} of a file, by the format's specification."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    assert header.pop("__metadata__") == {"format": "pt"}
    data = content[8 + size :]
    return {n: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for n, t in header.items()}


def test_output_is_what_save_pretrained_writes(binary, work):
    cases = [json.loads(line) for line in (running.FIXTURES / "save" / "saved.jsonl").read_text().splitlines()]
    assert len(cases) > 60
    wrong = []
    for number, case in enumerate(cases):
        flags = ["--dtype", case["dtype"]] if case["dtype"] else []
        convert(binary, work, CHECKPOINTS / case["model"], f"out{number}", "--max-shard-size", case["max_shard_size"], "-q", *flags)
        if weights_of(work / f"out{number}") != case["files"]:
            wrong.append((case["model"], case["dtype"], case["max_shard_size"], sorted(case["files"]), sorted(weights_of(work / f"out{number}"))))
    assert not wrong, wrong[:3]


def float_bits(data, dtype):
    """Bits of the elements as float32, by the definitions of bfloat16 and float16."""
    if dtype == "BF16":
        return [bits << 16 for (bits,) in struct.iter_unpack("<H", data)]
    if dtype == "F16":
        return [struct.unpack("<I", struct.pack("<f", value))[0] for (value,) in struct.iter_unpack("<e", data)]
    return [bits for (bits,) in struct.iter_unpack("<I", data)]


def test_dtypes_by_rules(binary, work):
    tensors = [("norm.weight", "F32", [5]), ("head.norm.weight", "F32", [3]), ("w", "F32", [4, 4]), ("steps", "I64", [2]),
               ("mask", "BOOL", [3]), ("half", "BF16", [4]), ("wide", "F64", [1])]
    safetensors_writer.BYTES["F64"] = 8
    safetensors_writer.write(work / "a.safetensors", tensors)
    result = convert(binary, work, "a.safetensors", "b.safetensors", "--dtype", "float16", "--dtype-for", "*norm*=float32",
                     "--dtype-for", "head.*=bfloat16", "--dtype-for", "half=auto")
    assert "wide stays float64" in result.stderr, result
    content = (work / "a.safetensors").read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    before = {n: content[8 + size :][slice(*t["data_offsets"])] for n, t in json.loads(content[8 : 8 + size]).items()}
    after = read_tensors(work / "b.safetensors")
    dtypes = {n: t[0] for n, t in after.items()}
    assert dtypes == {"norm.weight": "F32", "head.norm.weight": "BF16", "w": "F16", "steps": "I64", "mask": "BOOL", "half": "BF16", "wide": "F64"}
    for name in ("norm.weight", "steps", "mask", "half", "wide"):
        assert after[name][2] == before[name], name
    # bfloat16 is the upper half of float32, rounded to the nearest, ties to even.
    expected = [(bits + 0x7FFF + (bits >> 16 & 1)) >> 16 & 0xFFFF for bits in float_bits(before["head.norm.weight"], "F32")]
    assert after["head.norm.weight"][2] == struct.pack("<3H", *expected)


def test_reshard_changes_no_tensor(binary, work):
    source = CHECKPOINTS / "t5-v1_0-tiny"
    whole = read_tensors(source / "model.safetensors")
    for number, size in enumerate(["1KB", "3KB", "7KiB", "30KB", "1GB"]):
        convert(binary, work, source, f"s{number}", "--max-shard-size", size, "-q")
        tensors = {}
        for path in sorted((work / f"s{number}").glob("*.safetensors")):
            assert not set(tensors) & set(read_tensors(path))
            tensors |= read_tensors(path)
        assert tensors == whole, size
    convert(binary, work, "s0", "merged", "--merge", "-q")
    assert sorted(p.name for p in (work / "merged").iterdir() if p.name.startswith("model")) == ["model.safetensors"]
    assert sha256(work / "merged" / "model.safetensors") == sha256(source / "model.safetensors")


def test_any_number_of_threads_writes_the_same(binary, work):
    safetensors_writer.write(work / "a.safetensors", [(f"t{i}", "F32", [1001 * i]) for i in range(40)] + [("big", "F32", [3 * 2**20])])
    trees = []
    for number, threads in enumerate([1, 2, 7, 16]):
        env = {"TZ": f"UTC{number}"}
        result = running.run(binary, ["convert", "a.safetensors", f"d{number}", "--dtype", "bfloat16", "--dtype-for", "t3*=auto",
                                      "--max-shard-size", "1MB", "--threads", str(threads), "-q"], work, env)
        assert result.status == 0, result
        trees.append(tree_of(work / f"d{number}"))
    assert len(trees[0]) > 3 and all(tree == trees[0] for tree in trees)


TIED = {"tie_word_embeddings": True}


def test_tied_parameters(binary, work):
    once = [t for t in setups.LLAMA_TENSORS if t[0] != "lm_head.weight"]
    setups.write_llama(work / "once", once, **TIED)
    convert(binary, work, "once", "duplicated", "--tied", "duplicate", "-q")
    both = read_tensors(work / "duplicated" / "model.safetensors")
    assert both["lm_head.weight"] == both["model.embed_tokens.weight"] and len(both) == len(setups.LLAMA_TENSORS)
    report = document(binary, work, "duplicated", "dropped")["models"][0]
    assert report["dropped_tensors"] == ["lm_head.weight"], report
    assert set(read_tensors(work / "dropped" / "model.safetensors")) == {n for n, _, _ in once}
    # Saved apart with other values: both are kept, and it is said.
    setups.write_llama(work / "apart", **TIED)
    result = convert(binary, work, "apart", "kept")
    assert "lm_head.weight" in result.stderr and "other values" in result.stderr, result
    assert len(read_tensors(work / "kept" / "model.safetensors")) == len(setups.LLAMA_TENSORS)
    # Not tied by the config: equal or not, both stay.
    (work / "duplicated" / "config.json").write_text(json.dumps(setups.LLAMA))
    assert document(binary, work, "duplicated", "untied")["models"][0]["dropped_tensors"] == []


def test_selection_and_names(binary, work):
    setups.llama(work)
    convert(binary, work, "llama", "part", "--include", "model.layers.*", "--exclude", "*mlp*", "--rename", r"^model\.layers\.(\d+)\.=h$1/",
            "--rename", r"\.weight$=", "-q")
    names = set(read_tensors(work / "part" / "model.safetensors"))
    assert len(names) == 12 and "h0/self_attn.q_proj" in names and "h1/input_layernorm" in names, names
    result = convert(binary, work, "llama", "clash", "--rename", r"layers\.\d=layers", status=2)
    assert "[name_collision]" in result.stderr and not (work / "clash").exists(), result
    assert "[usage]" in convert(binary, work, "llama", "x", "--rename", "(=", status=2).stderr
    assert "[empty_subset]" in convert(binary, work, "llama", "x", "--include", "nothing", status=1).stderr
    assert "[name_collision]" in convert(binary, work, "llama", "x", "--include", "lm_head.weight", "--rename", ".+=__metadata__", status=2).stderr


def test_rules_and_their_order(binary, work):
    tensors = [("a.norm", "F32", [2]), ("a.w", "F32", [2]), ("x" * 2000, "F32", [1])]
    safetensors_writer.write(work / "a.safetensors", tensors)
    # Rules go by the names in the source; renames are made one after the other.
    convert(binary, work, "a.safetensors", "b.safetensors", "--dtype", "float16", "--dtype-for", "*norm=float32", "--rename", "norm=scale",
            "--rename", "^a=b", "--rename", "^b=c", "-q")
    found = {n: t[0] for n, t in read_tensors(work / "b.safetensors").items()}
    assert found == {"c.scale": "F32", "c.w": "F16", "x" * 2000: "F16"}, found
    safetensors_writer.write(work / "long.safetensors", [("x" * 2001, "F32", [1])])
    assert "[usage]" in convert(binary, work, "long.safetensors", "c.safetensors", "--rename", "y=z", status=2).stderr
    safetensors_writer.BYTES["F64"] = 8
    safetensors_writer.write(work / "wide.safetensors", [("a", "F64", [1]), ("b", "F64", [1]), ("c", "F64", [1])])
    result = convert(binary, work, "wide.safetensors", "d.safetensors", "--dtype", "float16")
    assert "a stays float64, which hfload does not convert (and 2 more like it)" in result.stderr, result


def test_parameters_are_counted_of_whole_models(binary, work):
    setups.llama(work)
    parameters = sum(safetensors_writer.element_count(shape) for _, _, shape in setups.LLAMA_TENSORS)
    for number, (flags, expected) in enumerate([([], parameters), (["--include", "model.*"], None), (["--exclude", "lm_head.*"], None),
                                                (["--rename", "lm_head=head"], None)]):
        convert(binary, work, "llama", f"out{number}", "--max-shard-size", "1KB", "-q", *flags)
        index = json.loads((work / f"out{number}" / "model.safetensors.index.json").read_text())
        assert index["metadata"].get("total_parameters") == expected, (flags, index["metadata"])


def test_destinations_that_are_refused(binary, work):
    setups.llama(work)
    (work / "llama" / "sub").mkdir()
    convert(binary, work, "llama", "sharded", "--max-shard-size", "1KB", "-q")
    index, shard = "sharded/model.safetensors.index.json", "model-00002-of-00003.safetensors"
    before = tree_of(work)
    (work / "link").symlink_to("llama")
    os.link(work / "sharded" / shard, work / "link-shard.safetensors")
    os.link(work / "llama" / "model.safetensors", work / "hard.safetensors")
    (work / "file").write_text("")
    for source, destination, code, status in [
        ("llama", "llama", "destination_is_input", 2),
        ("llama", "llama/", "destination_is_input", 2),
        ("llama", "link", "destination_is_input", 2),
        ("llama", "link/deep", "destination_is_input", 2),
        ("llama", "llama/sub/deep", "destination_is_input", 2),
        ("llama", "llama/sub", "destination_is_input", 2),
        (index, f"sharded/{shard}", "destination_is_input", 2),
        (index, "link-shard.safetensors", "destination_is_input", 2),
        ("llama", "llama/new.safetensors", "destination_is_input", 2),
        ("link", "llama/x", "destination_is_input", 2),
        ("llama/model.safetensors", "llama", "destination_is_input", 2),
        ("llama/model.safetensors", "llama/model.safetensors", "destination_is_input", 2),
        ("llama/model.safetensors", "hard.safetensors", "destination_is_input", 2),
        ("llama", "absent/deep", "not_found", 8),
        ("llama", "file", "not_a_file", 5),
        ("llama", "file/x", "not_a_file", 5),
        ("absent", "x", "not_found", 8),
        ("llama/config.json", "x", "weights_not_found", 8),
    ]:
        for flags in [[], ["--force"]]:
            result = running.run(binary, ["convert", source, destination, *flags], work)
            assert result.status == status and f"[{code}]" in result.stderr and result.stdout == "", (source, destination, result)
    left = {n: v for n, v in tree_of(work).items() if not n.startswith("link") and n not in ("hard.safetensors", "file")}
    assert left == before


def test_the_input_is_refused_before_it_is_read(binary, work):
    """Also a damaged one, of which nothing can be converted: that must not decide which of the two is said."""
    setups.llama(work)
    convert(binary, work, "llama", "sharded", "--max-shard-size", "1KB", "-q")
    for file in (work / "llama" / "model.safetensors", sorted((work / "sharded").glob("*.safetensors"))[1]):
        file.write_bytes(file.read_bytes()[:20])
    (work / "llama" / "config.json").write_text("no")
    before = tree_of(work)
    index = "sharded/model.safetensors.index.json"
    for source, destination in [("llama", "llama"), ("llama", "./llama/"), ("llama", "llama/inside"), ("llama", "llama/x.safetensors"), ("sharded", "sharded"),
                                ("sharded", "sharded/deep"), (index, "sharded"), ("llama/model.safetensors", "llama/model.safetensors"),
                                ("llama/model.safetensors", "llama")]:
        for flags in [[], ["--force"], ["--dry-run"]]:
            result = convert(binary, work, source, destination, *flags, status=2)
            assert "[destination_is_input]" in result.stderr, (source, destination, result)
    assert "[header_truncated]" in convert(binary, work, "sharded", "elsewhere", status=3).stderr
    assert tree_of(work) == before


def test_what_exists_is_replaced_by_force_alone(binary, work):
    setups.llama(work)
    convert(binary, work, "llama", "out", "--max-shard-size", "1KB", "-q")
    sharded = tree_of(work / "out")
    (work / "out" / "notes.txt").write_text("mine")
    assert "complete" in convert(binary, work, "llama", "out", "--max-shard-size", "1KB", "-q").stdout
    refused = convert(binary, work, "llama", "out", "-q", status=5)
    assert "[destination_exists]" in refused.stderr
    assert tree_of(work / "out") == sharded | {"notes.txt": sha256(work / "out" / "notes.txt")}
    convert(binary, work, "llama", "out", "--force", "-q")
    assert sorted(tree_of(work / "out")) == ["config.json", "model.safetensors", "notes.txt"]
    convert(binary, work, "llama", "out", "--force", "--max-shard-size", "1KB", "-q")
    assert tree_of(work / "out") == sharded | {"notes.txt": sha256(work / "out" / "notes.txt")}


def test_a_dry_run_ends_as_the_conversion_would(binary, work):
    """With its exit status and its error, and without a trace."""
    setups.llama(work)
    convert(binary, work, "llama", "out", "-q")
    convert(binary, work, "llama", "one.safetensors", "-q")
    (work / "file").write_text("")
    cases = [["llama", "new"], ["llama", "out"], ["llama", "one.safetensors"], ["llama", "out", "--dtype", "float32"], ["llama", "out", "--merge", "--force"],
             ["llama", "one.safetensors", "--dtype", "float32"], ["llama", "absent/new"], ["llama", "absent/new.safetensors"], ["llama", "file"],
             ["llama", "file/new"], ["llama", "llama/new"], ["llama", "new.bin"], ["llama", "-o", "all"], ["llama", "-o", "absent/all"], ["llama", "-o", "file"]]
    for arguments in cases:
        before = tree_of(work), sorted(work.rglob("*"))
        dry = running.run(binary, ["convert", *arguments, "--dry-run"], work)
        assert (tree_of(work), sorted(work.rglob("*"))) == before, arguments
        real = running.run(binary, ["convert", *arguments], work)
        assert dry.status == real.status, (arguments, dry, real)
        assert (dry.stderr if dry.status else "") == (real.stderr if real.status else ""), (arguments, dry, real)
        assert dry.stdout.splitlines()[:1] == [line.replace("converted", "planned") for line in real.stdout.splitlines()[:1]] or "--force" in arguments, (dry, real)


def test_what_is_not_the_output_is_not_taken_for_it(binary, work):
    """Of the same sizes, and an entry point beside it that readers would take instead."""
    setups.llama(work)
    convert(binary, work, "llama/model.safetensors", "one.safetensors", "-q")
    assert "complete" in convert(binary, work, "llama/model.safetensors", "one.safetensors", "-q").stdout
    renamed = ["llama/model.safetensors", "one.safetensors", "--rename", "lm_head=lm_haed", "-q"]
    assert "[destination_exists]" in convert(binary, work, *renamed, status=5).stderr
    sharded = ["llama", "out", "--max-shard-size", "1KB", "-q"]
    convert(binary, work, *sharded)
    config = work / "out" / "config.json"
    text = config.read_text()
    config.write_text(text.replace("llama", "lamal"))
    assert config.read_text() != text and "[destination_exists]" in convert(binary, work, *sharded, status=5).stderr
    config.write_text(text)
    assert "complete" in convert(binary, work, *sharded).stdout
    shutil.copy(work / "one.safetensors", work / "out" / "model.safetensors")
    assert "[destination_exists]" in convert(binary, work, *sharded, status=5).stderr


def set_time(path, seconds):
    """Of its last change, so many seconds from now."""
    os.utime(path, (time.time() + seconds,) * 2)


def flip_last_byte(path, *, keep_time=False):
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_changed_config_or_copied_file_is_converted_again(binary, work):
    source = work / "m"
    setups.write_llama(source)
    (source / "tokenizer.json").write_text("{}")
    convert(binary, work, "m", "out", "-q")
    for change in (lambda: (source / "tokenizer.json").write_text("{ }"), lambda: (source / "README.md").write_text("#"),
                   lambda: (source / "config.json").write_text((source / "config.json").read_text() + " ")):
        change()
        assert document(binary, work, "m", "out")["models"][0]["outdated"]
        assert sha256(work / "out" / "tokenizer.json") == sha256(source / "tokenizer.json")
        assert document(binary, work, "m", "out")["models"][0]["status"] == "skipped"
    # The output was changed, and the source was not: the error names the file.
    set_time(work / "out" / "model.safetensors", 1000)
    (work / "out" / "tokenizer.json").write_text("[1, 2]")
    error = document(binary, work, "m", "out", status=5)["error"]
    assert (error["code"], error["path"]) == ("destination_exists", "out/tokenizer.json"), error


def test_weights_keep_the_names_that_their_libraries_look_for(binary, work):
    for stem in ("adapter_model", "diffusion_pytorch_model"):
        source = work / stem
        source.mkdir()
        safetensors_writer.write_sharded(source, {f"{stem}.safetensors": (["a", "b"], [("a", "F32", [4]), ("b", "F32", [4])])}, 0)
        (source / "model.safetensors.index.json").unlink(missing_ok=True)
        (source / f"{stem}.safetensors.index.json").unlink(missing_ok=True)
        convert(binary, work, stem, f"{stem}-out", "-q")
        assert os.listdir(work / f"{stem}-out") == [f"{stem}.safetensors"]
        convert(binary, work, stem, f"{stem}-pt", "--format", "pytorch", "--max-shard-size", "16", "-q")
        assert sorted(os.listdir(work / f"{stem}-pt")) == [f"{stem}-00001-of-00002.bin", f"{stem}-00002-of-00002.bin", f"{stem}.bin.index.json"]


def test_a_changed_source_is_converted_again(binary, work):
    """As make does by the times of files, and where these cannot tell, by their contents."""
    for number, (destination, flags) in enumerate([("out.safetensors", []), ("shards", ["--max-shard-size", "1KB", "--dtype", "float32"]),
                                                   ("pt", ["--format", "pytorch"])]):
        source, weights = work / f"m{number}", work / f"m{number}" / "model.safetensors"
        setups.write_llama(source)
        (source / "tokenizer.json").write_text("{}")
        arguments = [source.name, destination, *flags]

        def expect(status, outdated):
            """A dry run says it and changes nothing; the conversion does it, and the output is that of a new destination."""
            before = tree_of(work)
            planned = document(binary, work, *arguments, "--dry-run")["models"][0]
            assert (planned["status"].replace("planned", "converted"), planned["outdated"]) == (status, outdated), planned
            assert tree_of(work) == before
            done = document(binary, work, *arguments)["models"][0]
            assert (done["status"], done["outdated"]) == (status, outdated), done
            fresh = f"fresh-{destination}"
            convert(binary, work, source.name, fresh, *flags, "-q", "--force")
            as_tree = lambda path: tree_of(path) if path.is_dir() else sha256(path)
            assert as_tree(work / destination) == as_tree(work / fresh), arguments

        expect("converted", False)
        expect("skipped", False)
        flip_last_byte(weights)  # retrained
        expect("converted", True)
        flip_last_byte(weights, keep_time=True)  # by cp -p, or rsync
        expect("converted", True)
        set_time(weights, -1000)
        expect("skipped", False)
        set_time(weights, 1000)  # touch
        planned = convert(binary, work, *arguments, "--dry-run").stdout
        assert planned.splitlines()[0].endswith("; the source has changed since the output that was there"), planned
        assert document(binary, work, *arguments)["models"][0]["outdated"]
        set_time(weights, -1000)
        older = work / "older"
        older.write_bytes(weights.read_bytes())
        flip_last_byte(older)
        set_time(older, -2000)
        older.rename(weights)
        expect("converted", True)
        if not destination.endswith(".safetensors"):
            (source / "tokenizer.json").write_text("[]")
            expect("converted", True)
        weights.rename(source / ".elsewhere")
        flip_last_byte(source / ".elsewhere", keep_time=True)
        weights.symlink_to(".elsewhere")
        expect("converted", True)


def test_the_output_of_another_source_is_neither_passed_over_nor_replaced(binary, work):
    """Of the same form, and older than the output; nor is an output that was changed."""
    for name in "ab":
        setups.write_llama(work / name)
    flip_last_byte(work / "b" / "model.safetensors")
    time.sleep(0.02)  # more than a tick of the clock that files have their times from
    for flags in [], ["--dtype", "bfloat16"], ["--format", "pytorch"]:
        convert(binary, work, "a", "out", "-q", "--force", *flags)
        before = tree_of(work / "out")
        for dry in [], ["--dry-run"]:
            result = convert(binary, work, "b", "out", *flags, *dry, status=5)
            assert "other contents" in result.stderr and "[destination_exists]" in result.stderr and tree_of(work / "out") == before, result
        file = next(path for path in (work / "out").iterdir() if path.name != "config.json")
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        time.sleep(0.02)
        file.write_bytes(content)
        assert "[destination_exists]" in convert(binary, work, "a", "out", *flags, status=5).stderr
        shutil.rmtree(work / "out")


def test_other_files(binary, work):
    setups.llama(work)
    source = work / "llama"
    for name, text in [("tokenizer.json", "{}"), ("README.md", "# m"), ("1_Pooling/config.json", "{}"), (".git/HEAD", "x"), (".hidden", "x"),
                       ("pytorch_model.bin", "x"), ("onnx/model.onnx", "x"), ("flax_model.msgpack", "x"), ("old.index.json", "x")]:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text)
    (source / "outside").symlink_to("/etc/hostname")
    (source / "inside").symlink_to("README.md")
    os.mkfifo(source / "pipe")
    convert(binary, work, "llama", "out", "--dtype", "bfloat16", "-q")
    assert sorted(tree_of(work / "out")) == ["1_Pooling/config.json", "README.md", "config.json", "inside", "model.safetensors", "tokenizer.json"]
    assert not (work / "out" / "inside").is_symlink()
    expected = (source / "config.json").read_text().replace('"float16"', '"bfloat16"')
    assert (work / "out" / "config.json").read_text() == expected
    mode = stat.S_IMODE((work / "out" / "model.safetensors").stat().st_mode)
    assert mode == stat.S_IMODE((source / "model.safetensors").stat().st_mode)


def test_quantised_weights_keep_their_scales(binary, work):
    tensors = [("q.weight", "I8", [4, 4]), ("q.weight_scale", "F32", [4]), ("norm.weight", "F32", [4])]
    (work / "m").mkdir()
    (work / "m" / "config.json").write_text('{"quantization_config": {"quant_method": "x"}}')
    safetensors_writer.write(work / "m" / "model.safetensors", tensors)
    convert(binary, work, "m", "out", "--dtype", "float16", "-q")
    dtypes = {n: t[0] for n, t in read_tensors(work / "out" / "model.safetensors").items()}
    assert dtypes == {"q.weight": "I8", "q.weight_scale": "F32", "norm.weight": "F16"}


def test_many_models(binary, work):
    for name in ("a", "b", "c"):
        setups.write_llama(work / name)
    (work / "bad").mkdir()
    (work / "bad" / "model.safetensors").write_bytes(b"no")
    arguments = ["a", "bad", "b/", "-o", "all", "--dtype", "bfloat16", "--jobs", "3"]
    first = convert(binary, work, *arguments, status=1)
    assert sorted(first.stdout.splitlines()) == ["converted a to all/a: 2 files, 4.69 KiB", "converted b/ to all/b: 2 files, 4.69 KiB",
                                                 "failed bad to all/bad: header_too_small"], first
    assert note_in(first.stderr) == "3 models: 2 converted, 1 failed"
    shutil.rmtree(work / "all" / "a")
    again = lines(binary, work, "a", "b", "c", "-o", "all", "--dtype", "bfloat16")
    assert [(m["source"], m["status"]) for line in again for m in line["models"]] == [("a", "converted"), ("b", "skipped"), ("c", "converted")]
    # What is there is of another dtype: that model fails, the others do not.
    mixed = lines(binary, work, "a", "d", "-o", "all", status=1)
    assert [(m["status"], m.get("error", {}).get("code")) for line in mixed for m in line["models"]] == [("failed", "destination_exists"), ("failed", "not_found")]
    assert "[name_collision]" in convert(binary, work, "a", "./a/", "-o", "other", status=2).stderr
    failure = convert(binary, work, "a", "-o", "absent/all", "--json", status=8).stdout
    assert check_schema(failure, "error")["error"]["code"] == "not_found" and failure.count("\n") == 1, failure


def test_outputs_of_many_models_have_the_models_names(binary, work):
    for name in ("a", "v@1"):
        setups.write_llama(work / name)
    shutil.copy(work / "a" / "model.safetensors", work / "x.safetensors")
    convert(binary, work, "a", "s", "--max-shard-size", "1KB", "-q")
    snapshot = work / "hub" / "models--org--m" / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(work / "a", snapshot)
    (work / "hub" / "models--org--m" / "refs").mkdir()
    (work / "hub" / "models--org--m" / "refs" / "main").write_text("0" * 40)
    for extension in ("pt", "pth", "bin"):
        shutil.copy(running.FIXTURES / "torch" / "views.pt", work / f"{extension}.{extension}")
    models = ["a/", "v@1", "./x.safetensors", "s/model.safetensors.index.json", "org/m@main", "pt.pt", "pth.pth", "bin.bin"]
    names = ["a", "v@1", "x", "s", "m", "pt", "pth", "bin"]
    for flags, file in (([], "model.safetensors"), (["--format", "pytorch"], "pytorch_model.bin")):
        result = running.run(binary, ["convert", *models, "-o", f"all {file}", "--json", "-q", *flags], work, {"HF_HUB_CACHE": str(work / "hub")})
        assert result.status == 0, result
        done = [m for line in result.stdout.splitlines() for m in json.loads(line)["models"]]
        assert [m["destination"] for m in done] == [f"all {file}/{name}" for name in names], result
        assert all((work / f"all {file}" / name / file).exists() for name in names)


def test_lines_come_as_each_model_ends(binary, work):
    """So the first, which takes the longest, is the last of two that run at a time."""
    safetensors_writer.write(work / "large.safetensors", [("w", "F32", [2**24])], sparse=True)
    for name in ("b", "c", "d"):
        safetensors_writer.write(work / f"{name}.safetensors", [("w", "F32", [2])])
    sources = ["large.safetensors", "b.safetensors", "c.safetensors", "d.safetensors"]
    flags = ["--dtype", "bfloat16", "--threads", "1"]
    result = convert(binary, work, *sources, "-o", "all", *flags, "--jobs", "2")
    assert [line.split()[1] for line in result.stdout.splitlines()] == [f"{name}.safetensors" for name in ("b", "c", "d", "large")], result
    process = subprocess.Popen([binary, "convert", *reversed(sources), "-o", "new", *flags, "--json"], cwd=work, env=running.environment(work, {}),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    first = check_schema(process.stdout.readline().decode(), "convert")
    assert first["models"][0]["source"] == "d.safetensors" and not (work / "new" / "large" / "model.safetensors").exists()
    rest = [check_schema(line, "convert")["models"][0]["source"] for line in process.communicate()[0].decode().splitlines()]
    assert (process.returncode, rest) == (0, ["c.safetensors", "b.safetensors", "large.safetensors"])


def note_in(text):
    return next(line.removeprefix("note: ") for line in text.splitlines() if line.startswith("note: "))


def test_model_in_the_hub_cache(binary, work):
    repository = work / "hub" / "models--org--m"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    setups.write_llama(work / "plain")
    for file in (work / "plain").iterdir():
        file.rename(repository / "blobs" / file.name)
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    result = running.run(binary, ["convert", "org/m", "out", "-q"], work, {"HF_HUB_CACHE": str(work / "hub")})
    assert result.status == 0 and sorted(tree_of(work / "out")) == ["config.json", "model.safetensors"], result
    inside = running.run(binary, ["convert", "org/m", str(repository / "out"), "-q"], work, {"HF_HUB_CACHE": str(work / "hub")})
    assert "[destination_is_input]" in inside.stderr, inside


class StateDictUnpickler(pickle.Unpickler):
    """Reads data.pkl with CPython's own pickle machine; what it names is answered here, and nothing else may be named."""

    STORAGES = {"FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16", "LongStorage": "I64", "BoolStorage": "BOOL",
                "ByteStorage": "U8", "CharStorage": "I8", "IntStorage": "I32"}
    BYTES = {**safetensors_writer.BYTES, "F8_E4M3": 1}

    def __init__(self, archive):
        self.archive, self.folder = archive, archive.namelist()[0].removesuffix("/data.pkl")
        super().__init__(archive.open(f"{self.folder}/data.pkl"))

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name in self.STORAGES:
            return self.STORAGES[name]
        if (module, name) in [("torch.storage", "UntypedStorage"), ("torch", "float8_e4m3fn")]:
            return "F8_E4M3" if module == "torch" else "U8"
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor_v3"):
            return self.rebuild
        raise AssertionError((module, name))

    def persistent_load(self, pid):
        kind, dtype, key, location, count = pid
        data = self.archive.read(f"{self.folder}/data/{key}")
        assert (kind, location, len(data)) == ("storage", "cpu", count * self.BYTES[dtype]), pid
        return dtype, data

    def rebuild(self, storage, offset, shape, strides, requires_grad, hooks, dtype=None):
        row_major = [safetensors_writer.element_count(shape[i + 1 :]) if 0 not in shape else None for i in range(len(shape))]
        assert offset == 0 and requires_grad is False and hooks == {}
        assert 0 in shape or list(strides) == row_major, (shape, strides)
        return dtype or storage[0], list(shape), storage[1]


def read_pytorch(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        content = path.read_bytes()
        for member in archive.infolist():
            name_bytes, extra_bytes = struct.unpack("<HH", content[member.header_offset + 26 : member.header_offset + 30])
            assert (member.header_offset + 30 + name_bytes + extra_bytes) % 64 == 0 and member.compress_type == zipfile.ZIP_STORED
        return StateDictUnpickler(archive).load()


def test_pytorch_files(binary, work):
    for model in ("t5-v1_0-tiny", "gpt2-tiny", "bert-mlm-tiny"):
        source = read_tensors(CHECKPOINTS / model / "model.safetensors")
        convert(binary, work, CHECKPOINTS / model, model, "--format", "pytorch", "-q")
        assert read_pytorch(work / model / "pytorch_model.bin") == source
        convert(binary, work, CHECKPOINTS / model, f"{model}-sharded", "--format", "pytorch", "--max-shard-size", "9KB", "-q")
        index = json.loads((work / f"{model}-sharded" / "pytorch_model.bin.index.json").read_text())
        tensors = {}
        for path in (work / f"{model}-sharded").glob("*.bin"):
            read = read_pytorch(path)
            assert all(index["weight_map"][name] == path.name for name in read)
            tensors |= read
        assert tensors == source and set(index["weight_map"]) == set(source)
        assert "complete" in convert(binary, work, CHECKPOINTS / model, model, "--format", "pytorch", "-q").stdout
    safetensors_writer.BYTES["F8_E4M3"] = 1
    odd = [("s", "F32", []), ("e", "F32", [0, 3]), ("é.\n", "BF16", [2, 1, 3, 2]), ("f", "F8_E4M3", [70000]), ("l", "I64", [300]), ("b", "BOOL", [3])]
    safetensors_writer.write(work / "odd.safetensors", odd, {"format": "pt"})
    convert(binary, work, "odd.safetensors", "odd.pt", "--format", "pytorch", "-q", "--threads", "4")
    assert read_pytorch(work / "odd.pt") == read_tensors(work / "odd.safetensors")
    convert(binary, work, "odd.safetensors", "odd.pth", "--format", "pytorch", "-q")
    assert sorted(read_pytorch(work / "odd.pth")) == sorted(n for n, _, _ in odd)
    cast = ["--format", "pytorch", "--dtype", "float16", "--dtype-for", "*b*=auto"]
    big = [(f"t{i}", "F32", [700_000 + i]) for i in range(4)] + [("b", "U8", [9_000_001])]
    safetensors_writer.write(work / "big.safetensors", big)
    for threads in (1, 5):
        (work / f"{threads}").mkdir()
        convert(binary, work, "big.safetensors", f"{threads}/m.pt", *cast, "-q", "--threads", threads)
    assert sha256(work / "1" / "m.pt") == sha256(work / "5" / "m.pt") and len(read_pytorch(work / "1" / "m.pt")) == 5


def test_tied_parameters_share_a_storage_in_pytorch_files(binary, work):
    once = [t for t in setups.LLAMA_TENSORS if t[0] != "lm_head.weight"]
    setups.write_llama(work / "once", once, **TIED)
    report = document(binary, work, "once", "out", "--tied", "duplicate", "--format", "pytorch")["models"][0]
    assert report["duplicated_tensors"] == ["lm_head.weight"] and report["tensor_bytes"] == 2512 - 256
    tensors = read_pytorch(work / "out" / "pytorch_model.bin")
    assert tensors["lm_head.weight"] == tensors["model.embed_tokens.weight"] and list(tensors)[-1] == "lm_head.weight"
    with zipfile.ZipFile(work / "out" / "pytorch_model.bin") as archive:
        assert sum("/data/" in name for name in archive.namelist()) == len(once)


def anonymous_bytes(process):
    try:
        with open(f"/proc/{process.pid}/status") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon:")), 0)
    except (ProcessLookupError, FileNotFoundError):
        return 0


def most_anonymous_bytes(binary, work, arguments, status=0):
    """Of a run whose standard output goes to the file `stdout` in the directory."""
    with open(work / "stdout", "wb") as stdout:
        process = subprocess.Popen([binary, *arguments], cwd=work, env=running.environment(work, {}), stdout=stdout, stderr=subprocess.PIPE)
    most = samples = 0
    while process.poll() is None:
        most, samples = max(most, anonymous_bytes(process)), samples + 1
        time.sleep(0.002)
    assert process.returncode == status, process.communicate()
    assert samples > 20, samples
    return most


def test_little_memory_for_large_tensors(binary, work):
    """One tensor of 1 GiB, cast and copied; HFLOAD_LARGE=1 takes 8 GiB."""
    if running.is_sanitized(binary):
        return
    size = 2**33 if os.environ.get("HFLOAD_LARGE") else 2**30
    safetensors_writer.write(work / "a.safetensors", [("w", "F32", [size // 4]), ("x", "F32", [3])], sparse=True)
    for name, flags in [("cast", ["--dtype", "bfloat16"]), ("copy", [])]:
        most = most_anonymous_bytes(binary, work, ["convert", "a.safetensors", f"{name}.safetensors", "-q", "--threads", "16", *flags])
        assert most <= 64 * 2**20, f"{name}: {most} bytes"
        (work / f"{name}.safetensors").unlink()
