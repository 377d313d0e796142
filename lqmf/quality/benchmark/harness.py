"""Runs named tasks of EleutherAI's lm-evaluation-harness on an engine. Knows lm_eval and an engine; no artifacts.

Tasks are the harness's own task files, and data sets come from the Hugging Face cache: nothing is fetched. Needs the
extra `evaluate`; lm_eval, which imports datasets, is imported when a task is run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lqmf.engines.local import LocalEngine
from lqmf.engines.promise import Sampling
from lqmf.errors import MeasurementError, NotBuilt, NotFound, UsageError
from lqmf.quality.receipt.perplexity import log_softmax
from lqmf.workspace import nearest

INSTALL = "pip install 'lqmf[evaluate]'"
LONGEST_ANSWER = 256  # tokens, where a task does not say: lm_eval's own default
Tell = Callable[[], None]


def require() -> None:
    """Raise NotBuilt, with the command that installs the harness, where it is missing. Imports nothing."""
    if importlib.util.find_spec("lm_eval") is None:
        raise NotBuilt("Named tasks are run by lm-evaluation-harness, which is not installed.", INSTALL)


def names(said: str) -> list[str]:
    """Return the tasks typed in `said`, with commas between: names of the harness, or absolute paths of YAML files.
    Raises UsageError for no task, NotFound for a file that is missing."""
    found = list(dict.fromkeys(part.strip() for part in said.split(",") if part.strip()))
    if not found:
        raise UsageError("No task was named.", "lqmf benchmark NAME --tasks hellaswag,arc_easy")
    if missing := [name for name in found if is_file(name) and not Path(name).is_file()]:
        raise NotFound(f"There is no file {missing[0]}.", "Name a task of the harness, or a YAML file of one.")
    return [str(Path(name).absolute()) if is_file(name) else name for name in found]


def is_file(task: str) -> bool:
    """Tell whether `task` is the path of a YAML file."""
    return task.endswith((".yaml", ".yml"))


def load(tasks: Sequence[str]) -> Any:
    """Return the tasks with their data, as `lm_eval.evaluator.evaluate` takes them. Raises UsageError for a name that
    the harness does not have, NotFound where a task's data is not in the cache, NotBuilt where a task needs another
    package."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=not all(is_file(task) for task in tasks))
    for task in tasks:
        if not is_file(task) and task not in manager.all_tasks:
            guess = nearest(task, manager.all_tasks)
            hint = f"Did you mean '{guess}'?" if guess else "`lm-eval ls tasks` lists them all."
            raise UsageError(f"lm-evaluation-harness has no task '{task}'.", hint)
    try:
        return manager.load(list(tasks))
    except ModuleNotFoundError as error:
        raise NotBuilt(f"A task needs the package {error.name}.", f"pip install {error.name}") from error
    except (OSError, ValueError) as error:  # datasets' errors: offline, not in the cache, no such split
        raise _no_data(manager, tasks, error) from error


def _no_data(manager: Any, tasks: Sequence[str], error: Exception) -> NotFound:
    sets = list(dict.fromkeys(found for task in tasks for found in _data_sets(manager, task)))
    told = [one for one in sets if one[0] in str(error)] or sets
    first = " ".join(str(error).split())[:200]
    message = f"The data of {', '.join(tasks)} is not in the Hugging Face cache: {first}"
    if not told:
        return NotFound(message, "Check the task's dataset_path.")
    calls = "; ".join(f"load_dataset({', '.join(repr(part) for part in one if part)})" for one in told[:3])
    return NotFound(message, f'Fetch it once, online: python -c "from datasets import load_dataset; {calls}"')


def _data_sets(manager: Any, task: str) -> Iterator[tuple[str, str | None]]:
    """(dataset_path, dataset_name) of a task, or of every task of a group or tag."""
    waiting, seen = [task], {task}
    while waiting:
        name = waiting.pop()
        cfg = (manager.task_index[name].cfg if name in manager.task_index else None) or {}
        if cfg.get("dataset_path"):
            yield str(cfg["dataset_path"]), cfg.get("dataset_name")
        parts = cfg["task"] if isinstance(cfg.get("task"), list) else []
        named = [part if isinstance(part, str) else str(part.get("task") or "") for part in parts]
        tagged = [other for other, entry in manager.task_index.items() if name in (entry.tags or ())]
        fresh = [each for each in (*named, *tagged) if each not in seen]
        seen.update(fresh)
        waiting += fresh


def run(engine: LocalEngine, loaded: Any, limit: int | None, tell: Tell = lambda: None) -> dict[str, Any]:
    """Return the scores of the loaded tasks, on `limit` documents of each task (None: all):

        {task: {"documents", "shots", "metrics": {metric: {"value", "standard_error" or null, "higher_is_better"}}}}

    Each call gives the same scores: generation is greedy, or has a fixed seed where a task samples. `tell` is called
    after each request. Raises MeasurementError, UsageError for a task that would run the model's code.
    """
    from lm_eval.evaluator import evaluate

    for task in loaded["tasks"].values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=1234)  # lm_eval's own default
    try:
        found = evaluate(model(engine, tell), loaded, limit=limit, log_samples=False, bootstrap_iters=1000)
    except ValueError as error:  # marked as unsafe, multimodal
        raise UsageError(f"lm-evaluation-harness refuses: {error}", "Leave that task out.") from error
    if found is None:
        raise MeasurementError("lm-evaluation-harness gave no result.", "Name another task.")
    return {name: _task(name, scores, found) for name, scores in found["results"].items()}


def _task(name: str, scores: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for key, value in scores.items():
        metric, comma, filtered = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        error = scores.get(f"{metric}_stderr,{filtered}")
        metrics[metric if filtered == "none" else f"{metric}, {filtered}"] = {
            "value": float(value),
            "standard_error": float(error) if isinstance(error, int | float) and error == error else None,
            "higher_is_better": (found.get("higher_is_better") or {}).get(name, {}).get(metric, True),
        }
    documents = (found.get("n-samples") or {}).get(name) or {}
    return {"documents": documents.get("effective"), "shots": found["n-shot"].get(name), "metrics": metrics}


# ---------------------------------------------------------------- an engine as the harness wants it


def model(engine: LocalEngine, tell: Tell = lambda: None) -> Any:
    """Return `engine` as an `lm_eval.api.model.LM`: loglikelihood, loglikelihood_rolling and generate_until."""
    from lm_eval.api.model import TemplateLM

    class EngineLM(TemplateLM):  # type: ignore[misc]
        """An LM whose answers come from logits and greedy generation of the Engine promise."""

        @property
        def eot_token_id(self) -> int:
            return _beginning(engine)

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **more: Any) -> list[int]:
            return engine.tokenize(string, special=True)

        def _loglikelihood_tokens(self, requests: Sequence[Any], **more: Any) -> list[tuple[float, bool]]:
            begin = engine.tokenize("", bos=True)  # what the harness puts before an empty context may be just that
            return [
                told(_likelihood(engine, before if before[:1] == begin else [*begin, *before], after))
                for _, before, after in requests
            ]

        def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
            return [told(_rolling(engine, request.args[0])) for request in requests]

        def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
            return [told(_continued(engine, *request.args)) for request in requests]

        def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
            return engine.render(chat_history, add_generation_prompt=add_generation_prompt)

    def told(value: Any) -> Any:
        tell()
        return value

    return EngineLM()


def _beginning(engine: LocalEngine) -> int:
    """The token that stands before a text: the model's own beginning token, else its first end token, as in GPT-2."""
    if begin := engine.tokenize("", bos=True):
        return begin[0]
    found = next((token for token in range(engine.vocabulary) if engine.ends(token)), None)
    return engine.tokenize("\n")[0] if found is None else found


def _likelihood(engine: LocalEngine, before: Sequence[int], after: Sequence[int]) -> tuple[float, bool]:
    """log P(after | before), natural, and whether greedy decoding would give `after`. A window that is too long loses
    its beginning."""
    import numpy as np

    if not after:
        return 0.0, True
    window = [*before, *after][-(engine.context_length + 1) :]
    targets = window[1:][-len(after) :]
    (logits,) = engine.logits([window[:-1]], first=len(window) - 1 - len(targets))
    rows = log_softmax(logits)
    chosen = rows[np.arange(len(targets)), targets]
    return float(chosen.sum()), bool((rows.argmax(axis=-1) == targets).all())


def _rolling(engine: LocalEngine, text: str) -> float:
    """log P(text), natural: every token once, after as much of the text before it as the context holds."""
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    windows = get_rolling_token_windows(engine.tokenize(text), _beginning(engine), engine.context_length - 1, 1)
    return sum(_likelihood(engine, *make_disjoint_window(window))[0] for window in windows)


def _continued(engine: LocalEngine, prompt: str, wishes: Mapping[str, Any]) -> str:
    """The continuation of `prompt`, up to a stop string; a prompt that is too long loses its beginning."""
    until = wishes.get("until") or []
    stop = (until,) if isinstance(until, str) else tuple(until)
    most = min(int(wishes.get("max_gen_toks") or LONGEST_ANSWER), engine.context_length // 2)
    temperature = float(wishes.get("temperature") or 0.0) if wishes.get("do_sample") else 0.0
    tokens = [*engine.tokenize("", bos=True), *engine.tokenize(prompt, special=True)][-(engine.context_length - most) :]
    sampling = Sampling(max_tokens=most, temperature=temperature, top_p=float(wishes.get("top_p") or 1.0), stop=stop)
    return "".join(piece.text for piece in engine.generate(tokens, sampling))
