"""A bundle behind NVIDIA's Triton Inference Server."""
