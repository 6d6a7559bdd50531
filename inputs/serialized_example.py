"""What a stored record tells of itself without being decoded, as far as it is whole."""

from __future__ import annotations

import tensorflow as tf

from core.fields import RecordFields


def decoded_bytes(first: bytes, num_records: int, channels: int) -> float:
    """About how much all records take once decoded, judged from the first.

    A pixel takes a byte for each channel and one for the label. Infinite if the first does not say its size.
    """
    example = _parsed(first)
    sizes = (RecordFields.IMAGE_HEIGHT.value, RecordFields.IMAGE_WIDTH.value)
    values = [example.features.feature[name].int64_list.value[:1] or [0] if example else [0] for name in sizes]
    pixels = values[0][0] * values[1][0]
    return num_records * pixels * (channels + 1) if pixels else float('inf')


def filename_of(serialized: bytes) -> str:
    """Of the image, as far as a damaged record still tells it."""
    example = _parsed(serialized)
    value = example.features.feature[RecordFields.IMAGE_FILENAME.value].bytes_list.value[:1] if example else []
    return value[0].decode('utf-8', 'replace') if value else ''


def _parsed(serialized: bytes) -> tf.train.Example | None:
    try:
        return tf.train.Example.FromString(serialized)
    except Exception:  # protobuf's DecodeError, whose module is not public
        return None
