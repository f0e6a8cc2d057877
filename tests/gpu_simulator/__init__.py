"""A GPU and a TensorRT made of numpy and ONNX Runtime, as strict as the real ones are unforgiving.

Device memory is host memory with real addresses. Nothing that is queued on a stream runs before it must, or at a time
that a seed decides, so code that does not wait reads what is not there yet. What would be undefined behaviour on a GPU
raises ``Misuse``, which is no error of ours and so reaches the test.
"""
