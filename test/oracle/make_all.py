"""Regenerates every fixture of the oracle. Run: python test/oracle/make_all.py"""

import make_casts
import make_checkpoints
import make_device_maps
import make_dtypes
import make_keys
import make_modules
import make_sizes
import make_small_models

if __name__ == "__main__":
    # The checkpoints come first: make_keys loads them.
    for script in (make_checkpoints, make_modules, make_device_maps, make_small_models, make_keys, make_casts,
                   make_sizes, make_dtypes):
        print(script.__name__, flush=True)
        script.main()
