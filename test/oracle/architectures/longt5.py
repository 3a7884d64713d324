"""LongT5: the cases of make_modules.py."""

TINY = dict(vocab_size=70, d_model=20, d_kv=6, d_ff=36, num_heads=3, num_layers=2, num_decoder_layers=3,
            relative_attention_num_buckets=10, relative_attention_max_distance=20)
# Over a million parameters: make_modules.py then trusts its own rule of what is saved. The real one saves a model that
# was not made on the meta device, and only there these embeddings stay one tensor.
UNTIED = dict(TINY, vocab_size=60000, tie_word_embeddings=False)
TGLOBAL_BASE = dict(vocab_size=32128, d_model=768, d_kv=64, d_ff=2048, num_heads=12, num_layers=12,
                    num_decoder_layers=12, feed_forward_proj="gated-gelu", encoder_attention_type="transient-global",
                    tie_word_embeddings=False)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "LongT5ForConditionalGeneration", dict(d_model=32, num_layers=1), "float32"),
    ("defaults-minimal", "LongT5Model", {}, "bfloat16"),
    ("tied", "LongT5ForConditionalGeneration", dict(TINY, tie_word_embeddings=True), "float16"),
    ("untied-relu", "LongT5ForConditionalGeneration", dict(UNTIED, feed_forward_proj="relu"), "bfloat16"),
    ("gated-silu", "LongT5ForConditionalGeneration", dict(TINY, feed_forward_proj="gated-silu"), "float16"),
    ("tglobal-base", "LongT5ForConditionalGeneration", TGLOBAL_BASE, "float16"),
    ("base-model", "LongT5Model", TINY, "float16"),
    ("base-model-untied", "LongT5Model", UNTIED, "float32"),
    ("encoder", "LongT5EncoderModel", TINY, "float16"),
    ("encoder-untied", "LongT5EncoderModel", UNTIED, "float32"),
    ("encoder-tglobal-base", "LongT5EncoderModel", TGLOBAL_BASE, "bfloat16"),
    ("global", "LongT5ForConditionalGeneration", dict(TINY, encoder_attention_type="transient-global"), "bfloat16"),
    ("global-base-model", "LongT5Model",
     dict(TINY, encoder_attention_type="transient-global", feed_forward_proj="gated-gelu"), "float32"),
    ("global-encoder-minimal", "LongT5EncoderModel", dict(d_model=24, encoder_attention_type="transient-global"),
     "float16"),
]
