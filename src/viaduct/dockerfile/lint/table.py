"""All build checks, in the order in which their pages are listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.dockerfile.lint.rules.casing import (
    CONSISTENT_INSTRUCTION_CASING,
    FROM_AS_CASING,
    STAGE_NAME_CASING,
)
from viaduct.dockerfile.lint.rules.from_platform import (
    FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    INVALID_BASE_IMAGE_PLATFORM,
    REDUNDANT_TARGET_PLATFORM,
)
from viaduct.dockerfile.lint.rules.hardcoded_architecture import HARDCODED_ARCHITECTURE
from viaduct.dockerfile.lint.rules.image_config import (
    EXPOSE_INVALID_FORMAT,
    EXPOSE_PROTO_CASING,
    JSON_ARGS_RECOMMENDED,
    MULTIPLE_INSTRUCTIONS_DISALLOWED,
    SECRETS_USED_IN_ARG_OR_ENV,
)
from viaduct.dockerfile.lint.rules.naming_mismatch import ARCHITECTURE_NAMING_MISMATCH
from viaduct.dockerfile.lint.rules.notation import (
    INVALID_DEFINITION_DESCRIPTION,
    LEGACY_KEY_VALUE_FORMAT,
    MAINTAINER_DEPRECATED,
    NO_EMPTY_CONTINUATION,
)
from viaduct.dockerfile.lint.rules.paths import COPY_IGNORED_FILE, WORKDIR_RELATIVE_PATH
from viaduct.dockerfile.lint.rules.platform_args import (
    PLATFORM_ARG_DEFAULT,
    UNDECLARED_PLATFORM_ARG,
)
from viaduct.dockerfile.lint.rules.platform_stages import (
    BASE_PINNED_TO_PLATFORM,
    FINAL_STAGE_ON_BUILD_PLATFORM,
    PLATFORM_FLAG_ON_STAGE,
)
from viaduct.dockerfile.lint.rules.single_arch_binary import SINGLE_ARCH_BINARY_COPIED
from viaduct.dockerfile.lint.rules.stage_names import DUPLICATE_STAGE_NAME, RESERVED_STAGE_NAME
from viaduct.dockerfile.lint.rules.variables import (
    INVALID_DEFAULT_ARG_IN_FROM,
    UNDEFINED_ARG_IN_FROM,
    UNDEFINED_VAR,
)

if TYPE_CHECKING:
    from viaduct.dockerfile.lint.rule import Rule

DOCKER_RULES: tuple[Rule, ...] = (
    NO_EMPTY_CONTINUATION,
    STAGE_NAME_CASING,
    FROM_AS_CASING,
    CONSISTENT_INSTRUCTION_CASING,
    DUPLICATE_STAGE_NAME,
    RESERVED_STAGE_NAME,
    JSON_ARGS_RECOMMENDED,
    MAINTAINER_DEPRECATED,
    UNDEFINED_ARG_IN_FROM,
    WORKDIR_RELATIVE_PATH,
    UNDEFINED_VAR,
    MULTIPLE_INSTRUCTIONS_DISALLOWED,
    LEGACY_KEY_VALUE_FORMAT,
    INVALID_BASE_IMAGE_PLATFORM,
    REDUNDANT_TARGET_PLATFORM,
    SECRETS_USED_IN_ARG_OR_ENV,
    INVALID_DEFAULT_ARG_IN_FROM,
    FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    COPY_IGNORED_FILE,
    INVALID_DEFINITION_DESCRIPTION,
    EXPOSE_PROTO_CASING,
    EXPOSE_INVALID_FORMAT,
)
"""The checks that Docker's own builders have, with their names and texts."""

MULTI_ARCH_RULES: tuple[Rule, ...] = (
    HARDCODED_ARCHITECTURE,
    UNDECLARED_PLATFORM_ARG,
    PLATFORM_ARG_DEFAULT,
    ARCHITECTURE_NAMING_MISMATCH,
    FINAL_STAGE_ON_BUILD_PLATFORM,
    PLATFORM_FLAG_ON_STAGE,
    BASE_PINNED_TO_PLATFORM,
    SINGLE_ARCH_BINARY_COPIED,
)
"""The checks about images for several platforms."""

RULES: tuple[Rule, ...] = DOCKER_RULES + MULTI_ARCH_RULES
