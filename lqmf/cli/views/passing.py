"""What is shown in passing while an operation runs: its records, plans, advice and notices."""

from __future__ import annotations

from typing import Any

from lqmf.cli import registry
from lqmf.cli.views.advice import advice_view
from lqmf.cli.views.messages import notice_view
from lqmf.cli.views.plans import plans_view
from lqmf.events import Notice
from lqmf.operations.result import Result
from lqmf.records import Advice, QuantizationPlan


def view_of(shown: Any) -> Any:
    """Return the view of a record; what is a view already, as it is."""
    match shown:
        case [QuantizationPlan(), *_]:
            return plans_view(shown)
        case Advice():
            return advice_view(shown)
        case Notice():
            return notice_view(shown.text, warning=shown.level == "warning")
        case Result():
            return registry.view_of(shown)(shown)
    return shown
