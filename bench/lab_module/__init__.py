"""Built-in scenarios in real kernels, beside their prediction."""
