"""docs/cost.md: the bill in words and tables."""

import math
from collections.abc import Sequence
from typing import Any

from infra.cost.declared import Everything
from infra.cost.model import COUNTS, JOBS, LINES, Month, reached

DECADES = [10.0**exponent for exponent in range(3, 11)]
MILLION = 1e6
INTERVALS = (60, 120, 300, 600, 900)
INTERVALS_AT = (1e6, 1e7, 1e8, 1e9)
"""What the table of metering shows: seconds between flushes, and requests a month."""

ABOUT = """\
# What the API costs

Made by `make cost`; change `infra/cost/` and not this page.

- Prices: Google's list prices in US dollars for London, in `infra/cost/prices.yaml`, the newest of
  {date}; `mem` marks there what has not been confirmed. No discounts, no tax.
- Operations: what each route does is counted by `tests/test_costs.py`, which fails where
  `infra/cost/operations.yaml` says otherwise.
- Traffic: who calls how is assumed, with reasons, in `infra/cost/traffic.yaml`.
- Sizes and numbers of instances are those of `infra/functions.yaml`, backups those of
  `infra/steps/40-data.yaml`.

## By volume

![{alternative}](cost.svg)

Dollars for a million requests of the mix, at so many requests a month, after {months:.0f} months
of them.

{by_volume}

Standing is what is paid though nobody calls: minimum instances, the balancer, the image. Storage is
what has been kept, its history and its backups; {indexed:.0%} of the bytes kept are index entries.
Pages are what an organisation's people look at, some 150 on a working day.

## By route

Dollars for a million requests of each route at {requests} requests a month, with their share of the
requests and of the bill.

{by_route}

## After the answer

Of the {total} dollars of a million requests, at {requests} a month:

{after}

- **The request log** is a copy of each line of a known caller, for 30 days: one document, which
  expires, and one request of the worker (decision 0022). It is priced as if none were left out:
  beyond `ALLY_LOG_RATE` lines of an organisation in a second, successes that touch nobody are, and
  so is what keys are refused that are over their rate.
- **Usage** is a point for each series of which an instance counted anything between two flushes
  (decision 0021). `ALLY_METERING_INTERVAL`, {interval:.0f} s in infra/environments/, moves it:
  dollars for a million requests, at so many a month,

{by_interval}

- **Jobs and sweeps**: {sweeps} dollars a month are paid for sweeps though there is nothing to do.

## Limits

Each is looked at in the busiest second of the month, {peak:.0f} times the mean one.

- The first: **{first}** ({first_whose}), at {first_at} requests a month.
- The first of Google's: **{google}**, at {google_at}.

{limits}

What to do then:

{then}

Not a matter of volume:

- A window is one document, which bears about one sustained booking a second, and has at most 50
  places (docs/decisions/0005-where-claims-live.md).
- A key's quota is one document, written eleven times in 10 s at most
  (docs/decisions/0009-rate-limits.md).
- A new collection should begin with 500 operations a second and grow by half every 5 minutes. Each
  organisation has its own, and a key may ask for 100 a second.
"""


def page(declared: Everything, requests: float) -> str:
    """Return the page. Routes are priced at `requests` a month."""
    volumes = {limit.name: reached(declared, limit) for limit in declared.limits}
    limits = sorted(declared.limits, key=lambda limit: volumes[limit.name])
    first, google = limits[0], next(limit for limit in limits if limit.whose == "Google's")
    return ABOUT.format(
        date=max(price.date for price in declared.prices.values()).strftime("%-d %B %Y"),
        alternative=alternative(declared),
        months=declared.traffic.time["months"],
        by_volume=by_volume(declared),
        indexed=_indexed(declared),
        requests=volume(requests),
        by_route=by_route(declared, requests),
        **_after(declared, requests),
        peak=declared.traffic.time["peak"],
        first=first.name,
        first_whose=first.whose,
        first_at=volume(volumes[first.name]),
        google=google.name,
        google_at=volume(volumes[google.name]),
        limits=table(
            ["met at", "limit", "whose", "number"],
            [
                [
                    volume(volumes[limit.name]),
                    limit.name,
                    limit.whose,
                    f"{limit.number:,.0f} {limit.unit}" + (" (mem)" if limit.mem else ""),
                ]
                for limit in limits
            ],
        ),
        then="\n".join(f"- **{limit.name}.** {limit.then}" for limit in limits),
    )


def by_volume(declared: Everything) -> str:
    """Return the table of volumes: what each part costs, and which costs most."""
    months = [Month(declared, requests) for requests in DECADES]
    parts = months[0].parts
    rows = [
        [
            volume(month.requests),
            *(
                _strong(dollars(each), strong=part == _largest(month.totals))
                for part, each in _per_million(month).items()
            ),
            dollars(month.total / month.requests * MILLION),
            f"{month.total:,.0f}",
        ]
        for month in months
    ]
    return table(["requests", *parts, "in all", "a month"], rows, numbers=True)


def by_route(declared: Everything, requests: float) -> str:
    """Return the table of routes, the most expensive first, and what belongs to none."""
    month = Month(declared, requests)
    parts = [part for part in month.parts if month.totals[part]]
    rows = []
    for name, row in month.bill.items():
        count = month.count.get(name, requests)
        each = sum(row.values()) / count * MILLION
        rows.append(
            (
                name in month.count,
                each,
                [
                    f"`{name}`" if name in month.count else name,
                    *(dollars(row[part] / count * MILLION) for part in parts),
                    dollars(each),
                    percent(month.count.get(name, 0) / requests),
                    percent(sum(row.values()) / month.total),
                ],
            )
        )
    # To a cent, then by name: the last digits of a sum differ between versions of Python.
    rows.sort(key=lambda row: (not row[0], -round(row[1], 2), row[2][0]))
    total = [dollars(month.totals[part] / requests * MILLION) for part in parts]
    everything = ["**the mix**", *total, dollars(month.total / requests * MILLION), "100%", "100%"]
    return table(
        ["route", *parts, "in all", "of requests", "of the bill"],
        [*(cells for _, _, cells in rows), everything],
        numbers=True,
    )


def _after(declared: Everything, requests: float) -> dict[str, Any]:
    """Return what is said of what happens after the answer."""
    month = Month(declared, requests)
    rows = {name: month.bill[name] for name in (LINES, COUNTS, JOBS)}
    parts = [part for part in month.parts if any(row[part] for row in rows.values())]
    return {
        "total": dollars(month.total / requests * MILLION),
        "after": table(
            ["", *parts, "in all"],
            [
                [
                    name,
                    *(dollars(row[part] / requests * MILLION) for part in parts),
                    dollars(sum(row.values()) / requests * MILLION),
                ]
                for name, row in rows.items()
            ],
            numbers=True,
        ),
        "interval": declared.metering_interval,
        "by_interval": table(
            ["seconds", *map(volume, INTERVALS_AT)],
            [
                [f"{seconds}", *(dollars(each) for each in _counted(declared, seconds))]
                for seconds in INTERVALS
            ],
            numbers=True,
        ),
        "sweeps": dollars(sum(Month(declared, 1).bill[JOBS].values())),
    }


def _counted(declared: Everything, seconds: float) -> list[float]:
    """Return what a million requests cost to be counted with such an interval, at some volumes."""
    other = declared.model_copy(update={"metering_interval": seconds})
    months = (Month(other, requests) for requests in INTERVALS_AT)
    return [sum(month.bill[COUNTS].values()) / month.requests * MILLION for month in months]


def alternative(declared: Everything) -> str:
    """Return the picture in words: the part that costs most at each decade, and the total."""
    said = []
    for requests in DECADES:
        month = Month(declared, requests)
        total = dollars(month.total / requests * MILLION)
        said.append(f"at {volume(requests)} {total}, most of it {_largest(month.totals)}")
    return "Dollars for a million requests, by requests a month: " + "; ".join(said) + "."


def volume(requests: float) -> str:
    """Write a number of requests as people read it: 630 million, 2.4 billion."""
    if math.isinf(requests):
        return "never"
    for size, name in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if requests >= size:
            return f"{float(f'{requests / size:.2g}'):g}{name}"
    return f"{requests:.0f}"


def dollars(amount: float) -> str:
    """Write dollars: cents where there are few."""
    if amount < 0.005:
        return "·"
    return f"{amount:,.2f}" if amount < 100 else f"{amount:,.0f}"


def percent(share: float) -> str:
    """Write a share; a dot stands for next to nothing."""
    return f"{share:.1%}" if share >= 0.0005 else "·"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """Write a Markdown table that is a table in a terminal too; numbers stand to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if numbers and place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rules = [
        "-" * (width - 1) + ":" if numbers and place else "-" * width
        for place, width in enumerate(widths)
    ]
    return "\n".join([line(head), line(rules), *map(line, rows)])


def _indexed(declared: Everything) -> float:
    """Return the share of index entries in what is kept."""
    count = Month(declared, MILLION).count
    kept = sum(count[name] * route.kept for name, route in declared.routes.items())
    indexed = sum(count[name] * route.indexed for name, route in declared.routes.items())
    return indexed / (kept + indexed)


def _per_million(month: Month) -> dict[str, float]:
    return {part: each / month.requests * MILLION for part, each in month.totals.items()}


def _largest(totals: dict[str, float]) -> str:
    return max(totals, key=lambda part: totals[part])


def _strong(text: str, *, strong: bool) -> str:
    return f"**{text}**" if strong else text
