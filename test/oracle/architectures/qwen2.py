"""Qwen2: the cases of make_modules.py."""

QWEN2_05B = dict(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=3,
                 num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=32768,
                 tie_word_embeddings=True)
QWEN2_7B = dict(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=3,
                num_attention_heads=28, num_key_value_heads=4, max_position_embeddings=32768,
                tie_word_embeddings=False)
LLAMA = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Qwen2ForCausalLM",
     dict(vocab_size=64, hidden_size=64, num_hidden_layers=2, intermediate_size=48), "float32"),
    ("0.5b", "Qwen2ForCausalLM", QWEN2_05B, "float16"),
    ("7b", "Qwen2ForCausalLM", QWEN2_7B, "bfloat16"),
    ("sliding-window", "Qwen2ForCausalLM",
     dict(LLAMA, use_sliding_window=True, sliding_window=16, max_window_layers=1), "float16"),
    ("base-tiny", "Qwen2Model", LLAMA, "float16"),
    ("0.5b-full-depth", "Qwen2ForCausalLM", dict(QWEN2_05B, num_hidden_layers=24), "bfloat16"),
    ("window-minimal", "Qwen2ForCausalLM",
     dict(vocab_size=64, hidden_size=64, num_hidden_layers=2, use_sliding_window=True, max_window_layers=1), "float32"),
    ("layer-types", "Qwen2ForCausalLM",
     dict(LLAMA, use_sliding_window=True, sliding_window=16, layer_types=["sliding_attention", "full_attention"]),
     "float32"),
    ("cls-3-labels", "Qwen2ForSequenceClassification", dict(LLAMA, num_labels=3), "float16"),
    ("cls-7b", "Qwen2ForSequenceClassification", dict(QWEN2_7B, num_labels=1), "bfloat16"),
    ("tokens-tiny", "Qwen2ForTokenClassification", LLAMA, "float32"),
    ("qa-tied", "Qwen2ForQuestionAnswering", dict(LLAMA, tie_word_embeddings=True), "float16"),
]
