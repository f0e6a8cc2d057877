"""How many streams a machine carries: doubling until a push comes too late, then bisecting."""

from __future__ import annotations

from dataclasses import dataclass

_CLOSE = 0.1
"""The search ends where the numbers that fit and that do not are nearer than this share."""


@dataclass(slots=True)
class Search:
    """The largest number that still fits. What fits is measured by who asks, and told.

    Attributes:
        most: Beyond which nobody looks.
        fits: The largest number that fitted so far; 0 is none.
        late: The smallest that did not; None where all did.
    """

    most: int
    fits: int = 0
    late: int | None = None

    def next(self) -> int | None:
        """What to try now; None where the answer is known."""
        if self.late is None:
            return None if self.fits >= self.most else min(max(1, 2 * self.fits), self.most)
        near = self.late - self.fits <= max(1, _CLOSE * self.fits)
        return None if near else (self.fits + self.late) // 2

    def tell(self, tried: int, *, fitted: bool) -> None:
        """What came of it."""
        if fitted:
            self.fits = tried
        else:
            self.late = tried
