"""PyTorch checkpoints in every layout that torch.save writes, and what torch finds in them.

Makes test/fixtures/torch/: the files, and `expected.jsonl`, one line a file: `file`, `tensors` (name, dtype, shape,
stride, storage_offset, contiguous, sha256 of the contiguous little-endian bytes, and `storage`, equal for tensors that share one),
`others` (names of the entries that are no tensors), `inside` (the entry of the file that holds them, if they are not the file itself) and, for zip archives, `members` (name, offset of the local header,
bytes, CRC-32) as Python's zipfile reads them. Folders hold a model each, whose tensors equal those of the fixture in
`checkpoints/` of the same name. Legacy files name storages by their address in memory, so that those, alone, change in
every run. Versions: requirements.txt. Run: python test/oracle/make_torch_files.py
"""

import collections
import hashlib
import io
import json
import shutil
import tarfile
import warnings
import zipfile

import numpy
import torch
from safetensors.torch import load_file

from common import FIXTURES, dtype_name, write_lines, write_versions

OUT = FIXTURES / "torch"
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8, torch.bool, torch.complex64, torch.complex128]
NEW_DTYPES = [torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz,
              torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.complex32]


def counted(dtype, count):
    """Bytes that count up, so that every byte of an element is another; a boolean has only two."""
    if dtype == torch.bool:
        return torch.arange(count) % 3 == 0
    size = count * torch.empty(0, dtype=dtype).element_size()
    return (torch.arange(size) * 7 % 251).to(torch.uint8).view(dtype).clone()


def dtypes(kinds):
    return collections.OrderedDict((f"w.{dtype_name(d)}", counted(d, 6).reshape(2, 3)) for d in kinds)


def views():
    base = counted(torch.float32, 24).reshape(4, 6)
    halves = counted(torch.bfloat16, 16)
    tied = torch.nn.Parameter(counted(torch.float16, 12).reshape(3, 4))
    complexes = counted(torch.complex64, 12).reshape(3, 4)
    return {
        "base": base,
        "row": base[1],
        "tail": base[2:],
        "transposed": base.t(),
        "columns": base[:, 1:4],
        "steps": base[::2, ::3],
        "permuted": counted(torch.int16, 24).reshape(2, 3, 4).permute(2, 0, 1),
        "expanded": counted(torch.int32, 3)[:, None].expand(3, 4),
        "repeated_scalar": torch.tensor(1.5).expand(2, 2),
        "first_half": halves[:8],
        "second_half": halves[8:],
        "embed.weight": tied,
        "lm_head.weight": tied,
        "complex_columns": complexes[:, 1:3],
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "element": base[1, 2],
        "empty": torch.zeros(0, 4),
        "empty_tail": base[4:],
        "one_row": base[3:4].t(),
        "frozen": torch.nn.Parameter(counted(torch.float32, 4), requires_grad=False),
        "many": counted(torch.uint8, 3 * 5 * 7 * 2 * 2).reshape(3, 5, 7, 2, 2).permute(4, 1, 0, 3, 2)[:, ::2],
    }


def negated():
    """Views with the conjugate and the negative bit, as torch.save keeps them."""
    complexes = counted(torch.complex64, 12).reshape(3, 4)
    floats = counted(torch.float32, 6)
    state = {"plain": complexes, "conj": complexes.conj(), "conj_again": complexes.conj(), "mH": complexes.mH, "imag": complexes.clone().conj().imag,
             "real": complexes.clone().conj().real, "neg": torch._neg_view(floats), "neg_conj": torch._neg_view(complexes.conj()),
             "neg_complex": torch._neg_view(complexes), "neg_columns": torch._neg_view(floats.reshape(2, 3).t()),
             "parameter": torch.nn.Parameter(complexes.conj()), "special": torch._neg_view(torch.tensor([0.0, -0.0, torch.inf, torch.nan]))}
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        state[f"neg.{dtype_name(dtype)}"] = torch._neg_view(counted(dtype, 5))
    return state


def extras():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) + i)
    state = module.state_dict()
    assert state._metadata
    values = {
        "epoch": 3, "loss": 0.25, "name": "tiny é", "nothing": None, "flag": True, "negative": -70000, "big": 2**80,
        "list": [1, [2.0, "x"]], "tuple": (1, 2, 3, 4), "size": torch.Size([2, 3]), "device": torch.device("cuda:0"),
        "dtype": torch.bfloat16, "counter": collections.Counter("aab"), "set": {1}, "complex": 1 + 2j, "bytes": b"\x00\xff",
        "bytearray": bytearray(b"ab"), "layout": torch.strided, "storage": torch.ones(2).storage(),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(4.0)}}, "param_groups": [{"lr": 1e-3}]},
        "numpy_scalar": numpy.float64(0.5), "numpy_array": numpy.arange(3),
    }
    state.update(values)
    return state, list(values)


def resolved(tensor):
    """Without the conjugate and the negative bit. torch compares no complex32."""
    return tensor.detach().resolve_conj().resolve_neg()


def tensor_row(name, tensor, storages):
    contiguous = resolved(tensor).contiguous()
    raw = contiguous.reshape(-1).view(torch.uint8).numpy().tobytes() if contiguous.numel() else b""
    storage = storages.setdefault(tensor.untyped_storage()._cdata, len(storages))
    return {"name": name, "dtype": dtype_name(tensor.dtype), "shape": list(tensor.shape), "stride": list(tensor.stride()),
            "storage_offset": tensor.storage_offset(), "contiguous": tensor.is_contiguous(), "storage": storage, "sha256": hashlib.sha256(raw).hexdigest()}


def members(path):
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return [[m.filename, m.header_offset, m.file_size, m.CRC] for m in archive.infolist()]


def expected(file, state, inside=None):
    """From the file as torch reads it, and it must read what was written; `inside`: the key of the dict that is the state dict."""
    loaded = torch.load(OUT / file, weights_only=False)
    if inside is not None:
        loaded, state = loaded[inside], state[inside]
    assert list(loaded) == list(state)
    storages = {}
    tensors = {k: v for k, v in loaded.items() if isinstance(v, torch.Tensor)}
    rows = [tensor_row(k, v, storages) for k, v in tensors.items()]
    written = {}
    originals = [tensor_row(k, v, written) for k, v in state.items() if isinstance(v, torch.Tensor)]
    assert [r | {"storage": 0} for r in rows] == [r | {"storage": 0} for r in originals]
    return {"file": file, "tensors": rows, "others": [k for k in loaded if k not in tensors], "inside": inside, "members": members(OUT / file)}


def save(file, state, inside=None, **options):
    path = OUT / file
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path, **options)
    return expected(file, state, inside)


def rewritten(source, target, change):
    """A copy of an archive whose members `change(name, data)` gives."""
    with zipfile.ZipFile(OUT / source) as old, zipfile.ZipFile(OUT / target, "w", zipfile.ZIP_STORED) as new:
        for member in old.infolist():
            data = change(member.filename, old.read(member))
            if data is not None:
                new.writestr(zipfile.ZipInfo(member.filename), data)


def big_endian(source, target, state):
    """As a big-endian machine would have written it: each storage in that machine's order."""
    keys = {}
    for tensor in state.values():
        keys.setdefault(tensor.untyped_storage()._cdata, (len(keys), tensor))
    width = {str(key): t.element_size() // (2 if t.is_complex() else 1) for key, t in keys.values()}

    def change(name, data):
        if name.endswith("/byteorder"):
            return b"big"
        if "/data/" in name:
            return numpy.frombuffer(data, f"V{width[name.rsplit('/', 1)[1]]}").view(
                f"u{width[name.rsplit('/', 1)[1]]}").byteswap().tobytes()
        return data

    rewritten(source, target, change)
    loaded = torch.load(OUT / target)
    for name, tensor in state.items():  # torch swaps bytes only of the dtypes that had a storage class of their own
        if tensor.dtype not in NEW_DTYPES:
            assert torch.equal(loaded[name].contiguous().reshape(-1).view(torch.uint8),
                               tensor.contiguous().reshape(-1).view(torch.uint8)), name
    row = json.loads(json.dumps(expected(source, state)))
    return row | {"file": target, "members": members(OUT / target)}


def trainers():
    """As Lightning, and as fairseq and others, save a run: the model's state dict is one entry of several."""
    state = {k: v for k, v in views().items() if k in ("base", "transposed", "embed.weight", "lm_head.weight")}
    optimizer = {"state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(4.0)}}, "param_groups": [{"lr": 1e-3}]}
    lightning = {"epoch": 3, "global_step": 70, "pytorch-lightning_version": "2.5.0", "optimizer_states": [optimizer],
                 "state_dict": collections.OrderedDict(state), "lr_schedulers": [], "hparams_name": "kwargs"}
    rows = [save("lightning.pt", lightning, "state_dict"),
            save("trainer_legacy.pt", {"model": state, "optimizer": optimizer, "epoch": 3}, "model", _use_new_zipfile_serialization=False)]
    torch.save({"model": state, "state_dict": {"w": torch.ones(2)}}, OUT / "two_models.pt")
    torch.save({"ema": state, "epoch": 3}, OUT / "ema_alone.pt")
    return rows


def trainer_choices():
    """What trainers save around a model: (file, what it holds). None of the tensors beside the model is the model."""
    state, loss = {"a.weight": torch.ones(2, 3), "a.bias": torch.ones(3)}, torch.tensor(1.5)
    optimizer = {"state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(4.0)}}, "param_groups": [{"lr": 1e-3}]}
    files = {
        "beside_loss.pt": {"model": state, "optimizer": optimizer, "best_val_loss": loss, "ema": torch.ones(2)},
        "megatron.pt": {"model": {"language_model": {"embedding": {"word_embeddings": {"weight": torch.ones(4, 2)}},
                                                     "encoder": {"layers.0.norm.weight": torch.ones(2)}}}, "iteration": 5},
        "optimizer.pt": optimizer,
        "net_and_epoch.pt": {"epoch": torch.tensor(3), "net": state},
        "params.pt": {"params": state, "params_ema": state},
        "loss_and_optimizer.pt": {"loss": loss, "optimizer": optimizer},
        "empty_model.pt": {"state_dict": {}, "loss": loss},
    }
    for file, content in files.items():
        torch.save(content, OUT / file)


def odd():
    """One tensor that is no plain one beside one that is."""
    plain = torch.arange(4.0)
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    for kind, tensor in (("sparse", torch.eye(3).to_sparse()), ("csr", torch.eye(3).to_sparse_csr()), ("meta", torch.empty(2, 3, device="meta")),
                         ("quantized", torch.quantize_per_tensor(torch.ones(4), 0.5, 0, torch.qint8)), ("nested", nested)):
        torch.save({"odd": tensor, "plain": plain}, OUT / f"odd_{kind}.pt")
    torch.save({"odd": torch.quantize_per_tensor(torch.ones(4), 0.5, 0, torch.qint8), "plain": plain}, OUT / "odd_legacy.pt",
               _use_new_zipfile_serialization=False)


def rezipped(source):
    """The archive as other programs write it again. torch loads all of these."""
    with zipfile.ZipFile(OUT / source) as old:
        contents = [(m.filename, old.read(m)) for m in old.infolist()]
    for target, method, comment in (("deflated.pt", zipfile.ZIP_DEFLATED, b""), ("commented.pt", zipfile.ZIP_STORED, b"a comment")):
        with zipfile.ZipFile(OUT / target, "w", method) as new:
            for name, data in contents:
                new.writestr(zipfile.ZipInfo(name), data, method)
            new.comment = comment
    (OUT / "trailing.pt").write_bytes((OUT / source).read_bytes() + bytes(100))
    expected_tensors = torch.load(OUT / source)
    for target in ("deflated.pt", "commented.pt", "trailing.pt"):
        assert all(torch.equal(v, expected_tensors[k]) for k, v in torch.load(OUT / target).items())


def models():
    """Fixtures of checkpoints/, as older releases of transformers saved them."""
    for name, sharded in (("llama-tiny", True), ("gpt2-tiny", False)):
        source = FIXTURES / "checkpoints" / name
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "config.json", folder)
        state = load_file(source / "model.safetensors")
        if not sharded:
            state["lm_head.weight"] = state["transformer.wte.weight"]  # tied: both names were saved, of one storage
            torch.save(state, folder / "pytorch_model.bin")
            continue
        names = sorted(state)
        shards = [names[: len(names) // 2], names[len(names) // 2 :]]
        weight_map = {}
        for number, part in enumerate(shards, 1):
            file = f"pytorch_model-{number:05}-of-00002.bin"
            torch.save({n: state[n] for n in part}, folder / file, _use_new_zipfile_serialization=number == 1)
            weight_map |= dict.fromkeys(part, file)
        total = sum(t.numel() * t.element_size() for t in state.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")


def unsupported():
    """Well-formed files that hold something else than plain tensors."""
    torch.save({"w": torch.eye(2).to_sparse()}, OUT / "sparse.pt")
    torch.save({"w": torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8)}, OUT / "quantized.pt")
    torch.save({"w": torch.empty(2, device="meta")}, OUT / "meta.pt")
    torch.save({}, OUT / "empty.pt")
    torch.save({}, OUT / "empty_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(torch.ones(2), OUT / "tensor.pt")
    torch.save([torch.ones(2)], OUT / "list.pt")
    torch.save(torch.nn.Linear(1, 1), OUT / "module.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), OUT / "torchscript.pt")
    with tarfile.open(OUT / "ancient.pt", "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())


def main():
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    if OUT.exists():
        shutil.rmtree(OUT)
    OUT.mkdir()
    legacy = {"_use_new_zipfile_serialization": False}
    old, new, some_views = dtypes(DTYPES), dtypes(NEW_DTYPES), views()
    mixed, others = extras()
    rows = [
        save("dtypes.pt", old), save("dtypes_legacy.pt", old, **legacy),
        save("new_dtypes.pt", new),
        save("views.pt", some_views), save("views_legacy.pt", some_views, **legacy),
        save("protocol_4.pt", some_views, pickle_protocol=4), save("protocol_5_legacy.pt", old, pickle_protocol=5, **legacy),
        save("extras.pt", mixed), save("extras_legacy.pt", mixed, **legacy),
    ]
    assert set(rows[7]["others"]) == set(others)
    rows += [big_endian(source, target, state) for source, target, state in (
        ("dtypes.pt", "dtypes_big_endian.pt", old), ("new_dtypes.pt", "new_dtypes_big_endian.pt", new),
        ("views.pt", "views_big_endian.pt", some_views))]
    rewritten("views.pt", "no_byteorder.pt", lambda name, data: None if name.endswith("/byteorder") else data)
    rows.append(rows[3] | {"file": "no_byteorder.pt", "members": members(OUT / "no_byteorder.pt")})
    rows += trainers()
    rows += [save("negated.pt", negated()), save("negated_legacy.pt", negated(), **legacy)]
    trainer_choices()
    odd()
    rezipped("views.pt")
    write_lines(OUT / "expected.jsonl", rows)
    models()
    unsupported()
    write_versions(OUT)


if __name__ == "__main__":
    main()
