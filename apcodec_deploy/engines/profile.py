"""Optimisation profiles: which batches and lengths an engine takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from apcodec_deploy.errors import EngineError

_FEW_LENGTHS = 16


class Range(NamedTuple):
    """The least, the most common and the greatest size of an axis; an engine is tuned for the middle one."""

    least: int
    usual: int
    greatest: int

    @classmethod
    def of(cls, name: str, values: object) -> Range:
        """Three whole numbers that do not fall.

        Raises:
            EngineError: They are something else.
        """
        if not isinstance(values, list | tuple) or [type(value) for value in values] != [int] * 3:
            raise EngineError(f"{name} is {values!r}; [least, usual, greatest] is expected, three whole numbers")
        found = cls(*values)
        if not 1 <= found.least <= found.usual <= found.greatest:
            raise EngineError(f"{name} is {list(found)}; 1 <= least <= usual <= greatest is expected")
        return found

    def __contains__(self, size: object) -> bool:
        return isinstance(size, int) and self.least <= size <= self.greatest


class Shapes(NamedTuple):
    """One optimisation profile of an engine: clips at a time, and latents of each."""

    batch: Range
    latents: Range

    @property
    def recorded(self) -> range:
        """Lengths of which calls of the usual batch are recorded: all where they are few, or else the usual one.

        Where there are many, others than the usual one are ends of clips, and none comes again soon.
        """
        least, usual, greatest = self.latents
        few = greatest - least < _FEW_LENGTHS
        return range(least, greatest + 1) if few else range(usual, usual + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What engines are built for.

    Attributes:
        name: What the user calls it.
        shapes: The optimisation profiles, tried in this order.
        cuda_graphs: Whether calls of the usual shapes are recorded once and replayed.
    """

    name: str
    shapes: tuple[Shapes, ...]
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        if not self.shapes:
            raise EngineError(f"profile {self.name!r} holds no shapes; at least one is expected")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Profile:
        """Read a profile from a manifest.

        Raises:
            EngineError: A key is missing or unknown, or a range is none.
        """
        if values.keys() != {"name", "shapes", "cuda_graphs"}:
            raise EngineError(f"a profile has the keys {sorted(values)}; expected cuda_graphs, name, shapes")
        shapes = tuple(
            Shapes(Range.of("batch", held["batch"]), Range.of("latents", held["latents"])) for held in values["shapes"]
        )
        return cls(name=str(values["name"]), shapes=shapes, cuda_graphs=bool(values["cuda_graphs"]))

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        shapes = [{"batch": list(each.batch), "latents": list(each.latents)} for each in self.shapes]
        return {"name": self.name, "cuda_graphs": self.cuda_graphs, "shapes": shapes}

    @property
    def max_batch(self) -> int:
        """The most clips at a time, whatever their length."""
        return max(shapes.batch.greatest for shapes in self.shapes)

    @property
    def max_latents(self) -> int:
        """The longest clip."""
        return max(shapes.latents.greatest for shapes in self.shapes)

    def recorded(self, index: int, batch: int, latents: int) -> bool:
        """Whether calls of a shape are recorded."""
        held = self.shapes[index]
        return self.cuda_graphs and batch == held.batch.usual and latents in held.recorded

    def replays(self, batch: int, latents: int) -> bool:
        """Whether all calls that so many clips of a length take are recorded ones."""
        if not self.takes(latents):
            return False
        index = self.best(batch, latents)
        least, _, greatest = self.shapes[index].batch
        calls = {min(batch, greatest), batch % greatest or greatest} if batch > greatest else {batch}
        return all(self.recorded(index, max(count, least), latents) for count in calls)

    @property
    def recordings(self) -> int:
        """How many shapes are recorded."""
        return sum(len(each.recorded) for each in self.shapes) if self.cuda_graphs else 0

    def cuts(self, latents: int) -> list[int]:
        """The calls that go on with a stream by so many latents: one where that is taken, else the longest first.

        Raises:
            EngineError: What is left at last is too little for any.
        """
        found = []
        while not self.takes(latents):
            shorter = [each.latents.greatest for each in self.shapes if each.latents.greatest < latents]
            if not shorter:
                raise EngineError(
                    f"a push of {latents} tokens; the engines of profile {self.name} take {self._lengths}. Push as "
                    "many, or build engines with another profile: apcodec build --profile streaming"
                )
            found.append(max(shorter))
            latents -= found[-1]
        return [*found, latents]

    @property
    def _lengths(self) -> str:
        return ", ".join(f"{each.latents.least} to {each.latents.greatest}" for each in self.shapes)

    def takes(self, latents: int) -> bool:
        """Whether there are shapes for clips of so many latents."""
        return any(latents in shapes.latents for shapes in self.shapes)

    def best(self, batch: int, latents: int) -> int:
        """The optimisation profile for so many clips of so many latents: the one that needs the fewest calls, and
        among those the least filling up.

        Raises:
            EngineError: None takes clips of that length.
        """
        fitting = [index for index, shapes in enumerate(self.shapes) if latents in shapes.latents]
        if not fitting:
            raise EngineError(
                f"a clip of {latents} latents; the engines of profile {self.name} take {self._lengths}. Use windows of "
                "another length, or build engines with another profile: apcodec build --profile max-window"
            )

        def cost(index: int) -> tuple[int, int, int]:
            least, _, greatest = self.shapes[index].batch
            return -(-batch // greatest), max(least - batch, 0), index

        return min(fitting, key=cost)
