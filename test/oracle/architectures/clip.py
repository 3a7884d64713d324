"""CLIP, and its towers saved alone: the cases of make_modules.py."""

TEXT = dict(vocab_size=72, hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=20, projection_dim=24)
VISION = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_channels=4,
              image_size=30, patch_size=7, projection_dim=20)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
LARGE_TEXT = dict(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                  num_attention_heads=12, projection_dim=768)
LARGE_VISION = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
                    image_size=224, patch_size=14, projection_dim=768)
ONE_LAYER = dict(num_hidden_layers=1)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
# (the last case: transformers 4 cannot initialise a model without labels)
CASES = [
    ("minimal", "CLIPModel", dict(text_config=ONE_LAYER, vision_config=ONE_LAYER), "float32"),
    ("tiny", "CLIPModel", dict(text_config=TEXT, vision_config=VISION, projection_dim=12), "bfloat16"),
    ("old-dicts-minimal", "CLIPModel",
     dict(text_config=dict(TEXT, hidden_size=24), text_config_dict=dict(TEXT, hidden_act="gelu"),
          vision_config=VISION, vision_config_dict=dict(ONE_LAYER, patch_size=14)), "float32"),
    ("null-dicts-minimal", "CLIPModel",
     dict(text_config=TEXT, text_config_dict=None, vision_config=VISION, vision_config_dict=None), "float16"),
    ("large", "CLIPModel", dict(text_config=LARGE_TEXT, vision_config=LARGE_VISION, projection_dim=768), "float16"),
    ("text-minimal", "CLIPTextModel", ONE_LAYER, "float32"),
    ("text-tiny", "CLIPTextModel", dict(TEXT, hidden_act="gelu"), "bfloat16"),
    ("text-large", "CLIPTextModel", LARGE_TEXT, "float16"),
    ("text-projection-minimal", "CLIPTextModelWithProjection", ONE_LAYER, "float32"),
    ("text-projection-tiny", "CLIPTextModelWithProjection", TEXT, "float16"),
    ("vision-minimal", "CLIPVisionModel", ONE_LAYER, "float32"),
    ("vision-tiny", "CLIPVisionModel", VISION, "bfloat16"),
    ("vision-large-336", "CLIPVisionModel", dict(LARGE_VISION, image_size=336), "float32"),
    ("vision-projection-minimal", "CLIPVisionModelWithProjection", ONE_LAYER, "float16"),
    ("vision-projection-tiny", "CLIPVisionModelWithProjection", VISION, "float32"),
    ("image-cls-3-labels", "CLIPForImageClassification",
     dict(text_config=TEXT, vision_config=VISION, **THREE_LABELS), "bfloat16"),
    ("image-cls-no-labels-minimal", "CLIPForImageClassification",
     dict(text_config=TEXT, vision_config=VISION, num_labels=0), "float32", 5),
]
