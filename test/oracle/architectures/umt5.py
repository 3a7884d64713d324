"""UMT5: the cases of make_modules.py."""

TINY = dict(vocab_size=70, d_model=20, d_kv=6, d_ff=36, num_heads=3, num_layers=2, num_decoder_layers=3,
            relative_attention_num_buckets=10, relative_attention_max_distance=20)
LABELS = dict(id2label={str(i): name for i, name in enumerate("abc")}, label2id=dict(a=0, b=1, c=2))
UMT5_BASE = dict(vocab_size=256384, d_model=768, d_kv=64, d_ff=2048, num_heads=12, num_layers=12, num_decoder_layers=12,
                 feed_forward_proj="gated-gelu", tie_word_embeddings=False)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "UMT5ForConditionalGeneration", dict(d_model=32, num_layers=1), "float32"),
    ("defaults-minimal", "UMT5Model", {}, "bfloat16"),
    ("tied", "UMT5ForConditionalGeneration", dict(TINY, tie_word_embeddings=True), "float16"),
    ("untied-relu", "UMT5ForConditionalGeneration", dict(TINY, tie_word_embeddings=False, feed_forward_proj="relu"),
     "bfloat16"),
    ("gated-silu", "UMT5ForConditionalGeneration", dict(TINY, feed_forward_proj="gated-silu"), "float16"),
    ("umt5-base", "UMT5ForConditionalGeneration", UMT5_BASE, "float16"),
    ("base-model", "UMT5Model", TINY, "float16"),
    ("base-model-untied", "UMT5Model", dict(TINY, tie_word_embeddings=False), "float32"),
    ("encoder", "UMT5EncoderModel", TINY, "float16"),
    ("encoder-untied", "UMT5EncoderModel", dict(TINY, tie_word_embeddings=False), "float32"),
    ("encoder-umt5-base", "UMT5EncoderModel", UMT5_BASE, "bfloat16"),
    ("cls-minimal", "UMT5ForSequenceClassification", dict(d_model=24, num_layers=1, num_labels=5), "bfloat16"),
    ("cls-untied", "UMT5ForSequenceClassification", dict(TINY, tie_word_embeddings=False, **LABELS), "float16"),
    ("token-cls", "UMT5ForTokenClassification", dict(TINY, **LABELS), "float16"),
    ("qa", "UMT5ForQuestionAnswering", TINY, "bfloat16"),
    ("qa-tied", "UMT5ForQuestionAnswering", dict(TINY, tie_word_embeddings=True, **LABELS), "float16"),
]
