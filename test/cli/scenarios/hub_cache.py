"""Models in a Hugging Face cache as huggingface_hub lays it out: links from snapshots to blobs, branches in refs."""

import json
import os

import running
import setups

COMMITS = {"main": "a" * 40, "refs/pr/4": "b" * 40}


def make_cache(root, name="models--acme--tiny", hidden_size=8):
    """A repository with a complete model at `main` and a configuration alone at `refs/pr/4`."""
    repository = root / name
    staging = root / "staging"
    setups.write_llama(staging)
    (repository / "blobs").mkdir(parents=True)
    for revision, commit in COMMITS.items():
        ref = repository / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        for file in ["config.json", "model.safetensors"] if revision == "main" else ["config.json"]:
            blob = repository / "blobs" / f"blob-of-{file}"
            if not blob.exists():
                blob.write_bytes((staging / file).read_bytes())
            os.symlink(f"../../blobs/{blob.name}", snapshot / file)
    return repository


def inspected(binary, work, model, env):
    result = running.run(binary, ["inspect", model, "--json"], work, env)
    assert result.status == 0, result
    return json.loads(result.stdout)


def test_every_way_to_name_the_cache(binary, work):
    make_cache(work / "default" / ".cache" / "huggingface" / "hub")
    make_cache(work / "xdg" / "huggingface" / "hub")
    make_cache(work / "hf home" / "hub")
    make_cache(work / "hub")
    elsewhere = {"HOME": str(work / "nowhere")}
    for env in [
        {"HOME": str(work / "default")},
        {**elsewhere, "XDG_CACHE_HOME": str(work / "xdg")},
        {**elsewhere, "HF_HOME": str(work / "hf home")},
        {**elsewhere, "HF_HUB_CACHE": str(work / "hub")},
        {**elsewhere, "HUGGINGFACE_HUB_CACHE": str(work / "hub")},
        {"HOME": str(work), "HF_HUB_CACHE": "~/hub"},
        {**elsewhere, "ROOT": str(work), "HF_HUB_CACHE": "$ROOT/hub"},
        {**elsewhere, "ROOT": str(work), "HF_HOME": "${ROOT}/hf home"},
        # The newer name wins over the older one, the cache over the home, and a blank value is none.
        {**elsewhere, "HF_HUB_CACHE": str(work / "hub"), "HUGGINGFACE_HUB_CACHE": str(work / "absent")},
        {**elsewhere, "HF_HUB_CACHE": str(work / "hub"), "HF_HOME": str(work / "absent")},
        {**elsewhere, "HF_HUB_CACHE": "  ", "HF_HOME": str(work / "hf home")},
    ]:
        assert inspected(binary, work, "acme/tiny", env)["parameters"] == 1256, env


def test_revisions(binary, work):
    make_cache(work / "hub")
    env = {"HF_HUB_CACHE": str(work / "hub")}
    for revision in ["", "@main", "@" + COMMITS["main"]]:
        assert len(inspected(binary, work, "acme/tiny" + revision, env)["shards"]) == 1
    for revision in ["@refs/pr/4", "@" + COMMITS["refs/pr/4"]]:
        assert inspected(binary, work, "acme/tiny" + revision, env)["shards"] == []


def test_load_through_the_links(binary, work):
    make_cache(work / "hub")
    arguments = ["load", "acme/tiny", "--device-map", "cpu", "--max-memory", "cpu=1GB", "--verify", "--quiet"]
    result = running.run(binary, arguments, work, {"HF_HUB_CACHE": str(work / "hub")})
    assert (result.status, result.stdout, result.stderr) == (0, "{'': 'cpu'}\n", ""), result


def test_existing_path_wins(binary, work):
    make_cache(work / "hub")
    setups.write_llama(work / "acme" / "tiny", None, num_hidden_layers=1)
    assert inspected(binary, work, "acme/tiny", {"HF_HUB_CACHE": str(work / "hub")})["parameters"] == 1256 - 496


def test_what_is_not_there(binary, work):
    make_cache(work / "hub")
    env = {"HF_HUB_CACHE": str(work / "hub")}
    for model in ["acme/huge", "acme/tiny@v2", "acme/tiny@" + "c" * 40, "acme/tiny@../main", "../hub", "a/b/c"]:
        result = running.run(binary, ["inspect", model, "--json"], work, env)
        assert result.status in (3, 8), (model, result)
        assert json.loads(result.stdout)["error"]["code"] in ("not_found", "unsafe_path"), (model, result)


def verified(binary, work, env):
    """What verify finds but NaN, which these weights have."""
    result = running.run(binary, ["verify", "acme/tiny", "--json", "--quiet"], work, env)
    assert result.status in (0, 1), result
    return {finding["code"]: finding for finding in json.loads(result.stdout)["findings"]}


def converted(binary, work, env):
    """The names of what a conversion writes."""
    result = running.run(binary, ["convert", "acme/tiny", "out", "--quiet"], work, env)
    assert result.status == 0, result
    return sorted(os.listdir(work / "out"))


def test_links_out_of_the_repository_are_followed_and_not_copied(binary, work):
    repository = make_cache(work / "hub")
    env = {"HF_HUB_CACHE": str(work / "hub")}
    snapshot = repository / "snapshots" / COMMITS["main"]
    (work / "elsewhere").mkdir()
    for file in ["config.json", "model.safetensors"]:
        (work / "elsewhere" / file).write_bytes((snapshot / file).read_bytes())
        (snapshot / file).unlink()
        os.symlink(f"../../../../elsewhere/{file}", snapshot / file)
    (work / "secret").write_text("{}")
    os.symlink(work / "secret", snapshot / "tokenizer.json")
    (snapshot / "vocab.json").write_text("{}")
    assert inspected(binary, work, "acme/tiny", env)["parameters"] == 1256
    finding = verified(binary, work, env)["links_leave"]
    assert not finding["fault"] and len(finding["names"]) == 2 and "elsewhere/config.json" in finding["names"][0], finding
    assert converted(binary, work, env) == ["config.json", "model.safetensors", "vocab.json"]


def test_the_store_that_repositories_share(binary, work):
    """As huggingface_hub 1.32 and later lays it out: blobs are links to <cache>/blobs/<2 digits>/<64 digits>."""
    repository = make_cache(work / "hub")
    env = {"HF_HUB_CACHE": str(work / "hub")}
    (repository / "snapshots" / COMMITS["main"] / "tokenizer.json").symlink_to("../../blobs/blob-of-tokenizer.json")
    (repository / "blobs" / "blob-of-tokenizer.json").write_text("{}")
    store = work / "hub" / "blobs" / "ab"
    store.mkdir(parents=True)
    for number, file in enumerate(["model.safetensors", "tokenizer.json"]):
        blob = repository / "blobs" / f"blob-of-{file}"
        target = store / f"{number:064x}"
        blob.rename(target)
        blob.symlink_to(f"../../blobs/ab/{target.name}")
    result = running.run(binary, ["load", "acme/tiny", "--device-map", "cpu", "--max-memory", "cpu=1GB", "--verify", "--quiet"], work, env)
    assert (result.status, result.stdout, result.stderr) == (0, "{'': 'cpu'}\n", ""), result
    assert "links_leave" not in verified(binary, work, env)
    assert converted(binary, work, env) == ["config.json", "model.safetensors", "tokenizer.json"]
