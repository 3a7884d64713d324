"""LED: the cases of make_modules.py."""

TINY = dict(vocab_size=70, d_model=24, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=36, decoder_ffn_dim=44,
            encoder_attention_heads=4, decoder_attention_heads=3, max_encoder_position_embeddings=50,
            max_decoder_position_embeddings=30, attention_window=[8, 10])
ONE_LAYER = dict(encoder_layers=1, decoder_layers=1)
UNTIED = dict(TINY, tie_word_embeddings=False)
LARGE_16384 = dict(vocab_size=50265, d_model=1024, encoder_layers=12, decoder_layers=12, encoder_ffn_dim=4096,
                   decoder_ffn_dim=4096, encoder_attention_heads=16, decoder_attention_heads=16,
                   max_encoder_position_embeddings=16384, max_decoder_position_embeddings=1024,
                   attention_window=[1024] * 12)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
# (4: transformers 5 has no such class)
CASES = [
    ("minimal", "LEDForConditionalGeneration", ONE_LAYER, "float32"),
    ("tiny", "LEDForConditionalGeneration", TINY, "float16"),
    ("untied", "LEDForConditionalGeneration", dict(UNTIED, activation_function="relu"), "bfloat16"),
    ("large-16384", "LEDForConditionalGeneration", LARGE_16384, "float16"),
    ("base-model-minimal", "LEDModel", dict(ONE_LAYER, d_model=64), "bfloat16"),
    ("base-model", "LEDModel", TINY, "float32"),
    ("base-model-untied", "LEDModel", UNTIED, "float16"),
    ("cls", "LEDForSequenceClassification", dict(TINY, id2label={str(i): f"l{i}" for i in range(4)},
                                                 label2id={f"l{i}": i for i in range(4)}), "float32", 4),
    ("cls-minimal", "LEDForSequenceClassification", dict(ONE_LAYER, d_model=32), "float16", 4),
    ("qa", "LEDForQuestionAnswering", TINY, "float16"),
    ("qa-minimal", "LEDForQuestionAnswering", dict(ONE_LAYER, d_model=32, num_labels=5), "float32"),
]
