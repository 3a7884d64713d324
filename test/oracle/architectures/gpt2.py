"""GPT-2: the cases of make_modules.py."""

GPT2 = dict(vocab_size=80, n_positions=24, n_embd=16, n_layer=2, n_head=2)
GPT2_MEDIUM = dict(vocab_size=50257, n_positions=1024, n_embd=1024, n_layer=24, n_head=16)
FIVE_LABELS = dict(id2label={str(i): name for i, name in enumerate("abcde")},
                   label2id={name: i for i, name in enumerate("abcde")})

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
    ("cls-minimal", "GPT2ForSequenceClassification", dict(n_layer=1, num_labels=7), "float32"),
    ("cls-medium", "GPT2ForSequenceClassification", GPT2_MEDIUM, "float16"),
    ("cls-5-labels", "GPT2ForSequenceClassification", dict(GPT2, **FIVE_LABELS), "bfloat16"),
    ("tokens-5-labels", "GPT2ForTokenClassification", dict(GPT2, **FIVE_LABELS), "float32"),
    ("tokens-tiny", "GPT2ForTokenClassification", dict(GPT2, classifier_dropout=0.2), "float16"),
    ("qa-tiny", "GPT2ForQuestionAnswering", dict(GPT2, **FIVE_LABELS), "bfloat16"),
    ("double-heads-minimal", "GPT2DoubleHeadsModel", dict(n_layer=1), "float32"),
    ("double-heads-5-labels", "GPT2DoubleHeadsModel", dict(GPT2, **FIVE_LABELS), "float16"),
    ("double-heads-to-hidden", "GPT2DoubleHeadsModel",
     dict(GPT2, summary_proj_to_labels=False, summary_activation="tanh", summary_first_dropout=0), "float32"),
    ("double-heads-no-projection", "GPT2DoubleHeadsModel",
     dict(GPT2, summary_use_proj=False, summary_last_dropout=0.1, tie_word_embeddings=False), "float32"),
]
