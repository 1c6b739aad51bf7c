"""Laws of logit factors: pure functions of a query's position, its input's length and the target."""

from __future__ import annotations

import pytest
import torch

from longspan.spec import parse
from tests.laws import cases

WINDOW, TARGET = 512, 4096
GEOMETRIES = [cases.learned(WINDOW), cases.rotary(window=WINDOW, role="encoder"), cases.rotary(window=WINDOW)]
SPECS = sorted({*cases.specs("scales", "learned", "encoder"), *cases.specs("scales", "rope", "decoder")})
LENGTHS = torch.tensor([[1], [2], [100], [WINDOW], [WINDOW + 1], [2000], [TARGET]])
POSITIONS = torch.arange(TARGET).expand(len(LENGTHS), -1)

every_spec = pytest.mark.parametrize("spec", SPECS)
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=["learned", "rope encoder", "rope decoder"])


def _scale(spec: str, geometry, position=POSITIONS, length=LENGTHS, target: int = TARGET) -> torch.Tensor:
    factor = parse(spec)[0].scale(position, length, geometry, target)
    return torch.as_tensor(factor, dtype=torch.float64).expand(len(position), position.shape[1])


@every_geometry
@every_spec
def test_a_factor_is_finite_and_positive(spec: str, geometry) -> None:
    factor = _scale(spec, geometry)
    assert bool(factor.isfinite().all())
    assert bool((factor > 0).all())


@every_geometry
@every_spec
def test_a_factor_never_falls_with_position_length_or_target(spec: str, geometry) -> None:
    factor = _scale(spec, geometry)
    assert bool((factor.diff(dim=0) >= 0).all())
    assert bool((factor.diff(dim=1) >= 0).all())
    assert bool((_scale(spec, geometry, target=2 * TARGET) >= factor).all())


@every_geometry
@every_spec
def test_a_row_does_not_depend_on_other_rows(spec: str, geometry) -> None:
    together = _scale(spec, geometry)
    for row in range(len(LENGTHS)):
        alone = _scale(spec, geometry, POSITIONS[row : row + 1], LENGTHS[row : row + 1])
        assert torch.equal(alone[0], together[row])


@every_geometry
@pytest.mark.parametrize("spec", ["log_n", "log_n(by='position')"])
def test_log_n_is_1_inside_the_window_and_above_1_beyond(spec: str, geometry) -> None:
    factor = _scale(spec, geometry)
    assert bool((factor[LENGTHS.flatten() <= WINDOW, :WINDOW] == 1).all())
    assert float(factor[-1, -1]) > 1


@every_geometry
@every_spec
def test_a_factor_stays_on_the_device_of_the_positions(spec: str, geometry) -> None:
    factor = parse(spec)[0].scale(POSITIONS.to("meta"), LENGTHS.to("meta"), geometry, TARGET)
    assert isinstance(factor, float) or factor.device.type == "meta"


@every_geometry
def test_su_is_1_when_nothing_is_extended(geometry) -> None:
    assert parse("su")[0].scale(POSITIONS, LENGTHS, geometry, WINDOW) == 1
    assert parse("su")[0].scale(POSITIONS, LENGTHS, geometry, TARGET) > 1


def test_log_n_by_length_is_one_factor_for_a_row() -> None:
    factor = parse("log_n(by='length')")[0].scale(POSITIONS, LENGTHS, GEOMETRIES[0], TARGET)
    assert factor.shape == LENGTHS.shape


def test_log_n_counts_length_on_an_encoder_and_position_on_a_decoder() -> None:
    by_role, by_length, by_position = parse("log_n + log_n(by='length') + log_n(by='position')")
    encoder, decoder = GEOMETRIES[1], GEOMETRIES[2]
    given = (POSITIONS, LENGTHS)
    assert torch.equal(by_role.scale(*given, encoder, TARGET), by_length.scale(*given, encoder, TARGET))
    assert torch.equal(by_role.scale(*given, decoder, TARGET), by_position.scale(*given, decoder, TARGET))
