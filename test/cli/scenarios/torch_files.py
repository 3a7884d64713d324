"""PyTorch checkpoints through the whole program: those of torch are read as torch reads them, hostile ones execute nothing."""

import concurrent.futures
import json
import os
import pickletools
import resource
import subprocess
import sys
import zipfile

import hostile_pickles
import running
from run_cli_tests import check_schema

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


def test_tensors_are_those_that_torch_finds(binary, work):
    for row in expected_rows():
        result = running.run(binary, ["inspect", str(TORCH / row["file"]), "--tensors", "--json", "-q"], work)
        assert result.status == 0
        document = check_schema(result.stdout, "inspect")
        found = {t["name"]: (t["dtype"], t["shape"]) for t in document["tensors"]}
        wanted = {t["name"]: (SAFETENSORS_NAMES.get(t["dtype"], t["dtype"]), t["shape"]) for t in row["tensors"]}
        assert found == wanted, row["file"]
        tied = [["embed.weight", "lm_head.weight"]] if "embed.weight" in wanted else []
        assert document["tied_weights"] == tied
        assert any("that are no tensor" in warning for warning in document["warnings"]) == bool(row["others"]), (row["file"], document["warnings"])


def test_loads_are_those_of_the_same_model_in_safetensors(binary, work):
    for name in ("llama-tiny", "gpt2-tiny"):
        documents = []
        for model in (running.FIXTURES / "checkpoints" / name, TORCH / name):
            for arguments in (["plan"], ["load", "--emulate-gpus", "--verify"]):
                result = running.run(binary, [*arguments, str(model), "--json", "-q", "--max-memory", "0=20KB,cpu=15KB"], work)
                assert result.status == 0
                document = check_schema(result.stdout, arguments[0])
                document.pop("seconds", None)
                document.pop("io", None)  # rates, and padding that is read along
                documents.append(document)
        assert documents[:2] == documents[2:], name
        assert documents[1]["verified_bytes"] > 0


def test_names_of_one_storage_stay_tied_by_the_rules_of_transformers_5(binary, work):
    """transformers 5 unties what the checkpoint holds twice, and ties it again where the two are equal."""
    result = running.run(binary, ["load", str(TORCH / "gpt2-tiny"), "--device-map", "cpu", "--compat", "5", "--json"], work)
    document = json.loads(result.stdout)
    assert result.status == 0 and document["loaded_bytes"] == 33024 and "ties" not in result.stderr, result


def test_what_cannot_be_loaded_in_place_is_inspected_and_planned(binary, work):
    for file, words in (("views.pt", "do not lie one after the other"), ("dtypes_big_endian.pt", "big-endian")):
        plan = running.run(binary, ["plan", str(TORCH / file), "--device-map", "cpu", "-q"], work)
        assert (plan.status, plan.stdout) == (0, "{'': 'cpu'}\n"), plan
        load = running.run(binary, ["load", str(TORCH / file), "--device-map", "cpu", "-q"], work)
        assert load.status == 4 and words in load.stderr and "hfload convert" in load.stderr, load


def test_tied_storages_are_loaded_once(binary, work):
    result = running.run(binary, ["load", str(TORCH / "dtypes.pt"), "--device-map", "cpu", "--dtype", "float32", "-q", "--json"], work)
    assert result.status == 4 and json.loads(result.stdout)["error"]["code"] == "unsupported_dtype"  # complex128
    write_two_names_of_one_storage(work / "tied.pt")
    result = running.run(binary, ["load", "tied.pt", "--device-map", "cpu", "-q", "--json", "--verify"], work)
    document = json.loads(result.stdout)
    assert (result.status, document["loaded_bytes"], document["tied_weights"]) == (0, 16, [["a", "b"]])


def write_two_names_of_one_storage(path):
    body = hostile_pickles.PROTO + b"}(" + b"".join(hostile_pickles.text(n) + hostile_pickles.tensor() for n in "ab") + b"u."
    path.write_bytes(hostile_pickles.archive(body, bytes(range(16))))


def genops(data):
    return [(op.name, argument, place) for op, argument, place in pickletools.genops(data)]


def test_scan_lists_what_pickletools_finds(binary, work):
    for path in sorted(TORCH.glob("*.pt")):
        if path.name in ("ancient.pt", "torchscript.pt"):
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
                              (["deflated.bin"], 4), (["deflated.bin", "broken.pkl"], 3), (["absent.bin"], 8), ([], 2), (["."], 1)):
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
    """Cut off at every 7th byte; every unit test does so at each, in the parsers."""
    for file in ("views.pt", "views_legacy.pt"):
        whole = (TORCH / file).read_bytes()

        def check(size):
            path = work / f"{size}.pt"
            path.write_bytes(whole[:size])
            result = running.run(binary, ["inspect", str(path), "--json", "-q"], work)
            path.unlink()
            if result.status != 3 or json.loads(result.stdout)["error"]["path"] != str(path):
                yield f"{file} of {size} bytes: {result}"

        wrong = in_parallel(check, range(0, len(whole), 7))
        assert not wrong, "\n".join(wrong[:3])


def test_many_members(binary, work):
    """As many as are allowed, within the memory of the test below, and one more."""
    for count, status, code in ((100_000, 4, "unsupported_format"), (100_001, 3, "invalid_zip")):
        hostile_pickles.write_many(work / "many.pt", count)
        result = running.run(binary, ["inspect", "many.pt", "--json", "-q"], work)
        assert (result.status, json.loads(result.stdout)["error"]["code"]) == (status, code)


def test_little_memory_was_used(binary, work):
    """Over all the processes of this topic, Python's among them; runs last. Sanitizers need more by themselves."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with open(binary, "rb") as file:
        if b"__asan_" in (program := file.read()) or b"__tsan_" in program:
            return
    assert usage <= MOST_RESIDENT_KIB, f"{usage} KiB"
