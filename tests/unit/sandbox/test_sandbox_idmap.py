from __future__ import annotations

from viaduct.sandbox.idmap import IdRange, choose, identity, parse_map, parse_subids, stacked

_ALL = (IdRange(0, 0, 4294967295),)


def test_root_keeps_every_id_it_has() -> None:
    maps = choose(uid=0, gid=0, privileged=True, current_uids=_ALL, current_gids=_ALL)
    assert maps.mode == "root"
    assert sum(row.count for row in maps.uids) == 4294967295
    assert all(row.inside == row.outside for row in maps.uids + maps.gids)


def test_the_map_of_root_does_not_look_like_the_first_namespace() -> None:
    assert identity(_ALL) != _ALL


def test_root_of_a_nested_namespace_maps_what_exists_there() -> None:
    current = parse_map("         0       1000          1\n         1     100000      65536\n")
    assert identity(current) == (IdRange(0, 0, 1), IdRange(1, 1, 65536))


def test_a_user_becomes_root_and_the_ranges_follow() -> None:
    maps = choose(
        uid=1000,
        gid=1001,
        privileged=False,
        current_uids=_ALL,
        current_gids=_ALL,
        sub_uids=((100000, 65536), (300000, 10)),
        sub_gids=((200000, 65536),),
    )
    assert maps.mode == "subids"
    assert maps.uids == (
        IdRange(0, 1000, 1),
        IdRange(1, 100000, 65536),
        IdRange(65537, 300000, 10),
    )
    assert maps.gids == (IdRange(0, 1001, 1), IdRange(1, 200000, 65536))


def test_a_user_without_ranges_has_a_single_id() -> None:
    maps = choose(
        uid=1000,
        gid=1000,
        privileged=False,
        current_uids=_ALL,
        current_gids=_ALL,
        sub_uids=((100000, 65536),),
    )
    assert maps.mode == "single"
    assert maps.uids == maps.gids == stacked(1000, ())


def test_subid_lines_name_a_user_by_name_or_number_and_bad_ones_are_ignored() -> None:
    text = "ann:100000:65536\n1000:300000:5\nbob:1:1\nann:x:1\nann:5\nann:7:0\n# ann:1:1\n\n"
    assert parse_subids(text, "ann", 1000) == ((100000, 65536), (300000, 5))
    assert parse_subids(text, "eve", 1001) == ()
