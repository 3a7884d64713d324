"""GPT-J: the cases of make_modules.py."""

GPTJ = dict(vocab_size=80, n_positions=28, n_embd=48, n_layer=2, n_head=3, rotary_dim=8)
GPTJ_6B = dict(vocab_size=50400, n_positions=2048, n_embd=4096, n_layer=28, n_head=16, rotary_dim=64,
               tie_word_embeddings=False)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "GPTJForCausalLM", dict(n_layer=2), "float16"),
    ("common-names-minimal", "GPTJForCausalLM",
     dict(vocab_size=70, max_position_embeddings=20, hidden_size=32, num_hidden_layers=1, num_attention_heads=2),
     "float32"),
    ("tiny", "GPTJForCausalLM", GPTJ, "bfloat16"),
    ("tied", "GPTJForCausalLM", dict(GPTJ, tie_word_embeddings=True), "float32"),
    ("no-rotary-dim", "GPTJForCausalLM", dict(GPTJ, rotary_dim=None, n_inner=40), "float16", 4),
    ("rotary-dim-0", "GPTJForCausalLM", dict(GPTJ, rotary_dim=0, n_inner=40), "float16"),
    ("base", "GPTJModel", dict(GPTJ, activation_function="relu"), "float16"),
    ("cls", "GPTJForSequenceClassification", dict(GPTJ, num_labels=3), "bfloat16"),
    ("qa", "GPTJForQuestionAnswering", dict(GPTJ, num_labels=5), "float32"),
    ("6b", "GPTJForCausalLM", GPTJ_6B, "float32"),
]
