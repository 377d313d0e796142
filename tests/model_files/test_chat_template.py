"""Templates give what transformers gives, and can do nothing else."""

from __future__ import annotations

import pytest

from lqmf.errors import UsageError
from lqmf.model_files.chat_template import render

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": 'Say "hi" — <b>ü</b>'},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "again"},
]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BLOCKS = """{{ bos_token }}
{%- for m in messages %}
    {%- if m.role == 'system' %}
        {%- continue %}
    {%- endif %}
    {%- if m.role == 'assistant' %}
        {% generation %}{{ m.content | trim }}{{ eos_token }}{% endgeneration %}
    {%- else %}
[INST] {{ m.content | tojson }} {{ {'ä': 1} | tojson(indent=2) }} [/INST]
    {%- endif %}
{%- endfor %}
"""
REFUSES = "{{ raise_exception('Roles must alternate') }}"


@pytest.mark.parametrize("prompt", [True, False])
@pytest.mark.parametrize("template", [CHATML, BLOCKS])
def test_a_template_gives_what_transformers_gives(template, prompt):
    from transformers.utils.chat_template_utils import render_jinja_template

    expected = render_jinja_template(
        [CHAT], chat_template=template, add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>"
    )
    assert render(template, CHAT, bos="<s>", eos="</s>", add_generation_prompt=prompt) == expected[0][0]


def test_a_template_that_refuses_says_so():
    with pytest.raises(UsageError, match="Roles must alternate"):
        render(REFUSES, CHAT)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{{ 1 / 0 }}",
        "{% if %}",
        "{% include '/etc/passwd' %}",
        "{{ undefined.attribute }}",
    ],
)
def test_a_hostile_or_broken_template_is_a_usage_error(template):
    with pytest.raises(UsageError, match="chat template"):
        render(template, CHAT)
