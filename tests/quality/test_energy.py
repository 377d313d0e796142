"""Energy is the rise of every counter that may be read, across its end, and null with a reason where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lqmf.quality.benchmark.energy import EnergyMeter


def package(folder: Path, name: str, microjoules: int, span: int = 1_000_000_000) -> Path:
    place = folder / name
    place.mkdir()
    (place / "energy_uj").write_text(f"{microjoules}\n")
    (place / "max_energy_range_uj").write_text(f"{span}\n")
    return place


def test_the_whole_board_is_not_added_to_the_package_in_it(tmp_path):
    first, board = package(tmp_path, "intel-rapl:0", 0), package(tmp_path, "intel-rapl:1", 0)
    (first / "name").write_text("package-0\n")
    (board / "name").write_text("psys\n")
    with EnergyMeter(tmp_path) as meter:
        (first / "energy_uj").write_text("2000000\n")
        (board / "energy_uj").write_text("9000000\n")
    assert meter.joules["cpu"] == 2.0


def test_the_processors_packages_are_added_and_their_parts_are_not(tmp_path):
    first, second = package(tmp_path, "intel-rapl:0", 5_000_000), package(tmp_path, "intel-rapl:1", 0)
    part = package(tmp_path, "intel-rapl:0:0", 0)
    with EnergyMeter(tmp_path) as meter:
        (first / "energy_uj").write_text("7000000")
        (second / "energy_uj").write_text("500000")
        (part / "energy_uj").write_text("900000000")
    assert meter.joules["cpu"] == pytest.approx(2.5)
    assert "cpu" not in meter.reasons()


def test_a_counter_that_began_again_has_risen_all_the_same(tmp_path):
    place = package(tmp_path, "intel-rapl:0", 999_000_000)
    with EnergyMeter(tmp_path) as meter:
        (place / "energy_uj").write_text("1000000")
    assert meter.joules["cpu"] == pytest.approx(2.0)


def test_a_counter_that_may_not_be_read_is_none(tmp_path):
    place = package(tmp_path, "intel-rapl:0", 1)
    (place / "energy_uj").unlink()
    (place / "energy_uj").mkdir()  # reading it fails, as for a user who may not
    with EnergyMeter(tmp_path) as meter:
        pass
    assert meter.joules["cpu"] is None
    assert "RAPL" in meter.reasons()["cpu"]


def test_a_machine_without_counters_says_why():
    with EnergyMeter(Path("/nonexistent")) as meter:
        pass
    assert set(meter.reasons()) >= {name for name, value in meter.joules.items() if value is None}
    assert meter.joules["cpu"] is None
