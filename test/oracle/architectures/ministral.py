"""Ministral: the cases of make_modules.py."""

MINISTRAL_8B = dict(vocab_size=131072, hidden_size=4096, intermediate_size=12288, num_hidden_layers=36,
                    num_attention_heads=32, num_key_value_heads=8, head_dim=128, max_position_embeddings=32768,
                    sliding_window=32768, rope_theta=100000000.0, tie_word_embeddings=False,
                    layer_types=["full_attention", "sliding_attention", "sliding_attention", "sliding_attention"] * 9)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "MinistralForCausalLM", dict(num_hidden_layers=1, head_dim=128), "float32"),
    ("8b", "MinistralForCausalLM", MINISTRAL_8B, "bfloat16"),
    ("layer-types-head-dim", "MinistralForCausalLM",
     dict(TINY, head_dim=12, layer_types=["full_attention", "sliding_attention"], sliding_window=16), "float16"),
    ("no-window", "MinistralForCausalLM", dict(TINY, head_dim=8, sliding_window=None), "float32"),
    ("tied", "MinistralForCausalLM", dict(TINY, head_dim=8, tie_word_embeddings=True), "float16"),
    ("base-tiny", "MinistralModel", dict(TINY, head_dim=12), "bfloat16"),
    ("cls-minimal", "MinistralForSequenceClassification",
     dict(vocab_size=64, head_dim=128, num_hidden_layers=1), "float16"),
    ("cls-3-labels", "MinistralForSequenceClassification", dict(TINY, head_dim=12, num_labels=3), "float16"),
    ("tokens-5-labels", "MinistralForTokenClassification", dict(TINY, head_dim=12, num_labels=5), "float32"),
    ("qa-tiny", "MinistralForQuestionAnswering", dict(TINY, head_dim=10), "float16"),
]
