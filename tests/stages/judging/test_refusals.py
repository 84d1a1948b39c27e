"""Gates that are refused before any work, each in the words that a person reads."""

from __future__ import annotations

import copy
import tomllib
from typing import Any

import pytest

from promptforge import recipe
from promptforge.errors import ConfigError
from promptforge.stages import parts

RAW: dict[str, Any] = {
    "name": "small",
    "sources": [{"kind": "grammar", "axis": "image_quality", "n": 3}],
    "regime": {"teacher": "canvas", "size": 128},
    "scorers": {"text": {}, "technical": {}, "seen": {"kind": "agreement", "role": "evaluate"}},
}
CER = "scorer='text', metric='cer', "
WORD = "scorer='text', metric='verdict', "
WHERE = "where='text.cer > 1', "
STYLE = CER + "by='style', "


def refused(gate: str) -> list[str]:
    """The lines that a recipe with the gate `g` is refused with; none where it is taken."""
    raw = copy.deepcopy(RAW) | {"select": {"gates": {"g": tomllib.loads(f"g = {{{gate}}}")["g"]}}}
    try:
        parts.resolve(recipe.validate(raw, "r.toml"), "r.toml")
    except ConfigError as fault:
        return str(fault).splitlines()
    return []


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (CER + "min={}", ".min: is an empty table; give a number for each key, 'other' for those that are not named"),
        (CER + "min={photo=1}", ": min or max is a table; say by what with by = 'axis', 'category' or 'style'"),
        (CER + "by='style'", ": a gate needs min, max or one_of, or else quantile, or where"),
        (STYLE + "min=1", ": by is 'style', so min or max is a table, such as min = { photo = 0.5 }"),
        (CER + "by='axis', min=1", ": by is 'axis', so min or max is a table, such as min = { image_quality = 0.5 }"),
        (STYLE + "min={photoo=1}", ": key 'photoo' is no kind of style; did you mean 'photo'?"),
        (
            STYLE + "min={photo='x'}",
            ".min: is 'x' at 'photo'; input should be a finite number, or with `by` a table of such",
        ),
        (CER + "min=true", ".min: is True; input should be a finite number, or with `by` a table of such"),
        (
            STYLE + "axes=['image_quality'], min={'text_rendering/photo'=1}",
            ": key 'text_rendering/photo': 'text_rendering' is no axis of this gate; there are image_quality, other",
        ),
        (
            CER + "by='axis', axes=['image_quality'], min={text=1}",
            ": key 'text': 'text' is no axis of this gate; there are image_quality, other",
        ),
        (
            CER + "by='category', min={''=1}",
            ": key '' names no category; give it, or 'other' for all that are not named",
        ),
        (
            STYLE + "min={'text_rendering/'=1}",
            ": key 'text_rendering/' names no style; give it, or 'other' for all that are not named",
        ),
        (
            STYLE + "min={'text_rendering/photo'=2}, max={photo=1}",
            ": min 2.0 is above max 1.0 for text_rendering/photo: nothing could pass",
        ),
        (CER + "by='color', min={a=1}", ".by: is 'color'; input should be 'axis', 'category' or 'style'"),
        (CER + "quantile=0", ".quantile: is 0; input should be greater than 0"),
        (CER + "quantile=1", ".quantile: is 1; input should be less than 1"),
        (CER + "quantile=0.1, max=1, min=1", ": a gate with quantile takes no max, min"),
        (WORD + "quantile=0.1, one_of=['read']", ": a gate with quantile takes no one_of"),
        (CER + "quantile=0.1, side='up'", ".side: is 'up'; input should be 'min' or 'max'"),
        (CER + "quantile=0.1, least=0", ".least: is 0; input should be greater than or equal to 1"),
        (
            CER + "quantile=0.1, reference=20",
            ": least is 30, of the pictures of reference = 20 prompts: there could never be enough; lower least or"
            " raise reference",
        ),
        (CER + "min=1, side='max', least=3", ": only a gate with quantile takes least, side"),
        (CER + "quantile=0.1, refrence=3", ".refrence: no such field; did you mean 'reference'?"),
        (WORD + "one_of=[]", ": one_of is empty: nothing could pass; name the words that do"),
        (WHERE + "scorer='text'", ": a gate with where takes no scorer"),
        (WHERE + "by='style', min=1", ": a gate with where takes no by, min"),
        (WHERE + "reference=3", ": only a gate with quantile takes reference"),
        (
            "where='text.cer'",
            ".where: 'text.cer' is no predicate over scores: it is a number, not true or false; compare it with"
            " something",
        ),
        (
            "where='seen.colour_agreement > 1'",
            ": scorer 'seen' has the role evaluate, so no gate may use it; name a scorer with the role select",
        ),
        (
            "scorer='seen', metric='colour_agreement', quantile=0.1",
            ": scorer 'seen' has the role evaluate, so no gate may use it; name a scorer with the role select",
        ),
        (
            WORD + "quantile=0.1",
            ": metric 'verdict' of scorer 'text' is a word and takes one_of, not a bound for a number",
        ),
        (
            CER + "one_of=['a']",
            ": metric 'cer' of scorer 'text' is a number and takes min and max, not a bound for a word",
        ),
        (
            "scorer='text', metric='cerr', quantile=0.5",
            ".metric: scorer 'text' has no metric 'cerr'; did you mean 'cer'?",
        ),
    ],
)
def test_a_gate_that_cannot_be_judged_by_is_refused(gate: str, message: str) -> None:
    assert refused(gate) == [f"r.toml: select.gates.g{message}"]


def test_a_misspelt_where_is_told_beside_what_a_gate_without_it_lacks() -> None:
    assert refused("wher='text.cer > 1'") == [
        "r.toml: select.gates.g.scorer: missing; it must be given",
        "r.toml: select.gates.g.metric: missing; it must be given",
        "r.toml: select.gates.g.wher: no such field; did you mean 'where'?",
    ]


def test_a_bound_of_another_teacher_is_refused_whatever_its_kind() -> None:
    for gate in (CER + "min=1, ", CER + "quantile=0.1, ", WHERE):
        (line,) = refused(gate + "measured_on='abc'")
        assert line.startswith("r.toml: select.gates.g: its bound was measured on teacher abc, this one is ")


@pytest.mark.parametrize(
    "gate",
    [
        STYLE + "min={photo=1, 'text_rendering/photo'=2, other=0}, max={other=3}",
        CER + "by='category', min={anything=1}",
        CER + "quantile=0.1, reference=30, by='axis', side='max'",
        "where='n_words > 3'",
    ],
)
def test_what_can_be_judged_by_is_taken(gate: str) -> None:
    assert refused(gate) == []
