"""Run trained APCodec models: audio to codes and back, without PyTorch.

codec = apcodec_deploy.load()                       # the embedded demo model; load("bundle/") for yours
encoded = codec.encode(audio, sample_rate=48000)    # float (N,) or (C, N) -> EncodedAudio
audio = codec.decode(encoded)                       # float32, exactly the input's shape
encoded.save("a.apc")
encoded = apcodec_deploy.EncodedAudio.load("a.apc")
"""

from __future__ import annotations

from apcodec_deploy.codec import Codec, load
from apcodec_deploy.encoded import EncodedAudio
from apcodec_deploy.errors import ApcodecError, AudioError, BitstreamError, BundleError
from apcodec_deploy.live.decoder import DecoderSession
from apcodec_deploy.live.encoder import EncoderSession
from apcodec_deploy.version import __version__ as __version__

__all__ = [
    "ApcodecError",
    "AudioError",
    "BitstreamError",
    "BundleError",
    "Codec",
    "DecoderSession",
    "EncodedAudio",
    "EncoderSession",
    "load",
]
