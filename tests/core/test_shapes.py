"""Shapes as the reference's users write them, and what is said to a wrong one."""

from __future__ import annotations

import argparse

import pytest

from core import shapes
from core.errors import UsageError


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('1024,2048,3', (None, 1024, 2048)),
        ('[1, 1025, 2049, 3]', (1, 1025, 2049)),
        ('None,None,3', (None, None, None)),
        ('-1,-1,-1,3', (None, None, None)),
        ('?, 65, 97, 3', (None, 65, 97)),
    ],
)
def test_input_shapes(text, expected):
    assert shapes.parse_input_shape(text).for_channels(3) == expected


def test_the_channels_are_compared_with_those_of_the_model():
    assert shapes.parse_input_shape('2,65,97,4').for_channels(4) == (2, 65, 97)
    assert shapes.WrittenShape().for_channels(4) == (None, None, None)
    with pytest.raises(UsageError, match='--input_shape: ends with 3 channels, but the config has input_channels: 4'):
        shapes.parse_input_shape('65,97,3').for_channels(4)


@pytest.mark.parametrize('text', ['', '1024', '1024,2048', '1024,2048,None', '1,2,3,4,3', '1024x2048x3'])
def test_a_wrong_input_shape_is_answered_with_the_form(text):
    with pytest.raises(argparse.ArgumentTypeError, match='expected height,width,3 or batch,height,width,3'):
        shapes.parse_input_shape(text)


@pytest.mark.parametrize(('text', 'part'), [('0,5,3', '0'), ('a,5,3', 'a'), ('5,-2,3', '-2'), ('5,1.5,3', '1.5')])
def test_a_wrong_side_is_named(text, part):
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{part}' is not a whole number of 1 or more"):
        shapes.parse_input_shape(text)


def test_pad_to_shape():
    assert shapes.parse_size('1025, 2049') == (1025, 2049)
    with pytest.raises(argparse.ArgumentTypeError, match='expected height,width, for example 1025,2049'):
        shapes.parse_size('1025')
    with pytest.raises(argparse.ArgumentTypeError, match="'-1' is not a whole number"):
        shapes.parse_size('-1,5')
