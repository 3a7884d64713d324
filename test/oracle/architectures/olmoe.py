"""OLMoE: the cases of make_modules.py."""

OLMOE_7B = dict(vocab_size=50304, hidden_size=2048, intermediate_size=1024, num_hidden_layers=16,
                num_attention_heads=16, num_key_value_heads=16, num_experts=64, num_experts_per_tok=8)
OLMOE = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, num_experts=3, num_experts_per_tok=2, max_position_embeddings=64, pad_token_id=1)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "OlmoeForCausalLM", dict(num_hidden_layers=1), "bfloat16"),
    ("7b", "OlmoeForCausalLM", dict(OLMOE_7B, num_hidden_layers=4), "bfloat16"),
    ("7b-full-depth", "OlmoeForCausalLM", OLMOE_7B, "float16", 5),
    ("tiny", "OlmoeForCausalLM", OLMOE, "float32"),
    ("bias-tied", "OlmoeForCausalLM", dict(OLMOE, attention_bias=True, tie_word_embeddings=True), "float16"),
    ("base", "OlmoeModel", dict(OLMOE, clip_qkv=8.0), "float32"),
]
