"""GPT-2: the cases of make_modules.py."""

GPT2 = dict(vocab_size=80, n_positions=24, n_embd=16, n_layer=2, n_head=2)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "GPT2LMHeadModel", dict(n_layer=2), "float16"),
    ("small", "GPT2LMHeadModel", dict(vocab_size=50257, n_positions=1024, n_embd=768, n_layer=3, n_head=12),
     "float16"),
    ("n-inner", "GPT2LMHeadModel", dict(GPT2, n_inner=24), "bfloat16"),
    ("cross-attention", "GPT2LMHeadModel", dict(GPT2, add_cross_attention=True), "float32"),
    ("untied", "GPT2LMHeadModel", dict(GPT2, tie_word_embeddings=False), "float16"),
    ("odd-positions", "GPT2LMHeadModel", dict(GPT2, n_positions=25), "float32"),
    ("base-cross-attention", "GPT2Model", dict(GPT2, add_cross_attention=True), "float16"),
]
