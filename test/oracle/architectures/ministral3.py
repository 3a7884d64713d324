"""Ministral 3: the cases of make_modules.py."""

MINISTRAL3_3B = dict(vocab_size=131072, hidden_size=3072, intermediate_size=9216, num_hidden_layers=26,
                     num_attention_heads=32, num_key_value_heads=8, head_dim=128, max_position_embeddings=262144,
                     tie_word_embeddings=True)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Ministral3ForCausalLM", dict(num_hidden_layers=1), "float32", 5),
    ("3b", "Ministral3ForCausalLM", MINISTRAL3_3B, "bfloat16", 5),
    ("head-dim", "Ministral3ForCausalLM", dict(TINY, head_dim=12), "float16", 5),
    ("window", "Ministral3ForCausalLM", dict(TINY, head_dim=8, sliding_window=16), "float32", 5),
    ("base-tiny", "Ministral3Model", TINY, "bfloat16", 5),
    ("cls-minimal", "Ministral3ForSequenceClassification", dict(vocab_size=64, num_hidden_layers=1), "float16", 5),
    ("cls-3-labels", "Ministral3ForSequenceClassification", dict(TINY, num_labels=3), "float16", 5),
    ("tokens-5-labels", "Ministral3ForTokenClassification", dict(TINY, num_labels=5), "float32", 5),
    ("qa-tiny", "Ministral3ForQuestionAnswering", TINY, "float16", 5),
]
