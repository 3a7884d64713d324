"""OLMo 2: the cases of make_modules.py."""

OLMO2_7B = dict(vocab_size=100352, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
                num_attention_heads=32, num_key_value_heads=32, max_position_embeddings=4096,
                rope_theta=500000, pad_token_id=100277, tie_word_embeddings=False)
TINY = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Olmo2ForCausalLM", dict(num_hidden_layers=1), "float32"),
    ("7b", "Olmo2ForCausalLM", OLMO2_7B, "bfloat16"),
    ("biases", "Olmo2ForCausalLM", dict(TINY, attention_bias=True), "float16"),
    ("tied", "Olmo2ForCausalLM", dict(TINY, tie_word_embeddings=True), "float32"),
    ("multi-query", "Olmo2ForCausalLM", dict(TINY, num_key_value_heads=1), "bfloat16"),
    ("multi-head-minimal", "Olmo2ForCausalLM",
     dict(vocab_size=64, hidden_size=48, num_hidden_layers=1,
          num_attention_heads=6, pad_token_id=0), "float16"),
    ("base-tiny", "Olmo2Model", TINY, "bfloat16"),
    ("cls-minimal", "Olmo2ForSequenceClassification",
     dict(vocab_size=64, pad_token_id=0, num_hidden_layers=1), "float16", 5),
    ("cls-3-labels", "Olmo2ForSequenceClassification", dict(TINY, num_labels=3), "float16", 5),
]
