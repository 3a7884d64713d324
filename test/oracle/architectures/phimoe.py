"""Phi-3.5-MoE: the cases of make_modules.py."""

PHI_35_MOE = dict(vocab_size=32064, hidden_size=4096, intermediate_size=6400, num_hidden_layers=32,
                  num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=131072,
                  num_local_experts=16, num_experts_per_tok=2, attention_bias=True, lm_head_bias=True,
                  sliding_window=131072, tie_word_embeddings=False)
PHIMOE = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, num_local_experts=3, num_experts_per_tok=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "PhimoeForCausalLM", dict(num_hidden_layers=1), "bfloat16"),
    ("3.5-moe", "PhimoeForCausalLM", PHI_35_MOE, "bfloat16"),
    ("tiny", "PhimoeForCausalLM", PHIMOE, "float32"),
    ("biases-tied", "PhimoeForCausalLM",
     dict(PHIMOE, attention_bias=True, lm_head_bias=True, tie_word_embeddings=True), "float16"),
    ("base", "PhimoeModel", dict(PHIMOE, hidden_act="relu"), "float16"),
    ("sequence-classification", "PhimoeForSequenceClassification", dict(PHIMOE, num_labels=5), "float32"),
]
