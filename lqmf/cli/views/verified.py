"""How a verification and a rebuild look: one line for each thing that was looked at, then what it comes to."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType

from lqmf.cli.views.messages import done_view, error_view, marked_view, notice_view
from lqmf.terminal import clean
from lqmf.units import small

if TYPE_CHECKING:
    from lqmf.artifacts.rebuild import Rebuilt
    from lqmf.artifacts.verify import Finding
    from lqmf.quality.checks.differences import Difference

SHOWN = 12  # differences, before the rest is counted
TITLES: Mapping[str, str] = {
    "manifest": "the manifest's form",
    "files": "files",
    "signature": "signature",
    "loads": "loads",
    "weights_present": "no weights are missing",
    "finite_predictions": "predicts finite numbers",
    "first_logits": "first predictions",
}


def verified_view(
    name: str,
    findings: Sequence[Finding],
    files: Sequence[Mapping[str, Any]],
    unlisted: Sequence[str],
    signed: str | None,
    *,
    refused: bool,
) -> RenderableType:
    """Each finding, files that are not as the manifest says one by one, and whether all is well."""
    parts = [_line(one) for one in findings if one.name not in ("files", "unlisted") or one.passed]
    parts += [error_view(f"{clean(file['path'])} {file['problem']}.") for file in files if file["problem"]]
    parts += [notice_view(f"{clean(path)} is not in the manifest.", warning=True) for path in unlisted]
    if all(one.passed is not False for one in findings):
        parts.append(done_view(f"{name} is as it was made."))
    elif all(one.passed is not False for one in findings if one.name not in ("signature", "unlisted")):
        parts.append(error_view(f"{name} is as its manifest says, but its signature does not vouch for all of it."))
    else:
        again = f"`lqmf rebuild {shlex.quote(name)} --keep` makes it again."
        parts.append(error_view(f"{name} is not as it was made.", again))
    if signed:
        parts.append(done_view(f"Signed with {signed}: manifest.sig lies beside the manifest."))
    if refused:
        parts.append(notice_view("It was not signed.", warning=True))
    return Group(*parts)


def _line(one: Finding) -> RenderableType:
    text = f"{TITLES.get(one.name, one.name)}: {clean(one.detail)}" if one.detail else TITLES.get(one.name, one.name)
    if one.passed is None:
        return notice_view(text)
    return marked_view("✓", "green", text) if one.passed else marked_view("✗", "bold red", text)


def rebuilt_view(made: Rebuilt) -> RenderableType:
    """Whether the same bytes came out; where not, what differs, how much that matters, and what may be behind it."""
    parts = list[RenderableType]()
    if made.same:
        parts.append(done_view(f"{made.name} was made again: the same bytes in all {len(made.files)} files."))
    else:
        wrong = sum(not file["same"] for file in made.files)
        parts += [_difference(one) for one in made.differences[:SHOWN]]
        if (more := len(made.differences) - SHOWN) > 0:
            parts.append(notice_view(f"and {more} more differences: --json lists them all"))
        parts.append(error_view(f"{made.name} was made again, and {wrong} of {len(made.files)} files differ."))
        parts += [notice_view(text) for text in _about(made)]
    if made.artifact:
        parts.append(done_view(f"Kept as {made.artifact.name}."))
    return Group(*parts)


def _difference(one: Difference) -> RenderableType:
    what = f"{one.file}: {one.tensor}" if one.tensor else one.file
    return marked_view("✗", "bold red", clean(f"{what} {one.detail}"))


def _about(made: Rebuilt) -> Iterator[str]:
    kl = made.divergence
    if kl:
        yield f"KL divergence between the two: {small(kl['mean'])} nats a token, ± {small(kl['standard_error'])}."
    elif made.why_none:
        yield f"How much that matters could not be measured: {made.why_none}."
    for one in made.versions:
        yield f"{one['name']} was {one['then']}, and is {one['now'] or 'not installed'} here."
