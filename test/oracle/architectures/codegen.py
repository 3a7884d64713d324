"""CodeGen: the cases of make_modules.py."""

CODEGEN = dict(vocab_size=80, n_positions=28, n_ctx=28, n_embd=48, n_layer=2, n_head=4, rotary_dim=8)
CODEGEN_350M = dict(vocab_size=51200, n_positions=2048, n_ctx=2048, n_embd=1024, n_layer=20, n_head=16,
                    rotary_dim=32, tie_word_embeddings=False)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "CodeGenForCausalLM", dict(n_layer=2), "float16"),
    ("tiny", "CodeGenForCausalLM", CODEGEN, "bfloat16"),
    ("tied-inner", "CodeGenForCausalLM", dict(CODEGEN, tie_word_embeddings=True, n_inner=40), "float32"),
    ("rotary-dim-0", "CodeGenForCausalLM", dict(CODEGEN, rotary_dim=0), "float16"),
    ("base", "CodeGenModel", dict(CODEGEN, activation_function="relu"), "float32"),
    ("350m", "CodeGenForCausalLM", CODEGEN_350M, "float16"),
]
