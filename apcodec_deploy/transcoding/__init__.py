"""Files in, files out: one conversion, a folder of them, and what became of each."""
