from __future__ import annotations

import pytest

from viaduct.base.errors import UsageError
from viaduct.cli import units


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (4096, "4.096kB"), (3_071_000, "3.071MB"), (24_100_000, "24.1MB"),
     (1_500_000_000_000, "1.5TB"), (10**21, "1000EB")],
)  # fmt: skip
def test_sizes_in_tables_have_four_digits(size: int, text: str) -> None:
    assert units.human_size(size) == text


def test_image_sizes_have_three_digits() -> None:
    assert units.human_size(72_789_123, digits=3) == "72.8MB"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (343, "343B"),
        (999, "999B"),
        (1000, "1.00kB"),
        (1_846_883, "1.85MB"),
        (48_100_000, "48.10MB"),
    ],
)
def test_transfers_have_two_decimals(size: int, text: str) -> None:
    assert units.transfer_size(size) == text


@pytest.mark.parametrize(("size", "text"), [(2 << 20, "2MiB"), (200 << 10, "200KiB"), (5, "5B")])
def test_limits_are_binary(size: int, text: str) -> None:
    assert units.binary_size(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [("64m", 64 << 20), ("1g", 1 << 30), ("1.5G", 3 << 29), ("2GiB", 2 << 30), ("512", 512),
     ("512b", 512), ("10 kb", 10 << 10), ("0", 0)],
)  # fmt: skip
def test_memory_sizes_are_read_in_binary_units(text: str, size: int) -> None:
    assert units.parse_binary_size(text) == size


@pytest.mark.parametrize("text", ["", "foo", "-1", "1x", "1kk", "1mib2", "m", "1e400", "nan"])
def test_other_memory_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid s"):
        units.parse_binary_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"),
     (150, "2 minutes"), (3600, "About an hour"), (3600 * 5, "5 hours"), (86400 * 3, "3 days"),
     (86400 * 20, "2 weeks"), (86400 * 100, "3 months"), (86400 * 365 * 3, "3 years")],
)  # fmt: skip
def test_times_are_rounded_as_docker_rounds_them(seconds: float, text: str) -> None:
    assert units.human_duration(seconds) == text


def test_a_clock_that_went_back_makes_no_future() -> None:
    assert units.ago(100.0, 50.0) == "Less than a second ago"
