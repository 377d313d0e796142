"""From the shell: one JSON document on stdout, the right exit code, an error with its remedy and never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lqmf.cli import main as entry
from lqmf.cli import session, shell
from tests.cli.conftest import Ran
from tests.commands import command, environment, here, lqmf

Run = Callable[..., Ran]
A, B = "demo_gguf_4bit_Q4_K_M", "demo_gguf_8bit_Q8_0"

DOCUMENTS = [
    (["parse", "quantize demo to 4 bits"], {"intent", "slots", "confidence", "reason"}),
    (["plan", "demo"], {"status", "plan", "plans"}),
    (["test", "list"], {"artifacts"}),
    (["test", "discover"], {"artifacts"}),
    (["compare", A, B], {"artifacts", "rows", "wins", "notes"}),
    (["list"], {"records"}),
    (["list", "--status", "failed", "--limit", "3"], {"records"}),
    (["show", A], {"kind", "name", "measurements"}),
    (["show"], {"kind", "name", "measurements"}),
    (["stats"], {"jobs", "artifacts", "methods"}),
    (["history"], {"history"}),
    (["verify", A, "--quick"], {"status", "artifact", "checks", "files", "unlisted", "signed_with"}),
    (["delete", B, "--force"], {"status", "deleted"}),
    (["cancel"], {"status", "cancelled"}),
    (["disk"], {"root", "folders", "free_bytes", "removable"}),
    (["config"], {"settings"}),
    (["config", "get", "log_level"], {"key", "value", "source"}),
    (["config", "set", "max_retries", "5"], {"key", "value", "source"}),
    (["config", "path"], {"path", "exists", "workspace", "reason"}),
    (["hf", "status"], {"logged_in", "source"}),
    (["hf", "logout"], {"logged_out"}),
    (["doctor"], {"healthy", "checks"}),
    (["help"], {"commands"}),
    (["help", "plan"], {"help"}),
    (["completion", "bash"], {"shell", "script"}),
    (["exit"], {"status"}),
    (["list successful experiments"], {"records"}),
    (["-c", "how are my overall statistics?"], {"jobs"}),
]
REFUSALS = [
    (["verify"], 2, "usage"),
    (["plan", "demo", "--bits", "four"], 2, "usage"),
    (["plan", "demo", "--memory", "much"], 2, "usage"),
    (["plan", "demo", "--colour"], 2, "usage"),
    (["test", A, "--quick", "--comprehensive"], 2, "usage"),
    (["quantize", "demo", "--type", "IQ2_XS", "--no-imatrix"], 2, "usage"),
    (["quantize", "demo", "--type", "Q4_K_M", "--calibration", "./nothing.txt"], 2, "usage"),
    (["quantize", "demo", "--type", "Q4_K_M", "--calibration", "/dev/null"], 2, "usage"),
    (["quantize", "demo", "--type", "auto", "--target-size", "1MB"], 2, "usage"),
    (["quantize", "demo", "--type", "auto", "--target-size", "90MB"], 2, "usage"),
    (["quantize", "demo", "--type", "auto", "--keep", "nothing=Q8_0"], 2, "usage"),
    (["quantize", "demo", "--type", "auto", "--keep", "output"], 2, "usage"),
    (["quantize", "demo", "--type", "auto", "--discard-source"], 2, "usage"),
    (["quantize", "demo", "--type", "Q4_K_M", "--adapter", "./nothing"], 1, "incomplete_model"),
    (["serve my model"], 2, "not_built"),
    (["mcp"], 2, "not_built"),
    (["api"], 2, "not_built"),
    (["hf", "bogus"], 2, "usage"),
    (["config", "bogus"], 2, "usage"),
    (["cancel", "nope"], 2, "usage"),
    (["what's the weather like in paris?"], 1, "unknown"),
    (["config", "set", "log_lvl", "debug"], 2, "settings"),
    (["verify", "nothing-like-it"], 1, "not_found"),
    (["show", "nothing-like-it"], 1, "not_found"),
    (["resume"], 1, "not_found"),
    (["compare", "demo", B], 2, "ambiguous_name"),
    (["help", "nothing"], 2, "usage"),
    ([], 2, "usage"),
]


@pytest.fixture
def shelf(make_artifact: Callable[..., Path]) -> None:
    make_artifact(A)
    make_artifact(B, "Q8_0", 8)


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(("words", "keys"), DOCUMENTS, ids=[" ".join(words) for words, _ in DOCUMENTS])
def test_with_json_stdout_is_one_document(run: Run, words: list[str], keys: set[str]) -> None:
    ran = run(*words, "--json")
    assert keys <= set(ran.document), ran.err
    assert ran.code == 0 or words == ["doctor"], ran.err


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("words", "code", "kind"), REFUSALS, ids=[" ".join(words) or "nothing" for words, _, _ in REFUSALS]
)
def test_an_error_has_its_code_a_sentence_and_a_remedy_in_both_tongues(
    run: Run, words: list[str], code: int, kind: str
) -> None:
    ran = run("--json", *words)
    error = ran.document["error"]
    assert (ran.code, error["code"]) == (code, kind)
    assert error["message"].endswith((".", "?"))
    assert error["remedy"]
    if kind == "unknown":
        return
    plain = run(*words) if words else run("--json")
    assert plain.err.startswith("✗ ") or "\n✗ " in plain.err
    assert "→ " in plain.err
    assert "Traceback" not in plain.out + plain.err


def test_an_open_question_is_exit_2_and_says_what_is_open(run: Run) -> None:
    ran = run("quantize", "demo", "--json")
    assert ran.code == 2
    assert ran.document["status"] == "needs_input"
    (question,) = ran.document["questions"]
    assert {"id", "text", "options", "default"} == set(question)
    assert question["default"] in [option["value"] for option in question["options"]]


@pytest.mark.usefixtures("shelf")
def test_yes_deletes_nothing_and_force_does(run: Run, home: Path) -> None:
    refused = run("delete", B, "--yes", "--json")
    assert (refused.code, refused.document["status"]) == (2, "needs_input")
    assert (home / "quantized-models" / B).is_dir()
    done = run("delete", B, "--force")
    assert done.code == 0
    assert [entry.name for entry in (home / "quantized-models").iterdir()] == [A]
    assert run("show", B, "--json").document["deleted_at"]


@pytest.mark.usefixtures("shelf")
def test_what_lies_elsewhere_is_not_deleted(run: Run, home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (home / "quantized-models" / A).rename(elsewhere)
    ran = run("delete", str(elsewhere), "--force", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (2, "usage")
    assert elsewhere.is_dir()


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda f: f.write_bytes(f.read_bytes()[:-1] + b"?"), "has other contents"),
        (lambda f: f.write_bytes(f.read_bytes() + b"?"), "bytes instead of"),
        (lambda f: f.unlink(), "is missing"),
    ],
)
def test_verify_names_each_file_that_is_not_as_it_was_made(
    run: Run, home: Path, damage: Callable[[Path], Any], problem: str
) -> None:
    damage(home / "quantized-models" / A / "m.gguf")
    (home / "quantized-models" / A / "planted.bin").write_bytes(b"x")
    ran = run("verify", A, "--json")
    wrong = [file for file in ran.document["files"] if file["problem"]]
    assert ran.code == 1
    assert [file["path"] for file in wrong] == ["m.gguf"]
    assert problem in wrong[0]["problem"]
    assert ran.document["unlisted"] == ["planted.bin"]
    assert "✗ m.gguf" in run("verify", A).out


@pytest.mark.usefixtures("shelf")
def test_a_manifest_that_points_outside_is_not_followed(run: Run, home: Path) -> None:
    path = home / "quantized-models" / A / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][0]["path"] = "../../../etc/passwd"
    path.write_text(json.dumps(manifest))
    ran = run("verify", A, "--json")
    assert ran.code == 1
    assert ran.document["files"][0]["problem"] == "lies outside the artifact"


def test_common_options_may_stand_before_or_after_the_command(run: Run, tmp_path: Path) -> None:
    for words in (
        ["--workspace", str(tmp_path), "--json", "config", "path"],
        ["config", "path", "--json", "--workspace", str(tmp_path)],
    ):
        assert run(*words).document["path"] == str(tmp_path / "config.json")


def test_several_words_are_a_sentence_where_they_are_no_command(run: Run) -> None:
    assert run("list", "failed", "jobs", "--json").code == 2  # an option among them: wrong usage
    assert run("list", "failed", "jobs").code == 0
    assert run("test", "it").code == 0


def test_parse_reads_a_dialogue_and_answers_a_line_each(run: Run) -> None:
    ran = run("parse", "--json", "-", stdin="quantize gpt2 to 4 bits\nnow the same in 5-bit\nexit\n")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["intent"] for line in lines] == ["quantize", "quantize", "exit"]
    assert lines[1]["slots"] == {"model": "gpt2", "bits": 5}


def test_a_broken_config_is_told_by_line_and_doctor_still_runs(run: Run, home: Path) -> None:
    (home / "config.json").write_text('{"log_level": "info",}')
    ran = run("stats", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (2, "settings")
    assert "line 1" in ran.document["error"]["message"]
    checkup = run("doctor", "--json")
    assert checkup.code == 1
    assert "settings" in [check["name"] for check in checkup.document["checks"] if check["state"] == "missing"]


def test_a_fault_of_our_own_is_a_sentence_and_the_traceback_is_in_the_log(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret token hf_abcdefghijklmnop")

    monkeypatch.setattr("lqmf.agents.memory_agent.MemoryAgent.stats", broken)
    ran = run("stats", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (1, "internal")
    log = (home / "logs" / "lqmf.log").read_text()
    assert "Traceback" in log
    assert "hf_abcdefghijklmnop" not in log
    plain = run("stats")
    assert "Traceback" not in plain.err
    assert str(home / "logs" / "lqmf.log") in plain.err.replace("\n", "").replace("    ", "")
    assert "Traceback" in run("stats", "--verbose").err


def test_a_bad_value_of_a_setting_is_named_and_no_file_is_blamed(run: Run, home: Path) -> None:
    error = run("config", "set", "max_retries", "many", "--json").document["error"]
    assert error["message"].startswith("many is no value for max_retries: input should be a valid integer")
    assert "config set max_retries" in error["remedy"]
    assert not (home / "config.json").exists()


def test_version_is_told_before_or_after_other_options(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["lqmf", "--version"])
    entry.main()
    told = capsys.readouterr().out
    assert told.startswith("lqmf ")
    assert run("--no-color", "--version").out == told


def test_help_ends_well_and_goes_to_stdout(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert "Examples:" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100


def test_run_py_and_both_modules_are_the_same_program(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    starts = [[str(root / "run.py")], ["-m", "lqmf"], ["-m", "lqmf.cli.main"]]
    for start in starts:
        told = subprocess.run([sys.executable, *start, "--version"], capture_output=True, text=True, cwd=root)
        assert (told.returncode, told.stdout[:5]) == (0, "lqmf ")


def test_a_reader_that_goes_away_is_no_fault(tmp_path: Path) -> None:
    piped = f"{sys.executable} -m lqmf --workspace {tmp_path} help | head -n 1; exit ${{PIPESTATUS[0]}}"
    told = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, env=environment(tmp_path))
    assert told.returncode in (0, 1)
    assert told.stderr == ""


def test_the_exit_code_is_that_of_the_work_whoever_stopped_reading(tmp_path: Path) -> None:
    piped = f"{sys.executable} -m lqmf --workspace {tmp_path} verify nothing 2>&1 | true; exit ${{PIPESTATUS[0]}}"
    told = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, env=environment(tmp_path))
    assert (told.returncode, told.stderr) == (1, "")


def test_bytes_that_are_no_text_and_terminals_that_know_no_marks_are_no_fault(tmp_path: Path) -> None:
    told = subprocess.run(
        command(tmp_path),
        input=b"\xff\xfe\x00 what?\nexit\n",
        capture_output=True,
        env=environment(tmp_path, LC_ALL="C", PYTHONIOENCODING="ascii"),
    )
    assert told.returncode == 1
    assert b"Traceback" not in told.stdout + told.stderr


@pytest.mark.parametrize(
    ("words", "ending", "code", "told"),
    [
        ("list", ">&-", 0, ""),
        ("list --json", ">&- <&- 2>&-", 0, ""),
        ("--version", ">/dev/full", 1, ""),
        ("list", ">/dev/full", 1, "The output could not be written"),
        ("--help", ">/dev/full", 1, "The output could not be written"),
        ("list --json", "| true", 0, ""),
    ],
)
def test_an_output_that_is_closed_or_full_ends_in_words(
    tmp_path: Path, words: str, ending: str, code: int, told: str
) -> None:
    line = f"{sys.executable} -m lqmf {words} {ending}"
    home = environment(tmp_path, LQMF_HOME=str(tmp_path))
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=home)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("shell_name", "mark"), [("bash", "complete -o"), ("zsh", "#compdef lqmf"), ("fish", "complete --command lqmf")]
)
def test_each_shell_gets_its_completion_script(run: Run, shell_name: str, mark: str) -> None:
    assert mark in run("completion", shell_name).out


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("lqmf co", ["compare", "config", "completion"]),
        ("lqmf test demo", [B, A]),
        ("lqmf quantize demo --type Q4_K", ["Q4_K_M", "Q4_K_S"]),
        ("lqmf quantize demo --type q8", ["q8_0"]),
        ("lqmf quantize demo --dev", ["--device"]),
        ("lqmf plan demo --device ", ["cpu", "gpu"]),
        ("lqmf hf log", ["login", "logout"]),
    ],
)
def test_a_shell_is_told_commands_options_artifacts_and_types(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, offered: list[str]
) -> None:
    monkeypatch.setenv(shell.COMPLETE, "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert shell.run([]) == 0
    assert capsys.readouterr().out.split() == offered


@pytest.fixture
def job(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A quantization in the middle of its work."""
    words = command(tmp_path, "quantize", "demo", "--type", "Q4_0", "--json")
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("quantized-models/.building-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    yield process
    process.kill()
    process.communicate()


def was_cancelled(job: subprocess.Popen[str], place: Path) -> None:
    """It ended with 130, said so, is recorded so, and left nothing half-made in sight."""
    out, err = job.communicate(timeout=60)
    assert (job.returncode, json.loads(out)["error"]["code"]) == (130, "cancelled"), err
    assert not [path for path in (place / "quantized-models").iterdir() if not path.name.startswith(".")]
    (record,) = json.loads(lqmf(place, "list", "--json").stdout)["records"]
    assert record["status"] == "cancelled"


@pytest.mark.slow
def test_ctrl_c_ends_a_command_in_order(job: subprocess.Popen[str], tmp_path: Path) -> None:
    os.kill(job.pid, signal.SIGINT)
    was_cancelled(job, tmp_path)


@pytest.mark.slow
def test_cancel_ends_the_job_of_another_terminal(job: subprocess.Popen[str], tmp_path: Path) -> None:
    told = lqmf(tmp_path, "cancel")
    assert told.stdout == "Cancelled: demo as Q4_0.\n"
    was_cancelled(job, tmp_path)


@pytest.mark.slow
def test_quantize_and_demo_give_the_documents_of_the_design(tmp_path: Path) -> None:
    keys = {"name", "path", "method", "bits", "type", "size_bytes", "source_size_bytes", "compression_ratio", "receipt"}
    told = json.loads(here(tmp_path, "quantize", "demo", "--type", "Q4_0,Q8_0", "--test", "none", "--json").stdout)
    assert {"status", "artifacts", "job", "artifact", "receipt"} <= set(told)
    assert [set(artifact) for artifact in told["artifacts"]] == [keys, keys]
    assert [artifact["type"] for artifact in told["artifacts"]] == ["Q4_0", "Q8_0"]
    assert told["artifact"] == told["artifacts"][0]
    demo = json.loads(here(tmp_path, "demo", "--json").stdout)
    assert demo["continuation"]
    assert demo["receipt"]["kl_divergence"]["mean"] > 0


def test_spoken_words_are_lower_case_words() -> None:
    assert all(word == word.lower() and word.isalpha() for word in session.SPOKEN)


WILD = [
    ["history", "--limit", "9" * 31],
    ["list", "--limit", "9" * 31],
    ["plan", "demo", "--context", "9" * 200],
    ["plan", "demo", "--memory", "9" * 5000],
    ["show", "\udcff\udcfe"],
    ["verify", "\udcff"],
    ["quantize it with " + "9" * 6000 + " tokens"],
]


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_no_wild_value_faults_or_spoils_the_commands_after_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setenv("STORAGE_BACKEND", backend)
    for words in WILD:
        ran = run(*words, "--json") if len(words) > 1 else run("--json", *words)
        assert ran.document.get("error", {}).get("code") != "internal", ran.err
    for words in (["list"], ["history"], ["stats"], ["history", "--json"]):
        assert run(*words).code == 0


def test_what_of_a_wish_is_not_used_is_said_in_both_tongues(run: Run) -> None:
    sentence = "plan demo in awq with flash attention"
    assert run("--json", sentence).document["not_used"] == [
        "in awq (gguf, gptq and bnb are offered)",
        "with flash attention",
    ]
    assert "I did not use: in awq (gguf, gptq and bnb are offered); with flash attention." in " ".join(
        run(sentence).err.split()
    )


@pytest.mark.parametrize(("words", "code"), [(["/help"], 0), (["/list"], 0), (["don't quantize demo"], 0), (["ps"], 0)])
def test_commands_as_other_chats_spell_them_and_a_no_are_understood(run: Run, words: list[str], code: int) -> None:
    assert run(*words).code == code


def test_a_wrong_command_is_told_with_the_nearest_one(run: Run) -> None:
    assert "Did you mean `benchmark`?" in run("bnchmrk").out
