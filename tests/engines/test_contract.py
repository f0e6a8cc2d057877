"""Every TensorRT name that our code uses exists in the bindings of TensorRT 10.6, 10.15 and 11.4, and in TensorRT-RTX.

The bindings of TensorRT come as a small wheel without the libraries behind them. Three libraries of stubs let them load
as far as is needed to ask what they define: classes, methods and enums. The bindings of 11.4 are asked themselves; what
those of all three define is written down in ``bindings``, one name a line, as they answered when they were asked.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorrt_stubs import tensorrt_stubs

import apcodec_deploy
import apcodec_engines
from apcodec_deploy.engines.flavour import FLAVOURS

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64",
    reason="the bindings have wheels for Linux on x86-64",
)

BOTH = [
    "__version__",
    "Builder.create_network",
    "Builder.create_builder_config",
    "Builder.create_optimization_profile",
    "Builder.build_serialized_network",
    "BuilderFlag.TF32",
    "DataType.BF16",
    "DataType.FLOAT",
    "DataType.HALF",
    "DataType.INT32",
    "ExecutionContextAllocationStrategy.USER_MANAGED",
    "IBuilderConfig.add_optimization_profile",
    "IBuilderConfig.clear_flag",
    "IBuilderConfig.set_flag",
    "IBuilderConfig.create_timing_cache",
    "IBuilderConfig.progress_monitor",
    "IBuilderConfig.set_timing_cache",
    "EngineInspector.get_engine_information",
    "IBuilderConfig.profiling_verbosity",
    "ICudaEngine.create_engine_inspector",
    "ICudaEngine.create_execution_context",
    "ICudaEngine.device_memory_size_v2",
    "ICudaEngine.get_tensor_dtype",
    "ICudaEngine.get_tensor_mode",
    "ICudaEngine.get_tensor_name",
    "ICudaEngine.get_tensor_shape",
    "ICudaEngine.num_io_tensors",
    "IExecutionContext.execute_async_v3",
    "IExecutionContext.get_tensor_shape",
    "IExecutionContext.infer_shapes",
    "IExecutionContext.set_device_memory",
    "IExecutionContext.set_input_shape",
    "IExecutionContext.set_optimization_profile_async",
    "IExecutionContext.set_tensor_address",
    "ILayer.get_output",
    "ILayer.name",
    "ILayer.num_outputs",
    "ILayer.type",
    "ILogger.Severity.ERROR",
    "ILogger.Severity.WARNING",
    "INetworkDefinition.get_layer",
    "INetworkDefinition.num_layers",
    "IOptimizationProfile.set_shape",
    "IProgressMonitor",
    "ITimingCache.serialize",
    "LayerInformationFormat.JSON",
    "LayerType.CONSTANT",
    "LayerType.CONVOLUTION",
    "LayerType.MATRIX_MULTIPLY",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "OnnxParser.get_error",
    "OnnxParser.num_errors",
    "OnnxParser.parse",
    "ProfilingVerbosity.DETAILED",
    "Runtime.deserialize_cuda_engine",
    "TensorIOMode.OUTPUT",
]
BINDINGS = sorted((Path(__file__).parent / "bindings").glob("*.txt"))
RTX_ONLY = [
    "ComputeCapability.SM80",
    "ComputeCapability.SM86",
    "ComputeCapability.SM89",
    "ComputeCapability.SM120",
    "ComputeCapability.SM121",
    "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE",
    "BuilderFlag.REQUIRE_USER_ALLOCATION",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "ICudaEngine.create_runtime_config",
    "IRuntimeConfig.cuda_graph_strategy",
    "IRuntimeConfig.set_execution_context_allocation_strategy",
]

ASK = """
import importlib, json, sys

def there(module, name):
    held = module
    for part in name.split("."):
        if not hasattr(held, part):
            return False
        held = getattr(held, part)
    return True

module = importlib.import_module(sys.argv[1])
print(json.dumps({name: there(module, name) for name in json.loads(sys.stdin.read())}))
"""


def ask(module: str, environment: dict[str, str]) -> dict[str, bool]:
    """Which of the names a module has, asked in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-c", ASK, module],
        input=json.dumps(BOTH + RTX_ONLY),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found: dict[str, bool] = json.loads(answer.stdout)
    return found


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Libraries in which every function that the bindings look for returns 0."""
    return tensorrt_stubs(tmp_path_factory.mktemp("stubs"))


def test_tensorrt_has_every_name(stubs: Path) -> None:
    found = ask("tensorrt_bindings", {"LD_LIBRARY_PATH": str(stubs)})
    assert [name for name in BOTH if not found[name]] == []
    # What we probe for tells the flavours apart.
    assert not found["ComputeCapability.SM89"]
    assert not found["CudaGraphStrategy.WHOLE_GRAPH_CAPTURE"]


def written(file: Path) -> set[str]:
    """The names that the bindings of a version define."""
    return set(file.read_text(encoding="utf-8").split())


@pytest.mark.parametrize("file", BINDINGS, ids=lambda file: file.stem)
def test_every_version_from_the_oldest_on_has_every_name(file: Path) -> None:
    assert [name for name in BOTH if name not in written(file)] == []
    assert "ComputeCapability" not in written(file)


def test_the_oldest_version_is_among_them_and_what_is_written_down_is_what_bindings_answer(stubs: Path) -> None:
    major, minor = FLAVOURS["tensorrt"].oldest
    assert [file.stem for file in BINDINGS] == ["10.15", f"{major}.{minor}", "11.4"]
    found = ask("tensorrt_bindings", {"LD_LIBRARY_PATH": str(stubs)})
    assert {name for name, there in found.items() if there} == written(BINDINGS[-1]) & found.keys()


def test_tensorrt_rtx_has_every_name() -> None:
    found = ask("tensorrt_rtx", {})
    assert [name for name, there in found.items() if not there] == []


def used() -> set[str]:
    """The last part of every attribute that our code asks a TensorRT object for, as far as its source tells.

    In these files, whatever is called ``trt`` or came from it is TensorRT's.
    """
    objects = {"trt", "_trt", "_engine", "_context", "builder", "network", "parser", "config", "profile", "runtime"}
    objects |= {"cache", "inspector", "layer", "logger", "_logger"}
    directories = [Path(str(apcodec_deploy.__file__)).parent, Path(str(apcodec_engines.__file__)).parent]
    files = [
        directories[0] / "engines" / "loaded.py",
        directories[0] / "engines" / "context.py",
        directories[0] / "engines" / "flavour.py",
    ]
    files += [directories[1] / "compiler.py", directories[1] / "audit.py"]
    names = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                holder = node.value
                name = holder.id if isinstance(holder, ast.Name) else getattr(holder, "attr", "")
                if name in objects:
                    names.add(node.attr)
    return names


def test_the_list_holds_every_name_that_the_code_uses() -> None:
    ours = {"title", "why", "calls", "logger", "last", "ahead_of_time", "records_graphs", "version", "flavour", "trt"}
    listed = {part for name in BOTH + RTX_ONLY for part in name.split(".")}
    assert used() - ours <= listed, used() - ours - listed
