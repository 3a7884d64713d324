"""FalconMamba: the cases of make_modules.py."""

MAMBA = dict(vocab_size=80, hidden_size=40, num_hidden_layers=2, state_size=6)
MAMBA_7B = dict(vocab_size=65024, hidden_size=4096, num_hidden_layers=64, state_size=16, expand=16, conv_kernel=4,
                intermediate_size=8192, time_step_rank=256, tie_word_embeddings=False)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "FalconMambaForCausalLM", dict(num_hidden_layers=2), "float16"),
    ("intermediate-minimal", "FalconMambaForCausalLM", dict(MAMBA, intermediate_size=88), "float32"),
    ("uneven-rank", "FalconMambaForCausalLM", MAMBA, "bfloat16"),
    ("biases", "FalconMambaForCausalLM",
     dict(MAMBA, use_bias=True, use_conv_bias=False, hidden_act="gelu", expand=3, conv_kernel=5, time_step_rank=7),
     "float16"),
    ("untied", "FalconMambaForCausalLM", dict(MAMBA, tie_word_embeddings=False), "float32"),
    ("base", "FalconMambaModel", MAMBA, "float32"),
    ("7b", "FalconMambaForCausalLM", MAMBA_7B, "bfloat16"),
]
