"""One line of comma-separated values, as Go's csv reader splits option values.

`type=image,"name=a:1,b:2"` has two fields. Quotes are only allowed around a whole field, and are
doubled inside of it.
"""

from __future__ import annotations

from viaduct.base.errors import UsageError


def fields(line: str, *, comma: str = ",") -> list[str]:
    """The fields of `line`. Raises `UsageError` for an empty line and for stray quotes."""
    if not line:
        raise UsageError("an empty value cannot be read as a list of fields")
    out: list[str] = []
    position = 0
    while True:
        if line.startswith('"', position):
            text, position = _quoted(line, position, comma)
        else:
            end = line.find(comma, position)
            end = len(line) if end < 0 else end
            text, position = line[position:end], end
            if '"' in text:
                raise _broken(line, 'a bare " stands in an unquoted field')
        out.append(text)
        if position >= len(line):
            return out
        position += len(comma)


def _quoted(line: str, position: int, comma: str) -> tuple[str, int]:
    text = ""
    position += 1
    while True:
        end = line.find('"', position)
        if end < 0:
            raise _broken(line, 'a closing " is missing')
        text += line[position:end]
        position = end + 1
        if line.startswith('"', position):
            text += '"'
            position += 1
        elif position >= len(line) or line.startswith(comma, position):
            return text, position
        else:
            raise _broken(line, 'a quoted field goes on after its closing "')


def _broken(line: str, why: str) -> UsageError:
    return UsageError(f"cannot split {line!r}: {why}", hint='quote a whole field: "key=a,b"')
