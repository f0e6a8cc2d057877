"""What ``apcodec`` alone says: the five usual commands."""

from __future__ import annotations

from apcodec_deploy.version import __version__

GREETING = f"""\
apcodec {__version__}: audio to 6 kbit/s codes and back.

  apcodec doctor                           is this machine ready?
  apcodec transcode my-music out           a folder through the codec, to listen
  apcodec encode song.flac                 makes song.flac.apc
  apcodec decode song.flac.apc             makes song.flac.wav
  apcodec export CHECKPOINT_DIR my-bundle  your model, for --model my-bundle

All commands: apcodec --help. The options of one: apcodec encode --help.
"""
