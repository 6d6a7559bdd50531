"""What `benchmarks.inference` compares: networks, and the artefacts that are written of them."""
