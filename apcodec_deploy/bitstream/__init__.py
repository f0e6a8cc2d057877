"""The ``.apc`` file: codes packed to the bit, with checksums, exact lengths and the model's fingerprint."""
