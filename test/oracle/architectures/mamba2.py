"""Mamba-2: the cases of make_modules.py."""

MAMBA2 = dict(vocab_size=80, hidden_size=48, num_hidden_layers=2, num_heads=6, head_dim=16, state_size=10, n_groups=2)
MAMBA2_130M = dict(vocab_size=50288, hidden_size=768, num_hidden_layers=24, num_heads=24, head_dim=64,
                   state_size=128, n_groups=1, tie_word_embeddings=True)
CODESTRAL_7B = dict(vocab_size=32768, hidden_size=4096, num_hidden_layers=64, num_heads=128, head_dim=64,
                    state_size=128, n_groups=8, tie_word_embeddings=False)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Mamba2ForCausalLM", dict(num_hidden_layers=2), "bfloat16"),
    ("tiny", "Mamba2ForCausalLM", MAMBA2, "float16"),
    ("tied", "Mamba2ForCausalLM", dict(MAMBA2, tie_word_embeddings=True), "float32", 5),
    ("expand-3", "Mamba2ForCausalLM", dict(MAMBA2, expand=3, num_heads=9, conv_kernel=5), "float32"),
    ("biases", "Mamba2ForCausalLM", dict(MAMBA2, use_bias=True, use_conv_bias=False, hidden_act="gelu"), "float16"),
    ("base", "Mamba2Model", MAMBA2, "bfloat16"),
    ("130m", "Mamba2ForCausalLM", MAMBA2_130M, "float32", 5),
    ("codestral-7b", "Mamba2ForCausalLM", CODESTRAL_7B, "bfloat16"),
]
