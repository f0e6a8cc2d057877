"""Our side of the process that builds an engine."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apcodec_deploy.engines.flavour import Flavour
from apcodec_deploy.engines.manifest import Identity
from apcodec_deploy.engines.profile import Shapes
from apcodec_deploy.engines.trouble import known_trouble
from apcodec_deploy.errors import BuildError
from apcodec_deploy.spec import ModelSpec
from apcodec_engines.compiler import Request
from apcodec_engines.networks import Network


@dataclass(frozen=True, slots=True)
class Compiler:
    """Builds engines of one identity in processes of their own.

    Attributes:
        flavour: Whose builder.
        identity: For what.
        spec: The model's numbers.
        work: A directory for files in between; the engine is called ``engine`` there.
        timings: A timing cache.
        device: Number of the GPU to tune on; None where engines are compiled ahead of time.
    """

    flavour: Flavour
    identity: Identity
    spec: ModelSpec
    work: Path
    timings: Path | None
    device: int | None = None

    def run(self, network: Network, progress: Callable[[float], None]) -> dict[str, Any]:
        """Build one engine.

        Returns:
            Its ``audit`` and the ``seconds`` that it took.

        Raises:
            BuildError: The builder failed or died; what it said is in the message.
        """
        (self.work / "network.onnx").write_bytes(network.model)
        request = Request(
            flavour=self.flavour.name,
            model=str(self.work / "network.onnx"),
            output=str(self.work / "engine"),
            shapes=tuple(input_shapes(network, shapes, self.spec) for shapes in self.identity.profile.shapes),
            products=dict(network.products),
            compute_capabilities=() if self.identity.target.gpu else self.identity.target.compute_capabilities,
            timing_cache=str(self.timings) if self.timings else None,
            device=self.device,
            graphs=self.identity.profile.cuda_graphs,
        )
        command = [sys.executable, "-m", "apcodec_engines.compiler"]
        pipe = subprocess.PIPE
        # Its stderr goes to a file: native code may print more there than a pipe that nobody reads can hold.
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as spoken,
            subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=spoken, text=True, encoding="utf-8") as child,
        ):
            assert child.stdin is not None and child.stdout is not None
            try:
                with suppress(BrokenPipeError):  # it has died already, and what it said is read below
                    child.stdin.write(request.to_json() + "\n")
                    child.stdin.flush()
                outcome, logged = _follow(child.stdout, progress)
            except BaseException:
                child.kill()
                raise
            finally:
                with suppress(BrokenPipeError):
                    child.stdin.close()
            child.wait()
            spoken.seek(0)
            said = spoken.read()
        if "result" in outcome:
            result: dict[str, Any] = outcome["result"]
            return result
        end = f"the builder's process ended with code {child.returncode}"
        last = (logged or said.strip().splitlines() or ["it said nothing"])[-1]
        why = outcome.get("error", f"{end}: {last}")
        known = known_trouble(self.flavour.title, "\n".join([*said.splitlines(), *logged, why]))
        raise BuildError(f"{network.name}: {known or why}")


def _follow(lines: Iterable[str], progress: Callable[[float], None]) -> tuple[dict[str, Any], list[str]]:
    """Read events to the end: the last one, and what was logged.

    A phase has steps and phases in them; the outermost one, which starts first, is what progress goes by.
    """
    outcome: dict[str, Any] = {}
    logged: list[str] = []
    outermost: str | None = None
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # cut by its death, or not the builder's own
            logged.append(line.strip())
            continue
        if "log" in event:
            logged.append(event["log"]["text"])
        elif "progress" in event:
            held = event["progress"]
            outermost = outermost or held["phase"]
            if held["phase"] == outermost and held["steps"]:
                progress(held["step"] / held["steps"])
        else:
            outcome = event
    return outcome, logged


def input_shapes(network: Network, shapes: Shapes, spec: ModelSpec) -> dict[str, list[list[int]]]:
    """The least, usual and greatest shape of each input of a network."""
    sizes = []
    for index, (batch, latents) in enumerate(zip(shapes.batch, shapes.latents, strict=True)):
        shortest, longest = spec.call_range(latents)
        if network.direction == "encode":
            axes = spec.axes_of_call(shortest if index == 0 else longest)
        else:
            axes = spec.axes_of_codes(latents)
        sizes.append({"batch": batch, **axes})
    inputs = [binding for binding in network.bindings if not binding.output]
    return {binding.name: [list(binding.shape(each)) for each in sizes] for binding in inputs}
