"""A budget in hours of GPUs or CPU cores, or in money with the price of such an hour: how people write and read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tuner.errors import UsageError

Unit = Literal["gpuh", "cpuh"]

UNITS: dict[Unit, str] = {"gpuh": "GPU-hours", "cpuh": "CPU-hours"}
# `budget:<life>` of a study's attributes: the budget that this driver went by; the newest one counts.
BUDGET = "budget"

_NUMBER = r"(\d+(?:\.\d+)?)"
_HOURS = r"(gpu|cpu)[\s-]*h(?:ours?|rs?)?"
_CURRENCY = r"([$€£¥]|[a-z]{3,10})"
_IN_HOURS = re.compile(rf"{_NUMBER}\s*{_HOURS}")
_PRICE = rf"(?:at|@)\s*([$€£¥])?{_NUMBER}\s*{_CURRENCY}?\s*(?:/|per)\s*{_HOURS}"
_IN_MONEY = re.compile(rf"(?:{_CURRENCY}\s*{_NUMBER}|{_NUMBER}\s*{_CURRENCY})(?:\s*{_PRICE})?")
_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}


@dataclass(frozen=True)
class Budget:
    """amount: in `unit`, or in `currency` if that is not empty; then `price` is that of one `unit`."""

    amount: float
    unit: Unit
    currency: str = ""
    price: float = 1.0

    @property
    def hours(self) -> float:
        """What the budget pays, in its unit."""
        return self.amount / self.price

    @property
    def words(self) -> str:
        """The amount for people: `20 GPU-hours`, `50 EUR`."""
        return f"{short(self.amount)} {self.named}"

    @property
    def named(self) -> str:
        """What its amounts are of: `GPU-hours`, `EUR`."""
        return self.currency or UNITS[self.unit]

    def of(self, hours: float) -> str:
        """Hours of its unit, in its amounts, without their name."""
        return short(hours * self.price)

    def __str__(self) -> str:
        """As `--budget` takes it: `20gpuh`, `50EUR@2.5/gpuh`."""
        if not self.currency:
            return f"{_exact(self.amount)}{self.unit}"
        return f"{_exact(self.amount)}{self.currency}@{_exact(self.price)}/{self.unit}"

    def larger(self, spent_h: float) -> str:
        """Half as much again, or as was spent if that is more, as `--budget` takes it after this one. spent_h: hours
        of its unit.
        """
        more = f"{max(self.amount, spent_h * self.price) * 1.5:.2g}"
        return f"{_exact(float(more))}{self.currency or self.unit}"


def parse_budget(text: str, earlier: Budget | None = None) -> Budget:
    """`20gpuh`, `8 CPU-hours`, `50 EUR at 2.5/gpuh`, `$50 @ 2.5/gpuh`; money without a price has that of `earlier`.

    Raises UsageError for anything else.
    """
    given = " ".join(str(text).split()).lower()
    if found := _IN_HOURS.fullmatch(given):
        return _above_zero(Budget(float(found[1]), _unit(found[2])), text)
    if found := _IN_MONEY.fullmatch(given):
        currency = found[1] or found[4]
        currency = currency.upper() if len(currency) == 3 else currency
        amount = float(found[2] or found[3])
        price, device = found[6], found[8]
        priced_in = [name for name in (found[5], found[7]) if name is not None]
        if price is not None and all(_is_same(name, currency) for name in priced_in):
            return _above_zero(Budget(amount, _unit(device), currency, float(price)), text)
        if price is None and earlier is not None and _is_same(earlier.currency, currency):
            return _above_zero(replace(earlier, amount=amount), text)
    raise UsageError(
        f"budget {text!r} is not understood: give GPU-hours such as 20gpuh, hours of CPU cores such as 8cpuh, or money "
        'with the price of an hour such as "50 EUR at 2.5/gpuh"'
    )


def refuse_other_device(budget: str, *, gpus: bool) -> None:
    """Raises UsageError if `budget` counts what a search does not use. gpus: whether it trains on GPUs."""
    if not budget:
        return
    unit = parse_budget(budget).unit
    if gpus != (unit == "gpuh"):
        device, right = ("GPUs", "gpuh") if gpus else ("CPUs", "cpuh")
        raise UsageError(
            f"budget {budget} counts {UNITS[unit]}, but this search trains on {device}: give one in "
            f"{UNITS[_unit(right)]}, such as --budget 20{right}"
        )


def newest_budget(first: str, attributes: Mapping[str, Any]) -> str:
    """The budget that counts: of the newest driver, else the `first` one, of the spec; empty: none.

    attributes: of the study.
    """
    lives = [int(key.partition(":")[2]) for key in attributes if key.startswith(f"{BUDGET}:")]
    return str(attributes[f"{BUDGET}:{max(lives)}"]) if lives else first


def short(amount: float) -> str:
    """A number for people, to three significant digits, without an exponent."""
    if amount >= 100 or amount == 0:
        return f"{amount:.0f}"
    return f"{float(f'{amount:.3g}'):.6f}".rstrip("0").rstrip(".")


def _above_zero(budget: Budget, text: str) -> Budget:
    if budget.amount <= 0 or budget.price <= 0:
        raise UsageError(f"budget {text!r} must be above 0, and so must its price")
    return budget


def _is_same(currency: str, other: str) -> bool:
    one, two = (_SYMBOLS.get(name, name.upper()) for name in (currency, other))
    return one == two


def _unit(device: str) -> Unit:
    return "gpuh" if device.startswith("gpu") else "cpuh"


def _exact(number: float) -> str:
    return f"{number:.12f}".rstrip("0").rstrip(".")
