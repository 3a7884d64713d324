"""The answers of transformers and accelerate in test/fixtures/device_maps, asked of the program through its flags."""

import ast
import concurrent.futures
import json

import running

FOLDER = running.FIXTURES / "device_maps"


def arguments_of(case, config_path):
    budgets = ",".join(f"{device}={size}" for device, size in case["max_memory"])
    arguments = ["plan", str(config_path), "--dtype", case["dtype"], "--max-memory", budgets, "--quiet"]
    # Where Python's solver was called by itself it took the budgets as they are, as sequential does.
    arguments += ["--device-map", case.get("device_map", "sequential")]
    if case["no_split"] is not None:
        arguments += [f for name in case["no_split"] or [""] for f in ("--no-split", name)]
    arguments += ["--offload-buffers"] * case["offload_buffers"] + ["--fallback-allocation"] * case["fallback_allocation"]
    return arguments


def test_every_recorded_map(binary, work):
    configs = json.loads((FOLDER / "configs.json").read_text())
    cases = [json.loads(line) for line in (FOLDER / "cases.jsonl").read_text().splitlines()]
    cases = [c for c in cases if c["max_memory"]]  # no budgets at all cannot be said on a command line
    assert len(cases) >= 1500

    def ask(number):
        case = cases[number]
        path = work / str(number) / "config.json"
        path.parent.mkdir()
        path.write_text(json.dumps({**configs[case["config"]], "architectures": [case["class"]]}))
        return running.run(binary, arguments_of(case, path), work)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(ask, range(len(cases))))
    wrong = [(case["case"], result) for case, result in zip(cases, results) if not is_right(case["expected"], result)]
    assert not wrong, f"{len(wrong)} of {len(cases)} differ; the first: {wrong[0]}"


def is_right(expected, result):
    if "error" in expected:  # where Python fails, hfload answers or refuses the command line
        return result.status in (0, 2)
    return result.status == 0 and ast.literal_eval(result.stdout) == expected
