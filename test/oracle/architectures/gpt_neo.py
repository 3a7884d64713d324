"""GPT-Neo: the cases of make_modules.py."""

NEO = dict(vocab_size=80, max_position_embeddings=28, hidden_size=48, num_layers=3, num_heads=4,
           attention_types=[[["global", "local"], 1], [["local"], 1]], window_size=8)
NEO_1_3B = dict(vocab_size=50257, max_position_embeddings=2048, hidden_size=2048, num_layers=24, num_heads=16,
                attention_types=[[["global", "local"], 12]])

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "GPTNeoForCausalLM", dict(), "float32"),
    ("common-names-minimal", "GPTNeoForCausalLM",
     dict(vocab_size=70, max_position_embeddings=20, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
          attention_types=[[["global", "local"], 1]]), "float32", 5),
    ("common-heads-minimal", "GPTNeoForCausalLM",
     dict(vocab_size=70, num_layers=2, num_attention_heads=2, hidden_size=32, attention_types=[[["local"], 2]]),
     "float16"),
    ("tiny", "GPTNeoForCausalLM", NEO, "float16"),
    ("untied-inner", "GPTNeoForCausalLM", dict(NEO, tie_word_embeddings=False, intermediate_size=40), "bfloat16"),
    ("base", "GPTNeoModel", dict(NEO, activation_function="relu"), "bfloat16"),
    ("cls", "GPTNeoForSequenceClassification", dict(NEO, num_labels=3), "float16"),
    ("tokens", "GPTNeoForTokenClassification", dict(NEO, num_labels=5), "float32"),
    ("qa", "GPTNeoForQuestionAnswering", dict(NEO, num_labels=5), "float32"),
    ("1.3b", "GPTNeoForCausalLM", NEO_1_3B, "float16"),
]
