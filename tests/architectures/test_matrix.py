"""The architecture matrix has no surprise: every cell is as it was written down beforehand, every yes works and comes
near its source, a damaged artifact does not, and every no is a clear refusal before any weights are fetched.

`expected.json` was written first, each cell with where it comes from. Models are small, with sharp random weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lqmf import installed
from lqmf.model_files import describe
from lqmf.planning.compatibility import compatibility, kind
from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.registry import backends
from lqmf.records import Gpu, Hardware, ModelRef
from tests.architectures import expectations, families
from tests.architectures.damage import damaged
from tests.architectures.maker import Makers
from tests.kinds import by_kind

EXPECTED = expectations.read()
CARD = Hardware("cpu", 8, 64 << 30, 60 << 30, (Gpu("RTX 4090", 24 << 30, 23 << 30),))
ASKED = {  # every family that this product promises an answer for
    "gpt2", "gpt-neo", "llama", "mistral", "codellama", "dialogpt", "blenderbot", "chatglm", "glm", "codet5",
    "codebert", "starcoder", "qwen2", "qwen3", "qwen3-moe", "gemma3", "phi3", "gpt-oss", "mixtral", "starcoder2",
    "falcon", "gpt-neox", "olmo", "olmo2", "t5", "mamba", "bert",
}  # fmt: skip
LEAST_YES = {"gguf": 22, "gptq": 18, "bnb": 23}  # so that a matrix of refusals cannot pass
WORKS = sorted(EXPECTED.cells("yes", "but"))
KINDS = {  # which stand for the others: transposed, plain, windowed, of experts, without attention, encoder-decoder
    "gpt2", "llama", "gemma3", "qwen3-moe", "mamba", "t5",
}  # fmt: skip


# ---------------------------------------------------------------- what was written down


def test_every_family_that_is_spoken_of_is_written_down_and_most_can_be_done() -> None:
    assert set(EXPECTED.families) == ASKED == set(families.NAMES)
    for method, least in LEAST_YES.items():
        assert sum(each == method for _, each in WORKS) >= least


def test_the_sources_say_what_is_written_down() -> None:
    """The converter's list of classes, and gptqmodel's of model types, as they are installed."""
    tools = toolchain.ensure()
    classes, types = tools.architectures(), installed.table("gptqmodel", "models/auto.py", "MODEL_MAP")
    for family in EXPECTED.families.values():
        told = family.cells
        assert (family.architecture in classes) == told["gguf"].known, family.name
        assert (family.model_type in types) == bool(told["gptq"].known), family.name
    for family in EXPECTED.families.values():
        if family.name != families.CHATGLM:
            assert families.config(family.name)["architectures"] == [family.architecture]
            assert families.config(family.name)["model_type"] == family.model_type


@pytest.mark.parametrize("name", list(EXPECTED.families))
def test_each_method_answers_as_written_down_from_metadata_alone(name: str, tmp_path: Path) -> None:
    family = EXPECTED.families[name]
    info = describe.describe_folder(ModelRef("local", name, path=str(tmp_path)), families.hollow(name, tmp_path))
    assert kind(info) == family.kind
    found = {row.method: row for row in compatibility(backends(), info, CARD)}
    assert {method: row.verdict.answer for method, row in found.items() if method in family.cells} == {
        method: cell.answer for method, cell in family.cells.items()
    }
    for method, cell in family.cells.items():
        verdict = found[method].verdict
        assert cell.says in verdict.reason
        if cell.answer == "no":
            assert verdict.remedy
            assert set(re.findall(r"`--method (\w+)`", verdict.remedy)) == set(cell.instead)


# ---------------------------------------------------------------- every yes works


@pytest.fixture(scope="session")
def makers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Makers]:
    """The processes that make and measure."""
    with Makers(tmp_path_factory.mktemp("maker")) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), by_kind(WORKS, {one for one in WORKS if one[0] in KINDS}))
def test_a_yes_works_and_a_damaged_artifact_is_told_from_a_sound_one(
    name: str, method: str, makers: Makers, tmp_path: Path
) -> None:
    band, source = EXPECTED.bands[method], families.folder(name)
    artifact = makers.making(method).make(method, EXPECTED.types[method], source, tmp_path)
    with makers.measuring(method) as maker:
        sound = maker.measure(source, artifact)
        broken = maker.measure(source, damaged(artifact, tmp_path / "damaged"))
    assert band.takes(EXPECTED.families[name], sound), sound
    assert not band.takes(EXPECTED.families[name], broken), (sound, broken)
