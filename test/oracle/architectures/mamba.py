"""Mamba: the cases of make_modules.py."""

MAMBA = dict(vocab_size=80, hidden_size=40, num_hidden_layers=2, state_size=6)
MAMBA_130M = dict(vocab_size=50280, hidden_size=768, num_hidden_layers=24, state_size=16, expand=2, conv_kernel=4,
                  time_step_rank=48)
MAMBA_2_8B = dict(vocab_size=50280, hidden_size=2560, num_hidden_layers=64, state_size=16, expand=2, conv_kernel=4,
                  time_step_rank=160)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "MambaForCausalLM", dict(num_hidden_layers=2), "float32"),
    ("minimal", "MambaForCausalLM", dict(num_hidden_layers=2), "float16"),
    ("uneven-rank", "MambaForCausalLM", MAMBA, "bfloat16"),
    ("expand-3", "MambaForCausalLM", dict(MAMBA, expand=3, conv_kernel=5, time_step_rank=7), "float32"),
    ("biases", "MambaForCausalLM", dict(MAMBA, use_bias=True, use_conv_bias=False, hidden_act="gelu"), "float16"),
    ("untied", "MambaForCausalLM", dict(MAMBA, tie_word_embeddings=False), "float32"),
    ("base", "MambaModel", MAMBA, "float16"),
    ("130m", "MambaForCausalLM", MAMBA_130M, "float32"),
    ("2.8b", "MambaForCausalLM", MAMBA_2_8B, "bfloat16"),
]
