"""The codec and its models' names."""

import os

import torch
import yaml
from bin.stream import AudioCodec
from models.autoencoder.AudioDec import StreamGenerator as generator_audiodec
from models.vocoder.HiFiGAN import StreamGenerator as generator_hifigan


class AudioDec(AudioCodec):
    def _load(self, checkpoint):
        with open(os.path.join(os.path.dirname(checkpoint), "config.yml")) as file:
            config = yaml.load(file, Loader=yaml.Loader)
        kind = generator_audiodec if config["model_type"] == "symAudioDec" else generator_hifigan
        network = kind(**config["generator_params"])
        network.load_state_dict(torch.load(checkpoint, map_location="cpu")["model"]["generator"])
        return network.eval()


def assign_model(model):
    if model != "vctk_v1":  # as the real code refuses a name that it does not know
        raise NotImplementedError(model)
    paths = (os.path.join("exp", kind, "tiny", "checkpoint-1steps.pkl") for kind in ("autoencoder", "vocoder"))
    return (8000, *paths)
