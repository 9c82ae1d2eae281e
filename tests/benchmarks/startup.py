"""How long `spex --help` takes (budget: 0.5 s), beside a bare interpreter: `make bench`."""

from __future__ import annotations

from measure import cost, table


def main() -> None:
    baseline = ("python -c pass", cost(["-c", "pass"], 7))
    rows = [
        ("import spex", cost(["-c", "import spex"], 7)),
        ("spex --help", cost(["-m", "spex", "--help"], 7)),
        ("spex inspect --help", cost(["-m", "spex", "inspect", "--help"], 7)),
    ]
    table("Start-up", baseline, rows)


if __name__ == "__main__":
    main()
