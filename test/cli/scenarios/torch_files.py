"""PyTorch checkpoints through the whole program: those of torch are read as torch reads them, hostile ones execute nothing."""

import concurrent.futures
import json
import math
import pickletools
import re
import resource
import struct
import subprocess
import sys
import time
import zipfile

import hostile_pickles
import running
from run_cli_tests import check_schema
from scenarios import reading

TORCH = running.FIXTURES / "torch"
COMMANDS = [["inspect", "--tensors"], ["plan", "--max-memory", "0=1KB,cpu=1MB"],
            ["load", "--device-map", "cpu", "--max-memory", "cpu=1GB"]]
MOST_RESIDENT_KIB = 64 * 1024
SAFETENSORS_NAMES = {
    "float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "int16": "I16",
    "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL", "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0"}


def in_parallel(function, items):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return [fault for faults in pool.map(lambda item: list(function(item)), items) for fault in faults]


def expected_rows():
    return [json.loads(line) for line in (TORCH / "expected.jsonl").read_text().splitlines()]


def tied_names(row):
    """Names of the same elements, to which torch gives the same values."""
    groups = {}
    for t in row["tensors"]:
        if 0 not in t["shape"]:
            groups.setdefault(str([t[k] for k in ("storage", "storage_offset", "dtype", "shape", "stride", "sha256")]), []).append(t["name"])
    return sorted(sorted(names) for names in groups.values() if len(names) > 1)


def test_tensors_are_those_that_torch_finds(binary, work):
    for row in expected_rows():
        result = running.run(binary, ["inspect", str(TORCH / row["file"]), "--tensors", "--json", "-q"], work)
        assert result.status == 0
        document = check_schema(result.stdout, "inspect")
        found = {t["name"]: (t["dtype"], t["shape"]) for t in document["tensors"]}
        wanted = {t["name"]: (SAFETENSORS_NAMES.get(t["dtype"], t["dtype"]), t["shape"]) for t in row["tensors"]}
        assert found == wanted, row["file"]
        assert sorted(map(sorted, document["tied_weights"])) == tied_names(row), row["file"]
        assert any("that are no tensor" in warning for warning in document["warnings"]) == bool(row["others"]), (row["file"], document["warnings"])


def test_loads_are_those_of_the_same_model_in_safetensors(binary, work):
    for name in ("llama-tiny", "gpt2-tiny"):
        documents = []
        for model in (running.FIXTURES / "checkpoints" / name, TORCH / name):
            for arguments in (["plan"], ["load", "--emulate-gpus", "--verify"]):
                result = running.run(binary, [*arguments, str(model), "--json", "-q", "--max-memory", "0=20KB,cpu=15KB"], work)
                assert result.status == 0
                document = check_schema(result.stdout, arguments[0])
                for differs in ("seconds", "total_seconds", "io"):  # times, and padding that is read along
                    document.pop(differs, None)
                documents.append(document)
        assert documents[:2] == documents[2:], name
        assert documents[1]["verified_bytes"] > 0


def test_names_of_one_storage_stay_tied_by_the_rules_of_transformers_5(binary, work):
    """transformers 5 unties what the checkpoint holds twice, and ties it again where the two are equal."""
    result = running.run(binary, ["load", str(TORCH / "gpt2-tiny"), "--device-map", "cpu", "--compat", "5", "--json"], work)
    document = json.loads(result.stdout)
    assert result.status == 0 and document["loaded_bytes"] == 33024 and "ties" not in result.stderr, result


def load_document(binary, work, *arguments):
    result = running.run(binary, ["load", *arguments, "--json", "-q"], work)
    assert result.status == 0, (arguments, result)
    return check_schema(result.stdout, "load")


def test_every_tensor_is_loaded_as_torch_loads_it(binary, work):
    """Strided, repeated and big-endian ones among them, in every dtype, to every kind of place, by every way of reading."""
    rows = [json.loads(line) for line in (TORCH / "loads.jsonl").read_text().splitlines()]
    own = {(row["file"], row["dtype"], name): value for row in rows for name, value in row["hashes"].items()}
    dtypes = {(row["file"], t["name"]): t["dtype"] for row in expected_rows() for t in row["tensors"]}
    places = {"cpu": ["--device-map", "cpu", "--max-memory", "cpu=1MB"],
              "gpu": ["--device-map", "0", "--max-memory", "0=1MB", "--emulate-gpus", "--threads", "3"],
              "disk": ["--device-map", "disk"], "map": ["--device-map", "cpu", "--max-memory", "cpu=1MB", "--map"],
              **{io: ["--device-map", "cpu", "--max-memory", "cpu=1MB", "--io", io] for io in ("mmap", "pread")}}

    def check(row):
        whole = [t["name"] for r in expected_rows() if r["file"] == row["file"] for t in r["tensors"]]
        chosen = [] if set(row["hashes"]) == set(whole) else [word for name in row["hashes"] for word in ("--subset", name)]
        for place, flags in places.items():
            if row["dtype"] != "float32" and place not in ("cpu", "gpu"):
                continue
            document = load_document(binary, work, str(TORCH / row["file"]), "--dtype", row["dtype"], "--verify", *flags, *chosen)
            wanted = row["hashes"]
            if place == "disk":  # as it is in the file
                wanted = {name: own.get((row["file"], dtypes[row["file"], name], name), value) for name, value in wanted.items()}
            if document["hashes"] != wanted:
                yield f"{row['file']} as {row['dtype']} to {place}: {document['hashes']} and not {wanted}"

    assert len(rows) == 45
    wrong = in_parallel(check, rows)
    assert not wrong, "\n".join(wrong[:3])


def test_what_is_not_as_in_memory_is_not_mapped(binary, work):
    """Of views.pt, the contiguous tensors stay in the file, and the others have memory of their own."""
    row = next(r for r in expected_rows() if r["file"] == "views.pt")
    size = {"float32": 4, "float16": 4, "bfloat16": 4, "int16": 2, "int32": 4, "complex64": 8, "float64": 8, "uint8": 1}  # as float32

    def bytes_of(mapped):
        return sum(size[t["dtype"]] * math.prod(t["shape"]) for t in row["tensors"] if t["name"] != "lm_head.weight"
                   and (t["contiguous"] and t["dtype"] not in ("float16", "bfloat16")) == mapped)

    document = load_document(binary, work, str(TORCH / "views.pt"), "--device-map", "cpu", "--max-memory", "cpu=1MB", "--map")
    assert (document["loaded_bytes"], document["io"]["mapped_bytes"]) == (bytes_of(False), bytes_of(True))
    document = load_document(binary, work, str(TORCH / "views_big_endian.pt"), "--device-map", "cpu", "--max-memory", "cpu=1MB", "--map")
    assert document["io"]["mapped_bytes"] == 0 and document["loaded_bytes"] == bytes_of(False) + bytes_of(True)
    result = running.run(binary, ["inspect", str(TORCH / "views.pt")], work)
    assert re.findall("^warning: views.pt: (.*) are not stored contiguous and little-endian", result.stderr, re.M) == ["8 tensors"], result.stderr
    assert "gather" in result.stderr and "rewritten" not in result.stderr, result.stderr
    assert "contiguous" not in running.run(binary, ["convert", str(TORCH / "views.pt"), "views.safetensors"], work).stderr


def test_an_offload_folder_holds_what_torch_loads(binary, work):
    """accelerate opens a file that is used in place as safetensors, so that all of another format is written."""
    rows = [json.loads(line) for line in (TORCH / "loads.jsonl").read_text().splitlines()]
    loads = {row["file"]: row["hashes"] for row in rows if row["dtype"] == "float32"}
    for row in expected_rows():
        if row["file"] not in ("views.pt", "dtypes_big_endian.pt", "new_dtypes.pt"):
            continue
        tensors = [t for t in row["tensors"] if t["name"] in loads[row["file"]]]
        home = work / row["file"]
        home.mkdir()
        subset = [word for t in tensors for word in ("--subset", t["name"])]
        document = load_document(binary, home, str(TORCH / row["file"]), "--device-map", "disk", "--offload-folder", "out", "--verify",
                                 "--dtype", "float32", *subset)
        index = json.loads((home / "out" / "index.json").read_text())
        cast = ("float16", "bfloat16")
        assert index == {t["name"]: {"dtype": "float32" if t["dtype"] in cast else t["dtype"], "shape": t["shape"]} for t in tensors}
        for t in tensors:
            data = (home / "out" / f"{t['name']}.dat").read_bytes()
            if 0 in t["shape"]:
                assert len(data) == 1
                continue
            assert reading.tensor_hash(data) == loads[row["file"]][t["name"]], (row["file"], t["name"])
        assert document["offload_folder"]["in_place_tensors"] == 0
        assert document["verified_bytes"] == document["offloaded_bytes"] == document["offload_folder"]["written_bytes"]


def write_views(path, views, storage):
    """`views`: {name: (shape, strides)} of storage 0, which holds float32."""
    def numbers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"

    place = hostile_pickles.STORAGE.replace(b"K\x04t", b"J" + struct.pack("<i", len(storage) // 4) + b"t")
    entries = [hostile_pickles.text(name) + hostile_pickles.tensor(b"K\x00", numbers(shape), numbers(strides), place)
               for name, (shape, strides) in views.items()]
    path.write_bytes(hostile_pickles.archive(hostile_pickles.PROTO + b"}(" + b"".join(entries) + b"u.", storage))


def test_views_of_one_storage(binary, work):
    """The same view twice is one tensor; other views are tensors of their own."""
    storage = struct.pack("<12f", *range(12))
    views = {"a": ([3, 4], [1, 3]), "b": ([3, 4], [1, 3]), "c": ([4, 3], [3, 1]), "d": ([12], [1]), "e": ([2, 3, 4], [0, 1, 3]), "f": ([12], [1])}
    write_views(work / "views.pt", views, storage)
    document = load_document(binary, work, "views.pt", "--device-map", "cpu", "--max-memory", "cpu=1MB", "--verify")
    assert document["tied_weights"] == [["a", "b"], ["d", "f"]], document
    assert document["loaded_bytes"] == document["verified_bytes"] == 48 + 48 + 48 + 96
    across = struct.pack("<12f", *(3 * j + i for i in range(3) for j in range(4)))
    wanted = {"a": across, "b": across, "c": storage, "d": storage, "e": across * 2, "f": storage}
    assert document["hashes"] == {name: reading.tensor_hash(data) for name, data in wanted.items()}


def anonymous_bytes(binary, work, *arguments):
    """The most anonymous memory that the program had at a time, seen every millisecond; and its exit status."""
    process = subprocess.Popen([binary, *arguments], cwd=work, env=running.environment(work, {}), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as file:
                most = max(most, next((int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon:")), 0))
        except OSError:
            break
        time.sleep(0.001)
    return most, process.wait()


def test_checksums_of_storages(binary, work):
    """load --verify finds a changed byte of any storage that a tensor lies in, also one that no tensor holds."""
    views = {"row": ([2], [1]), "columns": ([2, 2], [1, 4])}
    write_views(work / "good.pt", views, struct.pack("<12f", *range(12)))
    flags = ["--max-memory", "0=1MB,cpu=1GB", "--emulate-gpus", "--json", "-q"]
    data = (work / "good.pt").read_bytes()
    begin = data.index(struct.pack("<12f", *range(12)))
    for at in (begin, begin + 47):
        changed = bytearray(data)
        changed[at] ^= 1
        (work / "changed.pt").write_bytes(changed)
        for place in ("cpu", "0", "disk"):
            assert running.run(binary, ["load", "changed.pt", "--device-map", place, *flags], work).status == 0
            assert running.run(binary, ["load", "good.pt", "--device-map", place, "--verify", *flags], work).status == 0
            result = running.run(binary, ["load", "changed.pt", "--device-map", place, "--verify", *flags], work)
            error = json.loads(result.stdout)["error"]
            assert (result.status, error["code"], error["path"], error["offset"]) == (3, "invalid_zip", "changed.pt", begin), result
            assert error["tensor"] in views and "checksum" in error["message"] and error["hint"]
    # Several pieces of 1 MiB.
    large = bytearray(hostile_pickles.archive(hostile_pickles.state_dict(hostile_pickles.tensor(
        shape=b"J" + struct.pack("<i", 900_000) + b"\x85", storage=hostile_pickles.STORAGE.replace(b"K\x04t", b"J" + struct.pack("<i", 900_000) + b"t"))),
        bytes(3_600_000)))
    (work / "large.pt").write_bytes(large)
    assert running.run(binary, ["load", "large.pt", "--device-map", "cpu", "--verify", *flags], work).status == 0
    large[len(large) // 2] ^= 1
    (work / "large.pt").write_bytes(large)
    assert running.run(binary, ["load", "large.pt", "--device-map", "cpu", "--verify", *flags], work).status == 3


def test_tied_storages_are_loaded_once(binary, work):
    result = running.run(binary, ["load", str(TORCH / "dtypes.pt"), "--device-map", "cpu", "--dtype", "float32", "-q", "--json"], work)
    assert result.status == 4 and json.loads(result.stdout)["error"]["code"] == "unsupported_dtype"  # complex128
    write_two_names_of_one_storage(work / "tied.pt")
    result = running.run(binary, ["load", "tied.pt", "--device-map", "cpu", "-q", "--json", "--verify"], work)
    document = json.loads(result.stdout)
    assert (result.status, document["loaded_bytes"], document["tied_weights"]) == (0, 16, [["a", "b"]])


def test_archives_that_were_zipped_again(binary, work):
    """torch loads all of these; the values are those of the file before."""
    row = next(r for r in map(json.loads, (TORCH / "loads.jsonl").read_text().splitlines()) if (r["file"], r["dtype"]) == ("views.pt", "float32"))
    said = {"deflated.pt": "were unpacked to", "commented.pt": "a comment of 9 bytes", "trailing.pt": "100 bytes follow the end"}
    for file, warning in said.items():
        source = str(TORCH / file)
        for flags in (["--device-map", "cpu", "--io", "mmap"], ["--device-map", "disk"], ["--device-map", "0", "--emulate-gpus"],
                      ["--device-map", "cpu", "--map"]):
            document = load_document(binary, work, source, "--dtype", "float32", "--max-memory", "0=1MB,cpu=1MB", "--verify", *flags)
            if "disk" not in flags:
                assert document["hashes"] == row["hashes"], (file, flags)
        for command in (["inspect"], ["verify"], ["diff", str(TORCH / "views.pt")], ["convert"]):
            result = running.run(binary, [*command, source, *([f"{file}.safetensors"] if command == ["convert"] else [])], work)
            assert result.status == 0, result
            assert command[0] in ("convert", "diff") or warning in result.stderr, result
        assert running.run(binary, ["diff", f"{file}.safetensors", str(TORCH / "views.pt")], work).status == 0
    result = running.run(binary, ["load", str(TORCH / "deflated.pt"), "--device-map", "cpu", "--json"], work, {"TMPDIR": str(work / "absent")})
    assert result.status == 5 and json.loads(result.stdout)["error"]["code"] == "io_error", result
    assert not list(work.glob("hfload-*"))


def test_a_tensor_that_is_no_plain_one(binary, work):
    """It hides no other, and nothing that would leave it out unasked ends with 0."""
    for kind in ("sparse", "meta", "quantized", "legacy"):
        file = str(TORCH / f"odd_{kind}.pt")
        name = "quantized" if kind == "legacy" else kind
        result = running.run(binary, ["inspect", file, "--tensors", "--json"], work)
        assert result.status == 0 and f"'odd' ({name}) for one" in result.stderr, result
        assert {t["name"]: t["dtype"] for t in check_schema(result.stdout, "inspect")["tensors"]} == {"odd": name, "plain": "F32"}
        for command in (["load", file, "--device-map", "cpu"], ["convert", file, "no.safetensors"], ["diff", file, file]):
            result = running.run(binary, [*command, "--json"], work)
            error = json.loads(result.stdout)["error"] if command[0] != "convert" else None
            assert result.status == 4 and "[unsupported_format]" in result.stderr and "--exclude" in result.stderr, result
            assert error is None or error["tensor"] == "odd", error
        assert not (work / "no.safetensors").exists()
        assert running.run(binary, ["load", file, "--device-map", "cpu", "--subset", "plain", "--verify"], work).status == 0
        result = running.run(binary, ["convert", file, f"{kind}.safetensors", "--exclude", "odd"], work)
        assert result.status == 0, result
        data = (work / f"{kind}.safetensors").read_bytes()
        assert b'"odd"' not in data and data.endswith(struct.pack("<4f", 0, 1, 2, 3))
        result = running.run(binary, ["verify", file, "--json", "-q", "--write-hashes", "hashes.json"], work)
        findings = json.loads(result.stdout)["findings"]
        assert result.status == 1 and [(f["code"], f["names"]) for f in findings] == [("unsupported_format", ["odd"])], result
        assert list(json.loads((work / "hashes.json").read_text())["tensors"]) == ["plain"]


def test_no_stray_tensor_becomes_the_model(binary, work):
    for file, key in (("net_and_epoch.pt", "--key net"), ("params.pt", "--key params"), ("loss_and_optimizer.pt", "--key ."), ("empty_model.pt", "--key ."),
                      ("optimizer.pt", "optimizer"), ("empty.pt", "state_dict()"), ("empty_legacy.pt", "state_dict()")):
        for command in (["inspect"], ["plan"], ["load"], ["verify"], ["convert"]):
            result = running.run(binary, [*command, str(TORCH / file), *(["no.safetensors"] if command == ["convert"] else [])], work)
            assert result.status == 4 and "[unsupported_format]" in result.stderr and key in result.stderr, (command, result)
    assert not (work / "no.safetensors").exists()
    result = running.run(binary, ["convert", str(TORCH / "megatron.pt"), "m.safetensors"], work)
    assert result.status == 0 and b"language_model.embedding.word_embeddings.weight" in (work / "m.safetensors").read_bytes(), result
    result = running.run(binary, ["verify", str(TORCH / "beside_loss.pt")], work)
    assert result.status == 0 and "the tensors of 'optimizer' and 'best_val_loss' and 'ema'" in result.stderr, result


def write_two_names_of_one_storage(path):
    body = hostile_pickles.PROTO + b"}(" + b"".join(hostile_pickles.text(n) + hostile_pickles.tensor() for n in "ab") + b"u."
    path.write_bytes(hostile_pickles.archive(body, bytes(range(16))))


def genops(data):
    return [(op.name, argument, place) for op, argument, place in pickletools.genops(data)]


def test_scan_lists_what_pickletools_finds(binary, work):
    for path in sorted(TORCH.glob("*.pt")):
        if path.name in ("ancient.pt", "torchscript.pt", "deflated.pt"):
            continue
        result = running.run(binary, ["scan", str(path), "--json", "-q"], work)
        document = check_schema(result.stdout, "scan")
        assert result.status == (1 if path.name == "module.pt" else 0)
        pickles = document["files"][0]["pickles"]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                starts = [m.filename for m in archive.infolist() if m.filename.endswith(".pkl")]
                data = {p["member"]: archive.read(p["member"]) for p in pickles}
            assert [p["member"] for p in pickles] == starts
        else:
            whole = path.read_bytes()
            data = {p["member"]: whole[p["offset"] :] for p in pickles[-2:-1]}
            assert len(pickles) == 5
            pickles = pickles[-2:-1]
        for found in pickles:
            operations = genops(data[found["member"]])
            wanted = [(name, found["offset"] + place, argument.replace(" ", ".", 1) if name == "GLOBAL" else None)
                      for name, argument, place in operations if name in ("GLOBAL", "STACK_GLOBAL")]
            names = [(g["opcode"], g["offset"], f"{g['module']}.{g['name']}" if g["opcode"] == "GLOBAL" else None)
                     for g in found["globals"]]
            assert names == wanted, path.name
            assert all(g["module"] != "?" for g in found["globals"])


def test_scan_of_models_and_its_statuses(binary, work):
    result = running.run(binary, ["scan", str(TORCH / "llama-tiny"), str(TORCH / "gpt2-tiny")], work)
    assert result.status == 0 and "7 pickles in 3 files" in result.stderr
    lines = result.stdout.splitlines()
    assert any(line.endswith("pytorch_model/data.pkl:160: allowed torch.FloatStorage (GLOBAL)") for line in lines), lines
    (work / "broken.pkl").write_bytes(b"\x80\x02}")
    (work / "denied.pkl").write_bytes(hostile_pickles.EXECUTING[0][1])
    (work / "pointer.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (work / "deflated.bin").write_bytes(hostile_pickles.deflated(hostile_pickles.state_dict()))
    (work / "config.json").write_text("{}")
    for arguments, status in ((["broken.pkl"], 3), (["denied.pkl"], 1), (["broken.pkl", "denied.pkl"], 1), (["pointer.bin"], 3),
                              (["deflated.bin"], 0), (["deflated.bin", "broken.pkl"], 3), (["absent.bin"], 8), ([], 2), (["."], 1)):
        for form in ([], ["--json"]):
            result = running.run(binary, ["scan", *arguments, *form], work)
            assert result.status == status, (arguments, result)
            if form and status in (0, 1, 3, 4):
                check_schema(result.stdout, "scan")
    assert not (work / hostile_pickles.MARKER).exists()


def refusals(binary, work, path, codes):
    """Faults of every command's answer to a file that must be refused."""
    for command, *flags in COMMANDS:
        result = running.run(binary, [command, str(path), "--json", "-q", *flags], work)
        found = json.loads(result.stdout)["error"]["code"] if result.stdout else None
        status = 4 if codes == {"unsupported_format"} else 3
        if result.status != status or found not in codes:
            yield f"{path.name}: {command} gave {result.status} {found}, expected {status} {codes}: {result.stderr[:300]}"


def test_pickles_that_execute(binary, work):
    """In every place of a file where torch.load would read them; and Python does run most of them."""
    def check(case):
        name, data = case
        forms = {"zip": hostile_pickles.archive(data), "legacy": hostile_pickles.legacy(data), "first": data}
        for form, content in forms.items():
            path = work / f"{name.replace('/', ' ')} {form}.bin"
            path.write_bytes(content)
            # What begins without PROTO, or has an opcode of another protocol first, is refused for that.
            yield from refusals(binary, work, path, {"unsafe_pickle", "invalid_pickle"})
            result = running.run(binary, ["scan", str(path), "--json", "-q"], work)
            if result.status != 1 or json.loads(result.stdout)["denied"] == 0:
                yield f"{path.name}: scan gave {result.status}: {result.stderr[:300]}"

    cases = hostile_pickles.EXECUTING + hostile_pickles.DENIED
    assert len(cases) >= 40
    wrong = in_parallel(check, cases)
    assert not (work / hostile_pickles.MARKER).exists(), "something was executed"
    assert not wrong, "\n".join(wrong[:10])


def test_the_payloads_are_real(binary, work):
    """Python's own pickle runs them: a test of the test."""
    def check(case):
        name, data = case
        directory = work / name.replace("/", " ")
        directory.mkdir()
        subprocess.run([sys.executable, "-c", "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"], input=data,
                       cwd=directory, capture_output=True, check=False, timeout=60)
        if not (directory / hostile_pickles.MARKER).exists():
            yield name

    idle = set(in_parallel(check, hostile_pickles.EXECUTING))
    # Popen does not wait, and two import torch first.
    assert idle <= {"REDUCE of a Popen", "in a tensor's storage", "in a tensor's hooks"}, idle


def test_abuse_of_what_is_allowed(binary, work):
    def check(case):
        name, data, codes = case
        forms = {"zip": hostile_pickles.archive(data)}
        if "unsafe_pickle" not in codes and data:
            forms["legacy"] = hostile_pickles.legacy(data)
        for form, content in forms.items():
            path = work / f"{name.replace('/', ' ')} {form}.pt"
            path.write_bytes(content)
            # In the legacy layout the next pickle stands where this one ends early.
            more = {"invalid_pickle", "unsafe_pickle", "invalid_storage", "data_truncated"} if form == "legacy" else set()
            yield from refusals(binary, work, path, codes | more)

    assert len(hostile_pickles.ABUSES) >= 40
    wrong = in_parallel(check, hostile_pickles.ABUSES)
    assert not wrong, "\n".join(wrong[:10])


def test_zip_attacks(binary, work):
    def check(case):
        name, data, codes = case
        path = work / f"{name.replace('/', ' ')[:60]}.pt"
        path.write_bytes(data)
        if codes:
            yield from refusals(binary, work, path, codes)
        else:
            result = running.run(binary, ["load", str(path), "--device-map", "cpu", "-q"], work)
            if result.status != 0:
                yield f"{name}: {result}"

    wrong = in_parallel(check, list(hostile_pickles.zip_attacks()))
    assert not wrong, "\n".join(wrong[:10])


def test_damage_is_refused_or_harmless(binary, work):
    """Cut off at every 7th byte, with sanitizers at every 49th; a unit test does so at each, in the parsers."""
    step = 49 if running.is_sanitized(binary) else 7
    for file in ("views.pt", "views_legacy.pt"):
        whole = (TORCH / file).read_bytes()

        def check(size):
            path = work / f"{size}.pt"
            path.write_bytes(whole[:size])
            result = running.run(binary, ["inspect", str(path), "--json", "-q"], work)
            path.unlink()
            if result.status != 3 or json.loads(result.stdout)["error"]["path"] != str(path):
                yield f"{file} of {size} bytes: {result}"

        wrong = in_parallel(check, range(0, len(whole), step))
        assert not wrong, "\n".join(wrong[:3])


def test_many_members(binary, work):
    """As many as are allowed, within the memory of the test below, and one more."""
    for count, status, code in ((200_000, 4, "unsupported_format"), (200_001, 3, "invalid_zip")):
        hostile_pickles.write_many(work / "many.pt", count)
        result = running.run(binary, ["inspect", "many.pt", "--json", "-q"], work)
        assert (result.status, json.loads(result.stdout)["error"]["code"]) == (status, code)


def test_little_memory_was_used(binary, work):
    """Over the processes of the tests above that read small files, Python's among them. Sanitizers need more by themselves."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert usage <= MOST_RESIDENT_KIB or running.is_sanitized(binary), f"{usage} KiB"


def hostile_bodies(size):
    """Pickles of about so many bytes that make as much of them as they can: (name, body after PROTO)."""
    h = hostile_pickles
    memo = b"q\x01"

    def batches(piece):
        return (b"(" + piece * 1000 + b"e") * (size // (1000 * len(piece)))

    def entries(value):
        """A dict of many names."""
        count = size // (8 + len(value))
        return b"}" + b"".join(b"(" + b"".join(b"\x8c\x06%06x" % i + value for i in range(k, k + 1000)) + b"u" for k in range(0, count, 1000)) + b"."

    yield "entries that are no tensors", entries(b"N")
    yield "lists on the stack", b"(" + b"]" * size + b"l."
    yield "lists", b"]" + batches(b"]") + b"."
    yield "tuples in one another", b"N" + b"\x85" * size + b"."
    yield "tuples", b"]" + batches(b"N\x85") + b"."
    yield "members", b"]N" + memo + b"a" + batches(b"h\x01") + b"."
    yield "members one by one", b"]N" + memo + b"a" + b"h\x01a" * (size // 3) + b"."
    yield "copies of a dict", (b"]" + h.name("collections", "OrderedDict") + b"q\x02a}(" + b"NN" * 5000 + b"u\x85" + memo + b"a"
                               + batches(b"h\x02h\x01R") + b".")
    yield "a memo", b"]" + batches(b"N\x94") + b"."
    yield "negative numbers", b"]" + batches(b"\x8a\x01\xff") + b"."
    yield "floating-point numbers", b"]" + batches(b"G12345678") + b"."
    yield "short strings", b"]" + batches(b"\x8c\x01x") + b"."
    yield "long strings", b"]" + (h.text("x" * 65536) + b"a") * (size // 65542) + b"."
    yield "storages", b"]" + h.STORAGE[:-1] + memo + b"a" + batches(b"h\x01Q") + b"."
    named = [b"(h\x02h\x03\x8c\x06%06xh\x04K\x04tQ" % i for i in range(4 * size // 19)]
    yield "storages of their own names", (
        b"}" + h.text("s") + b"](" + h.text("storage") + b"q\x02" + h.name("torch", "FloatStorage") + b"q\x03" + h.text("cpu") + b"q\x04e"
        + b"".join(b"(" + b"".join(named[k : k + 1000]) + b"e" for k in range(0, len(named), 1000)) + b"s.")
    wide = b"(" + b"K\x01" * 64 + b"t"
    yield "one tensor of 64 dimensions, under many names", (
        b"}" + h.text("w") + h.tensor(shape=wide, stride=wide) + memo + b"s" + entries(b"h\x01")[1:])


def test_hostile_pickles_take_little_memory(binary, work):
    """At most four times their size or 64 MiB, whatever they say; and no time to speak of. Sanitizers, which take memory of their own, get
    small ones."""
    sizes = (256 << 10, 1 << 20) if running.is_sanitized(binary) else (2 << 20, 20 << 20)
    for name, body in [*hostile_bodies(sizes[0]), next(hostile_bodies(sizes[1]))]:
        path = work / "hostile.pt"
        path.write_bytes(hostile_pickles.archive(hostile_pickles.PROTO + body))
        limit = max(64 << 20, 4 * path.stat().st_size)
        for command in ("inspect", "scan") if name in ("a memo", "short strings", "lists") else ("inspect",):
            begin = time.monotonic()
            most, status = anonymous_bytes(binary, work, command, str(path), "-q")
            assert most <= limit or running.is_sanitized(binary), f"{name}, {len(body)} bytes: {command} took {most} bytes"
            assert status in (0, 3, 4) and time.monotonic() - begin < 60, (name, command, status)


def test_gathering_takes_little_memory(binary, work):
    rows, columns = 2048, 3072
    write_views(work / "large.pt", {"w": ([columns, rows], [1, columns])}, bytes(range(256)) * (4 * rows * columns // 256))
    for flags in (["--device-map", "cpu", "--max-memory", "cpu=1GB"], ["--device-map", "0", "--max-memory", "0=1GB", "--emulate-gpus"],
                  ["--device-map", "cpu", "--max-memory", "cpu=1GB", "--dtype", "float16", "--verify"]):
        most, status = anonymous_bytes(binary, work, "load", "large.pt", "-q", "--threads", "4", *flags)
        destination = 4 * rows * columns // (2 if "float16" in flags else 1)
        assert status == 0 and (most <= destination + (32 << 20) or running.is_sanitized(binary)), (flags, most)


def test_the_report_of_a_load(binary, work):
    """Rates are of what is read; the sentence gives them in GB of 10^9 bytes, where the load takes long enough to say."""
    columns, unit = 1 << 20, 4 << 20
    for rows in (32, 64, 128):  # of one storage, repeated
        write_views(work / "rows.pt", {"w": ([rows, columns], [0, 1])}, bytes(unit))
        result = running.run(binary, ["load", "rows.pt", "--device-map", "cpu", "--max-memory", "cpu=2GB", "--dtype", "float16", "--json", "--threads", "1"], work)
        assert result.status == 0, result
        document = check_schema(result.stdout, "load")
        seconds, read = document["seconds"], document["io"]["read_bytes"]
        assert document["loaded_bytes"] == rows * unit // 2 and read >= unit
        assert math.isclose(document["io"]["bytes_per_second"], read / seconds, rel_tol=0.01), document
        found = re.search(r"^note: loaded ([\d.]+) MiB in ([\d.]+) s(?: \(([\d.]+) GB/s\))?$", result.stderr, re.M)
        assert found and float(found[1]) == rows * 2 and math.isclose(float(found[2]), seconds, abs_tol=0.006), (result.stderr, seconds)
        assert (found[3] is not None) == (seconds > 0.1), (result.stderr, seconds)
        if found[3]:
            assert math.isclose(float(found[3]), read / 1e9 / seconds, rel_tol=0.01, abs_tol=0.006), (result.stderr, seconds)
            return
