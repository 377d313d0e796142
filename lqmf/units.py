"""Figures as people write them: sizes, times, shares, rates. File sizes count KB, MB, GB in powers of 1000 and KiB,
MiB, GiB in powers of 1024; memory sizes count both in powers of 1024, as cards are sold. Knows nothing else.
"""

from __future__ import annotations

import re

from lqmf.errors import UsageError

_SIZE = re.compile(r"\s*(\d{1,15}(?:[.,]\d{1,15})?)\s*([kmgt]?)(i?)(b?)\s*", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
GB, GIB = 10**9, 1 << 30
MOST_BYTES, MOST_TOKENS = 10**15, 10**9  # what is larger is a slip of the pen


def parse_file_size(text: str) -> int:
    """Return the bytes of a file size ("4.2GB", "700 MB", "1.5GiB", "12345"). Raises UsageError."""
    number, power, binary = _parts(text)
    return _in_bounds(text, round(number * float(1024 if binary else 1000) ** power))


def parse_memory(text: str) -> int:
    """Return the bytes of a memory size ("8GB", "8 GiB", "8g"; a bare number is GB), in powers of 1024. Raises
    UsageError."""
    number, power, _ = _parts(text)
    if text.strip().replace(".", "", 1).isdigit():
        power = _POWERS["g"]
    return _in_bounds(text, round(number * 1024.0**power))


def parse_tokens(text: str) -> int:
    """Return the number of tokens that `text` says ("4096"; "16k" is 16384). Raises UsageError."""
    found = re.fullmatch(r"\s*(\d{1,12})\s*(k?)\s*", text, re.IGNORECASE)
    tokens = int(found[1]) * (1024 if found[2] else 1) if found else 0
    if not 0 < tokens <= MOST_TOKENS:
        raise UsageError(f"'{short(text)}' is no number of tokens.", "Write it like 4096 or 16k.")
    return tokens


def _parts(text: str) -> tuple[float, int, bool]:
    found = _SIZE.fullmatch(text)
    if not found or float(found[1].replace(",", ".")) == 0:
        raise _no_size(text)
    return float(found[1].replace(",", ".")), _POWERS[found[2].lower()], bool(found[3])


def _in_bounds(text: str, size_bytes: int) -> int:
    if size_bytes > MOST_BYTES:
        raise _no_size(text)
    return size_bytes


def _no_size(text: str) -> UsageError:
    return UsageError(f"'{short(text)}' is no size.", "Write it like 8GB, 700MB or 1.5GiB.")


def short(text: str) -> str:
    """Return `text` for an error message; a text of more than 40 characters is cut."""
    return text if len(text) <= 40 else f"{text[:36]}.."


def file_size(size_bytes: float | None) -> str:
    """Return `size_bytes` for people: "4.2 GB", in powers of 1000; "-" for None."""
    return _shown(size_bytes, 1000)


def memory_size(size_bytes: float | None) -> str:
    """Return `size_bytes` of memory for people: "7.9 GB", in powers of 1024; "-" for None."""
    return _shown(size_bytes, 1024)


def memory_pair(gpu_bytes: float, ram_bytes: float) -> str:
    """Return memory on a GPU and in RAM, both in GiB as cards are sold, for a column of a table: "5.2 + 0.5 GB"."""
    return f"{gpu_bytes / GIB:.1f} + {ram_bytes / GIB:.1f} GB"


def _shown(size_bytes: float | None, base: int) -> str:
    if size_bytes is None:
        return "-"
    value, unit = float(size_bytes), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if abs(value) < base:
            break
        value, unit = value / base, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """Return `seconds` for people: "0.4 s", "42 s", "3 min 05 s", "2 h 10 min"; "-" for None."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def small(value: float | None) -> str:
    """Return a small number with three significant digits, as KL divergence needs it; "-" for None."""
    if value is None:
        return "-"
    if 0 < abs(value) < 1e-5:
        return f"{value:.1e}"
    digits = next((digits for limit, digits in ((0.001, 6), (0.01, 5), (1, 4)) if abs(value) < limit), 2)
    return f"{value:.{digits}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share, 0..1, as percent with `digits` decimals; "-" for None."""
    return "-" if share is None else f"{share * 100:.{digits}f} %"


def milliseconds(seconds: float) -> str:
    """Return a short time, given in seconds, as milliseconds: "8 ms"."""
    return f"{seconds * 1000:,.0f} ms"


def rate(per_second: float | None) -> str:
    """Return a number of tokens a second, without the unit: "1,884", "9.4"; "-" for None."""
    return "-" if per_second is None else f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"
