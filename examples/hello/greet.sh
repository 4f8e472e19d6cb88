#!/bin/sh
# The vendor fills in the machine that a release is for; on another one it would not start.
made_for=@MACHINE@

if [ "$(uname -m)" != "$made_for" ]; then
    echo "greet: this release is for $made_for, not for $(uname -m)" >&2
    exit 1
fi
echo "$GREETING $made_for, as $(id -un)"
