"""Commands that stream weights take at most 64 MiB, and `load` 32 MiB beside the weights, also of a model of 120,000 tensors, wherever they are
placed; what they write is right by the format's specification."""

import json
import os
import shutil
import struct
import zlib

import hostile_pickles
import running
import safetensors_writer
from scenarios.conversions import most_anonymous_bytes, read_pytorch, read_tensors

TENSORS, ROW = 120_000, 4  # bytes of each
LARGE = 64 * 2**20


def names():
    """As a mixture of experts has them: 300 tensors a layer."""
    kinds = ("down_proj", "gate_proj", "up_proj")
    return [f"model.layers.{i // 300}.block_sparse_moe.experts.{i % 300 // 3}.{kinds[i % 3]}.weight" for i in range(TENSORS)]


def elements(i):
    return struct.pack("<HH", 0x3F80 + i % 97, 0x4000 + i // 97 % 113)


def write_checkpoint(path, large=0, names=names):
    """TENSORS small ones, and so many of LARGE bytes, which are holes."""
    entries = ['"__metadata__":{"format":"pt"}']
    entries += [f'"{name}":{{"dtype":"BF16","shape":[1,2],"data_offsets":[{ROW * i},{ROW * i + ROW}]}}' for i, name in enumerate(names())]
    end = ROW * TENSORS
    for i in range(large):
        entries.append(f'"model.large.{i}":{{"dtype":"BF16","shape":[{LARGE // 2}],"data_offsets":[{end},{end + LARGE}]}}')
        end += LARGE
    text = ("{" + ",".join(entries) + "}").encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(map(elements, range(TENSORS))))
    os.truncate(path, 8 + len(text) + end)


def test_little_memory_for_many_tensors(binary, work):
    """PyTorch files of 33,300 of them, as each is a member of an archive; HFLOAD_LARGE=1 takes all."""
    if running.is_sanitized(binary):
        return
    write_checkpoint(work / "a.safetensors")
    peaks, some = {}, [] if os.environ.get("HFLOAD_LARGE") else ["--include", "model.layers.1*"]
    for name, arguments in [
        ("sharded", ["convert", "a.safetensors", "sharded", "--max-shard-size", "20KB", "--dtype", "float32"]),
        ("merged", ["convert", "sharded", "merged.safetensors", "--dtype", "bfloat16"]),
        ("pytorch", ["convert", "sharded", "bin", "--format", "pytorch", "--max-shard-size", "20KB", *some]),
        ("from pytorch", ["convert", "bin", "back.safetensors", "--dtype", "bfloat16"]),
        ("verify", ["verify", "a.safetensors"]),
        ("diff", ["diff", "a.safetensors", "merged.safetensors"]),
        ("scan", ["scan", "bin"]),
    ]:
        peaks[name] = most_anonymous_bytes(binary, work, [*arguments, "-q"]) / 2**20
    assert max(peaks.values()) <= 64, peaks
    # The package orders by name within a dtype.
    expected = dict(sorted((name, ("BF16", [1, 2], elements(i))) for i, name in enumerate(names())))
    merged = read_tensors(work / "merged.safetensors")
    assert merged == expected and list(merged) == list(expected)
    back = read_tensors(work / "back.safetensors")
    assert len(back) == (33_300 if some else TENSORS) and back == {name: merged[name] for name in back}
    weight_map = json.loads((work / "bin" / "pytorch_model.bin.index.json").read_text())["weight_map"]
    first = sorted(set(weight_map.values()))[0]
    assert sorted(read_pytorch(work / "bin" / first)) == sorted(n for n, file in weight_map.items() if file == first)


LAYERS, EXPERTS = 100, 400


def mixtral_shapes():
    """By name, in the order of the model's state dict."""
    shapes = {"model.embed_tokens.weight": (2, 2)}
    for layer in (f"model.layers.{i}" for i in range(LAYERS)):
        shapes |= {f"{layer}.self_attn.{x}_proj.weight": (2, 2) for x in "qkvo"}
        shapes[f"{layer}.block_sparse_moe.gate.weight"] = (EXPERTS, 2)
        for expert in (f"{layer}.block_sparse_moe.experts.{i}" for i in range(EXPERTS)):
            shapes |= {f"{expert}.w1.weight": (1, 2), f"{expert}.w2.weight": (2, 1), f"{expert}.w3.weight": (1, 2)}
        shapes |= {f"{layer}.{x}_layernorm.weight": (2,) for x in ("input", "post_attention")}
    return shapes | {"model.norm.weight": (2,), "lm_head.weight": (2, 2)}


def write_mixtral(path):
    """The names of a real mixture of experts with more tensors than any; the order of the file is that of safetensors' own writer."""
    path.mkdir()
    config = {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "torch_dtype": "bfloat16", "vocab_size": 2, "hidden_size": 2,
              "intermediate_size": 1, "num_hidden_layers": LAYERS, "num_local_experts": EXPERTS, "num_attention_heads": 1, "num_key_value_heads": 1}
    (path / "config.json").write_text(json.dumps(config))
    shapes = mixtral_shapes()
    safetensors_writer.write(path / "model.safetensors", [(name, "BF16", list(shapes[name])) for name in sorted(shapes)], {"format": "pt"})
    return list(shapes)


def test_little_memory_for_many_tensors_of_a_known_architecture(binary, work):
    """Then the model's shell, of 200,000 modules, is in memory too."""
    if running.is_sanitized(binary):
        return
    names = write_mixtral(work / "a")
    peaks = {}
    for name, arguments in [
        ("verify", ["verify", "a", "--write-hashes", "hashes.json", "--tensors"]),
        ("verify --json", ["verify", "a", "--json", "--against", "hashes.json"]),
        ("convert", ["convert", "a", "b", "--max-shard-size", "20KB", "--dtype", "float32"]),
        ("diff", ["diff", "a", "b", "--tensors"]),
        ("inspect", ["inspect", "a", "--json", "--tensors"]),
        ("to pytorch", ["convert", "a", "bin", "--format", "pytorch", "--max-shard-size", "60KB"]),
        ("from pytorch", ["convert", "bin", "back.safetensors", "--dtype", "float32"]),
    ]:
        peaks[name] = most_anonymous_bytes(binary, work, [*arguments, "-q"]) / 2**20
        if "--json" in arguments:
            document = json.loads((work / "stdout").read_text())
            assert document["findings"] == [] and sorted(tensor["name"] for tensor in document["tensors"]) == sorted(names), name
        elif arguments[0] != "convert":
            assert (work / "stdout").read_text().count("\n") == len(names) + 1, name
    # `inspect` streams no weights, and keeps what it shows.
    assert all(peak <= (80 if name == "inspect" else 64) for name, peak in peaks.items()), peaks
    # In the order of the state dict, which only the shell knows.
    weight_map = json.loads((work / "b" / "model.safetensors.index.json").read_text())["weight_map"]
    files = [weight_map[name] for name in names]
    assert len(names) > TENSORS and files == sorted(files) and len(set(files)) > 20


def write_transposed(path, side):
    """A .pt file of one tensor, the transpose of a float32 storage of side x side, which is a hole but for some elements: {(i, j): value}."""
    shape = b"M" + struct.pack("<H", side)
    storage = (b"(" + hostile_pickles.text("storage") + hostile_pickles.name("torch", "FloatStorage") + hostile_pickles.text("0")
               + hostile_pickles.text("cpu") + b"J" + struct.pack("<i", side * side) + b"tQ")
    tensor = hostile_pickles.tensor(shape=shape * 2 + b"\x86", stride=b"K\x01" + shape + b"\x86", storage=storage)
    elements = {(i * 7919 % side, i * 104729 % side): float(i) for i in range(1, 5000)}
    members, records = [("m/data.pkl", hostile_pickles.state_dict(tensor)), ("m/data/0", None)], []
    with open(path, "wb") as file:
        for name, content in members:
            size, crc = (4 * side * side, 0) if content is None else (len(content), zlib.crc32(content))
            fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0x21, crc, size, size, len(name), 0)
            records.append(b"PK\1\2" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, file.tell()) + name.encode())
            file.write(b"PK\3\4" + fields + name.encode() + (content or b""))
        start = file.tell()
        for (i, j), value in elements.items():
            file.seek(start + 4 * (i * side + j))
            file.write(struct.pack("<f", value))
        file.seek(start + 4 * side * side)
        directory = b"".join(records)
        file.write(directory + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, len(records), len(records), len(directory), start + 4 * side * side, 0))
    return elements


def test_little_memory_for_a_transposed_tensor(binary, work):
    """100 MiB, of which every row is a column of the file; HFLOAD_LARGE=1 takes 1 GiB."""
    if running.is_sanitized(binary):
        return
    side = 16384 if os.environ.get("HFLOAD_LARGE") else 5120
    elements = write_transposed(work / "m.pt", side)
    most = most_anonymous_bytes(binary, work, ["convert", "m.pt", "m.safetensors", "-q", "--threads", "16"])
    assert (work / "m.safetensors").stat().st_size > 4 * side * side
    assert most <= 64 * 2**20, most
    with open(work / "m.safetensors", "rb") as file:
        start = 8 + struct.unpack("<Q", file.read(8))[0]
        for (i, j), value in elements.items():
            file.seek(start + 4 * (j * side + i))
            assert file.read(4) == struct.pack("<f", value), (i, j)
    (work / "m.safetensors").unlink()


def test_load_takes_little_beside_the_weights(binary, work):
    """The large tensors take all buffers that there are. The destination is what the design says: every tensor at a multiple of 256 bytes, and
    of the same dtype or float32."""
    if running.is_sanitized(binary):
        return
    write_checkpoint(work / "a.safetensors", large=2)
    direct, widened = ["--threads", "16", "--io", "direct"], ["--dtype", "float32"]
    for flags in [], widened, direct, direct + widened, ["--verify", "--json"], ["--verify", "--threads", "16", *widened]:
        arena = TENSORS * 256 + 2 * LARGE * (2 if "float32" in flags else 1)
        peak = most_anonymous_bytes(binary, work, ["load", "a.safetensors", "--device-map", "cpu", "--max-memory", "cpu=1GB", "-q", *flags])
        assert arena < peak <= arena + 32 * 2**20, (flags, (peak - arena) / 2**20)


def test_leaving_all_on_the_disk_takes_little_memory(binary, work):
    """Of an unknown architecture and of a known one, whose shell has 200,000 modules: what there is to plan with, and nothing beside it. Into
    an offload folder an index of all tensors goes, in place, and then once more; HFLOAD_LARGE=1 writes a file for each."""
    if running.is_sanitized(binary):
        return
    write_checkpoint(work / "a.safetensors")
    write_mixtral(work / "b")
    verify, folder, into_files = ["--verify", "--json"], ["--offload-folder", "folder"], ["--dtype", "float32"]
    cases = [], verify[:1], verify, folder, folder + verify
    written = folder + into_files, folder + into_files + verify[:1], folder + into_files + verify
    for flags in cases + (written if os.environ.get("HFLOAD_LARGE") else ()):
        for model in "a.safetensors", "b":
            for run in ("new folder", "folder with an index") if folder[0] in flags else ("no folder",):
                peak = most_anonymous_bytes(binary, work, ["load", model, "--device-map", "disk", "-q", *flags]) / 2**20
                assert peak <= 32, (model, flags, run, peak)
                if "--json" in flags:
                    hashes = json.loads((work / "stdout").read_text())["hashes"]
                    assert list(hashes) == sorted(names() if model == "a.safetensors" else mixtral_shapes())
                if folder[0] in flags:
                    index = json.loads((work / "folder" / "index.json").read_text())
                    assert set(index) == set(names() if model == "a.safetensors" else mixtral_shapes())
            shutil.rmtree(work / "folder", ignore_errors=True)


def test_placing_very_many_layers_takes_little_memory(binary, work):
    """120,000 of which each is placed by itself, some in 100 KB of the CPU's memory and the others on the disk: a device map of all of them."""
    if running.is_sanitized(binary):
        return
    write_checkpoint(work / "a.safetensors", names=lambda: [f"layers.{i}.weight" for i in range(TENSORS)])
    for strategy in "auto", "sequential", "tight":
        command = ["load", "a.safetensors", "--device-map", strategy, "--max-memory", "cpu=100KB", "-q", "--json"]
        peak = most_anonymous_bytes(binary, work, command)
        document = json.loads((work / "stdout").read_text())
        assert len(document["hf_device_map"]) == TENSORS and 0 < document["loaded_bytes"] <= 100_000, strategy
        assert peak <= 100_000 + 32 * 2**20, (strategy, peak / 2**20)
