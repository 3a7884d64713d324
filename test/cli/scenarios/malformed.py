"""Damaged and hostile files through the whole program: a code for each, no signal, and little memory."""

import concurrent.futures
import json
import os
import resource

import running
import safetensors_writer
import setups

FILE_OF_KIND = {"safetensors": "model.safetensors", "shard_index": "model.safetensors.index.json", "model_config": "config.json"}
COMMANDS = [["inspect", "--tensors", "--tree", "--patterns", "--metadata"],
            ["plan", "--max-memory", "0=1KB,cpu=1MB", "--explain"],
            ["load", "--device-map", "cpu", "--max-memory", "cpu=1GB", "--verify"]]
MOST_RESIDENT_KIB = 64 * 1024
# Of these the first bytes tell another format than the name does, and they count.
BY_FIRST_BYTES = {"zip-archive": (3, "invalid_zip"), "pickle": (3, "invalid_pickle"),
                  "hdf5": (4, "unsupported_format"), "gguf": (4, "unsupported_format")}


def in_parallel(function, items):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(function, items))


def test_every_malformed_file_has_its_code(binary, work):
    writer = os.environ.get("HFLOAD_WRITE_CORPUS")
    if not writer:
        print("skipped: HFLOAD_WRITE_CORPUS does not name the program that writes the corpus")
        return
    running.run(writer, [str(work / "corpus")], work)
    rows = [line.split("\t") for line in (work / "corpus" / "expected.tsv").read_text().splitlines()]
    assert len(rows) >= 100

    def check(row):
        kind, name, code, _ = row
        model = work / "models" / kind / name
        model.mkdir(parents=True)
        os.rename(work / "corpus" / kind / name, model / FILE_OF_KIND[kind])
        for command, *flags in COMMANDS:
            result = running.run(binary, [command, str(model), "--json", *flags], work)
            found = json.loads(result.stdout)["error"]["code"] if result.stdout else None
            expected = BY_FIRST_BYTES.get(name, (3, code)) if kind == "safetensors" else (3, code)
            if (result.status, found) != expected:
                yield f"{kind}/{name}: {command} gave {result.status} {found}, expected {expected}: {result.stderr[:300]}"

    wrong = [fault for faults in in_parallel(lambda row: list(check(row)), rows) for fault in faults]
    assert not wrong, "\n".join(wrong[:10])


def test_damage_is_refused_or_harmless(binary, work):
    """A small checkpoint cut off at every byte, and with every bit of its header turned over. With sanitizers every 9th of
    these, as a process takes so long then: a fuzz target reads such files within one."""
    setups.write_llama(work / "whole", setups.LLAMA_TENSORS[:2] + setups.LLAMA_TENSORS[-2:])
    whole = (work / "whole" / "model.safetensors").read_bytes()
    header_bytes = 8 + int.from_bytes(whole[:8], "little")
    damaged = [whole[:size] for size in range(len(whole))]
    for bit in range(8 * header_bytes):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))

    def check(number):
        path = work / f"{number}.safetensors"
        path.write_bytes(damaged[number])
        result = running.run(binary, ["inspect", str(path), "--tensors", "--tree", "--json", "--quiet"], work)
        path.unlink()
        document = json.loads(result.stdout)
        if number < len(whole):
            return result.status == 3 and document["error"]["path"] == str(path)
        return result.status == 3 or (result.status == 0 and document["total_bytes"] == len(whole) - header_bytes)

    tried = range(0, len(damaged), 9 if running.is_sanitized(binary) else 1)
    results = in_parallel(check, tried)
    assert all(results), [i for i, ok in zip(tried, results) if not ok][:10]


def test_hostile_sizes_and_names(binary, work):
    models = {
        "empty": [],
        "no elements": [("z", "F32", [0, 2**62])],
        "deep": [("a." * 20000 + "w", "F32", [1])],
        "numbers": [(".".join(map(str, range(3000))), "F32", [1])],
        "odd names": [("", "F32", [1]), (".", "F32", [1]), ("a..b", "F32", [1]), ("q'\"\\", "F32", [])],
        "odd and deep": [("." + "a." * 200_000, "F32", [1])],
        "many": [(f"layers.{i}.weight", "F32", [1]) for i in range(20000)],
    }
    for name, tensors in models.items():
        path = work / f"{name}.safetensors"
        safetensors_writer.write(path, tensors)
        for command, *flags in COMMANDS:
            for form in [[], ["--json"]]:
                result = running.run(binary, [command, str(path), "--quiet", *form, *flags], work)
                assert result.status in (0, 1, 4), (name, command, result)
                if form:
                    json.loads(result.stdout)
                assert "internal" not in result.stderr, (name, command, result.stderr[:300])


def test_long_names_beside_a_known_architecture(binary, work):
    """Names that are matched against the patterns of a class, and looked up by each of their prefixes."""
    qwen = {"model_type": "qwen3_next", "architectures": ["Qwen3NextForCausalLM"], "num_hidden_layers": 1, "num_experts": 2}
    for name, config in [("mtp" + "a" * 200_000, qwen), ("a." * 500_000, {**setups.LLAMA, **setups.GPTQ_LLAMA})]:
        model = work / config["model_type"]
        model.mkdir()
        (model / "config.json").write_text(json.dumps(config))
        safetensors_writer.write(model / "model.safetensors", [(name, "F32", [1])])
        for command, *flags in [*COMMANDS, ["verify"], ["convert", str(work / "converted"), "--dry-run"]]:
            result = running.run(binary, [command, str(model), "--json", *flags], work)
            assert result.status in (0, 1), (command, result.status, result.stderr[:300])
            json.loads(result.stdout)


def test_little_memory_was_used(binary, work):
    """Over all the processes of this topic; runs last. Sanitizers need more by themselves."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert usage <= MOST_RESIDENT_KIB or running.is_sanitized(binary), f"{usage} KiB"
