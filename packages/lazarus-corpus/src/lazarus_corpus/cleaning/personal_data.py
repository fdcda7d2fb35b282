"""E-mail addresses, telephone numbers and IP addresses. Found by form: names and postal addresses are not found."""

import ipaddress
import re

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])", re.ASCII
)
_IP = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)"  # a port, or the end of a sentence, may follow
    r"|(?<![\w.:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]|\.\d)",
    re.ASCII,
)
_PHONE = re.compile(
    r"(?<![\w.+/-])(?:"
    r"\+\d{1,3}(?:[ .()/-]{0,2}\d{1,4}){2,6}"  # +49 30 901820, with a country code
    r"|\(\d{3}\)[ .-]?\d{3}[ .-]\d{4}"  # (555) 010-4477
    r"|\d{3}[.-]\d{3}[.-]\d{4}"  # 555-010-4477
    r")(?![\w-]|\.\d)",
    re.ASCII,
)
_PHONE_DIGITS = range(8, 16)
"""Digits of a number with its country code (ITU-T E.164: at most 15)."""
MIN_IPV6_PARTS = 4
"""Shorter ones, as `a::b`, are names in programs more often than addresses."""
MASKS = {"email": "[EMAIL]", "ip": "[IP]", "phone": "[PHONE]"}


def without_personal_data(text: str) -> tuple[str, dict[str, int]]:
    """A text with masks in place of personal data, and the number of each kind.

    >>> without_personal_data("Write to ann@example.org or +49 30 901820 from 10.0.0.1, version 1.2.3.")
    ('Write to [EMAIL] or [PHONE] from [IP], version 1.2.3.', {'email': 1, 'ip': 1, 'phone': 1})
    """
    found = dict.fromkeys(MASKS, 0)

    def email(match: re.Match[str]) -> str:
        found["email"] += 1
        return MASKS["email"]

    def address(match: re.Match[str]) -> str:
        colon = ":" if re.search("[^:]:$", match[0]) else ""  # of the sentence
        given = match[0].removesuffix(colon)
        try:
            ipaddress.ip_address(given)
        except ValueError:
            return match[0]
        if ":" in given and len([part for part in given.split(":") if part]) < MIN_IPV6_PARTS:
            return match[0]
        found["ip"] += 1
        return MASKS["ip"] + colon

    def phone(match: re.Match[str]) -> str:
        if sum(character.isdigit() for character in match[0]) not in _PHONE_DIGITS:
            return match[0]
        found["phone"] += 1
        return MASKS["phone"]

    if "@" in text:
        text = _EMAIL.sub(email, text)
    text = _PHONE.sub(phone, _IP.sub(address, text))
    return text, found
