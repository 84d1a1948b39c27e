"""What a person reads of a round."""

from promptforge.stages.rounds.told import name_of


def test_the_rest_of_an_axis_is_called_so_only_where_it_has_cells() -> None:
    cell, rest, alone = (
        {"axis": axis, "cell": name}
        for axis, name in [
            ("text_rendering", "any/short/any"),
            ("text_rendering", "rest"),
            ("image_quality", "rest"),
        ]
    )
    goals = [cell, rest, alone]
    assert [name_of(goal, goals) for goal in goals] == [
        "text_rendering/any/short/any",
        "the rest of text_rendering",
        "image_quality",
    ]
