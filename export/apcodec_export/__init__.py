"""From a trained APCodec checkpoint to a verified bundle of ONNX graphs."""
