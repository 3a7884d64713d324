"""BLOOM: the cases of make_modules.py."""

BLOOM = dict(vocab_size=80, hidden_size=24, n_layer=2, n_head=3)
BLOOM_560M = dict(vocab_size=250880, hidden_size=1024, n_layer=24, n_head=16)
BLOOM_176B = dict(vocab_size=250880, n_embed=14336, n_layer=70, num_attention_heads=112)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "BloomForCausalLM", dict(), "float32"),
    ("common-names-minimal", "BloomForCausalLM",
     dict(vocab_size=90, n_embed=40, hidden_size=24, num_hidden_layers=3, num_attention_heads=4), "float16"),
    ("tiny", "BloomForCausalLM", BLOOM, "bfloat16"),
    ("untied", "BloomForCausalLM", dict(BLOOM, tie_word_embeddings=False), "float16"),
    ("base", "BloomModel", BLOOM, "float32"),
    ("cls", "BloomForSequenceClassification", dict(BLOOM, num_labels=3), "bfloat16"),
    ("tokens", "BloomForTokenClassification", dict(BLOOM, num_labels=5), "float32"),
    ("qa", "BloomForQuestionAnswering", dict(BLOOM, num_labels=5), "float16"),
    ("560m", "BloomForCausalLM", BLOOM_560M, "float16"),
    ("176b", "BloomForCausalLM", BLOOM_176B, "bfloat16"),
]
