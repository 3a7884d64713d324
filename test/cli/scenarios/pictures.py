"""What a plan looks like: bars on a terminal and nowhere else, and the picture of --svg."""

import json
import re
import xml.etree.ElementTree as ElementTree

import running
import safetensors_writer
import setups

MAX_MEMORY = ["--max-memory", "0=2.6KB,cpu=1MB"]
PLAN = ["plan", "llama", "--device-map", "sequential", *MAX_MEMORY, "--context", "10"]
BLOCKS = "█▓░·"
ESCAPE = re.compile("\x1b\\[[0-9;]*m")
SVG = "{http://www.w3.org/2000/svg}"


def bars(binary, work, *flags, columns=80, env=None):
    """(standard output, what is drawn) of a plan on a terminal, without the table of the caches."""
    setups.write_llama(work / "llama")
    result = running.run_on_terminal(binary, [*PLAN, *flags], work, env, columns)
    assert result.status == 0, result
    assert result.stdout.startswith("{'model.embed_tokens': 0,\n") and result.stdout.endswith("'cpu'}\n"), result.stdout
    text = result.stderr
    return text[text.index("\n", text.index("\nall ") + 1) + 1 :] if "\nall " in text else text


def test_bars_fit_the_terminal(binary, work):
    for columns in (24, 40, 80, 200):
        text = ESCAPE.sub("", bars(binary, work, columns=columns))
        lines = text.splitlines()
        assert max(map(len, lines)) <= columns, (columns, text)
        assert "weights 1.22 KiB" in text and "caches 320 B" in text and "held back 256 B" in text, text
        first = next(line for line in lines if line.startswith("0  "))
        cells = "".join(c for c in first if c in BLOCKS)
        # 2600 bytes: 1248 of weights, 320 of caches, 256 held back, the rest free; none is off by more than a cell.
        for block, size in zip(BLOCKS, (1248, 320, 256, 776)):
            assert abs(cells.count(block) - size / 2600 * len(cells)) <= 1, (columns, first)
        assert cells == "".join(sorted(cells, key=BLOCKS.index)), first
        assert len(cells) >= (columns * 3 // 4 if 40 < columns < 100 else 8), (columns, first)
        legend = "\n".join(lines[lines.index(next(line for line in lines if "free 975 KiB" in line)) + 1 :])
        for entry in ("█ weights", "▓ caches", "░ held back", "· free"):
            assert entry in legend, (entry, text)


def test_no_bars_where_a_terminal_is_too_narrow(binary, work):
    assert "█" not in bars(binary, work, columns=23)


def test_bars_in_ascii(binary, work):
    text = ESCAPE.sub("", bars(binary, work, env={"LC_ALL": "C"}))
    assert text.isascii() and re.search(r"^0 +#+=+-+\.+ +2\.54 KiB$", text, re.MULTILINE), text


def test_bars_are_colored_only_where_color_is_on(binary, work):
    assert "\x1b[34m█" in bars(binary, work)
    for flags, env in ([["--color", "never"], {}], [[], {"NO_COLOR": "1"}], [[], {"TERM": "dumb"}]):
        text = bars(binary, work, *flags, env=env)
        assert "█" in text and "\x1b" not in text, text


def test_a_device_without_a_limit_is_drawn_open(binary, work):
    setups.write_llama(work / "llama")
    result = running.run_on_terminal(binary, ["plan", "llama", "--device-map", "disk", "--max-memory", "0=0,cpu=1KB"], work)
    text = ESCAPE.sub("", result.stderr)
    assert re.search(r"^disk +█+… +no limit$", text, re.MULTILINE), text
    assert re.search(r"^cpu +·+ +1000 B$", text, re.MULTILINE), text
    assert not re.search(r"^0 ", text, re.MULTILINE), text


def test_no_bars_off_a_terminal_or_unasked(binary, work):
    setups.write_llama(work / "llama")
    piped = running.run(binary, PLAN, work)
    assert "█" not in piped.stdout + piped.stderr, piped
    for flag in ("--json", "--quiet"):
        result = running.run_on_terminal(binary, [*PLAN, flag], work)
        assert "█" not in result.stdout + result.stderr, result
    with open(work / "map.txt", "wb") as file:
        result = running.run_on_terminal(binary, [*PLAN, "--color=always"], work, stdout=file)
    assert (work / "map.txt").read_text() == piped.stdout and "█" not in result.stderr, result


def draw(binary, work, *arguments, svg="plan.svg"):
    result = running.run(binary, ["plan", *arguments, "--svg", svg, "--quiet"], work)
    assert (result.status, result.stderr) == (0, ""), result
    text = (work / svg).read_text()
    assert not re.search(r"(href|src|url\((?!#)|@import|<script|<image)", text), "a picture that needs something else"
    return text, ElementTree.fromstring(text)


def titles(root):
    return [title.text for title in root.iter(f"{SVG}title")]


def test_the_picture_shows_every_device_and_layer(binary, work):
    setups.write_llama(work / "llama")
    text, root = draw(binary, work, *PLAN[1:])
    words = ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]
    assert {"LlamaForCausalLM", "GPU 0", "CPU"} <= set(words) and "Disk" not in words, words
    assert titles(root)[:6] == [
        "model.embed_tokens — 256 B on GPU 0", "model.layers.0 — 992 B on GPU 0", "caches 320 B", "held back 256 B", "free 776 B",
        "model.layers.1 — 992 B on CPU"], titles(root)
    assert any("320 B of caches in float16 for 10 tokens in 1 sequence" in w for w in words), words
    assert "prefers-color-scheme:dark" in text


def test_segments_are_as_wide_as_their_bytes(binary, work):
    setups.write_llama(work / "llama")
    _, root = draw(binary, work, *PLAN[1:])
    boxes = {rect.find(f"{SVG}title").text: rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None}
    width = lambda name: float(boxes[name].get("width"))
    free = width("free 776 B")
    for name, size in (("model.embed_tokens — 256 B on GPU 0", 256), ("caches 320 B", 320), ("held back 256 B", 256)):
        assert abs(width(name) / free - size / 776) < 0.001, name
    # The bar of 2600 bytes ends where the track does.
    end = float(boxes["free 776 B"].get("x")) + free
    tracks = [r for r in root.iter(f"{SVG}rect") if r.get("class") == "track" and r.find(f"{SVG}title") is None]
    assert abs(end - float(tracks[0].get("x")) - float(tracks[0].get("width"))) < 0.1


def test_a_picture_is_the_same_each_time_and_replaces_the_last(binary, work):
    setups.write_llama(work / "llama")
    first, _ = draw(binary, work, *PLAN[1:])
    second, _ = draw(binary, work, *PLAN[1:])
    assert first == second and sorted(p.name for p in work.iterdir()) == ["llama", "plan.svg"]
    draw(binary, work, *PLAN[1:], svg="-")


def test_hostile_names_are_text_in_a_picture(binary, work):
    names = ["a<b&\"c\".weight", "x\x1b]0;y\x07.\u202egnp.weight", "n\ufffe\uffff.weight", "]]><script>.weight"]
    safetensors_writer.write(work / "hostile.safetensors", [(name, "F32", [4]) for name in names], {})
    _, root = draw(binary, work, "hostile.safetensors", "--max-memory", "cpu=1GB")
    hovers = " ".join(titles(root))
    assert 'a<b&"c"' in hovers and "\\x1b]0;y\\x07" in hovers and "\u202e" not in hovers and "]]><script>" in hovers, hovers


def test_a_large_model_a_tiny_one_and_an_empty_device(binary, work):
    config = {**setups.LLAMA, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
              "num_key_value_heads": 8, "vocab_size": 128256, "dtype": "bfloat16"}
    (work / "config.json").write_text(json.dumps(config))
    budgets = "0=24GiB,1=24GiB,2=24GiB,3=24GiB,cpu=30GiB"
    _, root = draw(binary, work, "config.json", "--max-memory", budgets, "--context", "4096")
    drawn = {int(m.group(1)) for t in titles(root) if (m := re.search(r"layers\.(\d+) —", t))}
    assert drawn == set(range(80)), drawn
    words = {"".join(t.itertext()) for t in root.iter(f"{SVG}text")}
    assert {"GPU 0", "GPU 1", "GPU 2", "GPU 3", "CPU", "Disk"} <= words
    setups.write_llama(work / "llama")
    _, root = draw(binary, work, "llama", "--max-memory", "0=80GiB,cpu=1000GB")
    assert any(t.startswith("free 80.0 GiB") for t in titles(root)), titles(root)
    width = float(root.get("width"))
    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x", 0)) + float(rect.get("width")) <= width and float(rect.get("width")) > 0


def test_a_picture_that_cannot_be_written(binary, work):
    setups.write_llama(work / "llama")
    (work / "directory").mkdir()
    for path, status, code in (("absent/plan.svg", 8, "not_found"), ("directory", 5, "not_a_file"), ("/dev/full", 5, "not_a_file")):
        result = running.run(binary, ["plan", "llama", *MAX_MEMORY, "--svg", path, "--json"], work)
        error = json.loads(result.stdout)["error"]
        assert (result.status, error["code"], error["path"]) == (status, code, path), result
    assert sorted(p.name for p in work.iterdir()) == ["directory", "llama"]
