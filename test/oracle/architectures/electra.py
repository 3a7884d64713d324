"""ELECTRA: the cases of make_modules.py."""

TINY = dict(vocab_size=72, embedding_size=12, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=40, max_position_embeddings=20, type_vocab_size=3)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
ELECTRA_BASE = dict(vocab_size=30522, embedding_size=768, hidden_size=768, num_hidden_layers=12,
                    num_attention_heads=12, intermediate_size=3072, max_position_embeddings=512)
ELECTRA_SMALL_GENERATOR = dict(vocab_size=30522, embedding_size=128, hidden_size=256, num_hidden_layers=12,
                               num_attention_heads=4, intermediate_size=1024, max_position_embeddings=512)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "ElectraModel", dict(num_hidden_layers=1), "float32"),
    ("equal-sizes", "ElectraModel", dict(TINY, embedding_size=16), "bfloat16"),
    ("relative-key", "ElectraModel", dict(TINY, position_embedding_type="relative_key"), "float16"),
    ("decoder-cross-attention", "ElectraModel", dict(TINY, is_decoder=True, add_cross_attention=True), "float32"),
    ("pretraining-minimal", "ElectraForPreTraining", dict(num_hidden_layers=1), "float32"),
    ("pretraining-relu", "ElectraForPreTraining", dict(TINY, hidden_act="relu"), "float16"),
    ("pretraining-base", "ElectraForPreTraining", ELECTRA_BASE, "float16"),
    ("mlm-small", "ElectraForMaskedLM", ELECTRA_SMALL_GENERATOR, "float32"),
    ("mlm-untied", "ElectraForMaskedLM", dict(TINY, tie_word_embeddings=False), "bfloat16"),
    ("lm-decoder", "ElectraForCausalLM", dict(TINY, is_decoder=True), "float32"),
    ("cls-3-labels", "ElectraForSequenceClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("cls-base", "ElectraForSequenceClassification", ELECTRA_BASE, "float32"),
    ("token-3-labels", "ElectraForTokenClassification", dict(TINY, **THREE_LABELS), "float16"),
    ("qa-tiny", "ElectraForQuestionAnswering", TINY, "float32"),
    ("choice-minimal", "ElectraForMultipleChoice", dict(num_hidden_layers=1), "float32"),
    ("choice-bare-summary", "ElectraForMultipleChoice",
     dict(TINY, summary_use_proj=False, summary_activation="", summary_last_dropout=0.0), "float32"),
    ("choice-null-activation-minimal", "ElectraForMultipleChoice", dict(TINY, summary_activation=None), "bfloat16", 4),
    ("choice-labels-summary", "ElectraForMultipleChoice",
     dict(TINY, summary_proj_to_labels=True, summary_first_dropout=0.1, summary_activation="tanh", **THREE_LABELS),
     "float16"),
]
