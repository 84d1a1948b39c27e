"""Personal data."""

import pytest

from promptforge.filters import personal_data
from promptforge.protocols import Finding
from tests.filters.columns import findings


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("write to jane.doe+art@mail.example-shop.co.uk", "email"),
        ("call 303-832-8160 now", "phone_number"),
        ("call (203) 719-8385", "phone_number"),
        ("ring +49 30 901820 41", "phone_number"),
        ("phone 867-5309", "phone_number"),
        # 4111 1111 1111 1111: from the right, every second digit doubled, 8 + 7 * 2 + 8 * 1 = 30
        ("a card 4111 1111 1111 1111 on a table", "card_number"),
        ("server 93.184.216.34 in a rack", "ip_address"),
        ("server 2606:2800:220:1:248:1893:25c8:1946", "ip_address"),
    ],
)
def test_each_kind_is_found_and_not_repeated_in_the_finding(text, reason):
    assert findings(personal_data, ["a cat", text]) == [Finding(1, "drop", reason, 1.0, 0.0)]


@pytest.mark.parametrize(
    "text",
    [
        "a sign with info@example.com",
        "a poster, call 555-0123",
        "a card 4111 1111 1111 1112",  # the check digit is wrong
        "photo, 1920x1080, 35 mm, f/1.4, 1/160 s, 2023-04-12",
        "1 000 000 stars, 3.1415926535",
        "home 192.168.0.1, version 3.7.5.8",
        "at 12:30:45 in the year 2049",
        "a t-shirt @ the beach",
        "0000 0000 0000 0000",
    ],
)
def test_numbers_and_examples_that_are_nobodys_pass(text):
    assert findings(personal_data, [text]) == []


def test_kinds_can_be_left_out():
    assert findings(personal_data, ["call 303-832-8160"], kinds=("email",)) == []


def test_named_persons_are_looked_for_only_where_asked():
    text = "a portrait of my boss John Smith"
    assert findings(personal_data, [text]) == []
    assert findings(personal_data, [text], named_persons=True) == [Finding(0, "drop", "named_person", 1.0, 0.0)]
    assert findings(personal_data, ["New York at night"], named_persons=True) == []
