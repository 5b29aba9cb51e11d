"""The mail that carries a report: plain text, HTML with its charts as pictures, the report attached. No clock, no network.

Mail programs know neither SVG nor style sheets well: the HTML has plain tables with their styles in them. The same report for the
same moment is the same mail, its Message-ID included, so that a mailbox can tell a second copy from a second report.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Literal, cast

from pbxd.reports import page, pdf, table, text
from pbxd.reports.cells import clean, file_name, matrix, numeric, period, row, subtitle
from pbxd.reports.charts import png
from pbxd.stats.report import Report

Format = Literal["html", "pdf", "csv", "text"]
ROWS = 60  # rows of the table in the mail itself; the attachment has all
FAMILY = "font-family:-apple-system,'Segoe UI',Roboto,Arial,sans-serif"


def compose(report: Report, form: Format, sender: str, recipients: list[str], due: int) -> EmailMessage:
    """The whole mail. `due` (microseconds UTC) is when it was to be sent: its date. `text` is a mail of plain text alone."""
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = f"{clean(report.title)}, {clean(report.site)}, {period(report)}"
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=due))
    message["Message-ID"] = f"<{fingerprint(report, form, recipients, due)}@{Address(addr_spec=sender).domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers it
    message.set_content(text.draw(report), cte="base64")
    if form == "text":
        return message
    charts = report.charts if report.rows else ()
    message.add_alternative(body(report), subtype="html", cte="base64")
    alternative = cast("EmailMessage", list(message.iter_parts())[-1])
    for number, chart in enumerate(charts):
        picture = png(report, chart)
        alternative.add_related(picture, "image", "png", cid=f"<chart-{number}>", disposition="inline")
    name = file_name(report, form)
    if form == "pdf":
        message.add_attachment(pdf.draw(report), maintype="application", subtype="pdf", filename=name)
    else:
        drawn = page.draw(report) if form == "html" else table.draw_csv(report)
        message.add_attachment(
            drawn.encode(), maintype="text", subtype=form, filename=name, params={"charset": "utf-8"}
        )
    parts = [part for part in message.walk() if part.is_multipart()]
    for number, part in enumerate(parts):  # else they are drawn at random
        part.set_boundary(f"=_pbxd_{number}_{fingerprint(report, form, recipients, due)[:24]}")
    return message


def fingerprint(report: Report, form: str, recipients: list[str], due: int) -> str:
    """One name for one delivery, whatever the report came to say: it stays when late calls changed a number."""
    told = "\n".join(
        (report.name, report.site, report.by, str(report.start), str(report.end), form, str(due), *recipients)
    )
    return hashlib.sha256(told.encode()).hexdigest()[:40]


def body(report: Report) -> str:
    """The mail's HTML."""
    figures = "".join(
        f'<td style="padding:8px 18px 8px 0;{FAMILY}"><span style="font-size:12px;color:#66707c">{escape(title)}</span><br>'
        f'<b style="font-size:20px;color:#14202b">{escape(value)}</b></td>'
        for title, value in page.totals(report)
    )
    parts = [
        '<!doctype html><html lang="en"><body style="margin:0;padding:20px;background:#ffffff">',
        f'<h1 style="margin:0;{FAMILY};font-size:22px;color:#14202b">{escape(clean(report.title))}</h1>',
        f'<p style="margin:4px 0 14px;{FAMILY};font-size:14px;color:#66707c">{escape(subtitle(report))}</p>',
        f'<table role="presentation" cellspacing="0"><tr>{figures}</tr></table>' if figures else "",
        *(_picture(number, clean(chart.title)) for number, chart in enumerate(report.charts) if report.rows),
        _table(matrix(report)),
        *(
            f'<p style="margin:4px 0;{FAMILY};font-size:12px;color:#66707c">{escape(clean(note))}</p>'
            for note in report.notes
        ),
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _picture(number: int, title: str) -> str:
    return (
        f'<h2 style="margin:20px 0 6px;{FAMILY};font-size:15px;color:#14202b">{escape(title)}</h2>\n'
        f'<img src="cid:chart-{number}" width="720" style="max-width:100%;height:auto" alt="{escape(title)}">'
    )


def _table(report: Report) -> str:
    cells = [row(report.columns, values) for values in report.rows[:ROWS]]
    right = [numeric(column) for column in report.columns]
    lines = [
        _line(
            [clean(column.title) for column in report.columns],
            right,
            "th",
            "color:#66707c;border-bottom:2px solid #e3e6ea",
        )
    ]
    lines += [_line(texts, right, "td", "color:#3d444d;border-bottom:1px solid #e3e6ea") for texts in cells]
    if report.total is not None:
        total = row(report.columns, report.total)
        lines.append(_line(total, right, "td", "color:#14202b;font-weight:bold;border-top:2px solid #e3e6ea"))
    table_ = f'<table cellspacing="0" style="margin:20px 0 12px;border-collapse:collapse">{"".join(lines)}</table>'
    more = len(report.rows) - ROWS
    rest = f"{more} more are in the attachment." if more > 0 else "" if report.rows else "Nothing in this period."
    return table_ + (f'<p style="{FAMILY};font-size:13px;color:#66707c">{rest}</p>' if rest else "")


def _line(texts: list[str], right: list[bool], tag: str, style: str) -> str:
    across = 4 if len(texts) > page.MANY else 10
    style = f"padding:5px {across}px;{FAMILY};font-size:13px;{style}"
    made = "".join(
        f'<{tag} align="{"right" if at_right else "left"}" style="{style}">{escape(said)}</{tag}>'
        for said, at_right in zip(texts, right, strict=True)
    )
    return f"<tr>{made}</tr>"
