"""The architecture matrix: what each method answers for each family, and how far what it makes is from its source.

    python bench/architectures.py [--families bert,t5] [--methods gguf,gptq,bnb] [--write docs/architectures.md]

Models are small, of two layers and sharp random weights, by transformers' own classes (tests/architectures); artifacts
are made by LQMF's backends on the CPU and run by its engines, those of GPTQ in a process that made none. Beside each
figure stands that of the same artifact with its two layers exchanged. Exits 1 where an answer, or a figure, is not as
written down in tests/architectures/expected.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from lqmf.errors import LqmfError
from lqmf.hardware import cpu_name
from lqmf.model_files import describe
from lqmf.planning.compatibility import compatibility
from lqmf.quantization.registry import backends
from lqmf.records import ModelRef, Verdict
from tests.architectures import expectations, families
from tests.architectures.damage import damaged
from tests.architectures.expectations import METHODS, Expected
from tests.architectures.maker import Makers
from tests.architectures.test_matrix import CARD

VERSIONS = ("llama-cpp-python", "gptqmodel", "bitsandbytes", "transformers", "torch")
TITLES = {"gguf": "GGUF", "gptq": "GPTQ", "bnb": "bitsandbytes"}
_ABOUT = """\
Written by `bench/architectures.py --write docs/architectures.md`; what it must say was written down before, in
`tests/architectures/expected.json`, and tests hold every cell to it. Each family is a model of two layers with sharp
random weights, which lose more than trained ones do. Beside a yes: KL divergence from the source in nats a token (of an
encoder-decoder, over a known answer), or the mean cosine of an encoder's token states, for {};
in brackets that of the same artifact with its two layers exchanged."""


@dataclass(frozen=True)
class Tried:
    """One cell: the product's answer, and of a yes what was measured of the artifact and of a damaged one. `error` is
    what went wrong instead."""

    verdict: Verdict
    sound: Mapping[str, Any] | None = None
    broken: Mapping[str, Any] | None = None
    error: str = ""

    @property
    def text(self) -> str:
        if self.error:
            return f"{self.verdict.answer}: failed"
        if self.sound is None or self.broken is None:
            return self.verdict.answer
        what, of = ("cosine", "cosine") if "cosine" in self.sound else ("KL", "kl")
        return f"{self.verdict.answer}, {what} {self.sound[of]:.3f} ({self.broken[of]:.3f})"


def main() -> int:
    options, expected = parse(), expectations.read()
    wanted = options.families.split(",") if options.families else list(expected.families)
    with tempfile.TemporaryDirectory() as place, Makers(Path(place)) as makers:
        cells = {name: dict(tried(makers, name, options.methods.split(","), expected, Path(place))) for name in wanted}
    document = "\n".join(written(cells, expected))
    print(document)
    if options.write:
        options.write.write_text(document + "\n", encoding="utf-8")
    surprises = [line for name in wanted for line in surprised(name, cells[name], expected)]
    for line in surprises:
        print(f"SURPRISE: {line}")
    return 1 if surprises else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default="")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


def tried(
    makers: Makers, name: str, methods: list[str], expected: Expected, place: Path
) -> Iterator[tuple[str, Tried]]:
    """Each method's cell of one family."""
    source = families.folder(name)
    info = describe.describe_folder(ModelRef("local", name, path=str(source)), source)
    for row in compatibility(backends(), info, CARD):
        if row.method in methods:
            able = row.verdict.answer != "no"
            cell = made(makers, row.method, row.verdict, source, expected, place) if able else Tried(row.verdict)
            print(f"{name} {row.method}: {cell.text} {cell.error}", file=sys.stderr)
            yield row.method, cell


def made(makers: Makers, method: str, verdict: Verdict, source: Path, expected: Expected, place: Path) -> Tried:
    """Make it, measure it, damage it, measure that."""
    folder = place / f"{source.name}-{method}"
    try:
        artifact = makers.making(method).make(method, expected.types[method], source, folder)
        with makers.measuring(method) as maker:
            sound = maker.measure(source, artifact)
            return Tried(verdict, sound, maker.measure(source, damaged(artifact, folder / "damaged")))
    except LqmfError as error:
        return Tried(verdict, error=error.message)


def surprised(name: str, cells: Mapping[str, Tried], expected: Expected) -> Iterator[str]:
    """What is not as written down."""
    for method, cell in cells.items():
        family, band = expected.families[name], expected.bands[method]
        told = family.cells[method]
        if cell.verdict.answer != told.answer:
            yield f"{name}, {method}: {cell.verdict.answer} for {told.answer} ({cell.verdict.reason})"
        elif cell.error:
            yield f"{name}, {method}: {cell.error}"
        elif cell.sound and cell.broken and (not band.takes(family, cell.sound) or band.takes(family, cell.broken)):
            yield f"{name}, {method}: {cell.text} is outside its band"


# ---------------------------------------------------------------- the document


def written(cells: Mapping[str, Mapping[str, Tried]], expected: Expected) -> Iterator[str]:
    """The page in Markdown."""
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    yield "# Architectures"
    yield ""
    types = ", ".join(f"{TITLES[method]} {type}" for method, type in expected.types.items())
    yield _ABOUT.format(types)
    yield ""
    yield f"On {cpu_name()}, Python {platform.python_version()}, {found}."
    yield ""
    yield "| family | class | kind | GGUF | GPTQ | bitsandbytes |"
    yield "|---|---|---|---|---|---|"
    for name, row in cells.items():
        family = expected.families[name]
        texts = [row[method].text if method in row else "not tried" for method in METHODS]
        yield f"| {family.stands_for} | {family.architecture} | {family.kind} | {' | '.join(texts)} |"
    yield ""
    yield "## Where it is no plain yes"
    yield ""
    for name, row in cells.items():
        for method in (method for method in METHODS if method in row and row[method].verdict.answer != "yes"):
            told, why = row[method].verdict, expected.families[name].cells[method].why
            yield f"- {expected.families[name].stands_for}, {TITLES[method]}: {told.answer}. {told.reason} ({why})"
    yield ""
    yield "## Where the answers come from"
    yield ""
    for method, source in expected.sources.items():
        yield f"- {TITLES[method]}: {source}."


if __name__ == "__main__":
    raise SystemExit(main())
