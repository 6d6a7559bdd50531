"""What the training step and loop are compared with: the public reference implementation, and PyTorch."""
