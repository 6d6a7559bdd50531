"""Hundreds of faults in record files: none silent, no crash, and only what was damaged is lost."""

from __future__ import annotations

import pytest

from inputs import crc32c, record_framing
from tests.inputs import record_faults


@pytest.mark.parametrize('kind', list(record_faults.FAULTS))
def test_faults_are_found_and_cost_only_what_they_hit(tmp_path, kind):
    for with_offsets in (False, True):
        records = record_faults.Records(tmp_path, with_offsets=with_offsets)
        said = [record_faults.wrong(records, kind, seed) for seed in range(17)]
        assert not [line for line in said if line]


@pytest.mark.slow
def test_10000_faults(tmp_path):
    kinds = list(record_faults.FAULTS)
    for with_offsets in (False, True):
        records = record_faults.Records(tmp_path, with_offsets=with_offsets)
        seeds = range(1000 + 5000 * with_offsets, 6000 + 5000 * with_offsets)
        said = [record_faults.wrong(records, kinds[seed % len(kinds)], seed) for seed in seeds]
        assert not [line for line in said if line]


def test_the_checksum_is_the_published_one():
    """RFC 3720, section B.4: 32 zeros, 32 ones, 0 to 31, each before the mask of TFRecord."""

    def unmasked(data):
        value = (crc32c.masked(data) - 0xA282EAD8) & 0xFFFFFFFF
        return ((value >> 17) | (value << 15)) & 0xFFFFFFFF

    assert unmasked(bytes(32)) == 0x8A9136AA
    assert unmasked(b'\xff' * 32) == 0x62A8AB43
    assert unmasked(bytes(range(32))) == 0x46DD794E


def test_records_without_damage_are_all_found(tmp_path):
    records = record_faults.Records(tmp_path, with_offsets=False)
    for shard, ends in zip(records.shards, records.ends, strict=True):
        offsets, damages = record_framing.scan(str(shard))
        assert offsets.tolist() == [0, *ends[:-1]] and not damages
        assert record_framing.read(str(shard), int(offsets[1])) == records.serialized[records.shards.index(shard)][1]


def test_noise_that_reads_as_text_is_not_repeated(tmp_path):
    records = record_faults.Records(tmp_path)
    records.replace((0, 0), b'G\x1a}\0' + bytes(9))
    lost = record_faults.Fault('text', frozenset({(0, 0)}), 'the record is no tf.train.Example')
    assert record_faults.wrong_after(records, lost) is None
