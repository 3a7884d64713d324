"""How huggingface_hub divides a state dict into shards, and the texts of indices.

Makes test/fixtures/save/shard_splits.jsonl.xz, one case a line: `tensors` ([bytes, storage or null] in the order of the state dict,
called t0, t1, …), `limit` in bytes, and what the library answers: `total_size` and `files` ({name: [indices of tensors]}); and
test/fixtures/save/index_texts.json: weight maps with odd names, and the text that json.dumps makes of the index.
Versions: requirements.txt. Run: python test/oracle/make_shard_splits.py
"""

import json
import random

from huggingface_hub import split_state_dict_into_shards_factory

from common import FIXTURES, compact, write_xz_lines

CASES = 2000
ODD_NAMES = ["", "a", "a.b", "q'\"\\/", "tab\t", "nul\0", "\x1b[2J", "\x7f", "é", "e\u0301", "漢字", "\U0001f600", "\uffff", "\ue000", "Z", "_"]


def random_case(rng):
    limit = rng.choice([1, 7, 64, 100, 1000, 10**6])
    draw = rng.choice([lambda: rng.randrange(0, 2 * limit + 2), lambda: rng.randrange(0, limit // 3 + 2),
                       lambda: rng.choice([0, 1, limit - 1, limit, limit + 1, limit // 2])])
    share = rng.choice([0, 0, 0.1, 0.5])
    sizes = {}
    tensors = []
    for _ in range(rng.choice([0, 1, 2, 3, 8, 20, 60])):
        if rng.random() < share:
            storage = rng.randrange(6)
            tensors.append([sizes.setdefault(storage, max(0, draw())), storage])
        else:
            tensors.append([max(0, draw()), None])
    return tensors, limit


def split(tensors, limit):
    state_dict = {f"t{i}": tuple(tensor) for i, tensor in enumerate(tensors)}
    return split_state_dict_into_shards_factory(
        state_dict, max_shard_size=limit, filename_pattern="model{suffix}.safetensors",
        get_storage_size=lambda t: t[0], get_storage_id=lambda t: t[1])


def case_line(tensors, limit):
    answer = split(tensors, limit)
    # The order within a file has no effect on what is written; ours is that of the state dict.
    files = {file: sorted(int(name[1:]) for name in names) for file, names in answer.filename_to_tensors.items()}
    return {"tensors": tensors, "limit": limit, "total_size": answer.metadata["total_size"], "files": files}


def index_text(parameters):
    weight_map = {name: f"model-{i % 3 + 1:05d}-of-00003.safetensors" for i, name in enumerate(ODD_NAMES)}
    metadata = {"total_size": 12345678901}
    if parameters is not None:
        metadata = {"total_parameters": parameters, **metadata}
    # As save_pretrained of transformers 4.57 and save_torch_state_dict of the Hub library write it.
    return json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=2, sort_keys=True) + "\n"


def main():
    rng = random.Random(5)
    folder = FIXTURES / "save"
    write_xz_lines(folder / "shard_splits.jsonl.xz", [case_line(*random_case(rng)) for _ in range(CASES)])
    texts = [{"names": ODD_NAMES, "total_parameters": p, "text": index_text(p)} for p in (None, 987)]
    (folder / "index_texts.json").write_text("[" + ",\n".join(compact(t) for t in texts) + "]\n")


if __name__ == "__main__":
    main()
