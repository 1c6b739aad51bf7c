"""Every table, written again row by row from the paper."""

from __future__ import annotations

import pytest
import torch

from longspan.spec import parse

SIZES = [(8, 8), (8, 16), (8, 27), (32, 101), (64, 512), (6, 30)]
every_size = pytest.mark.parametrize(("window", "rows"), SIZES)


def _trained(window: int) -> torch.Tensor:
    return torch.randn(window, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@every_size
def test_tile_repeats_the_rows_behind_cls(window: int, rows: int) -> None:
    trained = _trained(window)
    wanted, read = [trained[0]], 1
    while len(wanted) < rows:
        wanted.append(trained[read])
        read = read + 1 if read + 1 < window else 1
    assert torch.equal(parse("tile")[0].table(trained, rows), torch.stack(wanted))


@every_size
def test_fixed_groups_give_neighbours_the_row_of_their_share(window: int, rows: int) -> None:
    trained = _trained(window)
    wanted = [trained[0], *(trained[max(1, position * window // rows)] for position in range(1, rows))]
    assert torch.equal(parse("grouped(adaptive=false)")[0].table(trained, rows), torch.stack(wanted))


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_groups_of_a_whole_size_are_the_papers_floor(scale: int) -> None:
    window = 16
    ids = torch.arange(window * scale)
    given = parse("grouped(adaptive=false)")[0].table(ids[:window].unsqueeze(1), len(ids))[:, 0]
    assert torch.equal(given[scale:], ids[scale:] // scale)
    assert torch.equal(given[:scale], (ids[:scale] > 0).long())  # the paper gives these the row of [CLS]


@pytest.mark.parametrize("length", [3, 16, 17, 40, 63, 64])
def test_adaptive_groups_take_their_size_from_the_input(length: int) -> None:
    window, rows = 16, 64
    method = parse("grouped")[0]
    read = method.table(torch.arange(window).unsqueeze(1), rows)[method.position_ids(length, window, rows), 0]
    span = max(length, window)
    assert read.tolist() == [0, *(max(1, position * window // span) for position in range(1, length))]


@pytest.mark.parametrize("anchors", [True, False])
@every_size
def test_interpolate_lies_on_the_line_between_the_spread_rows(window: int, rows: int, anchors: bool) -> None:
    trained = _trained(window)
    places = [0.0] + [1 + row * (rows - 2) / (window - 2) for row in range(window - 1)]
    places = [float(round(place)) for place in places] if anchors else places
    wanted = [trained[0], trained[1]]
    for position in range(2, rows):
        right = next((row for row in range(2, window) if places[row] >= position), window - 1)
        share = (position - places[right - 1]) / (places[right] - places[right - 1])
        wanted.append((1 - min(share, 1)) * trained[right - 1] + min(share, 1) * trained[right])
    torch.testing.assert_close(parse(f"interpolate(anchors={anchors})")[0].table(trained, rows), torch.stack(wanted))


def test_interpolation_by_a_whole_stride_has_its_anchors_every_stride() -> None:
    window, stride = 16, 4
    rows = 2 + stride * (window - 2)
    method = parse("interpolate")[0]
    assert method.position_ids(window, window, rows).tolist() == [0, *range(1, rows, stride)]
    table = method.table(_trained(window), rows)
    torch.testing.assert_close(table[3], (table[1] + table[5]) / 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_interpolation_is_computed_above_the_type_of_the_rows(dtype: torch.dtype) -> None:
    trained = _trained(32).to(dtype)
    exact = parse("interpolate")[0].table(trained.double(), 101)
    assert torch.equal(parse("interpolate")[0].table(trained, 101), exact.to(dtype))
