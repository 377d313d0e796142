"""What LQMF ships beside its code: the demo model, texts, prompts, knowledge, the report's page."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
