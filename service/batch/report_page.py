"""The report of a data set as one HTML page that needs nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.documents import Reject
from omnicodec.service.batch.manifest import Manifest
from omnicodec.service.batch.report_charts import COLOURS, frequencies, histogram, legend, shares
from omnicodec.service.batch.report_gallery import STYLE as GALLERY_STYLE
from omnicodec.service.batch.report_gallery import gallery, plain
from omnicodec.service.batch.report_numbers import (
    counted,
    mean,
    nbytes,
    per_token,
    ratio,
    share_of,
)
from omnicodec.service.batch.report_samples import Sample
from omnicodec.service.batch.report_tally import Book, CodecTally, Tally
from omnicodec.service.evaluate import chart

_BOOKS: Final = 16
"""Codebooks of a codec that have a row of their own."""

_LINES: Final = 8
"""Codebooks of a codec that are drawn."""

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { vertical-align: bottom; font-weight: 600; } td { white-space: nowrap; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
th:first-child, td:first-child { padding-left: .3rem; }
td.text { white-space: normal; overflow-wrap: anywhere; min-width: 12rem; }
.facts { display: grid; gap: .6rem; margin: 1.2rem 0;
  grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); }
.facts div { background: var(--soft); border-radius: 6px; padding: .5rem .8rem; }
.facts b { display: block; font-size: 1.2rem; font-variant-numeric: tabular-nums; }
.facts span, .soft { opacity: .75; } .facts span { font-size: .85rem; }
.charts { display: grid; gap: 1rem 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.charts figure { margin: 0; } figcaption { margin-bottom: .3rem; }
svg { width: 100%; max-width: 45rem; display: block; }
svg.bar { max-width: none; height: 1.6rem; border-radius: 4px; }
svg.key { display: inline; width: 12px; }
.legend { margin: .3rem 0; font-size: .9rem; }
.legend > span { margin-right: 1rem; display: inline-block; }
code { font-size: .9em; overflow-wrap: anywhere; }
footer { margin-top: 2.5rem; font-size: .85rem; opacity: .8; }
@media print { body { max-width: none; margin: 0; } figure, tr, .facts div { break-inside: avoid; }
  h2 { break-after: avoid; } .wide { overflow: visible; } }
"""


@dataclass(frozen=True)
class Report:
    """All that the page of a data set is made of.

    `counted` of its `rows` were read for lengths and codebooks; `examples` are rejects by the
    name of their error, some of each; `unread` says what rows could not be read.
    """

    title: str
    manifest: Manifest
    vocabulary: Vocabulary
    tally: Tally
    counted: int
    examples: Mapping[str, Sequence[Reject]]
    samples: Sequence[Sample]
    unread: Sequence[str] = ()


def page(report: Report) -> str:
    """Return the page."""
    title = escape(report.title)
    body = "\n".join(
        section
        for section in (
            _facts(report),
            _codecs(report),
            _lengths(report),
            _books(report),
            _packing(report),
            _rejects(report),
            gallery(report.samples),
            _vocabulary(report),
        )
        if section
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}{chart.STYLE}{GALLERY_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
{body}
{_footer(report)}
</body>
</html>
"""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text: Sequence[int] = ()) -> str:
    """Return a table; the columns `text` hold words and are aligned left."""
    marks = dict.fromkeys(text, ' class="text"')
    head = "".join(f"<th{marks.get(i, '')}>{escape(cell)}</th>" for i, cell in enumerate(header))
    body = "".join(
        "<tr>"
        + "".join(f"<td{marks.get(i, '')}>{escape(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>\n"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'


def _facts(report: Report) -> str:
    manifest = report.manifest
    layout = str(manifest.facts["layout"])
    if layout == "packed":
        layout = f"packed, {manifest.facts['length']:,} a sequence"
    stored = sum(file.nbytes for file in manifest.files.values())
    read = sum(counts["nbytes"] for counts in manifest.codecs.values())
    shown = [
        (f"{manifest.written:,}", "items written"),
        (f"{manifest.rejects:,}", f"rejects, {share_of(manifest.rejects, manifest.items)}"),
        (f"{manifest.rows:,}", "rows"),
        (f"{manifest.tokens:,}", "tokens"),
        (nbytes(read), "of media read"),
        (nbytes(stored), f"in {counted(len(manifest.files), 'file')}"),
        (manifest.sink, layout),
        (f"{len(manifest.shards):,}", "shard" if len(manifest.shards) == 1 else "shards"),
    ]
    cells = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in shown
    )
    sources = "".join(
        f"<li><code>{escape(source.location)}</code></li>" for source in manifest.job.sources
    )
    return f'<div class="facts">{cells}</div>\n<p class="soft">Made of</p><ul>{sources}</ul>'


def _codecs(report: Report) -> str:
    rows = []
    named: list[tuple[str, int]] = []
    for name in report.tally.codecs:  # as the charts have them, so that colours agree
        counts = report.manifest.codecs.get(name)
        if not counts or not counts["parts"]:
            continue
        tokens, modality = counts["tokens"], counts["modality"]
        named.append((name, tokens))
        rows.append(
            [
                name,
                modality,
                counts["fingerprint"],
                f"{counts['parts']:,}",
                f"{counts['positions']:,}",
                f"{tokens:,}",
                nbytes(counts["nbytes"]),
                ratio(tokens, counts["parts"]),
                per_token(modality, counts["units"], tokens),
                ratio(tokens, counts["seconds"]),
            ]
        )
    if not rows:
        return "<h2>Codecs</h2><p>Nothing was written.</p>"
    header = (
        "codec", "modality", "fingerprint", "parts", "positions", "tokens", "of files",
        "tokens a part", "one token is", "tokens a second",
    )  # fmt: skip
    bar = ""
    if len(named) > 1:
        bar = "<h3>Share of tokens</h3>" + shares(named, "Share of tokens")
        bar += legend(
            [f"{name} {share_of(value, sum(v for _, v in named))}" for name, value in named]
        )
    return f"<h2>Codecs</h2>\n{bar}{table(header, rows)}"


def _lengths(report: Report) -> str:
    figures, rows = [], []
    for (name, lengths), colour in zip(report.tally.lengths(), _colours(), strict=False):
        figures.append(
            f"<figure><figcaption>{escape(name)}</figcaption>"
            f"{histogram(lengths, name, colour)}</figure>"
        )
        quantiles = [f"{lengths.quantile(q):,}" for q in (0.05, 0.5, 0.95)]
        rows.append(
            [name, f"{lengths.count:,}", f"{lengths.mean:,.1f}", f"{lengths.least:,}", *quantiles,
             f"{lengths.most:,}"]
        )  # fmt: skip
    if not rows:
        return ""
    header = ("tokens an item", "items", "mean", "least", "5 %", "median", "95 %", "most")
    about = f"<p>{escape(_counted(report))}"
    if report.tally.cut:
        about += (
            f" {report.tally.cut:,} pieces of documents that packing cut are not in these figures."
        )
    return (
        f"<h2>Tokens an item</h2>\n{about}</p>\n"
        f'<div class="charts">{"".join(figures)}</div>\n{table(header, rows)}'
    )


def _books(report: Report) -> str:
    parts = []
    for name, codec in report.tally.codecs.items():
        if not codec.parts:
            continue
        chosen = _spread(len(codec.books), _LINES)
        lines = [
            (_book_name(place, codec), codec.books[place].ranks())
            for place in chosen
            if codec.books[place].tokens
        ]
        if not lines:
            continue
        less = "" if len(chosen) == len(codec.books) else f", {len(chosen)} of its codebooks"
        parts.append(
            f"<figure><figcaption>{escape(name)}{less}</figcaption>{frequencies(lines, name)}"
            f"{legend([title for title, _ in lines])}</figure>"
        )
    if not parts:
        return ""
    header = (
        "codebook", "ids", "seen", "of them", "tokens", "bits a token", "of", "perplexity",
        "most frequent",
    )  # fmt: skip
    rows = [row for name, codec in report.tally.codecs.items() for row in _book_rows(name, codec)]
    about = (
        f"{_counted(report)} Bits are the entropy of the ids by how often each was seen, and "
        "perplexity is 2 to the power of it: so many ids, all as frequent, would have as much. No "
        "more ids can have been seen than there are tokens."
    )
    return (
        f"<h2>Use of the codebooks</h2>\n<p>{escape(about)}</p>\n"
        f'<div class="charts">{"".join(parts)}</div>\n{table(header, rows)}'
    )


def _book_rows(name: str, codec: CodecTally) -> Iterator[list[str]]:
    """Yield the figures of each codebook; of many only some, and the mean of all."""
    if not codec.parts:
        return
    for place in _spread(len(codec.books), _BOOKS):
        title = f"{name} {_book_name(place, codec)}" if len(codec.books) > 1 else name
        yield _book_row(title, codec.books[place])
    if len(codec.books) > 1:
        used = [book for book in codec.books if book.tokens]
        seen = [book.seen / book.size for book in used]
        bits = [book.entropy for book in used]
        most = [float(np.log2(book.size)) for book in used]
        yield [
            f"{name}, mean of {len(used):,}", "", "", f"{100 * mean(seen):.1f} %", "",
            f"{mean(bits):.2f}", f"{mean(most):.2f}", f"{2 ** mean(bits):,.1f}", "",
        ]  # fmt: skip


def _book_row(title: str, book: Book) -> list[str]:
    top = int(book.counts.max()) / book.tokens if book.tokens else 0.0
    return [
        title,
        f"{book.size:,}",
        f"{book.seen:,}",
        share_of(book.seen, book.size),
        f"{book.tokens:,}",
        f"{book.entropy:.2f}",
        f"{np.log2(book.size):.2f}",
        f"{book.perplexity:,.1f}",
        f"{100 * top:.2f} %",
    ]


def _packing(report: Report) -> str:
    figures = report.manifest.packing
    if not figures:
        return ""
    tokens, padding = figures.get("tokens", 0), figures.get("padding", 0)
    sequences, documents = figures.get("sequences", 0), figures.get("documents", 0)
    cut, pieces = figures.get("cut", 0), figures.get("pieces", 0)
    method = str(report.manifest.facts.get("packing", ""))
    rows = [
        ["sequences", f"{sequences:,}", f"of {report.manifest.facts['length']:,}"],
        ["filled", f"{tokens:,}", share_of(tokens, tokens + padding)],
        ["padding", f"{padding:,}", share_of(padding, tokens + padding)],
        ["documents", f"{documents:,}", f"{ratio(documents, sequences)} a sequence"],
        ["documents cut", f"{cut:,}", share_of(cut, documents)],
        ["pieces", f"{pieces:,}", f"{ratio(pieces, documents)} a document"],
    ]
    bar = shares([("filled", tokens), ("padding", padding)], "Tokens and padding")
    return (
        f"<h2>Packing</h2>\n<p>{escape(method)}</p>{bar}"
        f"{legend(['filled ' + share_of(tokens, tokens + padding), 'padding'])}"
        f"{table(('', '', ''), rows, text=(2,))}"
    )


def _rejects(report: Report) -> str:
    reasons = report.manifest.reasons
    if not report.manifest.rejects:
        return f"<h2>Rejects</h2>\n<p>None: all {report.manifest.items:,} items were written.</p>"
    rows = []
    for error, count in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])):
        examples = report.examples.get(error, ())
        for i, reject in enumerate(examples or [None]):
            first = [error, f"{count:,}"] if i == 0 else ["", ""]
            if reject is None:
                rows.append([*first, "", ""])
                continue
            part = "" if reject.part is None else f" (part {reject.part})"
            rows.append([*first, f"{plain(reject.position)}{part}", plain(reject.reason)])
    header = ("error", "items", "for example", "reason")
    share = share_of(report.manifest.rejects, report.manifest.items)
    return (
        f"<h2>Rejects</h2>\n<p>{report.manifest.rejects:,} of {report.manifest.items:,} items "
        f"({share}); all of them stand in <code>rejects.jsonl</code>.</p>\n"
        f"{table(header, rows, text=(2, 3))}"
    )


def _vocabulary(report: Report) -> str:
    vocabulary = report.vocabulary
    rows = []
    for entry in vocabulary.entries:
        ranges = [
            vocabulary.id_range(entry.name, book) for book in range(len(entry.codebook_sizes))
        ]
        rows.append(
            [
                entry.name,
                f"{len(ranges):,}",
                f"{ranges[0].start:,}",
                f"{ranges[-1].stop - 1:,}",
                f"{sum(map(len, ranges)):,}",
            ]
        )
    special = vocabulary.special_tokens
    first, last = min(special.values()), max(special.values())
    rows.insert(1, ["special tokens", "", f"{first:,}", f"{last:,}", f"{last - first + 1:,}"])
    about = f"{vocabulary.size:,} ids, pattern {vocabulary.pattern}, {vocabulary.rows:,} "
    about += "row a document" if vocabulary.rows == 1 else "rows a document"
    for name, soft in report.manifest.facts.get("soft", {}).items():
        about += f"; {name}: {soft['width']} real values of {soft['bits']} bits a token, no ids"
    header = ("ids of", "codebooks", "first", "last", "ids")
    return f"<h2>Vocabulary</h2>\n<p>{escape(about)}</p>\n{table(header, rows)}"


def _footer(report: Report) -> str:
    notes = [f"job {report.manifest.job_digest}", f"vocabulary {report.manifest.vocabulary}"]
    lines = "<br>".join(f"<code>{escape(note)}</code>" for note in notes)
    unread = "".join(f"<p>{escape(plain(line))}</p>" for line in report.unread)
    return f"<footer>{unread}<p>{lines}</p></footer>"


def _counted(report: Report) -> str:
    rows = report.manifest.rows
    if report.counted >= rows:
        return f"Counted over all {rows:,} rows."
    return (
        f"Counted over {report.counted:,} of {rows:,} rows, in runs that are spread evenly, always "
        "the same."
    )


def _book_name(place: int, codec: CodecTally) -> str:
    return f"codebook {place}" if len(codec.books) > 1 else codec.name


def _spread(count: int, most: int) -> list[int]:
    """Return the first numbers below `count`, or as many as `most` of them, spread evenly."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def _colours() -> Iterator[str]:
    while True:
        yield from COLOURS
