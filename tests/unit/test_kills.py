"""Workers that are killed, at every moment of their lives: one typed error, no process left, and the job goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from longspan.encoding.files.parts import Parts
from longspan.encoding.files.pieces import Limits
from longspan.errors import EncodeError, LongspanError
from longspan.scale.job import encode_files
from longspan.scale.teams import Processes
from tests.kills import MOMENTS, MortalSpec


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"{number} " + "x" * number}) for number in range(80)))
    return path


def run(source: Path, out: Path, spec: Any, processes: int) -> Any:
    return encode_files([source], out, spec, limits=Limits(rows=8), processes=processes)


@pytest.mark.parametrize(
    ("moment", "how"), [*((moment, signal.SIGKILL) for moment in MOMENTS), ("encoding", signal.SIGTERM)]
)
def test_a_worker_killed_at_any_moment_is_the_documented_error(
    source: Path, tmp_path: Path, moment: str, how: int
) -> None:
    mortal = MortalSpec(moment, str(tmp_path / "mark"), os.getpid(), how)
    with pytest.raises(EncodeError, match=r"A worker process died.*\nhint: run the same again: it goes on"):
        run(source, tmp_path / "v.npy", mortal, processes=2)
    assert multiprocessing.active_children() == []
    run(source, tmp_path / "v.npy", mortal, processes=1)
    run(source, tmp_path / "whole.npy", MortalSpec(), processes=1)
    assert (tmp_path / "v.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_worker_killed_before_it_is_asked_or_while_it_ends_is_no_traceback(tmp_path: Path) -> None:
    team = Processes(MortalSpec(), 1, 1)
    assert team.describe()["dimension"] == 4
    (child,) = multiprocessing.active_children()
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    for _ in range(2):
        with pytest.raises(EncodeError, match="A worker process died"):
            team.describe()
    team.close()
    assert multiprocessing.active_children() == []


class OddError(LongspanError):
    def __init__(self, one: str, two: str, three: str) -> None:
        super().__init__(one + two, three)


class OddSpec(MortalSpec):
    def build(self, worker: int = 0) -> Any:
        raise OddError("It is ", "odd.", "even it out")


def test_an_error_that_its_class_cannot_be_made_again_from_arrives_as_ours(tmp_path: Path) -> None:
    team = Processes(OddSpec(), 1, 1)
    with pytest.raises(EncodeError, match=r"It is odd\.\nhint: even it out"):
        team.describe()
    team.close(now=True)


def test_what_cannot_be_sent_to_a_process_is_told(tmp_path: Path) -> None:
    class Local(MortalSpec):
        pass

    team = Processes(Local(), 1, 1)
    with pytest.raises(EncodeError, match="A worker process cannot be started"):
        list(team.run(["shard"], Parts(tmp_path, "job")))  # type: ignore[list-item]
    team.close(now=True)
