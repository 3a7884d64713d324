"""The answers of transformers and accelerate in test/fixtures/device_maps, asked of the program through its flags.

The unit tests replay all of them; here one in twenty, so that flags, configs and printing stand between.
"""

import ast
import concurrent.futures
import json
import lzma

import running


def arguments_of(case, dtype, config_path, compat):
    budgets = ",".join(f"{device}={size}" for device, size in case["max_memory"])
    arguments = ["plan", str(config_path), "--dtype", dtype, "--max-memory", budgets, "--quiet"]
    # Where Python's solver was called by itself it took the budgets as they are, as sequential does.
    arguments += ["--device-map", case.get("device_map", "sequential"), "--compat", compat]
    if case["no_split"] is not None:
        arguments += [f for name in case["no_split"] or [""] for f in ("--no-split", name)]
    arguments += ["--offload-buffers"] * case.get("offload_buffers", False)
    arguments += ["--fallback-allocation"] * case.get("fallback_allocation", False)
    return arguments


def replay(binary, work, compat):
    path = running.FIXTURES / "device_maps" / f"v{compat}" / "cases.jsonl.xz"
    rows = [json.loads(line) for line in lzma.open(path, "rt")][1:]
    cases = []
    for number, row in enumerate(rows):
        config = work / compat / str(number) / "config.json"
        config.parent.mkdir(parents=True)
        config.write_text(json.dumps(row["config"]))
        # No budgets at all cannot be said on a command line.
        cases += [(row, case, config) for case in row["cases"] if case["max_memory"]]
    cases = cases[::20]
    assert len(cases) >= 350

    def ask(numbered):
        row, case, config = numbered
        return running.run(binary, arguments_of(case, row["dtype"], config, compat), work)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(ask, cases))
    wrong = [(row["name"], case, result) for (row, case, _), result in zip(cases, results) if not is_right(case, result)]
    assert not wrong, f"{len(wrong)} of {len(cases)} differ; the first: {wrong[0]}"


def is_right(case, result):
    expected = case.get("expected_any", [case["expected"]])
    if any("error" in e for e in expected):  # where Python fails, hfload answers or refuses the command line
        return result.status in (0, 2)
    return result.status == 0 and ast.literal_eval(result.stdout) in expected


def test_recorded_maps_of_transformers_4(binary, work):
    replay(binary, work, "4")


def test_recorded_maps_of_transformers_5(binary, work):
    replay(binary, work, "5")
