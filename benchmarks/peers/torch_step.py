"""Steps of the same networks in PyTorch, in a process of their own, by an interpreter that has it.

Channels last, bfloat16 by autocast, momentum by the fused optimiser; the L2 regulariser is its weight decay, on kernels
alone. Prints one JSON object: [wall, CPU] seconds of each step, and what was trained.

    ~/torch/bin/python -m benchmarks.peers.torch_step --case '{"architecture": "icnet", ...}' --bfloat16
"""

# PyTorch is in an environment of its own.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers.cases import (
    IGNORE_LABEL,
    LEARNING_RATE,
    MOMENTUM,
    NUM_CLASSES,
    WEIGHT_DECAY,
    Case,
    random_batch,
)
from benchmarks.peers.timing import times
from benchmarks.peers.torch_networks import LOSS_WEIGHTS, NETWORKS

_MEANS = (123.68, 116.779, 103.939)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--case', required=True, help='a benchmarks.peers.cases.Case as JSON')
    parser.add_argument('--steps', type=int, default=10)
    parser.add_argument('--bfloat16', action='store_true')
    flags = parser.parse_args()
    print(json.dumps(time_steps(Case.from_json(flags.case), flags.steps, bfloat16=flags.bfloat16)))


def time_steps(case: Case, num_steps: int, *, bfloat16: bool) -> dict[str, Any]:
    """Times forward, losses, backward and update on a batch that lies in memory."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    net = NETWORKS[case.architecture](NUM_CLASSES, case.filter_scale).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(net)
    images, labels = (torch.from_numpy(array) for array in random_batch(case))
    images = images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    def step() -> float:
        return train_step(net, optimizer, images, labels, bfloat16=bfloat16)

    seconds = times(step, num_steps)
    return {'seconds': seconds, 'loss': step(), 'parameters': sum(p.numel() for p in net.parameters())}


def make_optimizer(net: nn.Module) -> torch.optim.Optimizer:
    """Momentum as TensorFlow's, with a weight decay on kernels whose gradient is that of the L2 regulariser."""
    kernels = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{'params': kernels, 'weight_decay': WEIGHT_DECAY}, {'params': others, 'weight_decay': 0.0}]
    return torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=MOMENTUM, fused=True)


def train_step(
    net: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, *, bfloat16: bool
) -> float:
    """One step; returns the loss."""
    net.train()
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast('cpu', torch.bfloat16, enabled=bfloat16):
        heads = net(images - images.new_tensor(_MEANS).view(1, 3, 1, 1))
    losses = [weight * loss_of(head, labels) for weight, head in zip(LOSS_WEIGHTS, heads, strict=False)]
    loss = torch.stack(losses).sum()
    loss.backward()
    optimizer.step()
    return loss.item()


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy of [B, C, h, w] against every n-th of the labels [B, H, W], corners aligned."""
    height, width = logits.shape[2:]
    rows = torch.linspace(0, labels.shape[1] - 1, height).round().long()
    columns = torch.linspace(0, labels.shape[2] - 1, width).round().long()
    small = labels[:, rows][:, :, columns].long()
    return functional.cross_entropy(logits.float(), small, ignore_index=IGNORE_LABEL)


if __name__ == '__main__':
    main()
