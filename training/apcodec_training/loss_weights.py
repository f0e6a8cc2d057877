"""What the terms of the generator's loss weigh."""

from __future__ import annotations

from dataclasses import dataclass, fields

from apcodec_training.sections import positive


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """What each term of the generator's loss is multiplied by; see ``losses.py`` for the terms.

    45 L_A + 100 (L_IP + L_GD + L_PTD) + 20 (L_C + 2.25 (L_R + L_I)) + 45 MelL1 + 45 MelMSE + 10 codebook
    + 2.5 commitment + the adversarial and feature-matching terms, those of the multi-resolution discriminators weighted
    0.1 (published ``train.py``). The discriminators' own loss weighs the two families as their adversarial terms are.

    ``audio_amplitude`` is not published: the mean squared error of the log-amplitude of the decoded audio, as L_A is of
    what the decoder says. Much of that is lost where its phases do not agree, which L_A does not hear of.

    Three more are not published. They measure the decoded sound:

    - ``unintelligibility`` is one minus STOI, for segments of at least 0.41 s; see ``intelligibility.py``.
    - ``incoherence`` is one minus the correlation of waveforms below 3.2 kHz; see ``coherence.py``.
    - ``log_spectral_distance`` is LSD; see ``spectral_distance.py``.

    Those that begin with ``distil`` are there with a teacher only; see ``distillation.py``.
    """

    amplitude: float = 45.0
    instantaneous_phase: float = 100.0
    group_delay: float = 100.0
    phase_time_difference: float = 100.0
    stft_consistency: float = 20.0
    real_l1: float = 45.0
    imag_l1: float = 45.0
    mel_l1: float = 45.0
    mel_mse: float = 45.0
    audio_amplitude: float = 0.0
    unintelligibility: float = 0.0
    incoherence: float = 0.0
    log_spectral_distance: float = 0.0
    codebook: float = 10.0
    commitment: float = 2.5
    period_adversarial: float = 1.0
    period_features: float = 1.0
    resolution_adversarial: float = 0.1
    resolution_features: float = 0.1
    distil_input: float = 20.0
    distil_blocks: float = 20.0
    distil_down: float = 20.0
    distil_latent: float = 20.0
    distil_up: float = 20.0
    distil_heads: float = 20.0

    def __post_init__(self) -> None:
        positive(self, *(each.name for each in fields(self)), zero=True)
