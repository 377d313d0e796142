"""Measures how far an encoder's states are from its source's: cosines of each text's embedding and of each token's
state.

A text's embedding is the mean of its tokens' last hidden states (Reimers and Gurevych, 2019, arXiv:1908.10084). The
meaning of a cosine depends on the model: in many models any two texts are close, so the mean cosine between different
texts' embeddings in the source is reported too. Knows states; no engine and no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lqmf.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class SimilarityMeter:
    """Running totals of cosines: add texts, and read the totals at any moment. Keeps one number of each token, and two
    embeddings of each text."""

    def __init__(self) -> None:
        self._sources: list[NDArray[np.float64]] = []
        self._artifacts: list[NDArray[np.float64]] = []
        self._tokens: list[NDArray[np.float64]] = []

    @property
    def tokens(self) -> int:
        """Return the number of tokens whose states were compared."""
        return sum(part.size for part in self._tokens)

    def add(self, source: NDArray[np.float32], artifact: NDArray[np.float32]) -> None:
        """Count the states (T, H) of one text from source and artifact. Raises MeasurementError when a state is NaN or
        infinite, or the shapes differ."""
        import numpy as np

        for name, states in (("source", source), ("artifact", artifact)):
            if not np.isfinite(states).all():
                raise MeasurementError(
                    f"The {name} gives states that are not numbers (NaN or infinite).",
                    "The file is damaged, or its weights overflow in this type: lqmf verify NAME, then another --type.",
                )
        if source.shape != artifact.shape:
            message = f"The artifact's states are {artifact.shape}, those of its source {source.shape}."
            raise MeasurementError(
                message, "Give the model that the artifact was made from: lqmf test NAME --base MODEL"
            )
        p, q = source.astype(np.float64), artifact.astype(np.float64)
        self._tokens.append(_cosine(p, q))
        self._sources.append(p.mean(axis=0))
        self._artifacts.append(q.mean(axis=0))

    def similarity(self) -> dict[str, Any]:
        """Return the receipt's field {"embedding_cosine": {"mean", "min", "between_texts"}, "token_cosine": {"mean",
        "p1", "min"}, "texts"}. `between_texts` is None for a single text."""
        import numpy as np

        p, q, tokens = np.stack(self._sources), np.stack(self._artifacts), np.concatenate(self._tokens)
        texts = _cosine(p, q)
        embedding = {"mean": float(texts.mean()), "min": float(texts.min()), "between_texts": _between(p)}
        token = {"mean": float(tokens.mean()), "p1": float(np.percentile(tokens, 1)), "min": float(tokens.min())}
        return {"embedding_cosine": embedding, "token_cosine": token, "texts": len(texts)}


def _cosine(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cosine of each row of `p` with that of `q`, (N, H) and (N, H) to (N,); 0 where either is zero throughout."""
    import numpy as np

    lengths = np.linalg.norm(p, axis=-1) * np.linalg.norm(q, axis=-1)
    found: NDArray[np.float64] = np.divide((p * q).sum(axis=-1), lengths, out=np.zeros(len(p)), where=lengths > 0)
    return found


def _between(embeddings: NDArray[np.float64]) -> float | None:
    """The mean cosine of each two different rows (N, H)."""
    import numpy as np

    count = len(embeddings)
    if count < 2:
        return None
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    unit = np.divide(embeddings, lengths, out=np.zeros_like(embeddings), where=lengths > 0)
    total, same = float(np.square(unit.sum(axis=0)).sum()), float(np.square(unit).sum())
    return (total - same) / (count * (count - 1))
