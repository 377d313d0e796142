"""The house keeps its order: rooms import one another in one direction, and each room keeps to what it is for."""

from __future__ import annotations

import ast

import pytest

from tests import rooms

TERMINAL = {"typer", "rich", "prompt_toolkit"}  # libraries of the terminal
DRAWERS = {"cli", "report"}  # rooms that may draw with them


def test_no_room_and_no_file_imports_itself_in_a_circle():
    assert rooms.circle(rooms.rooms()) == []
    assert rooms.circle(rooms.files()) == []


def test_no_room_imports_one_above_it():
    assert rooms.upward() == []


def test_every_room_has_its_place_and_every_place_its_room():
    found = set(rooms.rooms())
    assert found <= set(rooms.ORDER)
    assert set(rooms.ORDER) <= found


def test_a_circle_and_an_arrow_upward_are_seen(monkeypatch):
    found = {**rooms.files(), "lqmf.records": {"lqmf.cli.render"}}
    monkeypatch.setattr(rooms, "files", lambda: found)
    assert "lqmf.records -> lqmf.cli.render" in rooms.upward()
    assert {"records", "cli"} <= set(rooms.circle(rooms.rooms()))


def test_agents_do_not_import_one_another():
    agents = {name: imported for name, imported in rooms.files().items() if name.startswith("lqmf.agents.")}
    assert {name: imported & set(agents) for name, imported in agents.items() if imported & set(agents)} == {}


@pytest.mark.parametrize("room", sorted(set(rooms.ORDER) - DRAWERS))
def test_only_the_terminal_draws(room):
    paths = [path for name, path in rooms.modules().items() if rooms.room(name) == room]
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_bytes()))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} & TERMINAL == set()


def test_the_picture_in_the_guide_is_the_house_as_it_is():
    assert rooms.drawn() == (rooms.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
