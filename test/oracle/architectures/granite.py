"""Granite: the cases of make_modules.py."""

GRANITE_2B = dict(vocab_size=49155, hidden_size=2048, intermediate_size=8192, num_hidden_layers=40,
                  num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=131072,
                  attention_multiplier=0.015625, embedding_multiplier=12.0, logits_scaling=8.0,
                  residual_multiplier=0.22, rope_theta=5000000.0, tie_word_embeddings=True)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "GraniteForCausalLM", dict(vocab_size=64, num_hidden_layers=1), "float32"),
    ("2b", "GraniteForCausalLM", GRANITE_2B, "bfloat16"),
    ("biases", "GraniteForCausalLM", dict(TINY, attention_bias=True, mlp_bias=True), "float16"),
    ("mlp-bias-tied", "GraniteForCausalLM", dict(TINY, mlp_bias=True, tie_word_embeddings=True), "float32"),
    ("multi-head", "GraniteForCausalLM", {k: v for k, v in TINY.items() if k != "num_key_value_heads"}, "float16"),
    ("base-tiny", "GraniteModel", TINY, "bfloat16"),
]
