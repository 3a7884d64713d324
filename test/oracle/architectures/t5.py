"""T5: the cases of make_modules.py."""

T5 = dict(vocab_size=64, d_model=16, d_kv=6, d_ff=40, num_heads=4, num_layers=2, num_decoder_layers=2,
          relative_attention_num_buckets=8, relative_attention_max_distance=20)
T5_GATED = dict(T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
T5_SMALL = dict(vocab_size=32128, d_model=512, d_kv=64, d_ff=2048, num_heads=8, num_layers=6, num_decoder_layers=6)
T0PP = dict(vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_heads=64, num_layers=2, num_decoder_layers=2,
            feed_forward_proj="gated-gelu", tie_word_embeddings=False)

FLAN_XL = dict(vocab_size=32128, d_model=2048, d_kv=64, d_ff=5120, num_heads=32, num_layers=24, num_decoder_layers=24,
               feed_forward_proj="gated-gelu", tie_word_embeddings=False)
V1_1_XXL = dict(vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_heads=64, num_layers=24, num_decoder_layers=24,
                feed_forward_proj="gated-gelu", tie_word_embeddings=False)
LABELS = dict(id2label={str(i): name for i, name in enumerate("abc")}, label2id=dict(a=0, b=1, c=2))

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("v1_0-minimal", "T5ForConditionalGeneration", dict(d_model=64, num_layers=2), "float32"),
    ("v1_1-tiny", "T5ForConditionalGeneration", T5_GATED, "float16"),
    ("v1_1-uneven-layers", "T5ForConditionalGeneration", dict(T5_GATED, num_layers=3, num_decoder_layers=1),
     "bfloat16"),
    ("v1_0-no-decoder-layers-key", "T5ForConditionalGeneration",
     {k: v for k, v in dict(T5, num_layers=3).items() if k != "num_decoder_layers"}, "float16"),
    ("gated-silu-tied", "T5ForConditionalGeneration", dict(T5, feed_forward_proj="gated-silu"), "float32"),
    ("relu-untied", "T5ForConditionalGeneration", dict(T5, tie_word_embeddings=False), "float32"),
    ("small", "T5ForConditionalGeneration", T5_SMALL, "float16"),
    ("t0pp", "T5ForConditionalGeneration", T0PP, "float32"),
    ("t0pp-float16", "T5ForConditionalGeneration", T0PP, "float16"),
    ("t0pp-bfloat16", "T5ForConditionalGeneration", T0PP, "bfloat16"),
    ("encoder-tied-config", "T5EncoderModel", dict(T5, num_layers=3), "float16"),
    ("common-names-minimal", "T5ForConditionalGeneration",
     dict(hidden_size=24, num_attention_heads=3, num_hidden_layers=2, vocab_size=70), "float32"),
    ("flan-xl", "T5ForConditionalGeneration", FLAN_XL, "bfloat16"),
    ("v1_1-xxl-encoder", "T5EncoderModel", V1_1_XXL, "float16"),
    ("base-minimal", "T5Model", dict(num_layers=1), "float32"),
    ("base-untied", "T5Model", dict(T5_GATED, num_decoder_layers=3), "float16"),
    ("cls-minimal", "T5ForSequenceClassification", dict(d_model=24, num_layers=1, num_labels=5), "bfloat16"),
    ("cls-untied", "T5ForSequenceClassification", dict(T5_GATED, **LABELS), "float16"),
    ("token-cls", "T5ForTokenClassification", dict(T5, **LABELS), "float32"),
    ("token-cls-untied", "T5ForTokenClassification", T5_GATED, "float16"),
    ("qa", "T5ForQuestionAnswering", T5, "bfloat16"),
    ("qa-untied", "T5ForQuestionAnswering", dict(T5_GATED, **LABELS), "float16"),
]
