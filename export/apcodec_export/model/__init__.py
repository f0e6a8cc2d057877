"""Our own PyTorch definition of APCodec, with the state-dict keys of the published code."""
