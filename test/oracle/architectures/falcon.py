"""Falcon: the cases of make_modules.py."""

FALCON = dict(vocab_size=80, hidden_size=24, num_hidden_layers=2, num_attention_heads=3)
FALCON_RW_1B = dict(vocab_size=50304, hidden_size=2048, num_hidden_layers=24, num_attention_heads=32, alibi=True,
                    bias=True, multi_query=False, parallel_attn=False)
FALCON_7B = dict(vocab_size=65024, hidden_size=4544, num_hidden_layers=32, num_attention_heads=71, alibi=False,
                 bias=False, multi_query=True, parallel_attn=True, new_decoder_architecture=False)
FALCON_11B = dict(vocab_size=65024, hidden_size=4096, num_hidden_layers=60, num_attention_heads=32, num_kv_heads=8,
                  ffn_hidden_size=16384, new_decoder_architecture=True, num_ln_in_parallel_attn=1,
                  tie_word_embeddings=False)
FALCON_180B = dict(vocab_size=65024, hidden_size=14848, num_hidden_layers=80, num_attention_heads=232,
                   num_kv_heads=8, alibi=False, bias=False, multi_query=True, parallel_attn=True,
                   new_decoder_architecture=True)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "FalconForCausalLM", dict(num_hidden_layers=2), "float32"),
    ("n-embed-minimal", "FalconForCausalLM", dict(num_hidden_layers=1, n_embed=71 * 8, hidden_size=71 * 16), "float32"),
    ("n-embed-label-minimal", "FalconForSequenceClassification", dict(num_hidden_layers=1, n_embed=71 * 8), "float16"),
    ("multi-query", "FalconForCausalLM", FALCON, "float16"),
    ("multi-head", "FalconForCausalLM", dict(FALCON, multi_query=False, bias=True), "bfloat16"),
    ("kv-heads-unused", "FalconForCausalLM", dict(FALCON, num_kv_heads=2, multi_query=False), "float32"),
    ("sequential", "FalconForCausalLM", dict(FALCON, parallel_attn=False, bias=True, alibi=True), "float32"),
    ("new-architecture", "FalconForCausalLM",
     dict(FALCON, num_attention_heads=6, num_kv_heads=2, new_decoder_architecture=True), "float16"),
    ("new-architecture-one-norm", "FalconForCausalLM",
     dict(FALCON, num_kv_heads=1, new_decoder_architecture=True, num_ln_in_parallel_attn=1, ffn_hidden_size=40,
          activation="relu"), "bfloat16"),
    ("two-norms", "FalconForCausalLM", dict(FALCON, num_ln_in_parallel_attn=2, ffn_hidden_size=40), "float32"),
    ("new-architecture-sequential", "FalconModel",
     dict(FALCON, num_kv_heads=3, new_decoder_architecture=True, parallel_attn=False), "float32"),
    ("untied", "FalconForCausalLM", dict(FALCON, tie_word_embeddings=False), "float16"),
    ("base", "FalconModel", FALCON, "float16"),
    ("cls", "FalconForSequenceClassification", dict(FALCON, num_labels=3), "bfloat16"),
    ("tokens", "FalconForTokenClassification", dict(FALCON, num_labels=5), "float32"),
    ("qa", "FalconForQuestionAnswering", dict(FALCON, num_labels=5), "float16"),
    ("rw-1b", "FalconForCausalLM", FALCON_RW_1B, "bfloat16"),
    ("7b", "FalconForCausalLM", FALCON_7B, "bfloat16"),
    ("11b", "FalconForCausalLM", FALCON_11B, "bfloat16"),
    ("180b", "FalconForCausalLM", FALCON_180B, "bfloat16"),
]
