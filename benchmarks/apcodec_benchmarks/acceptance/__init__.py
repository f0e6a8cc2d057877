"""The acceptance of a machine with an NVIDIA GPU, behind ``scripts/gpu``: parts that check and measure."""
