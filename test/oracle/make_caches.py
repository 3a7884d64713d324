"""Bytes of the key-value caches that transformers really holds after a forward pass.

Makes test/fixtures/caches/caches.json. A case is a tiny model, a number of tokens and a batch: the model reads all tokens but
one at once and the last by itself, as generation does, and of each layer's cache is recorded
    kept      bytes of the tensors that the default cache (DynamicCache) keeps after the last token
    attended  bytes of the keys and values that the last token attended to, its own included
    static    bytes that a StaticCache for that many tokens allocates (null where the model takes none)
each as [bytes of self-attention, bytes of cross-attention] a layer. Versions: requirements.txt.
Run: python test/oracle/make_caches.py
"""

import itertools

import torch
import transformers
from transformers import DynamicCache, EncoderDecoderCache, StaticCache

from common import DTYPES, FIXTURES, build, compact, config_from, dtype_name, versions

DECODER = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
MODELS = {
    "llama": ("LlamaForCausalLM", {**DECODER, "model_type": "llama", "num_key_value_heads": 4}),
    "llama, grouped": ("LlamaForCausalLM", {**DECODER, "model_type": "llama", "num_key_value_heads": 2, "head_dim": 16}),
    "mistral": ("MistralForCausalLM", {**DECODER, "model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 7}),
    "mistral, no window": ("MistralForCausalLM", {**DECODER, "model_type": "mistral", "num_key_value_heads": 1,
                                                  "sliding_window": None}),
    "qwen2": ("Qwen2ForCausalLM", {**DECODER, "model_type": "qwen2", "num_key_value_heads": 2}),
    "qwen2, windows above": ("Qwen2ForCausalLM", {**DECODER, "model_type": "qwen2", "num_key_value_heads": 2,
                                                  "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2}),
    "gpt2": ("GPT2LMHeadModel", {"model_type": "gpt2", "vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4,
                                 "n_positions": 64}),
    "t5": ("T5ForConditionalGeneration", {"model_type": "t5", "vocab_size": 64, "d_model": 32, "d_kv": 12, "d_ff": 48,
                                          "num_heads": 4, "num_layers": 2, "num_decoder_layers": 3}),
}
TOKENS = (1, 4, 5, 6, 7, 8, 20)
BATCHES = (1, 3)


def nbytes(tensor):
    return tensor.numel() * tensor.element_size()


def layer_bytes(cache):
    return [nbytes(layer.keys) + nbytes(layer.values) for layer in cache.layers]


class Attended:
    """Records what each call of Cache.update returns: the keys and values that attention is computed over."""

    def __enter__(self):
        self.bytes, self.update = {}, transformers.Cache.update

        def update(cache, keys, values, layer, *args, **kwargs):
            keys, values = self.update(cache, keys, values, layer, *args, **kwargs)
            self.bytes[layer] = nbytes(keys) + nbytes(values)
            return keys, values

        transformers.Cache.update = update
        return self

    def __exit__(self, *_):
        transformers.Cache.update = self.update


def run_decoder(model, cache, tokens):
    with torch.no_grad():
        if tokens.shape[1] > 1:
            model(tokens[:, :-1], past_key_values=cache, use_cache=True, cache_position=torch.arange(tokens.shape[1] - 1))
        with Attended() as attended:
            last = torch.tensor([tokens.shape[1] - 1])
            out = model(tokens[:, -1:], past_key_values=cache, use_cache=True, cache_position=last)
    assert out.past_key_values is cache
    return [attended.bytes[i] for i in range(len(cache.layers))]


def measure_decoder(model, tokens):
    dynamic = DynamicCache(config=model.config)
    attended = run_decoder(model, dynamic, tokens)
    static = StaticCache(config=model.config, max_cache_len=tokens.shape[1])
    run_decoder(model, static, tokens)
    pair = lambda sizes: [[size, 0] for size in sizes]
    return {"kept": pair(layer_bytes(dynamic)), "attended": pair(attended), "static": pair(layer_bytes(static))}


def measure_encoder_decoder(model, tokens):
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    with torch.no_grad():
        encoded = model.get_encoder()(tokens)
        for part in ([tokens[:, :-1], tokens[:, -1:]] if tokens.shape[1] > 1 else [tokens]):
            model(encoder_outputs=encoded, decoder_input_ids=part, past_key_values=cache, use_cache=True)
    kept = [list(pair) for pair in zip(layer_bytes(cache.self_attention_cache), layer_bytes(cache.cross_attention_cache))]
    return {"kept": kept, "attended": kept, "static": None}


def cases():
    for name, (class_name, config) in MODELS.items():
        for dtype in ("float32", "bfloat16") if name in ("llama", "t5") else ("float32",):
            model = build(class_name, config_from(class_name, config), DTYPES[dtype])
            model = model.to_empty(device="cpu").to(DTYPES[dtype]).eval()
            for parameter in itertools.chain(model.parameters(), model.buffers()):
                torch.nn.init.zeros_(parameter)
            measure = measure_encoder_decoder if class_name.startswith("T5") else measure_decoder
            for count, batch in itertools.product(TOKENS, BATCHES):
                tokens = torch.zeros((batch, count), dtype=torch.long)
                yield {"model": name, "dtype": dtype_name(model.dtype), "tokens": count, "batch": batch,
                       **measure(model, tokens)}


def main():
    path = FIXTURES / "caches" / "caches.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    models = {name: {"architectures": [class_name], **config} for name, (class_name, config) in MODELS.items()}
    lines = ",\n".join(map(compact, cases()))
    path.write_text(f'{{"versions":{compact(versions())},\n"configs":{compact(models)},\n"cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
