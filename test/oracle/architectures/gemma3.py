"""Gemma 3 for images and text: the cases of make_modules.py."""

MEDGEMMA_27B = dict(
    text_config=dict(vocab_size=262208, hidden_size=5376, intermediate_size=21504, num_hidden_layers=62,
                     num_attention_heads=32, num_key_value_heads=16, head_dim=128, sliding_window=1024,
                     model_type="gemma3_text"),
    vision_config=dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16,
                       image_size=896, patch_size=14, num_channels=3, vision_use_head=False,
                       model_type="siglip_vision_model"),
    mm_tokens_per_image=256)
TEXT = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, head_dim=12, sliding_window=16, sliding_window_pattern=2,
            model_type="gemma3_text")
VISION = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=28,
              patch_size=7, num_channels=3, vision_use_head=False, model_type="siglip_vision_model")
TINY = dict(text_config=TEXT, vision_config=VISION, mm_tokens_per_image=4)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Gemma3ForConditionalGeneration",
     dict(text_config=dict(num_hidden_layers=1), vision_config=dict(num_hidden_layers=1, image_size=896,
                                                                    patch_size=14)), "bfloat16"),
    ("medgemma-27b", "Gemma3ForConditionalGeneration", MEDGEMMA_27B, "bfloat16"),
    ("tiny", "Gemma3ForConditionalGeneration", TINY, "float16"),
    ("untied", "Gemma3ForConditionalGeneration",
     dict(TINY, text_config=dict(TEXT, tie_word_embeddings=False), tie_word_embeddings=False), "float32"),
    ("text-untied-minimal", "Gemma3ForConditionalGeneration",
     dict(TINY, text_config=dict(TEXT, tie_word_embeddings=False)), "float32"),
    ("untied-outside-minimal", "Gemma3ForConditionalGeneration", dict(TINY, tie_word_embeddings=False), "float16"),
    ("vision-head", "Gemma3ForConditionalGeneration",
     dict(TINY, vision_config=dict(VISION, vision_use_head=True)), "float32"),
    ("base", "Gemma3Model", TINY, "bfloat16"),
    ("sequence-classification", "Gemma3ForSequenceClassification", dict(TINY, num_labels=5), "float32"),
]
