"""SigLIP: the cases of make_modules.py."""

VISION = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=30,
              patch_size=7, num_channels=2)
TEXT = dict(vocab_size=96, hidden_size=20, intermediate_size=36, num_hidden_layers=3, num_attention_heads=5,
            max_position_embeddings=12)
SO400M = dict(
    vision_config=dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16,
                       image_size=384, patch_size=14),
    text_config=dict(vocab_size=32000, hidden_size=1152, intermediate_size=4304, num_hidden_layers=27,
                     num_attention_heads=16, max_position_embeddings=64))

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("vision-minimal", "SiglipVisionModel", dict(num_hidden_layers=1), "float32"),
    ("vision-so400m", "SiglipVisionModel", SO400M["vision_config"], "bfloat16"),
    ("vision-no-head", "SiglipVisionModel", dict(VISION, vision_use_head=False), "float16"),
    ("vision-tiny", "SiglipVisionModel", dict(VISION, hidden_act="relu"), "float32"),
    ("text-minimal", "SiglipTextModel", dict(num_hidden_layers=1), "float32"),
    ("text-projection", "SiglipTextModel", dict(TEXT, projection_size=28), "float16"),
    ("minimal", "SiglipModel", {}, "float32"),
    ("tiny", "SiglipModel", dict(vision_config=VISION, text_config=dict(TEXT, projection_size=24)), "float16"),
    ("so400m", "SiglipModel", SO400M, "float32"),
    ("image-classification", "SiglipForImageClassification", dict(vision_config=VISION, num_labels=5), "bfloat16"),
]
