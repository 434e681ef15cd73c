"""How what the regions do is counted, sampled and kept; `regions.metrics` is what to ask of it."""
