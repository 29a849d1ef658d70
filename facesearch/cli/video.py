"""``facesearch index-video``, ``find-in-video`` and ``videos …``: who is seen in a video, and when.

It plays no video.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facesearch.cli import options
from facesearch.cli.output import confirm, printable, rate, write_json, write_line, write_note, write_table
from facesearch.cli.session import session_of
from facesearch.cli.table_file import check_table_file, write_table_file
from facesearch.cli.verify import NO_MATCH, evidence_text
from facesearch.cli.video_shapes import findings_shape, indexed_shape, sighting_shape, track_shape, video_shape
from facesearch.core.errors import FaceSearchError, InputError
from facesearch.core.paths import is_folder, is_there

if TYPE_CHECKING:
    from facesearch.cli.session import Session
    from facesearch.core.video import Sighting, Video, VideoFindings, VideoTrack
    from facesearch.imaging.sheet import Tile
    from facesearch.service.video_index import IndexedVideo

app = typer.Typer(help="What is kept of indexed videos.")

VideoFile = Annotated[str, typer.Argument(metavar="FILE", help="A video file.")]
VideoText = Annotated[str, typer.Argument(metavar="VIDEO", help="A video's file, or its id as videos list shows it.")]
Report = Annotated[Path | None, typer.Option("--report", metavar="OUT.json|OUT.csv", help="Write everything to a file as well.")]
Fpir = Annotated[
    float | None, typer.Option("--fpir", metavar="RATE", help="Share of strangers that may be taken for somebody; docs/video.md.")
]

_TRACK_COLUMNS = ("track_id", "start_s", "end_s", "n_faces", "best_s", "label", "identity_id", "score", "box", "detection_score")
_SIGHTING_COLUMNS = ("video_id", "source", "label", "start_s", "end_s", "best_s", "score", "n_faces", "box")


def index_video(
    context: typer.Context,
    file: VideoFile,
    per_second: Annotated[float, typer.Option("--rate", metavar="FRAMES", help="Frames looked at a second of video.")] = 5.0,
    gap: Annotated[
        float, typer.Option("--gap", metavar="SECONDS", help="How long a face may be missed and still be the same track.")
    ] = 1.0,
    fpir: Fpir = None,
    fmr: options.Fmr = None,
    operating_point: options.OperatingPointName = None,
    enroll_unknown: Annotated[
        bool, typer.Option("--enroll-unknown", help="Enroll people nobody knows as unknown-1, unknown-2, …")
    ] = False,
    quality_gate: options.QualityGate = None,
    keep: options.Keep = None,
    again: Annotated[bool, typer.Option("--again", help="Index a video anew that is indexed already.")] = False,
    report: Report = None,
    as_json: options.AsJson = False,
) -> None:
    """Follow the faces of a video, say who they are, and keep them for find-in-video.

    Faces smaller than 40 pixels are not looked for (--min-face, setting video_min_face_px). No face at all is no error.
    """
    session = session_of(context)
    check_table_file(report)
    with session.service() as service, _progress(Path(file).name) as advance:
        indexed = service.index_video(
            file,
            sample_rate=per_second,
            min_face_px=session.overrides.get("min_face_px"),
            gap_s=gap,
            fpir=fpir,
            fmr=fmr,
            operating_point=operating_point,
            enroll_unknown=enroll_unknown,
            quality_gate=quality_gate,
            keep=keep,
            again=again,
            on_progress=advance,
        )
    document = indexed_shape(indexed)
    if as_json:
        write_json(document)
    else:
        _write_indexed(indexed)
    _note_cut(indexed.video)
    if report is not None:
        write_table_file(report, document, _TRACK_COLUMNS, document["tracks"])


def find_in_video(
    context: typer.Context,
    person: Annotated[str, typer.Option("--person", metavar="LABEL", help="An enrolled person's label.")],
    videos: Annotated[
        list[str] | None, typer.Argument(metavar="[VIDEO...]", help="Files or ids; every indexed video where none is named.")
    ] = None,
    gap: Annotated[
        float, typer.Option("--gap", metavar="SECONDS", help="Stretches with at most so much between them are told as one.")
    ] = 2.0,
    fpir: Fpir = None,
    fmr: options.Fmr = None,
    operating_point: options.OperatingPointName = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="OUT.jpg|OUT.png", help="Write a sheet with a thumbnail of each stretch.")
    ] = None,
    report: Report = None,
    as_json: options.AsJson = False,
) -> None:
    """Say when an enrolled person is seen in indexed videos.

    Exit code 0: seen at least once. 1: in none of them.
    """
    session = session_of(context)
    check_table_file(report)
    _check_sheet(sheet)
    named = [_video_name(one) for one in videos or ()]
    with session.service() as service:
        found = service.find_in_video(person, *named, fpir=fpir, fmr=fmr, operating_point=operating_point, gap_s=gap)
    document = {"label": person, "collection": session.collection, "videos": [findings_shape(one) for one in found]}
    if as_json:
        write_json(document)
    else:
        _write_found(person, found)
    for one in found:
        _note_cut(one.video)
    is_seen = any(one.sightings for one in found)
    if sheet is not None and is_seen:
        _write_sheet(session, found, sheet)
    if report is not None:
        named_by = [
            (one, {"video_id": one.video.video_id, "source": one.video.about.info.source, "label": person}) for one in found
        ]
        rows = [{**name, **sighting_shape(seen)} for one, name in named_by for seen in one.sightings]
        write_table_file(report, document, _SIGHTING_COLUMNS, rows)
    if not is_seen:
        raise typer.Exit(NO_MATCH)


@app.command("list")
def list_videos(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the indexed videos of the collection."""
    session = session_of(context)
    with session.service() as service:
        found = service.videos()
    if as_json:
        write_json({"collection": session.collection, "videos": [video_shape(one) for one in found]})
        return
    rows = [
        (
            one.video_id,
            clock(one.about.reading.end_s),
            one.n_tracks,
            f"{one.about.indexed_at:%Y-%m-%d %H:%M}",
            one.about.info.source,
        )
        for one in found
    ]
    write_table(("id", "length", "tracks", "indexed (UTC)", "file"), rows)


@app.command()
def show(context: typer.Context, video: VideoText, as_json: options.AsJson = False) -> None:
    """Show the tracks of an indexed video, with who each was decided to be when it was indexed."""
    with session_of(context).service() as service:
        found, tracks = service.video_tracks(_video_name(video))
    if as_json:
        write_json({**video_shape(found), "tracks": [track_shape(one) for one in tracks]})
        return
    write_line(_summary(found))
    _write_tracks(tracks)
    _note_cut(found)


@app.command()
def remove(context: typer.Context, video: VideoText, yes: options.Yes = False, as_json: options.AsJson = False) -> None:
    """Delete what is kept of a video, templates included; its file, and people enrolled from it, stay."""
    name = _video_name(video)
    confirm(f"Delete everything kept of {video}?", yes=yes)
    with session_of(context).service() as service:
        gone = service.remove_video(name)
    if as_json:
        write_json(video_shape(gone))
    else:
        write_line(f"removed video {gone.video_id} with {_counted(gone.n_tracks, 'track')}: {printable(gone.about.info.source)}")


def clock(time_s: float) -> str:
    """Return a time as ``m:ss.t``, or ``h:mm:ss.t`` from an hour on."""
    tenths = round(time_s * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest / 10:04.1f}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"


def _video_name(text: str) -> str | int:
    from facesearch.service.facade_video import checked_video_name

    name = checked_video_name(text, is_there=is_there(text))
    return name if isinstance(name, int) else str(name)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _summary(video: Video) -> str:
    about = video.about
    size = f"{about.info.width}×{about.info.height}"
    frames = f"{about.reading.n_sampled:,} of {about.reading.n_frames:,} frames looked at"
    return f"video {video.video_id}: {printable(about.info.source)}, {size}, {clock(about.reading.end_s)}, {frames}"


def _write_indexed(indexed: IndexedVideo) -> None:
    write_line(_summary(indexed.video))
    _write_tracks(indexed.tracks)
    write_line(f"{indexed.n_recognised} of {_counted(len(indexed.tracks), 'track')} recognised; {indexed.speed:.1f} × real time")
    if indexed.enrolled:
        write_line(f"enrolled: {', '.join(printable(label) for label in indexed.enrolled)}")
    if indexed.n_not_enrolled:
        write_line(f"{_counted(indexed.n_not_enrolled, 'unknown track')} too short or too poor to be enrolled")
    if indexed.n_unaligned:
        write_line(f"{_counted(indexed.n_unaligned, 'face')} left out: the landmarks cannot be aligned")
    point = indexed.operating_point
    if point is not None:
        asked = f"FPIR {rate(indexed.fpir)} a track" if indexed.fpir is not None else f"FMR {rate(point.fmr)}"
        evidence = evidence_text(point, asked=asked)
        write_line(f"decided at {asked} among {_counted(indexed.n_templates, 'template')}; evidence: {evidence}")


def _write_tracks(tracks: Sequence[VideoTrack]) -> None:
    if not tracks:
        write_line("no face was found")
        return
    rows = [
        (
            one.track_id,
            clock(one.track.interval.start_s),
            clock(one.track.interval.end_s),
            one.track.n_faces,
            one.label if one.label is not None else "(unknown)",
            one.track.score,
        )
        for one in tracks
    ]
    write_table(("track", "from", "to", "faces", "label", "best score"), rows)


def _write_found(person: str, found: Sequence[VideoFindings]) -> None:
    if not found:
        write_line("no video is indexed with this embedder: facesearch index-video FILE")
        return
    for one in found:
        name = printable(one.video.about.info.source)
        if not one.sightings:
            best = "" if one.best_score is None else f" (best score {one.best_score:.4f}, needed {one.threshold:.4f})"
            write_line(f"{name}: {printable(person)} was not found in {_counted(one.n_tracks, 'track')}{best}")
            continue
        write_line(f"{name}: {printable(person)} is seen {_counted(len(one.sightings), 'time')}, {one.seen_s:.1f} s in all")
        rows = [(clock(seen.interval.start_s), clock(seen.interval.end_s), seen.n_faces, seen.score) for seen in one.sightings]
        write_table(("from", "to", "faces", "score"), rows)
    first = found[0]
    asked = f"FPIR {rate(first.fpir)} a search" if first.fpir is not None else f"FMR {rate(first.operating_point.fmr)}"
    n_tracks = sum(one.n_tracks for one in found)
    evidence = evidence_text(first.operating_point, asked=asked)
    write_line(f"decided at {asked} among {_counted(n_tracks, 'track')} (threshold {first.threshold:.4f}); evidence: {evidence}")


def _note_cut(video: Video) -> None:
    about = video.about
    if about.reading.is_cut:
        write_note(
            f"note: {printable(about.info.source)} is incomplete: {clock(about.reading.end_s)} of {clock(about.info.duration_s)} "
            f"({about.reading.n_frames:,} of {about.info.n_frames:,} frames) could be read"
        )


def _check_sheet(sheet: Path | None) -> None:
    if sheet is None:
        return
    if sheet.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{sheet}: a sheet is a .png or .jpg file")
    if not is_folder(sheet.absolute().parent):
        raise InputError(f"{sheet}: there is no folder {sheet.parent}")


def _write_sheet(session: Session, found: Sequence[VideoFindings], sheet: Path) -> None:
    from facesearch.imaging.draw import save_picture
    from facesearch.imaging.sheet import sheet_of

    tiles = [tile for one in found for tile in _tiles(session, one)]
    save_picture(sheet_of(tiles), sheet)
    write_note(f"sheet: {printable(sheet)}")


def _tiles(session: Session, found: VideoFindings) -> list[Tile]:
    """Return the thumbnails of a video; without pictures where its file is gone or another one now."""
    from facesearch.imaging.sheet import Tile, thumbnail
    from facesearch.imaging.sources import DecodeLimits
    from facesearch.imaging.video import VideoFile as OpenVideo

    info = found.video.about.info
    pictures = {}
    limits = DecodeLimits(max_pixels=session.settings.max_image_pixels)
    try:
        with OpenVideo(info.source, limits=limits) as video:
            if video.info.digest != info.digest:
                raise InputError(f"{info.source} is another file now")
            times = sorted({one.best_s for one in found.sightings})
            pictures = dict(zip(times, video.frames_at(times), strict=False))
            pictures = {time_s: frame for time_s, frame in pictures.items() if abs(frame.time_s - time_s) < 1.0}
    except FaceSearchError as exc:
        if found.sightings:
            write_note(f"note: no thumbnails of {printable(info.source)}: {printable(exc.message)}")

    def tile(seen: Sighting) -> Tile:
        frame = pictures.get(seen.best_s)
        when = f"{clock(seen.interval.start_s)} to {clock(seen.interval.end_s)}"
        cut = None if frame is None else thumbnail(frame.image, seen.detection.box)
        return Tile(cut, (when, f"score {seen.score:.3f}  {Path(info.source).name}"))

    return [tile(one) for one in found.sightings]


@contextmanager
def _progress(description: str) -> Iterator[Callable[[float, float], None]]:
    """Show a bar with the speed relative to playing, on stderr; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(description), total=None, text="")

        def advance(done_s: float, total_s: float) -> None:
            took = bar.tasks[0].elapsed or 0.0
            speed = f"{done_s / took:.1f} × real time" if took > 0 else ""
            bar.update(task, completed=done_s, total=total_s or None, text=f"{clock(done_s)}/{clock(total_s)} {speed}")

        yield advance
