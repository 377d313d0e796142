"""A model's chat template becomes Ollama's only where it is proven, and a Modelfile keeps to Ollama's own grammar."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lqmf.artifacts.card.ollama_template import converted, literal
from lqmf.artifacts.run_lines import modelfile
from lqmf.errors import UsageError
from lqmf.model_files import chat_template
from lqmf.records import Run
from tests.artifacts.go_template import needs_go, rendered
from tests.artifacts.modelfile_parser import parse

CHATML = (
    "{% for m in messages %}<|im_start|>{{m['role']}}\n{{m['content']}}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (  # the shape of Llama 3's
    "{% for m in messages %}{% set c = '<|head|>' + m['role'] + '<|/head|>\n\n' + m['content'] | trim + '<|eot|>' %}"
    "{% if loop.index0 == 0 %}{% set c = bos_token + c %}{% endif %}{{ c }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"
)
DEFAULTED = (  # a system message of its own, as Qwen 2.5's
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|s|>system\nBe kind.<|e|>\n{% endif %}"
    "<|s|>{{ m['role'] }}\n{{ m['content'] }}<|e|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|s|>assistant\n{% endif %}"
)
INSIDE = (  # the system message inside the first question, as Llama 2's
    "{% if messages[0]['role'] == 'system' %}{% set told = messages[0]['content'] %}{% set turns = messages[1:] %}"
    "{% else %}{% set told = '' %}{% set turns = messages %}{% endif %}{% for m in turns %}"
    "{% if m['role'] == 'user' %}[INST] {% if loop.first and told %}<<SYS>>\n{{ told }}\n<</SYS>>\n\n{% endif %}"
    "{{ m['content'] }} [/INST]{% else %} {{ m['content'] }} {{ eos_token }}{% endif %}{% endfor %}"
)
REFUSING = (  # no system message, and strict turns, as Gemma's and Mistral's
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
COUNTING = "{% for m in messages %}{{ loop.index }}: {{ m['content'] }}\n{% endfor %}"
FORGETFUL = (  # earlier answers come out otherwise than the last one
    "{% for m in messages %}{{ m['role'] }}:{% if m['role'] == 'assistant' and messages | length > 3 %}..{% else %}"
    "{{ m['content'] }}{% endif %}|{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
DEAF = "{% for m in messages if m['role'] != 'system' %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
WITH_TOOLS = "{% if tools %}Tools: {{ tools | tojson }}\n{% endif %}" + CHATML


def rendering(template: str):
    def render(dialogues: Sequence[Mapping[str, Any]]) -> list[str | None]:
        texts: list[str | None] = []
        for one in dialogues:
            try:
                texts.append(chat_template.render(template, eos="</s>", **one))
            except UsageError:
                texts.append(None)
        return texts

    return render


DATED = "{% set day = strftime_now('%d %b %Y') %}<|s|>Today is {{ day }}.<|e|>" + CHATML
THINKING = CHATML.replace(
    "{{m['content']}}", "{{ m['content'].split('</think>')[-1] if not loop.last else m['content'] }}"
)
ANYWHERE = [
    (role, content)
    for role in ("system", "user", "assistant")
    for content in ("", "Hello", "A {{ .System }} and {% if %}?", "Grüße\n\n世界")
]


def any_dialogues(seed: int = 7, count: int = 150) -> Iterator[list[dict[str, str]]]:
    """Dialogues of one to six messages in any order of roles."""
    chance = random.Random(seed)
    for _ in range(count):
        turns = [chance.choice(ANYWHERE) for _ in range(chance.randint(1, 6))]
        yield [{"role": role, "content": content} for role, content in turns]


@needs_go
@pytest.mark.parametrize(
    ("jinja", "stop", "system"),
    [
        (CHATML, "<|im_end|>", True),
        (HEADERS, "<|eot|>", True),
        (DEFAULTED, "<|e|>", True),
        (REFUSING, "<end_of_turn>", False),
    ],
)
def test_any_dialogue_that_the_model_takes_comes_out_the_same_by_go(jinja: str, stop: str, system: bool) -> None:
    """Repeated roles, a system message anywhere, empty turns, an answer at the end: by Go's own text/template."""
    made = converted(rendering(jinja))
    assert (made.stops, made.reason) == ((stop,), "")
    dialogues = list(any_dialogues())
    expected = rendering(jinja)([{"messages": messages} for messages in dialogues])
    taken = [(messages, text) for messages, text in zip(dialogues, expected, strict=True) if text is not None]
    assert len(taken) > 10
    assert rendered([(made.template, messages) for messages, _ in taken]) == [text for _, text in taken]
    assert any("system message" in note for note in made.notes) != system


@pytest.mark.parametrize(
    ("jinja", "reason"),
    [
        (COUNTING, "depends on more than its role"),
        (FORGETFUL, "a longer dialogue would come out differently"),
        (DEAF, "depends on more than its role"),
        (INSIDE, "depends on more than its role"),
        ("{{ 1 / 0 }}", "refuses"),
        ("always the same", "depends on more than its role"),
        (DATED, "the date of the day"),
        (THINKING, "the thoughts of an earlier answer would come out differently"),
        (CHATML.replace("{{m['content']}}", "{{ m['content'] or 'nothing' }}"), "an empty"),
    ],
)
def test_what_is_not_proven_is_left_out_with_a_reason(jinja: str, reason: str) -> None:
    made = converted(rendering(jinja))
    assert made.template == ""
    assert reason in made.reason


def test_that_tools_are_left_out_is_noted() -> None:
    assert any("tools" in note for note in converted(rendering(WITH_TOOLS)).notes)


@needs_go
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=30, max_size=30))
@settings(max_examples=10, deadline=None, phases=[Phase.generate])
def test_any_text_is_only_text_in_a_go_template_and_survives_the_modelfile(texts: list[str]) -> None:
    tasks = []
    for text in texts:
        written = literal(text)
        assert '"""' not in written
        [origin, template] = parse(modelfile(None, "m.gguf", template=f"{written}{{{{ .System }}}}"))
        assert origin == ("model", "./m.gguf")
        tasks.append((template[1], [{"role": "system", "content": "!"}]))
    assert rendered(tasks) == [f"{text}!" for text in texts]


# ---------------------------------------------------------------- the Modelfile

FULL = Run(context=16384, parallel=4, k_type="q8_0", v_type="q4_0", gpu_layers=33, ubatch=256)


def test_a_modelfile_parses_to_what_was_meant() -> None:
    chat = converted(rendering(CHATML))
    text = modelfile(FULL, "m Q4.gguf", template=chat.template, stops=["<|im_end|>", 'a "b" c'], notes=["two\nlines"])
    assert parse(text) == [
        ("model", "./m Q4.gguf"),
        ("template", chat.template),
        ("num_ctx", "16384"),
        ("num_gpu", "33"),
        ("num_batch", "256"),
        ("stop", "<|im_end|>"),
        ("stop", 'a "b" c'),
    ]
    assert text.startswith("# two lines\nFROM ")


@given(
    stops=st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), max_size=3),
    notes=st.lists(st.text(), max_size=2),
)
@settings(max_examples=200)
def test_no_stop_string_and_no_note_breaks_out_of_its_line(stops: list[str], notes: list[str]) -> None:
    stops = [stop for stop in stops if '"""' not in stop and not stop.endswith('"')]
    told = parse(modelfile(None, "m.gguf", stops=stops, notes=notes))
    assert told == [("model", "./m.gguf"), *(("stop", stop) for stop in stops)]


def test_the_parser_refuses_what_ollama_refuses() -> None:
    for bad in (
        "PARAMETER num_ctx 1",
        "FORM x",
        "FROM x\nPARAMETER temprature 1",
        'FROM x\nTEMPLATE """a',
        "FROM x\nSYSTEM",
    ):
        with pytest.raises(ValueError, match=r"."):
            parse(bad)
    assert parse('# c\nfrom x\nTEMPLATE """a\n"b" c"""\nparameter temperature 1\n')[1:] == [
        ("template", 'a\n"b" c'),
        ("temperature", "1"),
    ]
