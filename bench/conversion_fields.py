"""Which fields of a configuration a GGUF follows: each is changed in a small model of every decoder family, and the
logits of the GGUF that is then made are held against transformers' own.

    python bench/conversion_fields.py [--families llama,gpt2] [--write docs/measured/conversion.md]

Models are those of tests/architectures: two layers, sharp random weights. A field counts where changing it changes
transformers' logits by more than 1e-3; its GGUF follows where KL divergence stays under the bound of a conversion. What
does not follow must stand in `lqmf/quantization/gguf/converter/ignored.py`, and what stands there must not follow:
exits 1
otherwise. Each family's own conversion is measured as F16 and BF16 too, which is what the bound rests on.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import platform
import runpy
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.hardware import cpu_name
from lqmf.model_files.config import is_mixture
from lqmf.quality.receipt.conversion import BOUND_NATS
from lqmf.quality.receipt.divergence import DivergenceMeter
from lqmf.quantization.gguf.converter import ignored, launcher, toolchain
from tests.architectures import families

WINDOWS, TOKENS, COUNTS = 2, 96, 1e-3
MIXTURE = 2  # times the bound
VERSIONS = ("llama-cpp-python", "transformers", "torch")
_OTHER_ACTIVATION = {"silu": "gelu", "gelu": "relu", "gelu_new": "relu", "gelu_pytorch_tanh": "relu", "relu": "silu"}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
_ROPES: Mapping[str, Mapping[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 2.0},
    "llama3": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    "yarn": _YARN,
    "yarn, attention_factor": {**_YARN, "attention_factor": 0.8},
    "yarn, mscale": {**_YARN, "mscale": 0.7, "mscale_all_dim": 1.0},
    "yarn, betas": {**_YARN, "beta_fast": 4.0, "beta_slow": 2.0},
    "yarn, truncate": {**_YARN, "truncate": False},
}  # fmt: skip
_ABOUT = """\
Written by `bench/conversion_fields.py --write docs/measured/conversion.md`. Each field of the configuration of a small
model (two layers, sharp random weights: they lose more than trained ones) is changed; where transformers' logits move,
a GGUF is made anew and compared with them: KL divergence in nats a token over random tokens. It follows where that
stays under {:g} (twice that in mixtures, where rounding may choose another expert). What does not is in
`lqmf/quantization/gguf/converter/ignored.py`, by which such a model is refused or, for a sliding window, warned of."""
_NOT_TRIED = (
    "architectures",
    "model_type",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "vocab_size",
    "tie_word_embeddings",
    "output_attentions",
    "output_hidden_states",
)


@dataclass(frozen=True)
class Trial:
    """One change: what was changed to what, how far transformers moved (largest logit), what KL the GGUF has then
    (None: the converter or libllama refuses it), and what LQMF's table says."""

    field: str
    value: Any
    moved: float
    kl: float | None
    known: str
    mixture: bool  # where rounding may choose another expert, which counts for much

    @property
    def follows(self) -> bool:
        return self.kl is None or self.kl <= BOUND_NATS * (MIXTURE if self.mixture else 1)

    @property
    def right(self) -> bool:
        return self.follows is not bool(self.known)


class Family:
    """One family's model: its configuration changes, its weights stay."""

    def __init__(self, name: str, convert: Converter, place: Path) -> None:
        self.name, self._convert, self._place = name, convert, place
        self._folder = families.folder(name)
        from transformers import AutoModelForCausalLM

        self._model = AutoModelForCausalLM.from_pretrained(self._folder, dtype=torch.float32).eval()
        self._weights = self._model.state_dict()
        self.config = self._model.config
        words = int(self.config.vocab_size)
        self._windows = np.random.default_rng(0).integers(5, words, (WINDOWS, TOKENS)).tolist()
        self._own = self._logits(self._model)

    def sound(self, outtype: str) -> float:
        """KL of the unchanged model's GGUF."""
        return self._divergence(self._own, self._folder, outtype)

    def trials(self) -> Iterator[Trial]:
        """Every change that matters to transformers."""
        for field, value, config in self._changes():
            rows = self._changed(config)
            if rows is None or (moved := float(np.abs(rows - self._own).max())) < COUNTS:
                continue
            yield self._trial(field, value, config, rows, moved)

    def _trial(self, field: str, value: Any, config: Any, rows: np.ndarray, moved: float) -> Trial:
        folder = self._place / f"{self.name}-{len(list(self._place.iterdir()))}"
        folder.mkdir()
        for file in self._folder.iterdir():
            if file.name != "config.json":
                (folder / file.name).symlink_to(file)
        config.save_pretrained(folder)
        told = json.loads((folder / "config.json").read_text())
        known = ", ".join(key for key, _ in ignored.unhonoured(told))
        warned = {
            "sliding_window": ignored.ignored_window(told),
            "rope_parameters.truncate": ignored.untruncated_warning(told),
        }
        known = ", ".join(filter(None, [known, *(key for key, each in warned.items() if each is not None)]))
        try:
            kl: float | None = self._divergence(rows, folder, "f16")
        except Exception as error:  # noqa: BLE001  (the converter raises anything)
            print(f"  {self.name} {field}={value}: {type(error).__name__}: {error}", file=sys.stderr)
            kl = None
        return Trial(field, value, moved, kl, known, is_mixture(told))

    def _changes(self) -> Iterator[tuple[str, Any, Any]]:
        said = self.config.to_dict()
        for field, old in said.items():
            for value in _values(field, old):
                windowed = {"use_sliding_window": True, "layer_types": None} if field == "sliding_window" else {}
                if (config := self._config({**said, **windowed, field: value})) is not None:
                    yield field, value, config
        if isinstance(said.get("rope_parameters"), dict) and "rope_theta" in said["rope_parameters"]:
            for name, rope in _ROPES.items():
                changed = {**said, "rope_parameters": {**said["rope_parameters"], **rope}}
                if (config := self._config(changed)) is not None:
                    yield f"rope_parameters ({name})", name, config

    def _config(self, said: Mapping[str, Any]) -> Any | None:
        """The configuration that says so; None where transformers refuses it."""
        try:
            config = type(self.config).from_dict(dict(said))
            config.validate()
        except Exception:  # noqa: BLE001  (validators raise anything)
            return None
        return config

    def _changed(self, config: Any) -> np.ndarray | None:
        """transformers' logits with this configuration; None where it is none for these weights."""
        try:
            with torch.no_grad():
                model = type(self._model)._from_config(config, dtype=torch.float32)
                model.load_state_dict(self._weights, strict=True)
                return self._logits(model.eval())
        except Exception:  # noqa: BLE001  (another shape, a value that nothing takes: modelling code raises anything)
            return None

    def _logits(self, model: Any) -> np.ndarray:
        with torch.inference_mode():
            rows: np.ndarray = model(input_ids=torch.tensor(self._windows), use_cache=False).logits.float().numpy()
        return rows

    def _divergence(self, rows: np.ndarray, folder: Path, outtype: str) -> float:
        file = self._place / f"{self.name}-{outtype}.gguf"
        self._convert.make(folder, file, outtype)
        meter = DivergenceMeter()
        with LlamaCppEngine(file) as engine:
            for window, p, q in zip(self._windows, rows, engine.logits(self._windows), strict=True):
                meter.add(p[:-1], q[:-1], np.asarray(window[1:], dtype=np.int64))
        return meter.divergence().mean


def _values(field: str, old: Any) -> Iterator[Any]:
    """What to change a field to."""
    if field in _NOT_TRIED or field.endswith(("_id", "_dropout", "dropout_prob")) or field.startswith("_"):
        return
    if isinstance(old, bool):
        yield not old
    elif isinstance(old, str) and old in _OTHER_ACTIVATION:
        yield _OTHER_ACTIVATION[old]
    elif isinstance(old, int) and old > 1:
        yield old // 2
    elif isinstance(old, float) and old:
        yield old * 1.5
    elif old is None:
        yield from ((16,) if "window" in field else (0.5, True))
    elif isinstance(old, list) and set(old) <= {"sliding_attention", "full_attention"} and "layer_types" in field:
        yield ["full_attention"] * len(old)
        yield ["sliding_attention"] * len(old)


class Converter:
    """llama.cpp's converter in this process, with what LQMF adds to it but for the streaming."""

    def __init__(self) -> None:
        tools = toolchain.ensure()
        self._script = tools.root / "convert_hf_to_gguf.py"
        sys.path[:0] = [str(tools.root), str(tools.root / "gguf-py")]
        from conversion import base

        launcher._reconcile(base)
        base.TextModel.get_vocab_base_pre = lambda _model, _tokenizer: "gpt-2"

    def make(self, folder: Path, out: Path, outtype: str) -> None:
        """The GGUF of `folder`. Raises whatever the converter raises, RuntimeError where it exits."""
        out.unlink(missing_ok=True)
        sys.argv = [str(self._script), str(folder), "--outfile", str(out), "--outtype", outtype]
        logging.disable(logging.CRITICAL)
        try:
            runpy.run_path(str(self._script), run_name="__main__")
        except SystemExit as end:
            raise RuntimeError(f"the converter ended with {end.code}") from end
        finally:
            logging.disable(logging.NOTSET)


# ---------------------------------------------------------------- the page


def main() -> int:
    options = parse()
    names = options.families.split(",") if options.families else list(families.DECODERS)
    expected = json.loads((Path(families.__file__).parent / "expected.json").read_text())["families"]
    convertible = [each["name"] for each in expected if each["cells"]["gguf"]["answer"] != "no"]
    convert, lines, wrong = Converter(), list[str](), list[str]()
    sound: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        for name in [each for each in names if each in convertible]:
            family = Family(name, convert, Path(place))
            floors = [family.sound(outtype) for outtype in ("f16", "bf16")]
            sound.append(f"| {name} | {floors[0]:.1e} | {floors[1]:.1e} |")
            print(sound[-1], flush=True)
            for trial in family.trials():
                lines.append(row(name, trial))
                print(lines[-1], flush=True)
                wrong += [] if trial.right else [f"{name} {trial.field}={trial.value}: {lines[-1]}"]
    if options.write:
        options.write.write_text("\n".join(page(sound, lines)) + "\n", encoding="utf-8")
    for each in wrong:
        print(f"SURPRISE: {each}")
    return 1 if wrong else 0


def row(name: str, trial: Trial) -> str:
    kl = "refused" if trial.kl is None else f"{trial.kl:.2g}"
    answer = "yes" if trial.follows else f"no: {trial.known or 'NOT KNOWN'}"
    return f"| {name} | {trial.field} | {trial.value} | {trial.moved:.2g} | {kl} | {answer} |"


def page(sound: list[str], lines: list[str]) -> Iterator[str]:
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    yield "# Conversion, field by field"
    yield ""
    yield _ABOUT.format(BOUND_NATS)
    yield ""
    yield f"On {cpu_name()}, Python {platform.python_version()}, {found}."
    yield ""
    yield "## What a sound conversion is away from its model"
    yield ""
    yield "llama.cpp rounds activations to the file's type before each product."
    yield ""
    yield "| family | KL as F16 | KL as BF16 |"
    yield "|---|---|---|"
    yield from sound
    yield ""
    yield "## Fields"
    yield ""
    yield "| family | field | changed to | largest logit moved by | KL of its GGUF | does it follow |"
    yield "|---|---|---|---|---|---|"
    yield from lines


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--families", default="")
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
