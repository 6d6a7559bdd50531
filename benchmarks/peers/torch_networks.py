"""ICNet and PSPNet on dilated ResNet-50 in PyTorch, layer by layer what this project trains.

ICNet: Zhao et al., arXiv:1704.08545; PSPNet: Zhao et al., arXiv:1612.01105; ResNet: He et al., arXiv:1512.03385. Images
are float32 [B, 3, H, W] of sides 32 k + 1; every network returns the logits of each loss, the main one first.
"""

# PyTorch is in an environment of its own.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LOSS_WEIGHTS = (1.0, 0.4, 0.4)
_POOLING_FACTORS = (1, 2, 3, 6)
# Width, units, stride of the last unit, dilation of block1 to block4 at output stride 8.
_BLOCKS = ((64, 3, 2, 1), (128, 4, 1, 1), (256, 6, 1, 4), (512, 3, 1, 16))


class Layer(nn.Sequential):
    """Convolution without bias, batch norm, and the activation asked for."""

    def __init__(self, inputs: int, width: int, size: int, stride: int = 1, dilation: int = 1, activation: str = ''):
        super().__init__()
        padding = (size - 1) * dilation // 2
        self.append(nn.Conv2d(inputs, width, size, stride, padding, dilation, bias=False))
        self.append(nn.BatchNorm2d(width, eps=1e-5, momentum=0.0003))
        if activation:
            self.append({'relu': nn.ReLU, 'relu6': nn.ReLU6}[activation](inplace=True))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution, and a shortcut that is a projection where depths differ."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int):
        super().__init__()
        self.stride = stride
        self.residual = nn.Sequential(
            Layer(inputs, width, 1, activation='relu'),
            Layer(width, width, 3, stride, dilation, activation='relu'),
            Layer(width, 4 * width, 1),
        )
        self.projection = Layer(inputs, 4 * width, 1, stride) if inputs != 4 * width else None

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features[..., :: self.stride, :: self.stride] if self.stride > 1 else features
        if self.projection is not None:
            shortcut = self.projection(features)
        return functional.relu(self.residual(features) + shortcut, inplace=True)


class Backbone(nn.Module):
    """Dilated ResNet-50; returns the features of block1, block2 and block4, halved behind block1 if asked."""

    def __init__(self, scale: float, *, halve: bool):
        super().__init__()
        self.halve = halve
        depth = int(64 * scale)
        self.root = nn.Sequential(Layer(3, depth, 7, 2, activation='relu'), nn.MaxPool2d(3, 2, 1))
        self.blocks = nn.ModuleList()
        for width, units, stride, dilation in _BLOCKS:
            width = int(width * scale)
            block = nn.Sequential()
            for unit in range(units):
                block.append(Bottleneck(depth, width, stride if unit == units - 1 else 1, dilation))
                depth = 4 * width
            self.blocks.append(block)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        block1 = self.blocks[0](self.root(images))
        block2 = self.blocks[1](resized(block1, 0.5) if self.halve else block1)
        return block1, block2, self.blocks[3](self.blocks[2](block2))


class PSPNet(nn.Module):
    """Pyramid pooling concatenated; an auxiliary classifier on block2."""

    def __init__(self, num_classes: int, scale: float):
        super().__init__()
        self.backbone = Backbone(scale, halve=False)
        depth, last = int(2048 * scale), int(512 * scale)
        self.levels = nn.ModuleList(Layer(depth, 512, 1, activation='relu6') for _ in _POOLING_FACTORS)
        self.fuse = Layer(depth + 512 * len(_POOLING_FACTORS), last, 3, activation='relu6')
        self.classifier = nn.Conv2d(last, num_classes, 1)
        self.auxiliary = nn.Conv2d(int(512 * scale), num_classes, 1)

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        _, middle, features = self.backbone(images)
        size = features.shape[2:]
        pooled = [level(grid) for level, grid in zip(self.levels, grids(features), strict=True)]
        fused = self.fuse(torch.cat([features, *(to_size(level, size) for level in pooled)], 1))
        return self.classifier(fused), self.auxiliary(middle)


class Fusion(nn.Module):
    """Cascade feature fusion, figure 4 of ICNet: (fused features, the coarse ones enlarged twice)."""

    def __init__(self, coarse: int, fine: int, width: int):
        super().__init__()
        self.context = Layer(coarse, width, 3, dilation=2)
        self.detail = Layer(fine, width, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        enlarged = resized(coarse, 2)
        return functional.relu(self.detail(fine) + self.context(enlarged)), enlarged


class ICNet(nn.Module):
    """Three branches: the backbone on half the image, later halved again, and four light convolutions on all of it."""

    def __init__(self, num_classes: int, scale: float):
        super().__init__()
        self.backbone = Backbone(scale, halve=True)
        w64, w128, w256, w512 = (int(width * scale) for width in (64, 128, 256, 512))
        self.pooled = Layer(int(2048 * scale), w512, 1, activation='relu6')
        self.light = nn.Sequential(
            Layer(3, w64, 3, 2, activation='relu6'),
            Layer(w64, w64, 3, 2, activation='relu6'),
            Layer(w64, w128, 3, 2, activation='relu6'),
            Layer(w128, w256, 3, activation='relu6'),
        )
        self.fusions = nn.ModuleList([Fusion(w512, w256, w256), Fusion(w256, w256, w256)])
        self.classifiers = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for width in (w256, w512, w256))

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        middle, _, features = self.backbone(resized(images, 0.5))
        size = features.shape[2:]
        coarse = self.pooled(sum((to_size(grid, size) for grid in grids(features)), features))
        fused, first = self.fusions[0](coarse, middle)
        fused, second = self.fusions[1](fused, self.light(images))
        heads = (resized(fused, 2), first, second)
        return [classifier(head) for classifier, head in zip(self.classifiers, heads, strict=True)]


def grids(features: Tensor) -> list[Tensor]:
    """The pyramid's levels: means over an n x n grid of cells, rows and columns left over in none."""
    height, width = features.shape[2:]
    return [functional.avg_pool2d(features, (height // n, width // n)) for n in _POOLING_FACTORS]


def to_size(features: Tensor, size: Sequence[int]) -> Tensor:
    """[B, C, h, w] -> [B, C, *size], bilinear with corners aligned."""
    return functional.interpolate(features, tuple(size), mode='bilinear', align_corners=True)


def resized(features: Tensor, factor: float) -> Tensor:
    """[B, C, h, w] -> [B, C, (h - 1) * factor + 1, (w - 1) * factor + 1]."""
    height, width = features.shape[2:]
    return to_size(features, (int((height - 1) * factor + 1), int((width - 1) * factor + 1)))


NETWORKS = {'icnet': ICNet, 'pspnet': PSPNet}
