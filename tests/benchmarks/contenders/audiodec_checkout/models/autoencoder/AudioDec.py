"""An autoencoder whose latent is each frame's first sample, in two codebooks of evenly spaced numbers."""

import math

import torch
from layers.conv_layer import Previous


class StreamGenerator(torch.nn.Module):
    def __init__(self, enc_strides, codebook_num, codebook_size, input_channels):
        super().__init__()
        self.encoder, self.projector = Previous(), torch.nn.Identity()
        self.frame, self.size, self.steps = math.prod(enc_strides), codebook_size, (1 / 8, 1 / 64)
        self.register_buffer("codebooks", torch.zeros(codebook_num, codebook_size))

    def remove_weight_norm(self):
        pass

    def initial_encoder(self, receptive_length, device):
        return self.lookup(self.quantize(self.encode(torch.zeros(1, 1, receptive_length, device=device))))

    def encode(self, x):
        x = self.encoder.inference(x)
        return torch.nn.functional.pad(x, (0, -x.shape[-1] % self.frame))[:, :, :: self.frame]

    def quantize(self, z):
        rest, codes = z.transpose(2, 1)[..., 0], []  # (B, L)
        for book, step in enumerate(self.steps):
            code = torch.clamp(torch.round(rest / step) + self.size // 2, 0, self.size - 1).long()
            rest = rest - (code - self.size // 2) * step
            codes.append(code + self.size * book)
        return torch.stack(codes).squeeze(1)

    def lookup(self, indices):
        values = [(row - self.size * book - self.size // 2) * self.steps[book] for book, row in enumerate(indices)]
        return torch.stack(values).sum(dim=0, keepdim=True)[..., None]
