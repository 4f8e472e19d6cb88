"""`--call`: questions about a Dockerfile, answered without a build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import Canceled, RegistryError, ViaductError
from viaduct.dockerfile import lower as lowering
from viaduct.dockerfile import outline, parse
from viaduct.dockerfile.lint import report as reports
from viaduct.dockerfile.lint.run import Report
from viaduct.engine import checks
from viaduct.engine.request import BuildResult
from viaduct.engine.resolver import EngineResolver
from viaduct.oci import platform as platforms

if TYPE_CHECKING:
    from viaduct.dockerfile.options import Lowered, LowerOptions
    from viaduct.dockerfile.syntax import Document
    from viaduct.engine.inputs import Inputs
    from viaduct.engine.request import BuildRequest
    from viaduct.engine.shop import Shop


def answer(shop: Shop, request: BuildRequest, inputs: Inputs, options: LowerOptions) -> BuildResult:
    """What `request.call` asks for, as text or JSON. Raises `ViaductError`."""
    if request.call == "check":
        return _check(shop, request, inputs, options)
    if request.call == "describe":
        text = outline.describe_json() if request.call_json else outline.describe_text()
        return BuildResult(report=text)
    document = parse.parse(inputs.dockerfile)
    if request.call == "targets":
        if request.call_json:
            return BuildResult(report=outline.targets_json(document))
        return BuildResult(report=outline.targets_text(document))
    found = _lower(shop, request, inputs, document, options).outline
    if request.call_json:
        return BuildResult(report=outline.outline_json(found, inputs.dockerfile))
    return BuildResult(report=outline.outline_text(found))


def _check(shop: Shop, request: BuildRequest, inputs: Inputs, options: LowerOptions) -> BuildResult:
    """Everything that can be said, also of a Dockerfile that cannot be built."""
    found, failure = Report(()), None
    # Without a target all stages are meant.
    options = msgspec.structs.replace(options, all_stages=not request.target)
    try:
        document = parse.parse(inputs.dockerfile)
    except ViaductError as error:
        failure = error
        found = checks.before(inputs.dockerfile, error)
    else:
        leg = None
        try:
            leg = _lower(shop, request, inputs, document, options)
        except Canceled:
            raise
        except ViaductError as error:
            # An unreachable registry takes nothing but the facts about its images away.
            if not (isinstance(error, RegistryError) and not error.status):
                failure = error
        try:
            found = checks.findings(shop, request, inputs, document, leg, failure=failure)
        except ViaductError as error:
            failure = error
        failure = failure or found.failure()
    if request.call_json:
        text = reports.json_text(found, inputs.dockerfile, failure)
    else:
        text = reports.text(found, failure)
    return BuildResult(report=text, status=reports.status(found, failure), failure=failure)


def _lower(
    shop: Shop,
    request: BuildRequest,
    inputs: Inputs,
    document: Document,
    options: LowerOptions,
) -> Lowered:
    platform = request.platforms[0] if request.platforms else platforms.native()
    return lowering.lower(document, options, platform, EngineResolver(shop, inputs))
