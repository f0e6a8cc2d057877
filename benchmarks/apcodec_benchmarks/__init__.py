"""Real-time factor and quality of APCodec, beside other codecs, measured so that the figures can be judged."""
