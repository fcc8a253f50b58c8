"""Network architectures that workloads build their originals and students from."""
