"""What runs the graphs of a bundle: one small protocol, one module per runtime."""
