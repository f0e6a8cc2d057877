"""``apcodec bench``: one file per command. Nothing heavy is imported until one is called."""
