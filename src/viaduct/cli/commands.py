"""Every command: its name, where it is implemented, what it is for, and under which heading.

The table is all that `viaduct --help` and completion need; a command's module is imported when it
is called. Adding a command is a row here and a module.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One command. `target` is `module:attribute` of a command."""

    name: str
    target: str
    summary: str
    heading: str = ""
    aliases: tuple[str, ...] = ()


_HERE = "viaduct.cli."

#: Commands of the program, in the order that help shows them.
ROOT = (
    Row("build", _HERE + "build:command", "Start a build", "Build", ("b",)),
    Row("pull", _HERE + "pull:command", "Bring an image into the local store", "Images"),
    Row("push", _HERE + "push:command", "Send an image to its registry", "Images"),
    Row("run", _HERE + "run:command", "Run a command in an image of any platform", "Images"),
    Row("images", _HERE + "images:command", "List the images of the local store", "Images"),
    Row("tag", _HERE + "tag:command", "Give an image another name", "Images"),
    Row("rmi", _HERE + "rmi:command", "Remove images from the local store", "Images"),
    Row("save", _HERE + "save:command", "Write images to a tar archive", "Images"),
    Row("load", _HERE + "load:command", "Bring in images from a tar archive", "Images"),
    Row("create", _HERE + "create:command", "Create a builder, or change one", "Builders"),
    Row("use", _HERE + "use:command", "Choose the builder to use", "Builders"),
    Row("inspect", _HERE + "inspect:command", "Show a builder and its platforms", "Builders"),
    Row("ls", _HERE + "ls:command", "List the builders", "Builders"),
    Row("rm", _HERE + "rm:command", "Remove builders", "Builders"),
    Row("stop", _HERE + "stop:command", "Stop a builder", "Builders"),
    Row("du", _HERE + "du:command", "Show what the build cache holds", "Build cache"),
    Row("prune", _HERE + "prune:command", "Remove build cache", "Build cache"),
    Row("imagetools", _HERE + "imagetools:command", "Work on images in registries", "Registries"),
    Row("verify", _HERE + "verify:command", "Check that an image is what it claims", "Registries"),
    Row("registry", _HERE + "registry:command", "Serve a registry from a directory", "Registries"),
    Row("doctor", _HERE + "doctor:command", "Check that this machine can build", "Machine"),
    Row("binfmt", _HERE + "binfmt:command", "Show or install the machine's emulators", "Machine"),
    Row("install", _HERE + "install:command", "Become docker's buildx and build", "Machine"),
    Row("completion", _HERE + "completion:command", "Print a shell completion script", "Machine"),
    Row("version", _HERE + "version:command", "Show the version", "Machine"),
)

IMAGETOOLS = (
    Row("create", _HERE + "imagetools_create:command", "Create an image from images, or copy one"),
    Row("inspect", _HERE + "imagetools:inspect", "Show the details of an image"),
)

REGISTRY = (Row("serve", _HERE + "registry:serve", "Listen for pushes and pulls"),)
