"""What this project asks of a GPU: memory, streams, events, recorded graphs. Imports no CUDA package until it must."""
