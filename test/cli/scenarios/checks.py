"""verify and diff through the program, against what numpy and torch say (test/fixtures/checks) and against formulas."""

import json
import math
import shutil
import struct
import zipfile

import running
import safetensors_writer
import setups
from run_cli_tests import check_schema
from scenarios.conversions import convert, most_anonymous_bytes
from scenarios.torch_files import TORCH, expected_rows

CHECKS = running.FIXTURES / "checks"
MASK = 2**64 - 1


def run(binary, work, *arguments, status=0):
    result = running.run(binary, [*map(str, arguments)], work)
    assert result.status == status, result
    return result


def document(binary, work, command, *arguments, status=0):
    return check_schema(run(binary, work, command, *arguments, "--json", "-q", status=status).stdout, command)


def codes(report):
    return [finding["code"] for finding in report["findings"]]


def tensor_hash(data):
    """kernels/hash.h: the formula."""
    def mix(x):
        x = (x ^ x >> 33) * 0xFF51AFD7ED558CCD & MASK
        x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53 & MASK
        return x ^ x >> 33

    padded = data + bytes(-len(data) % 8)
    words = (int.from_bytes(padded[i : i + 8], "little") for i in range(0, len(padded), 8))
    total = sum(mix(word + (i + 1) * 0x9E3779B97F4A7C15 & MASK) for i, word in enumerate(words)) & MASK
    return f"{mix(total + len(data) & MASK):016x}"


def test_statistics_are_those_of_numpy(binary, work):
    expected = {row["name"]: row for row in json.loads((CHECKS / "statistics.json").read_text())}
    content = (CHECKS / "statistics.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    report = document(binary, work, "verify", CHECKS / "statistics.safetensors", status=1)
    assert not report["clean"] and [f["code"] for f in report["findings"] if f["fault"]] == ["nan", "infinity"]
    assert {t["name"] for t in report["tensors"]} == set(expected)
    for found in report["tensors"]:
        row = expected[found["name"]]
        for key in ("shape", "values", "nan", "infinite", "denormal", "zero", "min", "max"):
            assert found[key] == row[key], (key, found, row)
        assert found["all_zero"] == (found["name"] == "zeros")
        assert found["constant"] == (row["min"] is not None and row["min"] == row["max"] and not row["nan"] and not row["infinite"]), found
        if row["mean"] is None:
            assert found["mean"] is None
        else:
            slack = 1e-14 * max(abs(row["min"]), abs(row["max"]))
            assert abs(found["mean"] - row["mean"]) <= slack, (found, row)
        data = content[8 + size :][slice(*header[found["name"]]["data_offsets"])]
        assert found["hash"] == tensor_hash(data), found
    assert report["findings"][1]["names"] == sorted(n for n, r in expected.items() if r["infinite"])


def test_any_number_of_threads_finds_the_same(binary, work):
    safetensors_writer.write(work / "a.safetensors", [("u", "U8", [9_000_001]), ("f", "F32", [2**21 + 5]), ("h", "BF16", [3 * 2**20]), ("l", "I64", [2**20])])
    outputs = {run(binary, work, "verify", "a.safetensors", "--json", "-q", "--threads", n).stdout for n in (1, 2, 7)}
    assert len(outputs) == 1
    found = {t["name"]: t for t in json.loads(outputs.pop())["tensors"]}["u"]
    values = [i % 251 for i in range(9_000_001)]
    assert (found["min"], found["max"], found["zero"]) == (0, 250, values.count(0))
    assert math.isclose(found["mean"], sum(values) / len(values), rel_tol=1e-15)
    # Half precision by Python's own decoding, in one piece that is long enough to be counted by pattern.
    safetensors_writer.write(work / "h.safetensors", [("h", "F16", [100_001])])
    data = (work / "h.safetensors").read_bytes()[-200_002:]
    values = [value for (value,) in struct.iter_unpack("<e", data)]
    finite = [value for value in values if math.isfinite(value)]
    found = document(binary, work, "verify", "h.safetensors", status=1)["tensors"][0]
    assert (found["min"], found["max"], found["nan"]) == (min(finite), max(finite), sum(map(math.isnan, values)))
    assert found["denormal"] == sum(0 < abs(value) < 2**-14 for value in finite)
    assert math.isclose(found["mean"], math.fsum(finite) / len(finite), rel_tol=1e-10)


def test_all_structural_faults_at_once(binary, work):
    a, b, c, d = ([(n, "U8", [8])] for n in "abcd")
    setups_dir = work / "m"
    setups_dir.mkdir()
    names = [f"model-0000{i}-of-00006.safetensors" for i in range(1, 8)]
    safetensors_writer.write_sharded(setups_dir, {
        names[0]: (["a"], a), names[1]: (["b"], None), names[2]: (["c"], None), names[3]: (["d"], d + [("extra", "U8", [8])]),
        names[4]: (["e"], b), names[5]: (["f"], c)}, 7)
    path = setups_dir / names[5]
    path.write_bytes(path.read_bytes()[:-3])  # cut off
    (setups_dir / names[2]).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n")
    safetensors_writer.write(setups_dir / names[6], a)
    report = document(binary, work, "verify", "m", status=1)
    found = {f["code"]: f for f in report["findings"]}
    assert set(found) >= {"shard_missing", "lfs_pointer", "unindexed_tensors", "tensor_not_in_shard", "data_truncated", "unindexed_files"}, report
    assert found["unindexed_files"]["names"] == [names[6]] and found["tensor_not_in_shard"]["names"] == ["e"]
    assert found["tensor_in_other_shard"]["names"] == ["b"] and found["unindexed_tensors"]["names"] == ["extra"]
    assert [t["name"] for t in report["tensors"]] == ["a", "d", "extra", "b"], report["tensors"]
    text = run(binary, work, "verify", "m", status=1).stdout
    assert "shard_missing: model-00002-of-00006.safetensors" in text and "2 not read" in text, text


def test_the_shell_is_compared(binary, work):
    setups.llama_with_missing_tensors(work)
    report = document(binary, work, "verify", "llama", status=1)
    assert "missing_keys" in codes(report), report


def test_hashes_are_kept_and_compared(binary, work):
    safetensors_writer.write(work / "a.safetensors", [("x", "U8", [100]), ("y", "U8", [7]), ("z", "U8", [3])])
    run(binary, work, "verify", "a.safetensors", "--write-hashes", "h.json")
    saved = json.loads((work / "h.json").read_text())
    assert saved["tensors"]["x"] == {"dtype": "U8", "shape": [100], "hash": tensor_hash(bytes(range(100)))}
    run(binary, work, "verify", "a.safetensors", "--against", "h.json")
    content = bytearray((work / "a.safetensors").read_bytes())
    content[-1] ^= 1
    (work / "a.safetensors").write_bytes(content)
    saved["tensors"]["gone"] = saved["tensors"].pop("y")
    (work / "h.json").write_text(json.dumps(saved))
    report = document(binary, work, "verify", "a.safetensors", "--against", "h.json", status=1)
    assert [(f["code"], f["names"]) for f in report["findings"]] == [("hash_differs", ["z"]), ("hash_missing", ["gone"]), ("hash_new", ["y"])]
    (work / "h.json").write_text("{}")
    assert "[invalid_hashes]" in run(binary, work, "verify", "a.safetensors", "--against", "h.json", status=3).stderr


def test_pytorch_checkpoints_are_verified_as_their_conversions(binary, work):
    for row in expected_rows():
        if row["file"].startswith(("new_dtypes", "dtypes", "protocol_5", "empty")):
            continue  # with dtypes that safetensors lacks
        convert(binary, work, TORCH / row["file"], f"{row['file']}.safetensors", "-q")
        one, other = (running.run(binary, ["verify", str(path), "--json", "-q"], work) for path in (TORCH / row["file"], f"{row['file']}.safetensors"))
        key = lambda tensor: tensor["name"]
        assert sorted(json.loads(one.stdout)["tensors"], key=key) == sorted(json.loads(other.stdout)["tensors"], key=key), row["file"]
        run(binary, work, "diff", TORCH / row["file"], f"{row['file']}.safetensors")


def test_a_flipped_bit_breaks_an_archive(binary, work):
    path = work / "m.pt"
    shutil.copy(TORCH / "views.pt", path)
    with zipfile.ZipFile(path) as archive:
        member = next(m for m in archive.infolist() if m.filename.endswith("/data/0"))
        data = archive.read(member)
    content = bytearray(path.read_bytes())
    content[content.index(data)] ^= 0x10
    path.write_bytes(content)
    report = document(binary, work, "verify", "m.pt", status=1)
    found = next(f for f in report["findings"] if f["code"] == "wrong_checksum")
    assert found["names"] == [member.filename], found


def test_differences_are_those_of_numpy(binary, work):
    expected = json.loads((CHECKS / "differences.json").read_text())
    report = document(binary, work, "diff", CHECKS / "a.safetensors", CHECKS / "b.safetensors", status=1)
    assert (report["only_in_a"], report["only_in_b"]) == (["only_a"], ["only_b"])
    found = {t["name"]: t for t in report["tensors"]}
    assert set(found) == {row["name"] for row in expected}
    for row in expected:
        for key, value in row.items():
            actual = found[row["name"]][key]
            close = isinstance(value, float) and math.isclose(actual, value, rel_tol=1e-12, abs_tol=1e-300)
            assert close or actual == value, (key, actual, row)
    assert [n for n, t in found.items() if t["within"]] == ["equal"], found
    loose = {t["name"] for t in document(binary, work, "diff", CHECKS / "a.safetensors", CHECKS / "b.safetensors", "--tolerance", "0.01", status=1)["tensors"] if t["within"]}
    assert loose == {n["name"] for n in expected if n["compared"] and n["max_absolute"] is not None and n["max_absolute"] <= 0.01 and not n["nan_mismatches"]}


def test_resharding_and_formats_are_no_difference(binary, work):
    source = running.FIXTURES / "checkpoints" / "t5-v1_0-tiny"
    for number, flags in enumerate([["--max-shard-size", "1KB"], ["--max-shard-size", "3KB"], ["--max-shard-size", "7KiB"], ["--max-shard-size", "30KB"],
                                    ["--merge"], ["--format", "pytorch"]]):
        convert(binary, work, source, f"out{number}", "-q", *flags)
        assert run(binary, work, "diff", source, f"out{number}").stdout.startswith("equal: "), flags
    convert(binary, work, source, "cast", "--dtype", "bfloat16", "-q")
    report = document(binary, work, "diff", source, "cast", "--threads", "1", status=1)
    assert report == document(binary, work, "diff", source, "cast", "--threads", "5", status=1)
    run(binary, work, "diff", source, "cast", "--tolerance", "10")
    convert(binary, work, "cast", "wide", "--dtype", "float32", "-q")
    run(binary, work, "diff", "cast", "wide")  # other dtypes, the same values


def test_little_memory_for_large_tensors(binary, work):
    if running.is_sanitized(binary):
        return
    for name in "ab":
        safetensors_writer.write(work / f"{name}.safetensors", [("w", "F32", [2**27]), ("h", "BF16", [2**28])], sparse=True)
    for arguments, status in ((["verify", "a.safetensors"], 1), (["diff", "a.safetensors", "b.safetensors"], 0)):
        most = most_anonymous_bytes(binary, work, [*arguments, "-q", "--threads", "16"], status)  # verify: a file of zeros
        assert most <= 64 * 2**20, f"{arguments}: {most} bytes"


def test_damage_is_a_finding_or_harmless(binary, work):
    setups.write_llama(work / "whole", setups.LLAMA_TENSORS[:2])
    sources = [((work / "whole" / "model.safetensors").read_bytes(), ".safetensors", 11), ((TORCH / "views.pt").read_bytes(), ".pt", 61)]
    found = set()
    for whole, extension, step in sources:
        step *= 5 if running.is_sanitized(binary) else 1
        damaged = [whole[:size] for size in range(0, len(whole), step)]
        for bit in range(0, 8 * len(whole), 5 * step):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            damaged.append(bytes(flipped))
        for content in damaged:
            (work / f"a{extension}").write_bytes(content)
            result = running.run(binary, ["verify", f"a{extension}", "--json", "-q", "--threads", "1"], work)
            assert result.status in (0, 1), result
            report = check_schema(result.stdout, "verify")
            assert report["clean"] == (result.status == 0)
            found |= set(codes(report))
    assert {"data_truncated", "invalid_zip", "wrong_checksum"} <= found, found
