"""How people say how long: `90s`, `15m`, `24h`, `30d`."""

import re
from datetime import timedelta

from jan.errors import InvalidRequest

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
MAX_DAYS = 36_500


def parse(text: str, *, param: str) -> timedelta:
    """Read a duration.

    Raises:
        InvalidRequest: it is none, or longer than a century.
    """
    match = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if match:
        duration = timedelta(**{UNITS[match[2]]: int(match[1])})
        if duration.days <= MAX_DAYS:
            return duration
    raise InvalidRequest(f"`{text}` is not a duration such as 24h or 30d.", param=param)
