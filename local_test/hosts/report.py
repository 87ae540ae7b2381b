"""A job's own report.html as a file that a person may open: it is what an untrusted program has written.

As a file:// page of its own it would have this machine's rights of files. Here it is the text of a frame without them:
its scripts run, but see nothing of this machine, load nothing, and neither leave the frame nor open windows.
"""

import html
import re

# for the page and, as browsers hand it down, for what is in its frame; a link may lead to a page, within the frame
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; media-src data: blob:; worker-src blob:; frame-src https:"
)
_BEGIN = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>report.html of a job</title>
<style>
:root {{ color-scheme: light dark }}
iframe {{ position: fixed; inset: 0; width: 100%; height: 100%; border: 0 }}
</style>
<iframe title="Report" sandbox="allow-scripts allow-downloads" srcdoc=\""""
_END = '"></iframe>\n'
_DOCTYPE = re.compile(r"\s*<!doctype[^>]*>", re.IGNORECASE)  # first, or the report is shown as pages of the nineties
_BASE = '<base href="about:srcdoc">'  # else a link to "#part" of the report would load the page into its own frame


def enclose(report: bytes) -> bytes:
    """The page, one file that needs nothing else, around the report's HTML."""
    try:
        text = report.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = report.decode("cp1252", "replace")  # what browsers take such a page for
    first = found.end() if (found := _DOCTYPE.match(text)) else 0
    return f"{_BEGIN}{html.escape(f'{text[:first]}{_BASE}{text[first:]}')}{_END}".encode()


def open_enclosed(page: bytes) -> bytes | None:
    """The report in such a page; None if it is another one: an earlier version kept the report itself."""
    begin, end = _BEGIN.encode(), _END.encode()
    inside = page[len(begin) : -len(end)]
    if page != begin + inside + end or b'"' in inside or b"<" in inside:
        return None
    return html.unescape(inside.decode()).replace(_BASE, "", 1).encode()
