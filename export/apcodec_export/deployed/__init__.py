"""The deployed form of the network: what is exported, in any precision. The same function as ``model``, rewritten."""
