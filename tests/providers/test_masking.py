"""Neither a path nor a secret leaves the machine; what is neither stays as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.hub.auth import redact
from lqmf.providers.masking import Masks

KEYS = {
    "claude": "sk-ant-api03-" + "Ab1_" * 20,
    "openai": "sk-proj-" + "Cd2-" * 20,
    "gemini": "AIza" + "Ef3g" * 8 + "xyz",
    "hugging face": "hf_" + "Gh4" * 11,
}
PATHS = (
    "/home/ada/secret models/x.gguf",
    "/home/ada/project",
    "~/private/notes.txt",
    "./adapters/mine",
    "../up/there",
    r"C:\Users\ada\model",
    r"\\server\share\model",
    "file:///home/ada/x",
)


def masks() -> Masks:
    return Masks(redact)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_goes_out_as_a_number(path):
    quoted = f'"{path}"' if " " in path else path
    out = masks().text(f"quantize {quoted} to 4-bit, please.")
    assert "<path-1>" in out
    assert not any(part in out for part in ("ada", "secret", "private", "mine", "there", "share"))
    assert out.startswith("quantize ")
    assert out.endswith(" to 4-bit, please.")


def test_the_same_path_has_the_same_number_everywhere():
    one = masks()
    out = one.data({"a": "/x/y and /z/w", "b": ["/x/y"], "/z/w": 1})
    assert out == {"a": "<path-1> and <path-2>", "b": ["<path-1>"], "<path-2>": 1}


def test_a_path_that_was_said_is_known_without_looking_like_one():
    said = {"/home/ada/notes.txt": "/home/ada/notes.txt", "notes.txt": "/home/ada/notes.txt"}
    out = Masks(redact, said).text("calibrate on notes.txt, that is /home/ada/notes.txt")
    assert out == "calibrate on <path-1>, that is <path-1>"


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_does_not_go_out(kind):
    assert KEYS[kind] not in masks().text(f"my key is {KEYS[kind]} and the model is ada/x")


@pytest.mark.parametrize(
    "text",
    [
        "quantize mistralai/Mistral-7B-Instruct-v0.3 to Q4_K_M",
        "q8_0/q4_0 cache and 30 tokens/s",
        "https://huggingface.co/ada/x is it",
        "and/or 1/2 of it",
        "<path-1> stays",
    ],
)
def test_what_is_no_path_stays(text):
    assert masks().text(text) == text


@given(st.text(alphabet=st.sampled_from("abz/._-~ \"'<>,\\:C"), max_size=60))
def test_what_follows_a_root_never_goes_out(text):
    out = masks().text(f"{text} /home/ada/hidden {text}")
    assert "hidden" not in out
    assert "ada" not in out
