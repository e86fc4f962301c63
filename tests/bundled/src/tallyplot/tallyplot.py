#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the output of tally ("COUNT<tab>WORD" lines) as bars."""

import sys


def bars(rows, width=40):
    """One line for each (count, word); the longest bar has `width` marks."""
    rows = list(rows)
    longest = max((count for count, _ in rows), default=1)
    for count, word in rows:
        yield f"{word:<16} {'#' * max(1, count * width // longest)} {count}"


def main():
    rows = (line.rstrip("\n").split("\t", 1) for line in sys.stdin)
    for line in bars((int(count), word) for count, word in rows):
        print(line)


if __name__ == "__main__":
    main()
