"""Jamba: the cases of make_modules.py."""

JAMBA = dict(vocab_size=80, hidden_size=48, intermediate_size=40, num_hidden_layers=5, num_attention_heads=6,
             num_key_value_heads=2, num_experts=3, attn_layer_period=3, attn_layer_offset=1, expert_layer_period=2,
             expert_layer_offset=0, mamba_d_state=6)
JAMBA_V0_1 = dict(vocab_size=65536, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                  num_attention_heads=32, num_key_value_heads=8, num_experts=16, attn_layer_period=8,
                  attn_layer_offset=4, expert_layer_period=2, expert_layer_offset=1, mamba_dt_rank=256)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "JambaForCausalLM", dict(num_hidden_layers=6), "bfloat16"),
    ("tiny", "JambaForCausalLM", JAMBA, "float16"),
    ("tied", "JambaForCausalLM", dict(JAMBA, tie_word_embeddings=True, mamba_expand=3, mamba_d_conv=5), "float32"),
    ("biases", "JambaForCausalLM",
     dict(JAMBA, mamba_proj_bias=True, mamba_conv_bias=False, mamba_dt_rank=5, hidden_act="gelu"), "float32"),
    ("one-expert", "JambaForCausalLM", dict(JAMBA, num_experts=1), "bfloat16"),
    ("null-kv-heads-minimal", "JambaForCausalLM", dict(JAMBA, num_key_value_heads=None), "float32", 4),
    ("base", "JambaModel", JAMBA, "float16"),
    ("cls", "JambaForSequenceClassification", dict(JAMBA, num_labels=3), "float32"),
    ("v0.1", "JambaForCausalLM", JAMBA_V0_1, "bfloat16"),
]
