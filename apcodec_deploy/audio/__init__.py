"""Audio files in and out, and the sample rates between."""
