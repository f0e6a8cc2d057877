"""A vocoder that holds each latent for a frame; it warns and logs, as the real one does."""

import logging
import os
import warnings

import numpy as np
import torch
from layers.conv_layer import Previous


class StreamGenerator(torch.nn.Module):
    def __init__(self, stats, upsample_scales):
        super().__init__()
        assert os.path.exists(stats), f"Stats {stats} does not exist!"
        warnings.warn("torch.nn.utils.weight_norm is deprecated", FutureWarning, stacklevel=2)
        logging.info("Input normalization")
        self.register_buffer("scale", torch.from_numpy(np.load(stats)).float())
        self.output_conv, self.frame = Previous(), upsample_scales[0]
        self.weight = torch.nn.Parameter(torch.ones(3))

    def remove_weight_norm(self):
        pass

    def initial_decoder(self, c):
        self.decode(c)

    def decode(self, c):
        return self.output_conv.inference((c * self.scale).transpose(2, 1).repeat_interleave(self.frame, -1))
