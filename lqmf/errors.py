"""The error tree. Every error says what happened, why, and the next command to type.

LqmfError                      exit 1
├── UsageError                 exit 2: the command or sentence cannot be carried out as said
│   ├── NeedsInput             exit 2: a question would have to be asked, and nobody can answer
│   ├── AmbiguousName          exit 2: several artifacts match
│   ├── NotBuilt               exit 2: this version does not have that part
│   └── SettingsError          exit 2: config.json, .env or the environment holds something wrong
├── NotFound                   an artifact, job or model that LQMF does not know
├── ModelError                 the model itself cannot be used
│   ├── ModelNotFound          no such repository, revision or folder
│   ├── GatedModel             licence to accept, or a token that has no access
│   ├── UnsafeFormat           pickled weights only, path traversal, escaping links
│   ├── RemoteCodeRefused      the model wants its own Python run, and the user has not allowed it
│   ├── IncompleteModel        a shard or the tokenizer is missing
│   └── UnsupportedModel       the backend does not know the architecture or the tokenizer
├── TransferError              bytes that did not arrive
│   ├── Offline                (transient) no network, or HF_HUB_OFFLINE is set
│   ├── ConnectionBroken       (transient) cut, timed out, truncated body
│   │   └── HubSilent          connected, and no answer in time: not tried again
│   ├── HubUnavailable         (transient) 5xx
│   │   └── NotTheHub          an answer that no Hub gives
│   ├── RateLimited            (transient) 429; `retry_after_seconds` where the server said
│   ├── Unauthorized           401: a token is missing or wrong
│   └── IntegrityError         right size, wrong bytes; or a wrong ETag
├── ResourceError
│   ├── DoesNotFit             foreseen: what was wished does not fit the memory or the disk
│   ├── DiskFull
│   ├── OutOfMemory
│   └── GpuOutOfMemory         the executor re-plans on the CPU where `cpu_fallback` allows
├── JobError
│   ├── JobCancelled           exit 130
│   ├── WorkerDied             killed or aborted; the detail says by what
│   └── ToolchainError         llama.cpp or its converter is missing, out of step, or does not run here
├── ProviderError              an LLM provider gave no answer that can be used
│   ├── ProviderNotReady       its key or its library is missing
│   ├── KeyRefused             401, 403
│   ├── BadRequest             400 and other refusals that no retry heals
│   ├── ProviderBusy           (transient) 429; `retry_after_seconds` where the far end said
│   ├── ProviderUnavailable    (transient) 5xx, no connection, cut, too slow
│   ├── BadAnswer              invalid JSON, wrong schema, empty, a refusal, cut short, a tool call
│   └── BudgetSpent            the day's calls, tokens or cost are used up
├── MeasurementError           what could not be measured, and why
└── StoreError                 the store cannot be read or written

Foreign errors are translated once, at the boundary, by type. Errors cross the worker boundary as JSON.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from lqmf.records import Question

FULL = tuple(getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name))


class LqmfError(Exception):
    """The root of the tree. `message` says what happened and why; `remedy` is the next command to type or step to
    take."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False  # may heal by itself: worth another attempt

    def __init__(self, message: str, remedy: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details

    def to_json(self) -> dict[str, Any]:
        """Return the `error` object of a JSON answer and of a worker's last event."""
        return {"code": self.code, "message": self.message, "remedy": self.remedy, **self.details}


class UsageError(LqmfError):
    code = "usage"
    exit_code = 2


class NeedsInput(UsageError):
    code = "needs_input"

    def __init__(self, questions: Sequence[Question]) -> None:
        super().__init__(
            f"This needs an answer first: {questions[0].text}",
            "Say it in the command, or add --yes to take the recommended answers.",
        )
        self.questions = tuple(questions)


class AmbiguousName(UsageError):
    code = "ambiguous_name"

    def __init__(self, name: str, matches: Sequence[str]) -> None:
        super().__init__(
            f"'{name}' matches {len(matches)} artifacts: {', '.join(matches)}.",
            "Type one of these names in full.",
            matches=list(matches),
        )


class NotBuilt(UsageError):
    code = "not_built"


class SettingsError(UsageError):
    code = "settings"


class NotFound(LqmfError):
    code = "not_found"


class ModelError(LqmfError):
    code = "model"


class ModelNotFound(ModelError):
    code = "model_not_found"


class GatedModel(ModelError):
    code = "gated_model"


class UnsafeFormat(ModelError):
    code = "unsafe_format"


class RemoteCodeRefused(ModelError):
    code = "remote_code_refused"


class IncompleteModel(ModelError):
    code = "incomplete_model"


class UnsupportedModel(ModelError):
    code = "unsupported_model"


class TransferError(LqmfError):
    code = "transfer"


class Offline(TransferError):
    code = "offline"
    transient = True


class ConnectionBroken(TransferError):
    code = "connection_broken"
    transient = True


class HubUnavailable(TransferError):
    code = "hub_unavailable"
    transient = True


class HubSilent(ConnectionBroken):
    code = "hub_silent"
    transient = False


class NotTheHub(HubUnavailable):
    code = "not_the_hub"
    transient = False


class RateLimited(TransferError):
    code = "rate_limited"
    transient = True

    @property
    def retry_after_seconds(self) -> float | None:
        """Return the seconds to wait that the server asked for; None where it did not say."""
        return self.details.get("retry_after_seconds")


class Unauthorized(TransferError):
    code = "unauthorized"


class IntegrityError(TransferError):
    code = "integrity"


class ResourceError(LqmfError):
    code = "resource"


class DoesNotFit(ResourceError):
    code = "does_not_fit"


class DiskFull(ResourceError):
    code = "disk_full"


class OutOfMemory(ResourceError):
    code = "out_of_memory"


class GpuOutOfMemory(ResourceError):
    code = "gpu_out_of_memory"


class JobError(LqmfError):
    code = "job"


class JobCancelled(JobError):
    code = "cancelled"
    exit_code = 130


class WorkerDied(JobError):
    code = "worker_died"


class ToolchainError(JobError):
    code = "toolchain"


class ProviderError(LqmfError):
    code = "provider"


class ProviderNotReady(ProviderError):
    code = "provider_not_ready"


class KeyRefused(ProviderError):
    code = "key_refused"


class BadRequest(ProviderError):
    code = "bad_request"


class ProviderBusy(ProviderError):
    code = "provider_busy"
    transient = True


class ProviderUnavailable(ProviderError):
    code = "provider_unavailable"
    transient = True


class BadAnswer(ProviderError):
    """`input_tokens` and `output_tokens` are in `details` where the far end counted them: they are paid for."""

    code = "bad_answer"


class BudgetSpent(ProviderError):
    code = "budget_spent"


class MeasurementError(LqmfError):
    code = "measurement"


class StoreError(LqmfError):
    code = "store"


def of_system(error: OSError, details: str = "") -> LqmfError:
    """Return the LqmfError for an error of the operating system: DiskFull for a full disk, else the root type with
    `details` as remedy."""
    if error.errno in FULL:
        return DiskFull("The disk is full.", "`lqmf disk` shows what can be removed.")
    return LqmfError(f"The system refused: {error}.", details or "`lqmf doctor` checks the workspace.")


def _tree(root: type[LqmfError]) -> dict[str, type[LqmfError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


def from_json(document: Mapping[str, Any]) -> LqmfError:
    """Return the error that `to_json` wrote, in its own type; an unknown code gives the root type."""
    fields = dict(document)
    cls = _tree(LqmfError).get(fields.pop("code", ""), LqmfError)
    error = cls.__new__(cls)
    LqmfError.__init__(error, fields.pop("message", ""), fields.pop("remedy", ""), **fields)
    return error
