"""Make the packaged corpus from the Debian packages, byte for byte.

    python scripts/make_demo_corpus.py                        # fetches the two packages with apt-get download
    python scripts/make_demo_corpus.py --packages FOLDER      # a folder with the two .deb files
    python scripts/make_demo_corpus.py --check                # compares with what is committed, writes nothing

``asterisk-core-sounds-en-g722`` 1.6.1-1 has the recordings, ``asterisk-core-sounds-en`` 1.6.1-1 the transcripts.
What is not speech (tones, silence) is left out. A few transcripts do not say what was spoken: SPOKEN does, found by
aligning the alternatives and keeping the likeliest; PRONUNCIATIONS has words that the aligner's dictionary lacks and
its grapheme-to-phoneme network gets wrong.
"""

import argparse
import filecmp
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from speechstrata.audio import decode, resample
from speechstrata.corpora.aligner import SAMPLE_RATE, Aligner
from speechstrata.corpora.demo import DATA, FRAME, RECORDINGS, UTTERANCES
from speechstrata.corpora.text import normalise_transcript

PACKAGES = ("asterisk-core-sounds-en-g722", "asterisk-core-sounds-en")
VERSION = "1.6.1-1"

SPOKEN = {
    "conf-adminmenu-menu8": (
        "press one to list users currently in the conference two to kick all non administrator users three to mute "
        "or unmute all non administrator users four to record this conference or eight to exit this menu and return "
        "to the conference"
    ),
    "demo-congrats": (
        "congratulations you have successfully installed and executed the asterisk open source p b x you have also "
        "installed a set of sample sounds and configuration files that should help you get started like a normal "
        "p b x you will navigate this demonstration by dialing digits if you are using a console channel driver "
        "instead of a real phone you can use the dial answer and hang up commands to simulate the actions of a "
        "standard telephone"
    ),
    "demo-enterkeywords": "please enter one or more keywords separated by star and then press the pound key",
    "demo-instruct": (
        "if you would like to learn more technical information about asterisk dial two now if you'd like to test out "
        "the voice over i p capabilities of asterisk you can dial five zero zero to attempt an inter asterisk "
        "exchange or i a x connection to a demonstration server at digium in order for this test to work you will "
        "need to be connected to the internet and have at least a twenty eight point eight kilobit modem to execute "
        "an echo test dial six zero zero this test is most useful when you have connected to this asterisk server "
        "from a remote location the sample configuration also has a single user with extension one two three four "
        "and password four two four two that user is configured to ring the console when their extension is dialed "
        "if you dial one two three four you can try to ring the console if the console is busy or unavailable you "
        "will be given the option to leave voicemail to check voice mail for the user dial extension eight five zero "
        "zero to enter the voicemail system you can press the pound key to disconnect from the p b x"
    ),
    "demo-moreinfo": (
        "asterisk is an open source fully featured p b x and i v r platform that runs on the linux operating system "
        "for more information visit w w w dot asterisk dot org"
    ),
    "dictate/both_help": "press star to toggle pause press pound to enter a new dictation filename",
    "dictate/enter_filename": "enter a numeric dictation filename followed by pound or just pound to exit",
    "digits/h-40": "fortieth",
    "letters/exclaimation-point": "exclamation point",
    "phonetic/x_p": "x ray",
    "queue-periodic-announce": (
        "all of our representatives are currently busy please stay on the line and your call will be answered by the "
        "next available representative"
    ),
    "spy-h323": "h three two three",
    "spy-iax2": "iax",
    "spy-mgcp": "m g c p",
    "spy-usbradio": "u s b radio",
    "unidentified-no-callback": "unidentified or withheld and therefore cannot be called back",
    "vm-intro": "please leave your message after the tone when done hang up or press the pound key",
}
SPELLING = {"thru": "through"}
PRONUNCIATIONS = {
    "digium": "D IH JH IY AH M",
    "forevermore": "F ER EH V ER M AO R",
    "rerecord": "R IY R IH K AO R D",
    "semicolon": "S EH M IY K OW L AH N",
    "undelete": "AH N D IH L IY T",
    "undeleted": "AH N D IH L IY T IH D",
    "unmute": "AH N M Y UW T",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, help="folder with the two Debian packages")
    parser.add_argument("--output", type=Path, default=DATA)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sounds, transcripts, copyright_text = unpack(arguments.packages, Path(scratch))
        output = Path(scratch) / "made" if arguments.check else arguments.output
        output.mkdir(parents=True, exist_ok=True)
        make(sounds, transcripts, output)
        (output / "COPYRIGHT").write_bytes(copyright_text)
        if arguments.check:
            names = [RECORDINGS, UTTERANCES, "COPYRIGHT"]
            different = [name for name in names if not filecmp.cmp(output / name, DATA / name, shallow=False)]
            sys.exit(f"these differ from the committed files: {', '.join(different)}" if different else 0)


def unpack(packages: Path | None, scratch: Path) -> tuple[Path, dict[str, str], bytes]:
    """The folder of recordings, the transcripts by prompt, and the Debian copyright file."""
    if packages is None:
        packages = scratch
        subprocess.run(["apt-get", "download", *(f"{name}={VERSION}" for name in PACKAGES)], cwd=scratch, check=True)
    for name in PACKAGES:
        subprocess.run(["dpkg-deb", "-x", packages / f"{name}_{VERSION}_all.deb", scratch / "tree"], check=True)
    share = scratch / "tree" / "usr" / "share"
    text = gzip.decompress((share / "doc" / PACKAGES[1] / "core-sounds-en.txt.gz").read_bytes()).decode()
    transcripts = dict(re.findall(r"^([^;:\s]+):\s*(.*)$", text, re.M))
    sounds = share / "asterisk" / "sounds" / "en_US_f_Allison"
    return sounds, transcripts, (share / "doc" / PACKAGES[0] / "copyright").read_bytes()


def make(sounds: Path, transcripts: dict[str, str], output: Path) -> None:
    aligner = Aligner(PRONUNCIATIONS)
    rows = []
    with zipfile.ZipFile(output / RECORDINGS, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(sounds.rglob("*.g722")):
            name = path.relative_to(sounds).with_suffix("").as_posix()
            text = SPOKEN.get(name) or normalise_transcript(re.sub(r"\(.*?\)", " ", transcripts[name]))
            text = " ".join(SPELLING.get(word, word) for word in text.split())
            if not text:
                continue
            data = path.read_bytes()
            member = zipfile.ZipInfo(f"{name}.g722", date_time=(1980, 1, 1, 0, 0, 0))
            member.external_attr = 0o644 << 16
            archive.writestr(member, data)
            samples, rate = decode(path)
            aligned = aligner(resample(samples[0], rate, SAMPLE_RATE), text)
            rows.append(
                {
                    "id": name,
                    "prompt": transcripts[name],
                    "text": text,
                    "samples": samples.shape[1],
                    "sha256": hashlib.sha256(data).hexdigest()[:16],
                    "words": [
                        [frames(word.start), sounds_of(word, aligned.phones), word.score] for word in aligned.words
                    ],
                }
            )
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    (output / UTTERANCES).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(rows)} utterances, {sum(row['samples'] for row in rows) / SAMPLE_RATE / 60:.2f} minutes")
    doubtful = [(word, row["id"]) for row in rows for word in row["words"] if word[2] < -60]
    for (first, spoken, score), name in sorted(doubtful, key=lambda found: found[0][2]):
        print(f"doubtful: {name} at {first * FRAME:.2f} s: {spoken} ({score})")


def sounds_of(word, phones) -> str:
    """The phones of a word as "PHONE frames PHONE frames ..."."""
    inside = [phone for phone in phones if word.start <= phone.start < word.end]
    return " ".join(f"{phone.symbol} {frames(phone.end) - frames(phone.start)}" for phone in inside)


def frames(seconds: float) -> int:
    """The nearest frame; the end of the audio may cut a last frame short."""
    return round(seconds / FRAME)


if __name__ == "__main__":
    main()
