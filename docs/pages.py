"""`python docs/pages.py OUT`: the lessons as pages to read, with an index; no kernel, no network, widgets
that scrub."""

import sys

from lessonkit.lab.pages import write_pages

if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    print(write_pages(sys.argv[1]))
