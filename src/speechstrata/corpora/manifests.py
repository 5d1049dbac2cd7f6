"""lhotse manifests as corpora: cuts, or recordings with supervisions."""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lhotse import CutSet, MonoCut, MultiCut, SupervisionSegment, load_manifest
from lhotse.utils import fastcopy

from speechstrata.audio import ARCHIVE_MARK
from speechstrata.corpora.audio_files import inspect_audio
from speechstrata.corpora.corpus import LONGEST_LINE, Corpus, make_corpus
from speechstrata.corpora.cuts import TIME_TOLERANCE, Span, check_spans
from speechstrata.corpora.problems import MIN_SECONDS, ProblemLog
from speechstrata.corpora.text import plain_words
from speechstrata.errors import CorpusError, InputError, SpeechstrataError
from speechstrata.files import bounded_lines

#: The names under which manifests keep word and phone alignments.
_ALIGNMENT_NAMES = {"word": ("word", "words"), "phone": ("phone", "phones", "phoneme", "phonemes")}


def load_manifest_corpus(
    path: Path | str,
    supervisions: Path | str | None = None,
    *,
    workers: int = 1,
    check: bool = False,
    strict: bool = False,
) -> Corpus:
    """A corpus of a lhotse manifest.

    Cuts with several supervisions are cut apart, one utterance each; alignments are checked; relative audio paths
    are taken from the manifest's folder where the file is there. Mixed and padded cuts are skipped.

    Args:
        path: a manifest of cuts, or of recordings.
        supervisions: with a manifest of recordings, the manifest of its supervisions.
        workers: threads for ``check``.
        check: decode every file, and compare it with what the manifest says.
        strict: the first problem is an error.

    Raises:
        CorpusError: not a manifest, of another kind, or nothing usable in it.
    """
    path = Path(path)
    log = ProblemLog(strict)
    try:
        manifest = _load(path)
        if supervisions is not None:
            manifest = CutSet.from_manifests(recordings=manifest, supervisions=_load(Path(supervisions)))
    except SpeechstrataError:
        raise
    except Exception as error:  # lhotse raises assertions, key errors and whatever the JSON reader does
        raise CorpusError(f"{path} cannot be read as a lhotse manifest: {error}", "give a cuts manifest") from error
    if not isinstance(manifest, CutSet):
        kind = type(manifest).__name__
        raise CorpusError(f"{path} holds a {kind}, not cuts", "give its supervisions too, or make cuts of it")
    cuts: Iterable[Any] = import_cuts(manifest, path.parent, log)
    if check:
        cuts = _checked(list(cuts), log, workers)
    return make_corpus(
        path.name.split(".")[0],
        cuts,
        description=f"lhotse manifest {path.name}",
        source=path.name,
        problems=log.problems,
    )


def _load(path: Path) -> Any:
    """A manifest of any kind, as lhotse reads it; a compressed one only where its lines fit in memory."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for _ in bounded_lines(file, LONGEST_LINE, path):
                pass
    return load_manifest(path.resolve())


def import_cuts(cuts: Iterable[Any], root: Path, log: ProblemLog) -> Iterator[Any]:
    """One checked cut for every supervision; what cannot be used is reported to ``log``.

    Args:
        cuts: of any kind.
        root: for relative audio paths.
        log: where problems go.
    """
    for cut in cuts:
        if not isinstance(cut, MonoCut | MultiCut):
            log.report(cut.id, f"a {type(cut).__name__} is not one recorded utterance")
            continue
        if not cut.has_recording:
            log.report(cut.id, "the cut has no recording")
            continue
        parts = [cut] if len(cut.supervisions) < 2 else list(cut.trim_to_supervisions(keep_overlapping=False))
        for part in parts:
            try:
                imported = _import_cut(part, root)
            except InputError as error:
                log.report(part.id, error.message)
            except (TypeError, ValueError, AttributeError, ArithmeticError, AssertionError, OSError) as error:
                log.report(part.id, f"not a cut as lhotse writes it ({type(error).__name__}: {str(error)[:100]})")
            else:
                yield imported


def _checked(cuts: list[Any], log: ProblemLog, workers: int) -> Iterator[Any]:
    """The cuts whose files decode to what the manifest says of them, with the files' hashes."""
    paths = {source.source: None for cut in cuts for source in cut.recording.sources if source.type == "file"}
    plain = [Path(path) for path in paths if ARCHIVE_MARK not in path]
    found = {str(file.path): file for file in inspect_audio(plain, log, workers=workers)}
    for cut in cuts:
        files = [
            found.get(s.source) for s in cut.recording.sources if s.type == "file" and ARCHIVE_MARK not in s.source
        ]
        if any(file is None for file in files):
            continue  # reported by its file
        held = min((file.info.duration for file in files if file), default=cut.end)
        rates = {file.info.sample_rate for file in files if file} - {cut.recording.sampling_rate}
        if cut.end > held + TIME_TOLERANCE:
            log.report(cut.id, f"the utterance ends at {cut.end:.3f} s, its audio at {held:.3f} s")
        elif rates and not cut.recording.transforms:
            log.report(cut.id, f"the audio is at {rates.pop()} Hz, the manifest says {cut.recording.sampling_rate} Hz")
        else:
            digests = {"audio_sha256": "-".join(file.sha256 or "" for file in files if file)} if files else {}
            yield fastcopy(cut, custom={**(cut.custom or {}), **digests} or None)


def _import_cut(cut: Any, root: Path) -> Any:
    if not cut.duration >= MIN_SECONDS:
        raise InputError(f"too short: {cut.duration:.3f} s of audio")
    recording = fastcopy(cut.recording, sources=[_located(source, root) for source in cut.recording.sources])
    if cut.supervisions:
        supervision = cut.supervisions[0]
    else:
        supervision = SupervisionSegment(cut.id, recording.id, 0.0, cut.duration, cut.channel, text="", speaker="")
    alignment = {}
    for unit, names in _ALIGNMENT_NAMES.items():
        found = next((items for name in names if (items := (supervision.alignment or {}).get(name))), None)
        if found:
            spans = [Span(item.symbol, item.start, item.start + item.duration, item.score) for item in found]
            alignment[unit] = check_spans(spans, unit, cut.start, cut.end)
    text = plain_words(supervision.text or " ".join(item.symbol for item in alignment.get("word", ())))
    supervision = fastcopy(supervision, text=text, speaker=str(supervision.speaker or ""), alignment=alignment or None)
    return fastcopy(cut, recording=recording, supervisions=[supervision])


def _located(source: Any, root: Path) -> Any:
    """A source with the path that its file is at."""
    if source.type == "command":  # lhotse would give it to a shell
        raise InputError(f"its audio is the output of a command ({str(source.source)[:80]!r}), which is not run")
    if source.type != "file":
        return source
    path, mark, member = str(source.source).partition(ARCHIVE_MARK)
    archive = path + mark[:4]
    for candidate in (Path(archive), root / archive):
        if candidate.is_file():
            return fastcopy(source, source=str(candidate.resolve()) + mark[4:] + member)
    raise InputError(f"there is no audio file {archive}")
