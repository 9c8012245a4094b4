"""Networks on a machine: image types, device, precision, what fits into memory, and what to do where it doesn't."""
