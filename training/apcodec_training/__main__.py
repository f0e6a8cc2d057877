"""``torchrun ... -m apcodec_training AUDIO_DIR OUT_DIR``: the command 'apcodec train', for several processes."""

from __future__ import annotations

import sys

from apcodec_deploy.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["train"]
    main()
