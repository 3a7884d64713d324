"""M2M-100 and NLLB: the cases of make_modules.py."""

TINY = dict(vocab_size=70, d_model=24, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=36, decoder_ffn_dim=44,
            encoder_attention_heads=4, decoder_attention_heads=3, max_position_embeddings=30, pad_token_id=1,
            bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2)
ONE_LAYER = dict(encoder_layers=1, decoder_layers=1)
# Over a million parameters: make_modules.py then trusts its own rule of what is saved. The real one saves a model that
# was not made on the meta device, and only there these embeddings stay one tensor.
UNTIED = dict(TINY, vocab_size=60000, tie_word_embeddings=False)
NLLB_1_3B = dict(vocab_size=256206, d_model=1024, encoder_layers=24, decoder_layers=24, encoder_ffn_dim=8192,
    decoder_ffn_dim=8192, encoder_attention_heads=16, decoder_attention_heads=16, max_position_embeddings=1024,
    activation_function="relu", scale_embedding=True)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "M2M100ForConditionalGeneration", ONE_LAYER, "float32"),
    ("tiny", "M2M100ForConditionalGeneration", dict(TINY, scale_embedding=True), "float16"),
    ("untied", "M2M100ForConditionalGeneration", dict(UNTIED, activation_function="swish"), "bfloat16"),
    ("nllb-1_3b", "M2M100ForConditionalGeneration", NLLB_1_3B, "float16"),
    ("base-model-minimal", "M2M100Model", dict(ONE_LAYER, d_model=64), "bfloat16"),
    ("base-model", "M2M100Model", TINY, "float32"),
    ("base-model-untied", "M2M100Model", UNTIED, "float16"),
    ("base-nllb-1_3b", "M2M100Model", NLLB_1_3B, "float32"),
    ("odd-width-minimal", "M2M100Model", dict(ONE_LAYER, vocab_size=50, d_model=21, encoder_attention_heads=3,
                                              decoder_attention_heads=7), "float16"),
]
