"""The DocumentationAgent under its name: model cards are made and written in `lqmf.artifacts.card`."""

from lqmf.artifacts.card.model_card import model_card
from lqmf.artifacts.card.writing import own_prose, write

__all__ = ["model_card", "own_prose", "write"]
