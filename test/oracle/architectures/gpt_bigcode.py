"""GPTBigCode (StarCoder): the cases of make_modules.py."""

BIGCODE = dict(vocab_size=80, n_positions=28, n_embd=48, n_layer=2, n_head=4)
STARCODER = dict(vocab_size=49152, n_positions=8192, n_embd=6144, n_layer=40, n_head=48, n_inner=24576)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "GPTBigCodeForCausalLM", dict(n_layer=2), "float32"),
    ("common-names-minimal", "GPTBigCodeForCausalLM",
     dict(vocab_size=70, max_position_embeddings=20, hidden_size=32, num_hidden_layers=2, num_attention_heads=2),
     "float16"),
    ("multi-query", "GPTBigCodeForCausalLM", BIGCODE, "float16"),
    ("multi-head", "GPTBigCodeForCausalLM", dict(BIGCODE, multi_query=False, n_inner=40), "bfloat16"),
    ("cross-attention", "GPTBigCodeForCausalLM", dict(BIGCODE, multi_query=False, add_cross_attention=True),
     "float32"),
    ("untied", "GPTBigCodeForCausalLM", dict(BIGCODE, tie_word_embeddings=False), "float16"),
    ("base", "GPTBigCodeModel", dict(BIGCODE, activation_function="relu"), "bfloat16"),
    ("cls", "GPTBigCodeForSequenceClassification", dict(BIGCODE, num_labels=3), "float32"),
    ("tokens", "GPTBigCodeForTokenClassification", dict(BIGCODE, num_labels=5), "float16"),
    ("starcoder", "GPTBigCodeForCausalLM", STARCODER, "float32"),
]
