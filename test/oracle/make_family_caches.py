"""Bytes of the caches that tiny models of every generating family hold after `generate`.

Makes test/fixtures/caches/families.jsonl.xz. The models are the small ones of architectures/ (see make_modules.py) whose
class generates, with windows of 7 tokens where they have longer ones; one that transformers cannot run is told on standard
output and left out. A case is a model, a number of tokens and a batch: `generate` reads all tokens but one as the prompt,
adds one, and reads that. A model with an encoder reads as many tokens as source. Of each layer's cache, in order, is recorded
    kept      bytes of the tensors that the default cache has after the last token
    attended  bytes that the last token attended to, its own included: more than what is kept where a window is full
    static    the same of a static cache for that many tokens (null where the model takes none)
each as [bytes of self-attention or state, bytes of cross-attention]. For latent attention, where transformers caches the
expanded keys and values, `attended` has the bytes of the latent vectors as their projection gives them, and `expanded` what
transformers keeps. Versions: requirements.txt. Run: python test/oracle/make_family_caches.py [family …]
"""

import copy
import importlib
import sys

import torch
import transformers
from transformers import DynamicCache, EncoderDecoderCache, GenerationMixin
from transformers.modeling_utils import no_init_weights

from common import DTYPES, FIXTURES, config_from, write_xz_lines
from make_caches import nbytes
from make_modules import CASE_FILES

RUNS = ((1, 1), (5, 3), (18, 1))
MOST_PARAMETERS = 2_000_000
GENERATES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "WithLMHeadModel")
CHANGES = {
    "jamba": {"use_mamba_kernels": False},  # those are for GPUs
    "led": {"attention_window": 4},
}
# Without GPU kernels the states become float32; with them they have the model's dtype.
IN_FLOAT32 = ("jamba",)
WINDOW = 7  # of models that have one: so small that it fills
# Decoders with cross-attention that are given no source, and a model for which DynamicCache takes the slice [:-0] of the
# layers' types and so knows no windows.
SKIPPED = ("cross-attention", "no sharing")
NEEDS_SOURCE = ("WhisperForCausalLM",)


class Recorder:
    """What each call of a cache's `update` in the last forward pass returns, and the last output of the model."""

    def __init__(self, model):
        self.updates, self.output, self.latent = {}, None, {}
        model.register_forward_pre_hook(lambda *_: self.updates.clear())
        model.register_forward_hook(self.keep_output)
        for name, module in model.named_modules():
            if name.endswith("kv_a_proj_with_mqa"):
                module.register_forward_hook(self.keep_latent(int(name.split(".")[-3])))

    def keep_output(self, module, inputs, output):
        self.output = output

    def keep_latent(self, layer):
        def hook(module, inputs, output):
            self.latent[layer] = self.latent.get(layer, 0) + nbytes(output)

        return hook

    def __enter__(self):
        self.original = transformers.Cache.update

        def update(cache, keys, values, layer, *args, **kwargs):
            keys, values = self.original(cache, keys, values, layer, *args, **kwargs)
            self.updates[id(cache), layer] = nbytes(keys) + nbytes(values)
            return keys, values

        transformers.Cache.update = update
        return self

    def __exit__(self, *_):
        transformers.Cache.update = self.original


def run(model, tokens, batch, **kwargs):
    """Of a model that puts images before the text, the model of the text alone."""
    if hasattr(model, "qformer"):
        model = model.language_model
    prompt = max(tokens - 1, 1)
    new_tokens = 2 if tokens > 1 else 1
    ids = torch.full((batch, prompt), 3)
    inputs = {"inputs": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        source = torch.full((batch, tokens), 3)
        inputs = {"inputs": source, "attention_mask": torch.ones_like(source),
                  "decoder_input_ids": torch.full((batch, prompt), 1), "decoder_start_token_id": 1}
        if model.main_input_name == "input_features":
            shape = (batch, model.config.num_mel_bins, 2 * model.config.max_source_positions)
            inputs["inputs"] = torch.zeros(shape, dtype=model.dtype)
            inputs["attention_mask"] = None
    model.generation_config = transformers.GenerationConfig()
    with Recorder(model) as recorder, torch.no_grad():
        GenerationMixin.generate(model, **inputs, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False,
                                 pad_token_id=0, eos_token_id=None, bos_token_id=1, **kwargs)
    return recorder


def cache_of(output):
    for name in ("past_key_values", "cache_params"):
        if getattr(output, name, None) is not None:
            return getattr(output, name)
    raise ValueError("the model gives no cache")


def tensors_of(cache, i):
    """Of layer i, whatever class the cache is of."""
    if hasattr(cache, "layers"):
        layer = cache.layers[i]
        return [layer.keys, layer.values] if layer.keys is not None else []
    names = ("conv_states", "ssm_states", "recurrent_states", "key_cache", "value_cache")
    return [t for t in (getattr(cache, name)[i] for name in names if hasattr(cache, name)) if t is not None]


def number_of_layers(cache):
    for name in ("layers", "conv_states", "key_cache"):
        if hasattr(cache, name):
            return len(getattr(cache, name))
    raise ValueError(f"no layers in a {type(cache).__name__}")


def measure(recorder):
    cache = cache_of(recorder.output)
    own = getattr(cache, "self_attention_cache", cache)
    cross = getattr(cache, "cross_attention_cache", None)
    kept, attended = [], []
    # A cache made by the number of the encoder's layers may have more than the decoder fills.
    count = number_of_layers(own)
    while getattr(own, "layers", None) and not tensors_of(own, count - 1):
        count -= 1
    for i in range(count):
        source = 0 if cross is None or i >= len(cross.layers) else sum(map(nbytes, tensors_of(cross, i)))
        held = sum(map(nbytes, tensors_of(own, i)))
        kept.append([held, source])
        attended.append([recorder.updates.get((id(own), i), held), source])
    return kept, attended


def measure_case(model, tokens, batch):
    try:
        recorder = run(model, tokens, batch)
    except IndexError:
        # `generate` makes the cache with as many layers as the encoder has.
        cache = DynamicCache()
        if model.config.is_encoder_decoder:
            cache = EncoderDecoderCache(cache, DynamicCache())
        recorder = run(model, tokens, batch, past_key_values=cache)
    kept, attended = measure(recorder)
    row = {"kept": kept, "attended": attended}
    if recorder.latent:
        latent = [[recorder.latent[i], 0] for i in range(len(kept))]
        return {"kept": latent, "attended": latent, "static": None, "expanded": kept}
    try:
        static = measure(run(model, tokens, batch, cache_implementation="static"))[0]
    except (ValueError, TypeError, AttributeError, IndexError, NotImplementedError):
        static = None
    return {**row, "static": static}


def models(family):
    """Small models of the family that generate, and the config of each."""
    for case, class_name, values, dtype, *only in importlib.import_module(f"architectures.{family}").CASES:
        if not class_name.endswith(GENERATES) or class_name in NEEDS_SOURCE or (only and only[0] != 4):
            continue
        if any(part in case for part in SKIPPED):
            continue
        values = {**values, **CHANGES.get(family, {})}
        config = config_from(class_name, values)
        if (getattr(config.get_text_config(), "sliding_window", None) or 0) > WINDOW:
            values = copy.deepcopy(values)
            values.get("text_config", values)["sliding_window"] = WINDOW
            config = config_from(class_name, values)
        with torch.device("meta"), no_init_weights():
            size = sum(p.numel() for p in getattr(transformers, class_name)(config).parameters())
        if size > MOST_PARAMETERS:
            continue
        dtype = "float32" if family in IN_FLOAT32 else dtype
        config = config_from(class_name, values)
        with no_init_weights():
            model = getattr(transformers, class_name)(config).to(DTYPES[dtype]).eval()
        for parameter in model.parameters():
            torch.nn.init.zeros_(parameter)
        yield f"{family}, {case}", class_name, values, dtype, model


def rows_of(family):
    for name, class_name, values, dtype, model in models(family):
        shown = {"model_type": model.config.model_type, "architectures": [class_name], **values}
        for tokens, batch in RUNS:
            try:
                measured = measure_case(model, tokens, batch)
            except Exception as error:
                print(f"left out: {name}: {class_name} with {tokens} tokens: {error!r:.100}")
                break
            yield {"case": name, "config": shown, "dtype": dtype, "tokens": tokens, "batch": batch, **measured}


def main(families=None):
    rows = []
    for family in families or sorted(path.stem for path in CASE_FILES.glob("*.py")):
        found = list(rows_of(family))
        print(family, len(found), flush=True)
        rows.extend(found)
    write_xz_lines(FIXTURES / "caches" / "families.jsonl.xz", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
