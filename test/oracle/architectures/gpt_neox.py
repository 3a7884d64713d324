"""GPT-NeoX: the cases of make_modules.py."""

NEOX = dict(vocab_size=80, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
PYTHIA_70M = dict(vocab_size=50304, hidden_size=512, num_hidden_layers=6, num_attention_heads=8,
                  intermediate_size=2048, rotary_pct=0.25)
NEOX_20B = dict(vocab_size=50432, hidden_size=6144, num_hidden_layers=44, num_attention_heads=64,
                intermediate_size=24576, hidden_act="gelu_fast", rotary_pct=0.25, rotary_emb_base=10000,
                tie_word_embeddings=False)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "GPTNeoXForCausalLM", dict(num_hidden_layers=2), "float16"),
    ("rotary-minimal", "GPTNeoXForCausalLM", dict(NEOX, rotary_pct=0.7), "float32"),
    ("rotary-all", "GPTNeoXForCausalLM", dict(NEOX, rotary_pct=1.0), "float32"),
    ("tied", "GPTNeoXForCausalLM", dict(NEOX, tie_word_embeddings=True), "bfloat16"),
    ("no-bias", "GPTNeoXForCausalLM", dict(NEOX, attention_bias=False, use_parallel_residual=False), "float16"),
    ("base", "GPTNeoXModel", NEOX, "float16"),
    ("cls", "GPTNeoXForSequenceClassification", dict(NEOX, num_labels=3), "bfloat16"),
    ("tokens", "GPTNeoXForTokenClassification", dict(NEOX, num_labels=5), "float32"),
    ("qa", "GPTNeoXForQuestionAnswering", dict(NEOX, num_labels=5), "float32"),
    ("pythia-70m", "GPTNeoXForCausalLM", PYTHIA_70M, "float16"),
    ("20b", "GPTNeoXForCausalLM", NEOX_20B, "float16"),
]
