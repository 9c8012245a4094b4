"""The diffusion process: its schedule and steps, and the loop that samples. Only numbers, no networks,
except in `pipeline`, which is given one."""
