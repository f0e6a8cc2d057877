"""As much of ONNX Runtime's C header as the guide's program needs, for a machine that has the library alone.

The library hands out one table of functions. Their order is its binary interface and only ever grows at the end, so
places in the table are as good as the header's names.
"""

from __future__ import annotations

_FUNCTIONS = {
    "const char *(*GetErrorMessage)(const OrtStatus *)": 2,
    "OrtStatus *(*CreateEnv)(int level, const char *name, OrtEnv **)": 3,
    "OrtStatus *(*CreateSession)(const OrtEnv *, const char *path, const OrtSessionOptions *, OrtSession **)": 7,
    "OrtStatus *(*Run)(OrtSession *, const void *options, const char *const *in, const OrtValue *const *inputs, "
    "size_t in_count, const char *const *out, size_t out_count, OrtValue **outputs)": 9,
    "OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **)": 10,
    "OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *, size_t bytes, const int64_t *shape, "
    "size_t rank, int type, OrtValue **)": 49,
    "OrtStatus *(*GetTensorMutableData)(OrtValue *, void **)": 51,
    "OrtStatus *(*GetTensorShapeElementCount)(const OrtTensorTypeAndShapeInfo *, size_t *)": 64,
    "OrtStatus *(*GetTensorTypeAndShape)(const OrtValue *, OrtTensorTypeAndShapeInfo **)": 65,
    "OrtStatus *(*CreateCpuMemoryInfo)(int allocator, int memory, OrtMemoryInfo **)": 69,
}
"""By declaration: the place in the table."""
_TYPES = ("Status", "Env", "SessionOptions", "Session", "Value", "TensorTypeAndShapeInfo", "MemoryInfo")


def header() -> str:
    """The text of ``onnxruntime_c_api.h``."""
    lines = ["#include <stddef.h>", "#include <stdint.h>", "#define ORT_API_VERSION 20"]
    lines += ["enum { ORT_LOGGING_LEVEL_WARNING = 2, OrtArenaAllocator = 1, OrtMemTypeDefault = 0 };"]
    lines += ["enum { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1 };"]
    lines += [f"typedef struct Ort{name} Ort{name};" for name in _TYPES]
    lines += ["typedef struct {"]
    place = 0
    for declaration, wanted in _FUNCTIONS.items():
        if wanted > place:
            lines.append(f"    void *before_{wanted}[{wanted - place}];")
        lines.append(f"    {declaration};")
        place = wanted + 1
    lines += ["} OrtApi;"]
    lines += [
        "typedef struct { const OrtApi *(*GetApi)(uint32_t); const char *(*GetVersionString)(void); } OrtApiBase;"
    ]
    return "\n".join([*lines, "const OrtApiBase *OrtGetApiBase(void);", ""])
