"""Marian: the cases of make_modules.py."""

TINY = dict(vocab_size=70, d_model=24, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=36, decoder_ffn_dim=44,
            encoder_attention_heads=4, decoder_attention_heads=3, max_position_embeddings=30, pad_token_id=1,
            bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2)
ONE_LAYER = dict(encoder_layers=1, decoder_layers=1)
UNTIED = dict(TINY, tie_word_embeddings=False)
OPUS_MT = dict(vocab_size=58101, d_model=512, encoder_layers=6, decoder_layers=6, encoder_ffn_dim=2048,
    decoder_ffn_dim=2048, encoder_attention_heads=8, decoder_attention_heads=8, max_position_embeddings=512,
    activation_function="swish", scale_embedding=True)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "MarianMTModel", ONE_LAYER, "float32"),
    ("tiny", "MarianMTModel", dict(TINY, scale_embedding=True), "float16"),
    ("untied", "MarianMTModel", dict(UNTIED, activation_function="swish"), "bfloat16"),
    ("opus-mt", "MarianMTModel", OPUS_MT, "float16"),
    ("base-model-minimal", "MarianModel", dict(ONE_LAYER, d_model=64), "bfloat16"),
    ("base-model", "MarianModel", TINY, "float32"),
    ("base-model-untied", "MarianModel", UNTIED, "float16"),
    ("base-opus-mt", "MarianModel", OPUS_MT, "float32"),
    ("causal-minimal", "MarianForCausalLM", dict(ONE_LAYER, d_model=32), "float32"),
    ("causal", "MarianForCausalLM", TINY, "float16"),
    ("causal-untied", "MarianForCausalLM", UNTIED, "bfloat16"),
    ("two-vocabularies", "MarianMTModel",
     dict(TINY, decoder_vocab_size=81, share_encoder_decoder_embeddings=False), "float16"),
    ("two-vocabularies-untied", "MarianMTModel",
     dict(UNTIED, decoder_vocab_size=81, share_encoder_decoder_embeddings=False), "float32"),
    ("two-vocabularies-base", "MarianModel", dict(TINY, decoder_vocab_size=81, share_encoder_decoder_embeddings=False),
     "bfloat16"),
    # transformers 5 builds these embeddings with 81 rows and ties them to 70 only later.
    ("decoder-vocabulary-shared", "MarianMTModel", dict(TINY, decoder_vocab_size=81), "float32", 4),
    ("causal-decoder-vocabulary", "MarianForCausalLM", dict(UNTIED, decoder_vocab_size=81), "float32"),
    ("null-decoder-vocabulary-minimal", "MarianMTModel",
     dict(ONE_LAYER, decoder_vocab_size=None, share_encoder_decoder_embeddings=False, d_model=32), "float16"),
]
