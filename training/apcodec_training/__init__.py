"""Train an APCodec on a folder of audio, by the recipe of the paper and its published code."""
