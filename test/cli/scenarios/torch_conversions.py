"""convert from PyTorch checkpoints: the tensors that torch saw are those that are written, by the hashes in test/fixtures/torch."""

import hashlib
import shutil

import running
from scenarios.conversions import convert, document, read_pytorch, read_tensors
from scenarios.torch_files import SAFETENSORS_NAMES, TORCH, expected_rows

UNWRITABLE = ("complex32", "complex128")


def hashes(tensors):
    return {n: (dtype, shape, hashlib.sha256(data).hexdigest()) for n, (dtype, shape, data) in tensors.items()}


def test_tensors_are_those_that_torch_saw(binary, work):
    rows = expected_rows()
    assert len(rows) > 10 and any("stride" in t and not t["contiguous"] for row in rows for t in row["tensors"])
    for row in rows:
        wanted = {t["name"]: (SAFETENSORS_NAMES[t["dtype"]], t["shape"], t["sha256"]) for t in row["tensors"] if t["dtype"] not in UNWRITABLE}
        skipped = [flag for t in row["tensors"] if t["dtype"] in UNWRITABLE for flag in ("--exclude", t["name"])]
        if skipped:
            refused = convert(binary, work, TORCH / row["file"], "refused.safetensors", "-q", status=4)
            assert "[unsupported_dtype]" in refused.stderr and not (work / "refused.safetensors").exists(), refused
        for threads in (1, 5):
            output = work / f"{row['file']}.{threads}.safetensors"
            convert(binary, work, TORCH / row["file"], output.name, "-q", "--threads", threads, *skipped)
            assert hashes(read_tensors(output)) == wanted, row["file"]


def test_there_and_back(binary, work):
    for row in expected_rows():
        skipped = [flag for t in row["tensors"] if t["dtype"] in UNWRITABLE for flag in ("--exclude", t["name"])]
        stem = row["file"].removesuffix(".pt")
        convert(binary, work, TORCH / row["file"], f"{stem}.safetensors", "-q", *skipped)
        convert(binary, work, f"{stem}.safetensors", f"{stem}.bin", "--format", "pytorch", "-q")
        convert(binary, work, f"{stem}.bin", f"{stem}-2.safetensors", "-q")
        assert (work / f"{stem}.safetensors").read_bytes() == (work / f"{stem}-2.safetensors").read_bytes(), stem


def test_a_model_is_that_of_save_pretrained(binary, work):
    """The fixtures' safetensors and PyTorch files are of one model each, both written by transformers."""
    for name in ("llama-tiny", "gpt2-tiny"):
        source = running.FIXTURES / "checkpoints" / name
        convert(binary, work, TORCH / name, name, "--merge", "-q")
        assert sorted(p.name for p in (work / name).iterdir()) == ["config.json", "model.safetensors"], name
        convert(binary, work, source, f"{name}-2", "--merge", "-q")
        assert (work / name / "model.safetensors").read_bytes() == (work / f"{name}-2" / "model.safetensors").read_bytes(), name
        convert(binary, work, TORCH / name, f"{name}-pt", "--format", "pytorch", "--merge", "-q")
        assert read_pytorch(work / f"{name}-pt" / "pytorch_model.bin") == read_tensors(work / name / "model.safetensors")


def test_ties_of_the_model_are_dropped_and_others_are_kept(binary, work):
    report = document(binary, work, TORCH / "gpt2-tiny", "tied")["models"][0]
    assert report["dropped_tensors"] == ["lm_head.weight"], report
    assert "lm_head.weight" not in read_tensors(work / "tied" / "model.safetensors")
    # Without a config nothing says that the two are one parameter: both are written.
    shutil.copy(TORCH / "gpt2-tiny" / "pytorch_model.bin", work / "alone.bin")
    report = document(binary, work, "alone.bin", "all.safetensors")["models"][0]
    assert report["dropped_tensors"] == []
    tensors = read_tensors(work / "all.safetensors")
    assert tensors["lm_head.weight"] == tensors["transformer.wte.weight"]
    # Cast apart, the two are no longer one storage.
    convert(binary, work, "alone.bin", "apart.bin", "--format", "pytorch", "--dtype-for", "lm_head.*=bfloat16", "-q")
    convert(binary, work, "apart.bin", "apart.safetensors", "-q")
    apart = read_tensors(work / "apart.safetensors")
    assert apart["lm_head.weight"][0] == "BF16" and apart["transformer.wte.weight"] == tensors["transformer.wte.weight"]


def test_the_state_dict_in_a_trainers_checkpoint(binary, work):
    rows = {row["file"]: row for row in expected_rows()}
    for file, key, beside in (("lightning.pt", "state_dict", "the 6 entries beside it are"), ("trainer_legacy.pt", "model", "the 2 entries beside it are")):
        result = convert(binary, work, TORCH / file, f"{file}.safetensors")
        assert f"the tensors are those of the dict '{key}' in the file; {beside} left out" in result.stderr, result
        assert sorted(read_tensors(work / f"{file}.safetensors")) == sorted(t["name"] for t in rows[file]["tensors"])
    chosen = convert(binary, work, TORCH / "two_models.pt", "chosen.safetensors", "--key", "state_dict")
    assert list(read_tensors(work / "chosen.safetensors")) == ["w"] and "those of the dict 'state_dict'" in chosen.stderr, chosen
    convert(binary, work, TORCH / "ema_alone.pt", "ema.safetensors", "--key", "ema", "-q")
    assert len(read_tensors(work / "ema.safetensors")) == 4
    for file, flags, status, code, hint in (("two_models.pt", [], 4, "unsupported_format", "--key model"), ("ema_alone.pt", [], 4, "unsupported_format", "--key ema"),
                                            ("ema_alone.pt", ["--key", "model"], 8, "weights_not_found", "It has 'ema'")):
        for command in (["convert", str(TORCH / file), "no.safetensors"], ["inspect", str(TORCH / file)], ["plan", str(TORCH / file)]):
            result = running.run(binary, [*command, *flags], work)
            assert result.status == status and f"[{code}]" in result.stderr and hint in result.stderr, result
    assert "[usage]" in convert(binary, work, "ema.safetensors", "no.safetensors", "--key", "ema", status=2).stderr
    # What is left out of a flat one is said too.
    assert "that are no tensor" in convert(binary, work, TORCH / "extras.pt", "extras.safetensors").stderr
