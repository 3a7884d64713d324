"""DINOv2, without and with register tokens: the cases of make_modules.py."""

TINY = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, mlp_ratio=3, num_channels=4, image_size=30,
            patch_size=7)
THREE_LABELS = dict(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
IMAGENET = dict(id2label={str(i): f"class {i}" for i in range(1000)},
                label2id={f"class {i}": i for i in range(1000)})
BASE = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, image_size=518, patch_size=14)
GIANT = dict(BASE, hidden_size=1536, num_hidden_layers=40, num_attention_heads=24, use_swiglu_ffn=True)

# (case, class, config, dtype); "minimal" in a case's name keeps the config as given
CASES = [
    ("minimal", "Dinov2Model", dict(num_hidden_layers=1), "float32"),
    ("without-bias", "Dinov2Model", dict(TINY, qkv_bias=False, hidden_act="relu"), "bfloat16"),
    ("without-mask", "Dinov2Model", dict(TINY, use_mask_token=False), "float16"),
    ("swiglu", "Dinov2Model", dict(TINY, use_swiglu_ffn=True, drop_path_rate=0.25), "float32"),
    ("oblong", "Dinov2Model", dict(TINY, image_size=[30, 45], patch_size=[6, 7]), "float16"),
    ("fractional-ratio", "Dinov2Model", dict(TINY, mlp_ratio=2.7, use_swiglu_ffn=True), "float32", 4),
    ("head-dim", "Dinov2Model", dict(TINY, head_dim=5), "float32", 5),
    ("giant", "Dinov2Model", GIANT, "float32"),
    ("cls-minimal", "Dinov2ForImageClassification", dict(num_hidden_layers=1), "float16"),
    ("cls-3-labels", "Dinov2ForImageClassification", dict(TINY, **THREE_LABELS), "bfloat16"),
    ("cls-no-labels-minimal", "Dinov2ForImageClassification", dict(TINY, num_labels=0), "float32"),
    ("cls-base", "Dinov2ForImageClassification", dict(BASE, **IMAGENET), "float32"),
    ("backbone", "Dinov2Backbone", TINY, "bfloat16"),
    ("registers-minimal", "Dinov2WithRegistersModel", dict(num_hidden_layers=1), "float32"),
    ("registers-swiglu", "Dinov2WithRegistersModel", dict(TINY, use_swiglu_ffn=True, num_register_tokens=5,
                                                         drop_path_rate=0.1), "float16"),
    ("registers-base", "Dinov2WithRegistersModel", BASE, "bfloat16"),
    ("registers-cls", "Dinov2WithRegistersForImageClassification", dict(TINY, qkv_bias=False, **THREE_LABELS),
     "bfloat16"),
    ("registers-cls-minimal", "Dinov2WithRegistersForImageClassification", dict(num_hidden_layers=1), "float32"),
    ("registers-backbone", "Dinov2WithRegistersBackbone", TINY, "float32"),
]
