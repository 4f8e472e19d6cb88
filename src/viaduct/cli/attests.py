"""`--attest`, `--provenance` and `--sbom`: which attestations are asked for."""

from __future__ import annotations

from viaduct.base.errors import UsageError
from viaduct.cli import csvline

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


def asked(attest: tuple[str, ...], *, provenance: str, sbom: str) -> dict[str, str]:
    """The types of attestation that are wanted, each with the option that says so. Of several
    options for one type the last one counts, the short ones after `--attest`.

    Raises `UsageError` for what cannot be read.
    """
    wanted: dict[str, str] = {}
    given = [(value, f"--attest {value}") for value in attest]
    for kind, value in (("provenance", provenance), ("sbom", sbom)):
        if value:
            given.append((f"type={kind},{_spelled_out(value)}", f"--{kind}={value}"))
    for value, option in given:
        kind, disabled = _read(value)
        wanted.pop(kind, None)
        if not disabled:
            wanted[kind] = option
    return wanted


def _spelled_out(value: str) -> str:
    if value in _TRUE or value in _FALSE:
        return f"disabled={'false' if value in _TRUE else 'true'}"
    return value


def _read(value: str) -> tuple[str, bool]:
    kind, disabled = "", False
    for field in csvline.fields(value):
        key, equals, text = field.partition("=")
        key = key.strip().lower()
        if not equals or (key == "disabled" and text not in _TRUE | _FALSE):
            raise UsageError(f"invalid value {field}", hint="like type=provenance,mode=max")
        if key == "type":
            kind = text
        elif key == "disabled":
            disabled = text in _TRUE
    if not kind:
        raise UsageError("attestation type not specified", hint="like type=provenance,mode=max")
    return kind, disabled
