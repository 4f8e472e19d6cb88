"""The plugin among docker's files: what was there is kept, what is not ours stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import StoreError, UsageError
from viaduct.cli.plugin_file import PluginFile, needs_alias

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def plugin(tmp_path: Path) -> PluginFile:
    return PluginFile(tmp_path / "docker")


def other_plugin(plugin: PluginFile, text: str = "buildx") -> None:
    """Somebody else's plugin in place."""
    plugin.path.parent.mkdir(parents=True, exist_ok=True)
    plugin.path.unlink(missing_ok=True)
    plugin.path.write_text(text)
    plugin.path.chmod(0o755)


def test_it_is_an_executable_file_that_goes_without_a_trace(plugin: PluginFile) -> None:
    assert plugin.install(alias=False) is None
    assert plugin.path.stat().st_mode & 0o111
    assert plugin.install(alias=False) is None
    assert plugin.uninstall() is False
    assert list(plugin.path.parent.iterdir()) == []


def test_one_that_was_there_comes_back(plugin: PluginFile) -> None:
    other_plugin(plugin)
    kept = plugin.install(alias=False)
    assert kept is not None
    assert kept.read_text() == "buildx"
    # Docker takes everything called docker-… for a plugin, and complains about strange names.
    assert not kept.name.startswith("docker-")
    assert plugin.uninstall() is True
    assert plugin.path.read_text() == "buildx"
    assert plugin.path.stat().st_mode & 0o111
    assert not kept.exists()


def test_a_link_that_was_there_comes_back_as_a_link(plugin: PluginFile) -> None:
    plugin.path.parent.mkdir(parents=True)
    plugin.path.symlink_to("/opt/docker/docker-buildx")
    plugin.install(alias=False)
    plugin.uninstall()
    assert str(plugin.path.readlink()) == "/opt/docker/docker-buildx"


def test_no_backup_is_ever_overwritten(plugin: PluginFile) -> None:
    for text in ("first", "second", "third"):
        other_plugin(plugin, text)
        plugin.install(alias=False)
    assert plugin.uninstall() is True
    assert plugin.path.read_text() == "third"
    kept = [path.read_text() for path in plugin.path.parent.iterdir() if path != plugin.path]
    assert sorted(kept) == ["first", "second"]


def test_what_is_not_ours_is_not_taken_away(plugin: PluginFile) -> None:
    with pytest.raises(UsageError, match="there is no plugin at"):
        plugin.uninstall()
    other_plugin(plugin)
    with pytest.raises(UsageError, match="is not Viaduct's, and stays"):
        plugin.uninstall()
    assert plugin.path.read_text() == "buildx"


def test_an_old_docker_is_told_to_pass_builds_on_and_told_otherwise_later(
    plugin: PluginFile,
) -> None:
    config = plugin.configuration / "config.json"
    plugin.configuration.mkdir()
    config.write_text('{"auths": {"ghcr.io": {"auth": "x"}}, "psFormat": "ü"}')
    plugin.install(alias=True)
    written = json.loads(config.read_bytes())
    assert written["aliases"] == {"builder": "buildx"}
    assert written["auths"] == {"ghcr.io": {"auth": "x"}}
    assert config.stat().st_mode & 0o077 == 0
    # A newer docker later on is no reason to forget what has to be undone.
    plugin.install(alias=False)
    plugin.uninstall()
    assert json.loads(config.read_bytes()) == {"auths": {"ghcr.io": {"auth": "x"}}, "psFormat": "ü"}


def test_an_alias_that_was_there_stays(plugin: PluginFile) -> None:
    config = plugin.configuration / "config.json"
    plugin.configuration.mkdir()
    config.write_text('{"aliases": {"builder": "buildx"}}')
    plugin.install(alias=True)
    plugin.uninstall()
    assert config.read_text() == '{"aliases": {"builder": "buildx"}}'


def test_a_configuration_that_is_a_link_stays_one(plugin: PluginFile, tmp_path: Path) -> None:
    plugin.configuration.mkdir()
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    (plugin.configuration / "config.json").symlink_to(real)
    plugin.install(alias=True)
    assert (plugin.configuration / "config.json").is_symlink()
    assert json.loads(real.read_bytes()) == {"aliases": {"builder": "buildx"}}


def test_a_configuration_that_makes_no_sense_is_left_alone(plugin: PluginFile) -> None:
    plugin.configuration.mkdir()
    config = plugin.configuration / "config.json"
    config.write_text("{oops")
    with pytest.raises(StoreError, match=r"config\.json"):
        plugin.install(alias=True)
    assert config.read_text() == "{oops"


def test_a_plugin_that_docker_finds_first_is_named(plugin: PluginFile, tmp_path: Path) -> None:
    plugin.install(alias=False)
    extra = tmp_path / "extra"
    config = {"cliPluginsExtraDirs": [str(extra), str(plugin.path.parent)]}
    (plugin.configuration / "config.json").write_text(json.dumps(config))
    assert plugin.overridden() is None
    extra.mkdir()
    (extra / "docker-buildx").write_text("")
    (extra / "docker-buildx").chmod(0o755)
    assert plugin.overridden() == extra / "docker-buildx"


@pytest.mark.parametrize(
    ("version", "needed"),
    [
        ("Docker version 20.10.24+dfsg1, build 297e128", True),
        ("Docker version 23.0.1, build a5ee5b1", False),
        ("Docker version 28.2.2, build e6534b4", False),
        ("", False),
    ],
)
def test_docker_before_23_needs_the_alias(version: str, needed: bool) -> None:
    assert needs_alias(version) is needed
