"""ViT: the cases of make_modules.py."""

TINY = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_channels=4,
            image_size=30, patch_size=7)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
VIT_BASE = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                num_channels=3, image_size=224, patch_size=16, qkv_bias=True,
                id2label={str(i): f"breed {i}" for i in range(120)},
                label2id={f"breed {i}": i for i in range(120)})

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "ViTModel", dict(num_hidden_layers=1), "float32"),
    ("without-bias", "ViTModel", dict(TINY, qkv_bias=False, hidden_act="relu"), "bfloat16"),
    ("oblong", "ViTModel", dict(TINY, image_size=[30, 45], patch_size=[6, 7]), "float16"),
    ("pooler", "ViTModel", dict(TINY, pooler_output_size=20, pooler_act="gelu"), "float32"),
    ("head-dim", "ViTModel", dict(TINY, head_dim=5), "float32", 5),
    ("cls-minimal", "ViTForImageClassification", dict(num_hidden_layers=1), "float16"),
    ("cls-3-labels", "ViTForImageClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("cls-no-labels-minimal", "ViTForImageClassification", dict(TINY, num_labels=0), "float32"),
    ("cls-base", "ViTForImageClassification", VIT_BASE, "float16"),
    ("mim-tiny", "ViTForMaskedImageModeling", dict(TINY, encoder_stride=3), "float32"),
    ("mim-minimal", "ViTForMaskedImageModeling", dict(num_hidden_layers=1), "bfloat16"),
]
