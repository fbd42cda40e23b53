"""Files are whole or not there."""

from __future__ import annotations

import pytest

from throughtime.files import whole


def test_a_file_takes_its_place_once_it_is_whole(tmp_path):
    path = tmp_path / "figure.PNG"
    path.write_text("before")
    with whole(path) as beside:
        assert beside.parent == tmp_path and beside.suffix == ".png"
        beside.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_was_there_stays_if_writing_fails(tmp_path, kind):
    path = tmp_path / "runs.csv"
    path.write_text("before")
    with pytest.raises(kind), whole(path) as beside:
        beside.write_text("half of")
        raise kind
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
