"""Regenerates every fixture that this environment's transformers stands for. Run: python test/oracle/make_all.py"""

from common import MAJOR

if __name__ == "__main__":
    if MAJOR == 4:
        import make_caches
        import make_casts
        import make_checkpoints
        import make_device_maps
        import make_dtypes
        import make_family_caches
        import make_gemms
        import make_hashes
        import make_keys
        import make_modules
        import make_nested_dtypes
        import make_offload
        import make_safetensors_files
        import make_saved
        import make_sharded
        import make_shard_splits
        import make_sizes
        import make_small_models
        import make_torch_files
        import make_torch_loads
        import make_weight_statistics

        # The checkpoints come first: make_keys and make_sharded load them.
        scripts = (make_checkpoints, make_modules, make_device_maps, make_small_models, make_keys, make_sharded, make_casts, make_caches,
                   make_sizes, make_dtypes, make_nested_dtypes, make_offload, make_hashes, make_gemms, make_family_caches, make_torch_files, make_torch_loads, make_safetensors_files, make_saved, make_shard_splits,
                   make_weight_statistics)
    else:
        import make_device_maps
        import make_modules
        import make_nested_dtypes
        import make_small_models

        scripts = (make_modules, make_device_maps, make_small_models, make_nested_dtypes)
    for script in scripts:
        print(script.__name__, flush=True)
        script.main()
