"""An export goes on where it was cut off, is compared with its statement, and never replaces anything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptforge.commands.export import formats, run_export, show_formats
from promptforge.errors import ConfigError, StoreFault
from promptforge.export import webdataset
from promptforge.export.folder.output import Output, Piece, check
from tests.stages.publishing.conftest import contents


def test_a_killed_export_goes_on_with_the_piece_in_hand(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["rows_per_file=2"]
    run_export("webdataset", dataset, None, tmp_path / "whole", settings)
    tars: list[str] = []
    write = webdataset._tar

    def dies_at_the_third(piece: Piece, **given: object) -> None:
        tars.append(str(given["name"]))
        write(piece, **given)  # type: ignore[arg-type]
        if len(tars) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(webdataset, "_tar", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_export("webdataset", dataset, None, tmp_path / "cut", settings)
    assert not (tmp_path / "cut").exists()
    run_export("webdataset", dataset, None, tmp_path / "cut", settings)
    # The third had no record, though its file was whole; the first two were not written again.
    assert [name[-10:] for name in tars] == ["000000.tar", "000001.tar", "000002.tar", "000002.tar", "000003.tar"]
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["cut", "whole"]


def test_a_file_cut_short_by_a_power_loss_is_written_again(tmp_path: Path) -> None:
    output = Output(tmp_path / "out", "a" * 64)
    output.piece("one", lambda piece: piece.put("one.txt", b"whole"))
    (tmp_path / f"out.part-{'a' * 16}" / "one.txt").write_bytes(b"who")
    again = Output(tmp_path / "out", "a" * 64)
    again.piece("one", lambda piece: piece.put("one.txt", b"whole"))
    assert again.finish({}, "card") == 2
    assert (tmp_path / "out" / "one.txt").read_bytes() == b"whole"


def test_the_same_export_again_compares_every_file(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run_export("distillt5", dataset, None, out, [])
    run_export("distillt5", dataset, None, out, [])
    assert "nothing to do" in capsys.readouterr().out
    (out / "image_quality.json").write_text("[]")
    (out / "mine.txt").write_text("x")
    with pytest.raises(StoreFault) as caught:
        run_export("distillt5", dataset, None, out, [])
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        str(out / "mine.txt"),
        str(out / "image_quality.json"),
        str(out),
    ]
    assert "not part of the export" in lines[0]
    assert "sha256 is" in lines[1]


def test_another_export_in_the_folder_is_left_alone(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_export("distillt5", dataset, None, out, [])
    before = contents(out)
    with pytest.raises(ConfigError, match="not this export"):
        run_export("distillt5", dataset, None, out, ['axes=["text_rendering"]'])
    with pytest.raises(ConfigError, match="not this export"):
        run_export("webdataset", dataset, None, out, [])
    assert contents(out) == before


def test_the_statement_says_what_it_was_made_from(dataset: Path, tmp_path: Path) -> None:
    run_export("distillt5", dataset, None, tmp_path / "out", ['axes=["text_rendering"]'])
    stated = json.loads((tmp_path / "out" / "export.json").read_text("utf-8"))
    assert stated["dataset"] == json.loads((dataset / "manifest.json").read_text("utf-8"))["digest"]
    assert stated["params"] == {"splits": ["train"], "axes": ["text_rendering"]}
    assert check(tmp_path / "out") == 4  # three sets and the card; the statement cannot state itself
    assert "| train | text_rendering | 4 |" in (tmp_path / "out" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("webdatasets", [], "did you mean 'webdataset'"),
        ("webdataset", ["rows=3"], "rows: no such field"),
        ("webdataset", ["rows_per_file=0"], "rows_per_file: is 0"),
        ("webdataset", ['splits=["validation"]'], "no split validation; there are test_words, train"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    dataset: Path, tmp_path: Path, name: str, settings: list[str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        run_export(name, dataset, None, tmp_path / "out", settings)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["cache"])


def test_a_changed_data_set_is_not_exported(dataset: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(dataset, tmp_path / "dataset"))
    file = next((copy / "data").glob("train-*"))
    file.write_bytes(file.read_bytes()[:-9] + b"\0" * 9)
    with pytest.raises(StoreFault, match=r"sha256 is .*manifest\.json says"):
        run_export("webdataset", copy, None, tmp_path / "out", [])
    assert not (tmp_path / "out").exists()


def test_without_a_format_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    show_formats()
    listed = capsys.readouterr().out
    assert all(f"\n{name}" in listed for name in formats())
