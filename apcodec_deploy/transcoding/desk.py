"""Where those who convert get their files and leave their results, so that none is lost or counted twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from apcodec_deploy.transcoding.folder import Task
from apcodec_deploy.transcoding.report import Result
from apcodec_deploy.transcoding.watch import Stage, Watch

_PATIENCE = 3.0
"""Seconds of one read after which a file is taken to give nothing, by one who wants to end."""
_LOOK_SECONDS = 0.2


class Stopped(BaseException):
    """Raised inside a conversion to end it; no ``except Exception`` on its way may hold it up."""


class Place:
    """A conversion under way.

    Attributes:
        index: Of the task.
        task: What is converted.
        watch: Told what the conversion does; stops it when nobody wants it any more.
    """

    def __init__(self, desk: Desk, index: int, task: Task, heard: Callable[[float], None]) -> None:
        self.index, self.task = index, task
        self.watch = Watch(self._heard)
        self._desk, self._forward = desk, heard

    def commit(self) -> None:
        """From here on the result counts, whatever happens; else ``Stopped`` is raised."""
        self._desk.commit(self)

    def _heard(self, seconds: float) -> None:
        if not self._desk.wanted(self):
            raise Stopped
        self._forward(seconds)


class Desk:
    """Tasks and results of a job. Safe to use from several threads."""

    def __init__(self, tasks: Sequence[Task], heard: Callable[[float], None]) -> None:
        """Lay out the tasks.

        Args:
            tasks: What is to be converted.
            heard: Told the seconds of audio that any conversion has come forward.
        """
        self.seconds: Counter[Stage] = Counter()
        self._tasks, self._heard = tasks, heard
        self._next = 0
        self._results: list[Result | None] = [None] * len(tasks)
        self._left = len(tasks)
        self._places: list[Place] = []
        self._committed: set[Place] = set()
        self._stopping = False
        self._changed = threading.Condition()

    def take(self) -> Place | None:
        """The next task, or none when there are no more."""
        with self._changed:
            if self._stopping or self._next == len(self._tasks):
                return None
            place = Place(self, self._next, self._tasks[self._next], self._heard)
            self._next += 1
            self._places.append(place)
            return place

    def put(self, place: Place, result: Result) -> bool:
        """Leave a result; False if the task was given up meanwhile."""
        with self._changed:
            return self._end(place, result)

    def leave(self, place: Place) -> None:
        """End a conversion that was stopped."""
        with self._changed:
            self._end(place, None)

    def wanted(self, place: Place) -> bool:
        """Whether a conversion is to go on."""
        return not self._stopping and place in self._places

    def commit(self, place: Place) -> None:
        """See ``Place.commit``."""
        with self._changed:
            if not self.wanted(place):
                raise Stopped
            self._committed.add(place)

    def stalled(self, stage: Stage, patience: float | None) -> list[Place]:
        """The conversions that have been in one stage for longer than that."""
        if patience is None:
            return []
        with self._changed:
            return [place for place in self._places if place.watch.stalled(stage, patience)]

    def give_up(self, place: Place, result: Result) -> bool:
        """Count a conversion as ended that does not end; False if it has, or is about to."""
        with self._changed:
            return place not in self._committed and self._end(place, result)

    def wait(self, seconds: float) -> bool:
        """Wait until every task has a result, but no longer than that; whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._left == 0, seconds)

    def stop(self) -> None:
        """Stop the conversions under way, and wait until they have cleaned up, but not for one that reads in vain."""
        with self._changed:
            self._stopping = True
            while any(not place.watch.stalled(Stage.READING, _PATIENCE) for place in self._places):
                self._changed.wait(_LOOK_SECONDS)

    def results(self) -> tuple[Result, ...]:
        """One for each task, in their order, once all are there."""
        return tuple(result for result in self._results if result is not None)

    def _end(self, place: Place, result: Result | None) -> bool:
        if place not in self._places:
            return False
        self._places.remove(place)
        self._committed.discard(place)
        self.seconds.update(place.watch.seconds)
        if result is not None:
            self._results[place.index] = result
            self._left -= 1
        self._changed.notify_all()
        return True
