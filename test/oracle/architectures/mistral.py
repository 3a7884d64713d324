"""Mistral: the cases of make_modules.py."""

MISTRAL_7B = dict(vocab_size=32000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=3,
                  num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=32768, sliding_window=4096,
                  tie_word_embeddings=False)
LLAMA = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "MistralForCausalLM",
     dict(vocab_size=64, hidden_size=64, num_hidden_layers=2, intermediate_size=48), "float32"),
    ("7b", "MistralForCausalLM", MISTRAL_7B, "float16"),
    ("no-window-head-dim", "MistralForCausalLM", dict(LLAMA, sliding_window=None, head_dim=12), "float16"),
    ("tied", "MistralForCausalLM", dict(LLAMA, tie_word_embeddings=True), "float32"),
    ("base-tiny", "MistralModel", LLAMA, "float32"),
    ("7b-full-depth", "MistralForCausalLM", dict(MISTRAL_7B, num_hidden_layers=32), "bfloat16"),
    ("window", "MistralForCausalLM", dict(LLAMA, sliding_window=16), "bfloat16"),
    ("no-window-minimal", "MistralForCausalLM",
     dict(vocab_size=64, hidden_size=64, num_hidden_layers=1, sliding_window=None), "bfloat16"),
    ("cls-3-labels", "MistralForSequenceClassification", dict(LLAMA, num_labels=3), "float16"),
    ("cls-7b", "MistralForSequenceClassification", dict(MISTRAL_7B, num_labels=1), "bfloat16"),
    ("tokens-tiny", "MistralForTokenClassification", LLAMA, "float32"),
    ("qa-tiny", "MistralForQuestionAnswering", LLAMA, "float16"),
]
