"""BigBird: the cases of make_modules.py."""

TINY = dict(vocab_size=72, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
            max_position_embeddings=20, type_vocab_size=3)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
BIGBIRD_BASE = dict(vocab_size=50358, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                    intermediate_size=3072, max_position_embeddings=4096)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "BigBirdModel", dict(num_hidden_layers=1), "float32"),
    ("full-without-bias", "BigBirdModel", dict(TINY, attention_type="original_full", use_bias=False), "bfloat16"),
    ("sparse-without-bias", "BigBirdModel", dict(TINY, use_bias=False, hidden_act="relu"), "float32"),
    ("decoder-cross-attention", "BigBirdModel", dict(TINY, is_decoder=True, add_cross_attention=True), "float16"),
    ("pretraining-minimal", "BigBirdForPreTraining", dict(num_hidden_layers=1), "float32"),
    ("pretraining-base", "BigBirdForPreTraining", BIGBIRD_BASE, "float16"),
    ("mlm-tied", "BigBirdForMaskedLM", TINY, "float32"),
    ("mlm-untied", "BigBirdForMaskedLM", dict(TINY, tie_word_embeddings=False), "bfloat16"),
    ("lm-decoder", "BigBirdForCausalLM", dict(TINY, is_decoder=True, attention_type="original_full"), "float32"),
    ("cls-3-labels", "BigBirdForSequenceClassification", dict(TINY, **THREE_LABELS), "float16"),
    ("token-3-labels", "BigBirdForTokenClassification", dict(TINY, **THREE_LABELS), "float32"),
    ("qa-3-labels", "BigBirdForQuestionAnswering", dict(TINY, **THREE_LABELS), "float32"),
    ("qa-base", "BigBirdForQuestionAnswering", BIGBIRD_BASE, "float32"),
    ("choice-tiny", "BigBirdForMultipleChoice", TINY, "bfloat16"),
]
