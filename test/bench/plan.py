"""Times `hfload plan` as a whole process beside Python planning the same model from the same config.

    python3 -m venv ../bench-venv && ../bench-venv/bin/pip install -r test/bench/requirements.txt
    cmake --preset release && cmake --build --preset release --target hfload
    ../bench-venv/bin/python test/bench/plan.py

Python's part is what transformers' documentation shows: an empty shell (`init_empty_weights`, `tie_weights`), then
`get_balanced_memory` and `infer_auto_device_map`. Its planning alone, without the imports and the shell, is what hfload's
whole process is compared with: config read, shell, plan and output. Both maps must be equal. The contenders take turns;
medians with the smallest and the largest. Prints Markdown.
"""

import argparse
import ast
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LLAMA_70B = dict(architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=128256, hidden_size=8192,
                 intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8,
                 max_position_embeddings=131072, rope_theta=500000.0, rms_norm_eps=1e-5, tie_word_embeddings=False)
T0PP = dict(architectures=["T5ForConditionalGeneration"], model_type="t5", vocab_size=32128, d_model=4096, d_kv=64,
            d_ff=10240, num_heads=64, num_layers=24, num_decoder_layers=24, feed_forward_proj="gated-gelu",
            tie_word_embeddings=False, is_encoder_decoder=True)
QWEN3_CODER = dict(architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", vocab_size=151936, hidden_size=2048,
                   intermediate_size=5472, moe_intermediate_size=768, num_hidden_layers=48, num_attention_heads=32,
                   num_key_value_heads=4, head_dim=128, num_experts=128, num_experts_per_tok=8,
                   decoder_sparse_step=1, mlp_only_layers=[], max_position_embeddings=262144, rope_theta=10000000,
                   tie_word_embeddings=False)
KIMI_K2 = dict(architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", vocab_size=163840, hidden_size=7168,
               intermediate_size=18432, moe_intermediate_size=12288, num_hidden_layers=32, num_attention_heads=64,
               num_key_value_heads=64, n_routed_experts=128, n_shared_experts=1, num_experts_per_tok=2, n_group=8,
               topk_group=2, first_k_dense_replace=2, q_lora_rank=1536, kv_lora_rank=512, qk_rope_head_dim=64,
               v_head_dim=128, qk_nope_head_dim=128, max_position_embeddings=131072, tie_word_embeddings=False)

# name: (config, budgets)
MODELS = {
    "T0pp, 24 + 24 layers": (T0PP, {0: "10GiB", 1: "10GiB", "cpu": "60GiB"}),
    "Llama-3.1-70B": (LLAMA_70B, {0: "40GiB", 1: "40GiB", 2: "40GiB", "cpu": "100GiB"}),
    "Qwen3-Coder-30B-A3B, 128 experts": (QWEN3_CODER, {0: "20GiB", 1: "20GiB", "cpu": "60GiB"}),
    "Kimi-K2 of 32 layers, 128 experts": (KIMI_K2, {**{i: "160GiB" for i in range(8)}, "cpu": "900GiB"}),
}

PYTHON_SIDE = """
import json, sys, time
begin = time.perf_counter()
import torch, transformers
from accelerate import init_empty_weights, infer_auto_device_map
from accelerate.utils import get_balanced_memory
values, budgets = json.loads(sys.argv[1])
cls = getattr(transformers, values["architectures"][0])
imported = time.perf_counter()
torch.set_default_dtype(torch.bfloat16)
with init_empty_weights():
    model = cls(cls.config_class.from_dict(values))
model.tie_weights()
built = time.perf_counter()
budgets = {int(k) if k.isdigit() else k: v for k, v in budgets.items()}
classes = model._get_no_split_modules("auto")
memory = get_balanced_memory(model, max_memory=budgets, no_split_module_classes=classes, dtype=torch.bfloat16)
device_map = infer_auto_device_map(model, max_memory=memory, no_split_module_classes=classes, dtype=torch.bfloat16)
planned = time.perf_counter()
print(json.dumps({"import": imported - begin, "shell": built - imported, "plan": planned - built,
                  "tensors": sum(1 for _ in model.parameters()), "map": repr(dict(device_map))}))
"""


def ask_hfload(binary, config, budgets):
    text = ",".join(f"{device}={size}" for device, size in budgets.items())
    begin = time.perf_counter()
    process = subprocess.run([binary, "plan", config, "--dtype", "bfloat16", "--max-memory", text, "--quiet"],
                             capture_output=True, text=True, check=True)
    return time.perf_counter() - begin, ast.literal_eval(process.stdout)


def ask_python(values, budgets):
    argument = json.dumps([values, {str(k): v for k, v in budgets.items()}])
    process = subprocess.run([sys.executable, "-W", "ignore", "-c", PYTHON_SIDE, argument], capture_output=True,
                             text=True, check=True)
    return json.loads(process.stdout)


def seconds(values, scale=1.0, unit="s", digits=2):
    low, middle, high = min(values) * scale, statistics.median(values) * scale, max(values) * scale
    return f"{middle:.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hfload", default=Path(__file__).resolve().parents[2] / "build/release/hfload", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs-per-round", type=int, default=10, help="of hfload, whose time is short")
    arguments = parser.parse_args()

    print(f"{platform.processor() or platform.machine()}, Linux {platform.release()}; {arguments.rounds} rounds\n")
    print("| model | tensors | hfload, whole process | Python, import | Python, shell | Python, planning | planning, "
          "ratio to hfload's process | shell and planning, ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (values, budgets) in MODELS.items():
        ours, theirs = [], []
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.json"
            config.write_text(json.dumps(values))
            ask_hfload(arguments.hfload, config, budgets)
            for _ in range(arguments.rounds):
                for _ in range(arguments.runs_per_round):
                    elapsed, device_map = ask_hfload(arguments.hfload, config, budgets)
                    ours.append(elapsed)
                theirs.append(ask_python(values, budgets))
        if ast.literal_eval(theirs[0]["map"]) != device_map:
            sys.exit(f"{name}: the maps differ")
        plan = statistics.median(t["plan"] for t in theirs) / statistics.median(ours)
        both = statistics.median(t["shell"] + t["plan"] for t in theirs) / statistics.median(ours)
        cells = [seconds([t[part] for t in theirs]) for part in ("import", "shell", "plan")]
        print(f"| {name} | {theirs[0]['tensors']:,} | {seconds(ours, 1000, 'ms', 1)} | {' | '.join(cells)} | {plan:.0f} | {both:.0f} |",
              flush=True)


if __name__ == "__main__":
    main()
