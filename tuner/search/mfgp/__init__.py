"""A multi-fidelity Gaussian-process sampler: one model of configuration and epoch together, learned from every rung."""
