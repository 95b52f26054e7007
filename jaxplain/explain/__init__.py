"""Explainers: explain(net, x, target, *, options) -> map, raw and signed. They know JAX and the net, nothing else."""
