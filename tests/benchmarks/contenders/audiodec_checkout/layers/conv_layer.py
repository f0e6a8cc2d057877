"""A causal convolution of two taps."""

import torch


class Previous(torch.nn.Module):
    # Adds a quarter of the sample before; as in the real convolutions, it is kept from call to call.
    def __init__(self):
        super().__init__()
        self.register_buffer("pad_buffer", torch.zeros(1, 1, 1))

    def inference(self, x):
        x = torch.cat((self.pad_buffer, x), -1)
        self.pad_buffer = x[:, :, -1:]
        return x[:, :, 1:] + x[:, :, :-1] / 4
