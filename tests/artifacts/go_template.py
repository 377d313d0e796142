"""Renders templates for dialogues by Go's own text/template, as Ollama does; needs `go` (Debian: golang-go)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pytest

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed (Debian: golang-go)")

# Ollama's template.go (2026) hands a template the messages in place and the system messages joined by an empty line.
PROGRAM = """package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type Message struct{ Role, Content string }
type Task struct {
	Template string
	Messages []*Message
}

func main() {
	var tasks []Task
	if err := json.NewDecoder(os.Stdin).Decode(&tasks); err != nil {
		panic(err)
	}
	texts := []string{}
	for _, task := range tasks {
		var system []string
		for _, one := range task.Messages {
			if one.Role == "system" {
				system = append(system, one.Content)
			}
		}
		var text strings.Builder
		made := template.Must(template.New("").Option("missingkey=zero").Parse(task.Template))
		values := map[string]any{"System": strings.Join(system, "\\n\\n"), "Messages": task.Messages}
		if err := made.Execute(&text, values); err != nil {
			panic(err)
		}
		texts = append(texts, text.String())
	}
	json.NewEncoder(os.Stdout).Encode(texts)
}
"""


@lru_cache(maxsize=1)
def _renderer() -> Path:
    folder = Path(tempfile.gettempdir()) / f"lqmf-go-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    (folder / "render.go").write_text(PROGRAM)
    environment = {**os.environ, "GOFLAGS": "", "GO111MODULE": "off", "GOCACHE": str(folder / "cache")}
    subprocess.run(["go", "build", "-o", "render", "render.go"], cwd=folder, env=environment, check=True)
    return folder / "render"


def rendered(tasks: Sequence[tuple[str, Sequence[dict[str, str]]]]) -> list[str]:
    """Return the text of each (template, messages)."""
    asked = [{"Template": template, "Messages": list(messages)} for template, messages in tasks]
    done = subprocess.run([_renderer()], input=json.dumps(asked), capture_output=True, text=True, check=True)
    texts: list[str] = json.loads(done.stdout)
    return texts
