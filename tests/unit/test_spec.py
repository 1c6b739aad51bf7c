"""Specification strings: what they mean, and that anything else is told in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan import registry, spec
from longspan.card import BenchmarkCard
from longspan.errors import LongspanError, PlanError, SpecError
from longspan.methods.frequencies.longrope import LongRoPE
from longspan.methods.frequencies.ntk import NTK
from longspan.methods.frequencies.ntk_by_parts import NTKByParts
from longspan.methods.frequencies.yarn import YaRN
from longspan.methods.scales.log_n import LogN
from longspan.methods.tables.grouped import Grouped
from longspan.methods.tables.tile import Tile


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("yarn", (YaRN(),)),
        ("yarn + log_n", (YaRN(), LogN())),
        (" YaRN+LogN ", (YaRN(), LogN())),
        ("NTK-by-parts(beta_fast=16) + log-n", (NTKByParts(beta_fast=16.0), LogN())),
        ("ntkbyparts", (NTKByParts(),)),
        ("ntk()", (NTK(),)),
        ("ntk(factor=none)", (NTK(),)),
        ("ntk(factor=None)", (NTK(),)),
        ("ntk(factor=3)", (NTK(factor=3.0),)),
        ("grouped(adaptive=false)", (Grouped(adaptive=False),)),
        ("grouped(adaptive=False)", (Grouped(adaptive=False),)),
        ("log_n(by='position')", (LogN(by="position"),)),
        ('log_n(by="length")', (LogN(by="length"),)),
        ("longrope(factors=(1, 2.5), first=4)", (LongRoPE(factors=(1, 2.5), first=4),)),
        ("longrope(factors=[1, 2.5])", (LongRoPE(factors=(1, 2.5)),)),
        ("yarn(\n  beta_fast=16,\n)", (YaRN(beta_fast=16.0),)),
        ("yarn + log_n + tile", (YaRN(), LogN(), Tile())),
    ],
)
def test_a_specification_reads_as(text: str, wanted: tuple) -> None:
    assert spec.parse(text) == wanted


def test_whole_numbers_for_a_float_become_floats() -> None:
    assert isinstance(spec.parse("yarn(beta_fast=16)")[0].beta_fast, float)


BAD = [
    ("", "is not a specification"),
    ("   ", "is not a specification"),
    ("yarn(", "is not a specification"),
    ("yarn +", "is not a specification"),
    ("+ yarn", "is not a specification"),
    ("yarn log_n", "is not a specification"),
    ("yarn * log_n", "is not a specification"),
    ("yarn(16)", "is not a specification"),
    ("yarn(**{})", "is not a specification"),
    ("methods.yarn", "is not a specification"),
    ("yarn()()", "is not a specification"),
    ("'yarn'", "is not a specification"),
    ("lambda: yarn", "is not a specification"),
    ("yarn\x00", "is not a specification"),
    ("\ud800", "is not a specification"),
    ("((" * 300, "is not a specification"),
    ("yarn(beta_fast=" + "-" * 900 + "1)", "nests too deeply"),
    ("nosuch", "There is no method named 'nosuch'"),
    ("yarm", "There is no method named 'yarm'"),
    ("__import__('os')", "is not a specification"),
    ("yarn(beta=16)", "yarn has no parameter 'beta'"),
    ("yarn(self=1)", "yarn has no parameter 'self'"),
    ("yarn(beta_fast=16, beta_fast=8)", "given 'beta_fast' twice"),
    ("yarn(beta_fast='16')", "takes float, got '16'"),
    ("yarn(beta_fast=true)", "takes float, got True"),
    ("yarn(beta_fast=none)", "takes float, got None"),
    ("yarn(beta_fast=fast)", "'fast' is not a value"),
    ("yarn(beta_fast=1+1)", "is not a value"),
    ("yarn(beta_fast=1j)", "takes float, got 1j"),
    ("temperature(tau=1e999)", "takes float, got inf"),
    ("temperature(tau=" + "9" * 400 + ")", "takes float, got 999"),
    ("yarn(truncate=1)", "takes bool, got 1"),
    ("giraffe_truncated(cutoff=512.0)", "takes int, got 512.0"),
    ("giraffe_truncated(cutoff=true)", "takes int, got True"),
    ("longrope(factors=2)", "takes tuple of float, got 2"),
    ("longrope(factors=('a',))", "takes tuple of float, got ('a',)"),
    ("longrope(factors=(1e999,))", "takes tuple of float, got (inf,)"),
    ("temperature(tau=1e-300)", "takes float, got 1e-300"),
    ("abf(base=1e300)", "takes float, got 1e+300"),
    ("giraffe_truncated(cutoff=" + "9" * 30 + ")", "takes int, got 999"),
    ("yarn" + " " * 70_000, "70,004 characters"),
    ("log_n(by='token')", "takes 'length' or 'position' or none, got 'token'"),
    ("log_n(by=[1])", "takes 'length' or 'position' or none"),
    ("ntk(factor=x.y)", "is not a value"),
]


@pytest.mark.parametrize(("text", "fact"), BAD, ids=[text[:30] for text, _ in BAD])
def test_anything_else_is_a_spec_error_with_a_hint(text: str, fact: str) -> None:
    with pytest.raises(SpecError) as error:
        spec.parse(text)
    assert fact in error.value.fact
    assert error.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "yarn(beta_fast=1, beta_slow=2)",
        "yarn(beta_slow=0)",
        "ntk_by_parts(beta_fast=1)",
        "ntk(factor=0.5)",
        "llama3(low_freq_factor=4)",
        "longrope(factors=(2, 1))",
        "longrope(factors=(0.5,))",
        "longrope(first=-1)",
        "giraffe_power(exponent=0)",
        "giraffe_truncated(cutoff=-1)",
        "temperature(tau=0)",
        "log_n(base=1)",
    ],
)
def test_values_a_method_cannot_mean_are_its_own_error_with_a_hint(text: str) -> None:
    with pytest.raises(PlanError) as error:
        spec.parse(text)
    assert error.value.hint


@pytest.mark.parametrize(("text", "nearest"), [("yarm", "yarn"), ("ntk_by_part", "ntk_by_parts"), ("tiles", "tile")])
def test_a_name_that_is_nearly_right_is_guessed(text: str, nearest: str) -> None:
    with pytest.raises(SpecError, match=f"did you mean {nearest}?"):
        spec.parse(text)


def test_an_unknown_name_lists_every_method() -> None:
    with pytest.raises(SpecError) as error:
        spec.parse("nosuch")
    assert all(name in error.value.hint for name in registry.methods())


def test_a_specification_is_written_in_full_or_with_what_differs() -> None:
    components = spec.parse("yarn(beta_fast=16) + tile")
    assert spec.write(components) == "YaRN(beta_fast=16.0, beta_slow=1.0, truncate=True) + Tile()"
    assert spec.short(components) == "yarn(beta_fast=16.0) + tile"
    assert spec.write(()) == spec.short(()) == ""


PIECES = "beta_fast by factors first tau none true + - ( ) = , . 1 0 -1 1e9 1e999 'position' [ ] nan # lambda ** f' \\d"
WORDS = st.sampled_from([*registry.methods(), *PIECES.split(), " ", "\n"])


@settings(max_examples=300)
@given(st.one_of(st.text(), st.lists(WORDS).map("".join), st.lists(WORDS).map(" ".join)))
def test_random_text_parses_or_is_a_longspan_error(text: str) -> None:
    try:
        components = spec.parse(text)
    except LongspanError as error:
        assert str(error)  # noqa: PT017 - what is tested is that nothing else is raised
    else:
        assert spec.parse(spec.write(components)) == components


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.floats() | st.integers(), max_size=4),
)


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(registry.methods())), value=VALUES, data=st.data())
def test_random_values_are_taken_or_are_a_longspan_error(name: str, value: object, data: st.DataObject) -> None:
    from dataclasses import fields

    from longspan.card import MethodCard

    parameters = [field.name for field in fields(registry.load(name, MethodCard))] or ["nothing"]
    text = f"{name}({data.draw(st.sampled_from(parameters))}={value!r})"
    try:
        components = spec.parse(text)
    except LongspanError as error:
        assert str(error)  # noqa: PT017
    else:
        assert spec.parse(spec.write(components)) == components


def test_a_dash_is_kept_where_it_is_quoted() -> None:
    for quote in ("'", '"'):
        (made,) = spec.parse(f"folder(path={quote}my-own/set-of-texts{quote})", BenchmarkCard)
        assert made.path == "my-own/set-of-texts"
