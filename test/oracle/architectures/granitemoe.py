"""Granite MoE, with shared experts and without: the cases of make_modules.py."""

GRANITE_31_1B = dict(vocab_size=49155, hidden_size=1024, intermediate_size=512, num_hidden_layers=24,
                     num_attention_heads=16, num_key_value_heads=8, num_local_experts=32, num_experts_per_tok=8,
                     tie_word_embeddings=True)
GRANITE = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
               num_key_value_heads=2, num_local_experts=3, num_experts_per_tok=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "GraniteMoeForCausalLM", dict(num_hidden_layers=1), "bfloat16"),
    ("3.1-1b-a400m", "GraniteMoeForCausalLM", GRANITE_31_1B, "float32"),
    ("bias-untied", "GraniteMoeForCausalLM",
     dict(GRANITE, attention_bias=True, tie_word_embeddings=False, hidden_act="gelu"), "float16"),
    ("base", "GraniteMoeModel", GRANITE, "bfloat16"),
    ("no-experts", "GraniteMoeModel", dict(GRANITE, num_local_experts=0), "float16", 4),
    ("minimal", "GraniteMoeSharedForCausalLM", dict(num_hidden_layers=1), "bfloat16"),
    ("shared", "GraniteMoeSharedForCausalLM", dict(GRANITE, shared_intermediate_size=20), "float16"),
    ("3.1-1b-a400m-shared", "GraniteMoeSharedForCausalLM", dict(GRANITE_31_1B, shared_intermediate_size=1024),
     "bfloat16"),
    ("base", "GraniteMoeSharedModel", dict(GRANITE, shared_intermediate_size=20, attention_bias=True), "float32"),
    ("no-experts", "GraniteMoeSharedModel", dict(GRANITE, num_local_experts=0, shared_intermediate_size=20),
     "float16", 4),
]
