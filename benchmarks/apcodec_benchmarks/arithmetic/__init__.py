"""How much there is to compute and to move: counted from graphs, and in closed form."""
