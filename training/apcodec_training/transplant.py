"""A student's first weights: its teacher's, every tap at the frame that it is about.

Where the kernels of a causal layer reach less far than the teacher's, what the teacher hears in frames that the student
does not see is heard in the nearest one that it sees: frames are neighbours, 0.8 ms apart in the published model.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from apcodec_export.model.layers import ConvNeXtBlock, Convolution, WeightNormConv1d
from apcodec_export.network import NetworkConfig, streamable
from apcodec_training.distillation import Teacher
from apcodec_training.generator import Generator


def takes_after(student: NetworkConfig, teacher: NetworkConfig) -> bool:
    """Whether a student can start from a teacher's weights: it is causal and of the same shapes, kernels apart."""
    return student.causal and streamable(teacher, student.context) == student


@torch.no_grad()
def transplant(teacher: Teacher, student: Generator, responses: Mapping[str, Tensor]) -> None:
    """Give a student its teacher's weights.

    Args:
        teacher: Of the student's shapes, but for kernels and block normalisation.
        student: To change.
        responses: What ``Teacher.mean_responses`` gives: a causal block's scale where the teacher has GRN.
    """
    for part, network in (("encoder", student.encoder), ("decoder", student.decoder)):
        theirs: dict[str, nn.Module] = dict(getattr(teacher, part).named_modules())
        for name, module in network.named_modules():
            _take_over(theirs.get(name), module, teacher.shift)
            if isinstance(module, ConvNeXtBlock):
                own = theirs[name]
                assert isinstance(own, ConvNeXtBlock)
                _take_over_norm(own, module, responses.get(f"{part}.{name}.grn"))


def _take_over(theirs: nn.Module | None, mine: nn.Module, shift: int) -> None:
    """The weights of one layer."""
    if isinstance(mine, WeightNormConv1d):
        assert isinstance(theirs, WeightNormConv1d)
        later = shift if mine.stride > 1 else 0  # latents and frames of the two are counted from other frames
        places = _places(theirs.weight_v.shape[2], mine.weight_v.shape[2], mine.around[0] - theirs.around[0] + later)
        if mine.transposed:  # which cuts off where the other adds
            places = _places(theirs.weight_v.shape[2], mine.weight_v.shape[2], later - theirs.around[0])
        weight = _moved(theirs.weight, mine.weight_v.shape, places)
        length = torch.linalg.vector_norm(weight.flatten(1), dim=1)
        mine.weight_v.copy_(weight)
        mine.weight_g.copy_(length[:, None, None])
        mine.bias.copy_(theirs.bias)
    elif isinstance(mine, Convolution):
        assert isinstance(theirs, Convolution) and mine.bias is not None and theirs.bias is not None
        places = _places(theirs.weight.shape[2], mine.weight.shape[2], mine.around[0] - theirs.around[0])
        mine.weight.copy_(_moved(theirs.weight, mine.weight.shape, places))
        mine.bias.copy_(theirs.bias)
    elif isinstance(mine, nn.Linear | nn.LayerNorm | nn.Embedding):
        assert theirs is not None
        mine.load_state_dict(theirs.state_dict())


def _places(theirs: int, mine: int, later: int) -> list[int]:
    """At which tap of a kernel each tap of another one stands: ``later``, or at the nearest that there is."""
    return [min(max(tap + later, 0), mine - 1) for tap in range(theirs)]


def _moved(weight: Tensor, shape: torch.Size, places: list[int]) -> Tensor:
    """A kernel whose taps stand at other places; those at one place are added."""
    index = torch.tensor(places, device=weight.device)
    return weight.new_zeros(shape).index_add_(2, index, weight)


def _take_over_norm(theirs: ConvNeXtBlock, mine: ConvNeXtBlock, response: Tensor | None) -> None:
    """A causal block's scale and shift from what the teacher's block normalises or scales by."""
    assert mine.affine is not None
    if theirs.affine is not None:
        mine.affine.load_state_dict(theirs.affine.state_dict())
    elif theirs.grn is not None:
        assert response is not None
        mine.affine.weight.copy_(response)
        mine.affine.bias.copy_(theirs.grn.beta.flatten())
    else:
        assert theirs.gamma is not None
        mine.pwconv2.weight.mul_(theirs.gamma[:, None])
        mine.pwconv2.bias.mul_(theirs.gamma)
