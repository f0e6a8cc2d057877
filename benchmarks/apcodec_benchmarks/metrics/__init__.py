"""How near decoded audio is to its original.

``catalogue`` lists the metrics and computes them. Every metric is a function of an original and a decoded clip, float32
(N,) each, mono, of one length and one sample rate in Hz; it gives a number, or None where it has no meaning for these
clips or cannot be computed on this machine. The catalogue has checked the clips before: they are finite.
"""
