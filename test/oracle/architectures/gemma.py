"""Gemma, Gemma 2 and the text models of Gemma 3: the cases of make_modules.py."""

GEMMA_2B = dict(vocab_size=256000, hidden_size=2048, intermediate_size=16384, num_hidden_layers=18,
                num_attention_heads=8, num_key_value_heads=1, head_dim=256, hidden_act="gelu")
GEMMA2_9B = dict(vocab_size=256000, hidden_size=3584, intermediate_size=14336, num_hidden_layers=42,
                 num_attention_heads=16, num_key_value_heads=8, head_dim=256, sliding_window=4096)
GEMMA3_4B = dict(vocab_size=262208, hidden_size=2560, intermediate_size=10240, num_hidden_layers=34,
                 num_attention_heads=8, num_key_value_heads=4, head_dim=256, sliding_window=1024,
                 sliding_window_pattern=6)
GEMMA = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, head_dim=12)
MIXED = dict(layer_types=["full_attention", "sliding_attention", "full_attention"], sliding_window=16)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "GemmaForCausalLM", dict(num_hidden_layers=1), "bfloat16"),
    ("2b", "GemmaForCausalLM", GEMMA_2B, "bfloat16"),
    ("gelu-minimal", "GemmaForCausalLM", dict(GEMMA, hidden_act="gelu"), "float32"),
    ("hidden-activation-minimal", "GemmaModel",
     dict(GEMMA, hidden_act="silu", hidden_activation="gelu_pytorch_tanh"), "float16"),
    ("bias-untied", "GemmaForCausalLM", dict(GEMMA, attention_bias=True, tie_word_embeddings=False), "float16"),
    ("base", "GemmaModel", GEMMA, "float32"),
    ("sequence-classification", "GemmaForSequenceClassification", dict(GEMMA, num_labels=5), "bfloat16"),
    ("token-classification", "GemmaForTokenClassification", GEMMA, "float16"),
    ("minimal", "Gemma2ForCausalLM", dict(num_hidden_layers=2), "bfloat16"),
    ("9b", "Gemma2ForCausalLM", GEMMA2_9B, "bfloat16"),
    ("bias-untied", "Gemma2ForCausalLM", dict(GEMMA, attention_bias=True, tie_word_embeddings=False), "float16"),
    ("base", "Gemma2Model", dict(GEMMA, **MIXED), "float32"),
    ("sequence-classification", "Gemma2ForSequenceClassification", dict(GEMMA, num_labels=5), "bfloat16"),
    ("token-classification", "Gemma2ForTokenClassification", GEMMA, "float16"),
    ("minimal", "Gemma3ForCausalLM", dict(num_hidden_layers=1), "bfloat16"),
    ("4b", "Gemma3ForCausalLM", GEMMA3_4B, "bfloat16"),
    ("pattern-minimal", "Gemma3ForCausalLM", dict(GEMMA, sliding_window_pattern=2), "float32"),
    ("bias-untied", "Gemma3ForCausalLM", dict(GEMMA, attention_bias=True, tie_word_embeddings=False), "float16"),
    ("full-attention", "Gemma3TextModel", dict(GEMMA, layer_types=["full_attention"] * 3), "float16"),
    ("base", "Gemma3TextModel", dict(GEMMA, **MIXED), "float32"),
    ("sequence-classification", "Gemma3TextForSequenceClassification", dict(GEMMA, num_labels=5), "bfloat16"),
]
