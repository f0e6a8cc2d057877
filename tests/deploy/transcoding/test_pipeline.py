"""How many files and calls side by side, and that none of it changes a byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.errors import BackendError
from apcodec_deploy.transcoding import pipeline
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.transcoding.pipeline import open_pipeline
from apcodec_deploy.transcoding.report import Outcome
from apcodec_deploy.transcoding.stats import JobStats


class Recorded:
    """Stands for a backend; remembers what it was asked for."""

    def __init__(self, options: BackendOptions, limit: int) -> None:
        self.options, self.batch_limit = options, limit
        self.name, self.reason, self.precision = options.name, "for a test", f"of {options.device}"[:6]

    def close(self) -> None:
        pass


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """The backends that a pipeline makes on a machine of eight CPUs; those on a GPU want batches of 16."""
    made: list[Recorded] = []

    def create(bundle: object, options: BackendOptions) -> Recorded:
        made.append(Recorded(options, 16 if options.device.startswith("cuda") else 1))
        return made[-1]

    monkeypatch.setattr(pipeline, "create", create)
    monkeypatch.setattr(pipeline, "available_cpus", lambda: 8)
    return made


@pytest.mark.parametrize(
    ("files", "jobs", "threads", "expected"),
    [
        (100, None, None, (10, 8, 1)),
        (3, None, None, (3, 3, 2)),
        (1, None, None, (1, 1, 8)),
        (0, None, None, (1, 1, 8)),
        (100, 2, None, (2, 2, 4)),
        (100, 20, None, (20, 8, 1)),
        (100, None, 4, (3, 2, 4)),
        (100, None, 16, (2, 1, 16)),
        (100, 1, 1, (1, 1, 1)),
    ],
)
def test_cpus_are_shared_among_calls(
    made: list[Recorded], files: int, jobs: int | None, threads: int | None, expected: tuple[int, int, int]
) -> None:
    opened = open_pipeline(None, BackendOptions(threads=threads), files=files, devices="cpu", jobs=jobs)
    with opened.codec:
        (backend,) = made
        assert (opened.jobs, opened.lanes, backend.options.threads) == expected
        assert backend.options.calls == opened.lanes


def test_gpus_get_batches_from_many_files(made: list[Recorded]) -> None:
    options = BackendOptions()
    with (one := open_pipeline(None, options, files=1000, devices="cuda")).codec:
        assert (one.jobs, one.lanes, one.backend.batch_limit) == (32, 1, 16)
    with (small := open_pipeline(None, options, files=1000, devices="cuda", batch=4)).codec:
        assert (small.jobs, small.backend.batch_limit) == (8, 4)
    with (few := open_pipeline(None, options, files=5, devices="cuda")).codec:
        assert few.jobs == 5
    made.clear()


def test_devices_share_the_work_if_they_are_alike(made: list[Recorded]) -> None:
    with (two := open_pipeline(None, BackendOptions(), files=1000, devices="cuda:0,cuda:1")).codec:
        assert (two.jobs, two.lanes) == (64, 2)
        assert [each.options.device for each in made] == ["cuda:0", "cuda:1"]
    with pytest.raises(BackendError, match="would mix"):
        open_pipeline(None, BackendOptions(), files=1000, devices="cpu,cuda")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_lanes_give_the_bytes_of_one_call(tmp_path: Path, speech: NDArray[np.float32], backend: str) -> None:
    (tmp_path / "in").mkdir()
    for index in range(5):
        length = (9_000, 24_000, 24_000, 12_000, 135_000)[index]
        soundfile.write(tmp_path / "in" / f"{index}.wav", speech[7_000 * index :][:length], 48_000)
    made: list[dict[str, bytes]] = []
    for jobs in (1, 3):
        out = tmp_path / f"out{jobs}"
        options = BackendOptions(name=backend, precision="float32")
        opened = open_pipeline(None, options, files=5, jobs=jobs)
        with opened.codec as codec:
            tasks = plan_folder(tmp_path / "in", out, "apc")
            report = run(codec, tasks, ConversionOptions(form=None), JobOptions(jobs=opened.jobs))
        assert len(report.of(Outcome.DONE)) == 5
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
        stats = JobStats(report=report, jobs=opened.jobs, lanes=opened.lanes, account=opened.backend.account)
        assert stats.account.rows == stats.account.batches == 6
        assert 0.3 < stats.codec_share <= 1
        assert f"codec: {opened.lanes} calls at a time" in stats.lines()[1]
        assert sum(stats.to_dict()["stages"].values()) <= 1.01 * jobs * report.elapsed
    assert made[0] == made[1]
